"""Build the network: MobileNetV2 with a fourth input channel for the OCR mask and one sigmoid output per tile."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from foliopress.configs.errors import ConfigError
from foliopress.tasks.analysis.tiles import CORE_PX, PATCH_MARGIN_PX

ALPHA = 0.35
BACKBONE = "mobilenetv2_0.35"
_IMAGENET_PX = 224
# Backbone layers: stride, channels after a first projection, and features that each tile takes from them.
_FINE_LAYERS = (
    ("block_13_expand_relu", 16, 48, 64),
    ("block_6_expand_relu", 8, 24, 48),
    ("block_3_expand_relu", 4, 12, 32),
)
_COARSE_WIDTH, _HEAD_WIDTH = 64, 32
# Keras' default for MobileNetV2 is 0.999. That is too slow for a training of a few hundred batches: the statistics
# would still be dominated by their initial values at the end.
_MOMENTUM_WITHOUT_START = 0.98
WEIGHTS_FILE = "mobilenet_v2_0.35_224_no_top.weights.h5"
WEIGHTS_VARIABLE = "FOLIOPRESS_WEIGHTS"
DEFAULT_WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "weights"


def weights_file(given: Path | None = None) -> Path:
    """Return the backbone weights file: the path given (or the file in it), else from `FOLIOPRESS_WEIGHTS`.

    Raises:
        ConfigError: If the file does not exist.
    """
    path = given or Path(os.environ.get(WEIGHTS_VARIABLE) or DEFAULT_WEIGHTS)
    path = path / WEIGHTS_FILE if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"no backbone weights at {path}; pass {WEIGHTS_FILE} with --weights or {WEIGHTS_VARIABLE}")
    return path


def build_network(weights: Path | None = None) -> keras.Model:
    """Build the network: (n, h, w, 4) uint8 patches in, (n, h / 32 - 3, w / 32 - 3, 1) float32 importance out.

    It is fully convolutional: one number per tile of a patch, from the tile and its surroundings. The backbone's last
    layer, one cell per 32 px, knows what is there. Finer layers know where it ends, which decides whether the foot of a
    line still reaches into a tile. The square of cells that spans the tile is read from each layer, and a dense layer
    combines them all.

    Each stride-2 layer moves the cell centres right and down by half a pixel of its scale: in a layer of stride s, cell
    j is centred on pixel s * j + s - 1. A patch therefore begins one and a half tiles before its first tile, and the
    cells outside the tile are cropped; `_tile_cells` computes that offset.

    With ImageNet weights, batch norm is frozen: see `freeze_batch_norm`.

    Args:
        weights: ImageNet weights of the three-channel backbone; random weights without it.
    """
    patches = keras.Input((None, None, 4), dtype="uint8", name="patches")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(patches)
    coarse, *fine = _backbone(weights)(scaled)
    coarse = keras.layers.Dropout(0.2, name="dropout")(coarse)
    branches = [_relu(_COARSE_WIDTH, 1, name="tile_32")(keras.layers.Cropping2D(((1, 2), (1, 2)))(coarse))]
    for cells, (_, stride, narrow, width) in zip(fine, _FINE_LAYERS, strict=True):
        branches.append(_tile_cells(cells, stride, narrow, width))
    features = _relu(_HEAD_WIDTH, 1, name="tile")(keras.layers.Concatenate()(branches))
    features = keras.layers.Dropout(0.1, name="tile_dropout")(features)
    importance = keras.layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="importance")(features)
    return keras.Model(patches, importance, name="foliopress_importance")


def _backbone(weights: Path | None) -> keras.Model:
    """Return MobileNetV2 without its top: the last layer and the finer layers that tiles are read from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about four channels
        whole = keras.applications.MobileNetV2(
            input_shape=(None, None, 4), alpha=ALPHA, include_top=False, weights=None
        )
    if weights is not None:
        load_three_channels(whole, weights)
        freeze_batch_norm(whole)
    else:
        for layer in whole.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.momentum = _MOMENTUM_WITHOUT_START
    fine = [whole.get_layer(name).output for name, *_ in _FINE_LAYERS]
    return keras.Model(whole.input, [whole.output, *fine], name=BACKBONE)


def _tile_cells(cells: Any, stride: int, narrow: int, width: int) -> Any:
    """Read each tile from the square of cells that spans it: 32 / stride + 1 each way, including both edges.

    Args:
        cells: (n, h / stride, w / stride, channels).
        stride: Pixels between neighbouring cells.
        narrow: Channels after the first projection.
        width: Features per tile.
    """
    per_tile = CORE_PX // stride
    first = PATCH_MARGIN_PX // stride - 1
    cells = keras.layers.Cropping2D(((first, first + 1), (first, first + 1)))(_relu(narrow, 1)(cells))
    return _relu(width, per_tile + 1, strides=per_tile, name=f"tile_{stride}")(cells)


def _relu(filters: int, size: int, **options: Any) -> keras.layers.Layer:
    return keras.layers.Conv2D(filters, size, activation="relu", padding="valid", **options)


def freeze_batch_norm(backbone: keras.Model) -> None:
    """Freeze batch norm in inference mode, whatever else is trained; call it again after setting `trainable`.

    Some channels of the backbone have a moving variance near zero, which batch statistics of tiles would turn into
    noise. `training=False` in the call is not enough: an outer model in training mode overrides it (Keras 3.15).
    """
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def load_three_channels(backbone: Any, weights: Path) -> None:
    """Copy three-channel weights into a four-channel backbone; the fourth channel's kernel is set to zero.

    Raises:
        ConfigError: If the file does not fit the network.
    """
    original = keras.applications.MobileNetV2(
        input_shape=(_IMAGENET_PX, _IMAGENET_PX, 3), alpha=ALPHA, include_top=False, weights=None
    )
    try:
        original.load_weights(str(weights))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{weights} does not hold the weights of MobileNetV2 alpha {ALPHA}: {error}") from error
    widened = []
    for ours, theirs in zip(backbone.get_weights(), original.get_weights(), strict=True):
        if ours.shape != theirs.shape:  # only the first convolution: (3, 3, 4, n) instead of (3, 3, 3, n)
            theirs = np.concatenate([theirs, np.zeros_like(theirs[:, :, :1])], axis=2)
        widened.append(theirs)
    backbone.set_weights(widened)


def load_network(path: Path) -> keras.Model:
    """Load a trained network without executing code from the file.

    Raises:
        ConfigError: If the file holds no such network.
    """
    try:
        network = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras passes on whatever its readers raise: ValueError, KeyError, OSError, TypeError …
        raise ConfigError(f"{path} cannot be loaded as a network: {type(error).__name__}: {error}") from error
    if network.input_shape != (None, None, None, 4) or network.output_shape != (None, None, None, 1):
        raise ConfigError(f"{path}: maps {network.input_shape} to {network.output_shape}, not patches to scores")
    return network
