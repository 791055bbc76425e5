"""Network: MobileNetV2 with a fourth input channel for the OCR mask, one sigmoid at its end."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tasks.errors import ConfigError
from tasks.tiles import WINDOW_PX

ALPHA = 0.35
BACKBONE = "mobilenetv2_0.35"
WEIGHTS_FILE = "mobilenet_v2_0.35_224_no_top.weights.h5"
WEIGHTS_VARIABLE = "FOLIOPRESS_WEIGHTS"
DEFAULT_WEIGHTS = Path(__file__).resolve().parents[2] / "shared" / "weights"


def weights_file(given: Path | None = None) -> Path:
    """Return the file of backbone weights: the one given (or in the folder given), else by `FOLIOPRESS_WEIGHTS`.

    Raises:
        ConfigError: If there is no such file.
    """
    path = given or Path(os.environ.get(WEIGHTS_VARIABLE) or DEFAULT_WEIGHTS)
    path = path / WEIGHTS_FILE if path.is_dir() else path
    if not path.is_file():
        raise ConfigError(f"no backbone weights at {path}; name {WEIGHTS_FILE} by --weights or {WEIGHTS_VARIABLE}")
    return path


def build_network(weights: Path | None = None) -> keras.Model:
    """Build the network: (n, 96, 96, 4) uint8 windows in, (n, 1) float32 importance in [0, 1] out.

    Batch norm is held: `hold_batch_norm` says why.

    Args:
        weights: ImageNet weights of the three-channel backbone; random ones without it.
    """
    windows = keras.Input((WINDOW_PX, WINDOW_PX, 4), dtype="uint8", name="windows")
    scaled = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="scale")(windows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras wonders about four channels
        backbone = keras.applications.MobileNetV2(
            input_shape=(WINDOW_PX, WINDOW_PX, 4),
            alpha=ALPHA,
            include_top=False,
            weights=None,
            pooling="avg",
            name=BACKBONE,
        )
    if weights is not None:
        load_three_channels(backbone, weights)
    hold_batch_norm(backbone)
    features = keras.layers.Dropout(0.2, name="dropout")(backbone(scaled))
    importance = keras.layers.Dense(1, activation="sigmoid", dtype="float32", name="importance")(features)
    return keras.Model(windows, importance, name="foliopress_importance")


def hold_batch_norm(backbone: keras.Model) -> None:
    """Keep batch norm in inference mode, whatever else is trained; to be called again after `trainable` was set.

    Some channels of the backbone have a moving variance near zero, which statistics of batches of tiles would turn
    into noise. `training=False` in the call is not enough: an outer model in training overrides it (Keras 3.15).
    """
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False


def load_three_channels(backbone: Any, weights: Path) -> None:
    """Copy three-channel weights into a four-channel backbone; the kernel of the fourth channel becomes zero.

    Raises:
        ConfigError: If the file does not fit the network.
    """
    original = keras.applications.MobileNetV2(
        input_shape=(WINDOW_PX, WINDOW_PX, 3), alpha=ALPHA, include_top=False, weights=None, pooling="avg"
    )
    try:
        original.load_weights(str(weights))
    except (ValueError, OSError) as error:
        raise ConfigError(f"{weights} does not hold the weights of MobileNetV2 alpha {ALPHA}: {error}") from error
    widened = []
    for ours, theirs in zip(backbone.get_weights(), original.get_weights(), strict=True):
        if ours.shape != theirs.shape:  # only the first convolution: (3, 3, 4, n) for (3, 3, 3, n)
            theirs = np.concatenate([theirs, np.zeros_like(theirs[:, :, :1])], axis=2)
        widened.append(theirs)
    backbone.set_weights(widened)


def load_network(path: Path) -> keras.Model:
    """Load a trained network; nothing in the file is run as code.

    Raises:
        ConfigError: If the file is no such network.
    """
    try:
        network = keras.saving.load_model(str(path), compile=False, safe_mode=True)
    except Exception as error:  # Keras raises what its readers do: ValueError, KeyError, OSError, TypeError …
        raise ConfigError(f"{path} cannot be loaded as a network: {type(error).__name__}: {error}") from error
    if network.input_shape != (None, WINDOW_PX, WINDOW_PX, 4) or network.output_shape != (None, 1):
        raise ConfigError(
            f"{path}: takes {network.input_shape} and gives {network.output_shape}, not windows and scores"
        )
    return network
