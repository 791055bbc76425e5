"""Test the network's shape, its widened weights, and that damaged files are refused."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.model.network import ALPHA, BACKBONE, build_network, load_network, load_three_channels, weights_file
from foliopress.tasks.analysis.tiles import CORE_PX, PATCH_MARGIN_PX
from tests.promises import NO_CODE


def patches(count: int, tiles: int = 2, seed: int = 0) -> np.ndarray:
    side = tiles * CORE_PX + 2 * PATCH_MARGIN_PX
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 4), np.uint8)


def three_channels() -> keras.Model:
    return keras.applications.MobileNetV2((None, None, 3), alpha=ALPHA, include_top=False, weights=None)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, Path]:
    """Return a three-channel backbone with weights unlike fresh ones, and their file."""
    keras.utils.set_random_seed(7)
    backbone = three_channels()
    rng = np.random.default_rng(7)
    backbone.set_weights([array + rng.uniform(0, 0.05, array.shape) for array in backbone.get_weights()])
    path = tmp_path_factory.mktemp("start") / "start.weights.h5"
    backbone.save_weights(path)
    return backbone, path


def test_the_widened_backbone_equals_the_three_channel_one_whatever_the_mask(start: tuple[keras.Model, Path]) -> None:
    original, path = start
    widened = build_network(path).get_layer(BACKBONE)
    scaled = patches(3).astype(np.float32) / 127.5 - 1
    expected = np.asarray(original(scaled[..., :3], training=False))
    assert np.allclose(np.asarray(widened(scaled, training=False)[0]), expected, atol=1e-5)
    scaled[..., 3] = 0
    assert np.allclose(np.asarray(widened(scaled, training=False)[0]), expected, atol=1e-5)


def test_the_network_scales_bytes_itself_and_answers_one_number_a_tile(start: tuple[keras.Model, Path]) -> None:
    network = build_network(start[1])
    for tiles in (1, 4):
        scores = np.asarray(network(patches(2, tiles), training=False))
        assert scores.shape == (2, tiles, tiles, 1)
        assert ((scores >= 0) & (scores <= 1)).all()
    assert network.inputs[0].dtype == "uint8"


def test_a_tiles_answer_looks_at_the_tile_from_its_middle() -> None:
    # a dark bar moves past the tile: the response of each branch, over all positions, is centred on the tile
    keras.utils.set_random_seed(5)
    network = build_network()
    for stride in (16, 8, 4):
        branch = keras.Model(network.input, network.get_layer(f"tile_{stride}").output)
        side = 4 * CORE_PX + 2 * PATCH_MARGIN_PX
        blank = np.full((1, side, side, 4), 128, np.uint8)
        start = PATCH_MARGIN_PX + CORE_PX  # of tile (1, 1)
        offsets = range(-CORE_PX, 2 * CORE_PX, 2)
        marked = np.repeat(blank, len(offsets), axis=0)
        for patch, offset in zip(marked, offsets, strict=True):
            patch[start + offset : start + offset + 2, start : start + CORE_PX] = 0
        features = np.asarray(branch(np.concatenate([blank, marked]), training=False))[:, 1, 1]
        weights = np.abs(features[1:] - features[0]).sum(axis=-1)
        middle = (np.arange(-CORE_PX, 2 * CORE_PX, 2) + 0.5) @ weights / weights.sum()
        assert middle == pytest.approx((CORE_PX - 1) / 2, abs=4)


def test_batch_norm_does_not_move_while_the_rest_is_trained(start: tuple[keras.Model, Path]) -> None:
    network = build_network(start[1])
    norms = [layer for layer in network.get_layer(BACKBONE).layers if "BN" in layer.name or "bn" in layer.name]
    before = [np.asarray(layer.moving_mean) for layer in norms]
    kernel = np.asarray(network.get_layer(BACKBONE).get_layer("Conv1").kernel)
    network.compile("sgd", "binary_crossentropy")
    network.fit(patches(4, 1), np.array([0, 1, 0, 1], np.float32).reshape(4, 1, 1, 1), verbose=0)
    assert len(norms) == 52
    assert all(np.array_equal(old, np.asarray(layer.moving_mean)) for old, layer in zip(before, norms, strict=True))
    assert not np.array_equal(kernel, np.asarray(network.get_layer(BACKBONE).get_layer("Conv1").kernel))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ConfigError, match="MobileNetV2"):
        load_three_channels(three_channels(), tmp_path / "other.weights.h5")


@pytest.mark.promise(NO_CODE, "a Keras file with a Lambda layer")
def test_a_model_that_is_damaged_of_another_shape_or_carries_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "broken.keras").write_bytes(b"not a zip")
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    inputs = keras.Input((96, 96, 4))
    summed = keras.layers.Lambda(lambda x: x[:, 0, 0, :1])(inputs)
    keras.Model(inputs, summed).save(tmp_path / "code.keras")
    for name in ("broken", "other", "code"):
        with pytest.raises(ConfigError, match=name):
            load_network(tmp_path / f"{name}.keras")


def test_missing_backbone_weights_are_a_settings_error_that_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--weights or FOLIOPRESS_WEIGHTS"):
        weights_file(tmp_path)
