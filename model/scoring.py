"""Score tiles with the trained network; fixed batch shapes make a score independent of the other pages."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from foliopress.configs.errors import ConfigError
from foliopress.tasks.analysis.tiles import (
    CORE_PX,
    PATCH_PX,
    PATCH_TILES,
    TileGrid,
    count_patches,
    cut_patches,
    join_patches,
)

SHIPPED = Path(__file__).resolve().parent / "weights"
"""Folder of the trained model that ships with the program."""
LITERT_FILE = "model.tflite"
KERAS_FILE = "model.keras"
PATCHES_AT_ONCE = 8
"""Patches, of one or several pages, passed to a scorer together."""
GPU_BATCH = 8
CPU_BATCH = 1
"""Patches per call of the network: one patch's activations fill a core's cache. The last batch is padded."""

_LEAST_SCORE = 1e-7

ScorerName = Literal["litert-cpu", "tf-gpu"]


class Scorer(Protocol):
    """Maps patches to importance scores."""

    @property
    def name(self) -> ScorerName:
        """The engine; scores of different engines agree within 1e-3, not bit for bit."""

    @property
    def digest(self) -> str:
        """SHA-256 of the weights file."""

    def score(self, patches: np.ndarray) -> np.ndarray:
        """Return (n, 20, 20) float32 in [0, 1] for (n, 736, 736, 4) uint8 patches; n may be 0."""


def load_scorer(folder: str | None = None, kind: Literal["auto", "litert-cpu", "tf-gpu"] = "auto") -> Scorer:
    """Return this process's scorer, loaded on the first call.

    Args:
        folder: Folder with `model.tflite` and `model.keras`; by default the shipped one.
        kind: `auto` uses a GPU if TensorFlow finds one, else LiteRT on the CPU.

    Raises:
        ConfigError: If a file is missing or cannot be loaded, or `tf-gpu` is requested without a GPU.
    """
    chosen = Path(folder).resolve() if folder else SHIPPED
    if kind == "auto":
        kind = "tf-gpu" if _has_gpu() else "litert-cpu"
    return _load(chosen, kind)


def score_planes(scorer: Scorer, planes: Sequence[tuple[np.ndarray, TileGrid]]) -> list[np.ndarray]:
    """Score the tiles of several pages in shared batches; patches are cut batch by batch.

    Each patch is scored twice, upright and rotated by 180 degrees, and the two logits are averaged: random errors of
    the network seldom occur in both.

    Args:
        scorer: From `load_scorer`.
        planes: Each page's plane from `tasks.analysis.tiles.work_plane`, with its grid.

    Returns:
        For each page (n_tiles,) float32, row by row.
    """
    turned = [(np.ascontiguousarray(plane[::-1, ::-1]), grid) for plane, grid in planes]
    scores = _score_once(scorer, [*planes, *turned])
    return [_mean_logit(one, other[::-1]) for one, other in zip(scores, scores[len(planes) :], strict=False)]


def logit(scores: np.ndarray) -> np.ndarray:
    """Return the float64 logits of scores in [0, 1]; the logits of 0 and 1 stay finite."""
    inside = np.clip(scores.astype(np.float64), _LEAST_SCORE, 1 - _LEAST_SCORE)
    logits: np.ndarray = np.log(inside / (1 - inside))
    return logits


def _mean_logit(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(logit(one) + logit(other)) / 2)), np.float32)


def _score_once(scorer: Scorer, planes: Sequence[tuple[np.ndarray, TileGrid]]) -> list[np.ndarray]:
    found = [np.zeros((count_patches(grid), PATCH_TILES, PATCH_TILES), np.float32) for _, grid in planes]
    for places, patches in _batches(planes):
        scores = scorer.score(patches)
        start = 0
        for number, first, end in places:
            found[number][first:end] = scores[start : start + end - first]
            start += end - first
    return [join_patches(scores, grid) for scores, (_, grid) in zip(found, planes, strict=True)]


def _batches(
    planes: Sequence[tuple[np.ndarray, TileGrid]],
) -> Iterator[tuple[list[tuple[int, int, int]], np.ndarray]]:
    """Yield up to `PATCHES_AT_ONCE` patches with the (page, first patch, end patch) of each part."""
    places: list[tuple[int, int, int]] = []
    parts: list[np.ndarray] = []
    room = PATCHES_AT_ONCE
    for number, (plane, grid) in enumerate(planes):
        if plane.shape != (grid.n_rows * CORE_PX, grid.n_cols * CORE_PX, 4):
            raise ValueError(f"a plane of shape {plane.shape} does not hold {grid.n_rows} x {grid.n_cols} tiles")
        first, n_patches = 0, count_patches(grid)
        while first < n_patches:
            end = min(n_patches, first + room)
            places.append((number, first, end))
            parts.append(cut_patches(plane, first, end))
            room -= end - first
            first = end
            if room == 0:
                yield places, np.concatenate(parts)
                places, parts, room = [], [], PATCHES_AT_ONCE
    if parts:
        yield places, np.concatenate(parts)


@cache
def _load(folder: Path, kind: ScorerName) -> Scorer:
    return _LiteRtScorer(folder / LITERT_FILE) if kind == "litert-cpu" else _GpuScorer(folder / KERAS_FILE)


class _LiteRtScorer:
    """LiteRT on one CPU thread; the flow runs one process per core."""

    name: ScorerName = "litert-cpu"

    def __init__(self, path: Path) -> None:
        from ai_edge_litert.interpreter import Interpreter

        data = _read(path)
        self.digest = hashlib.sha256(data).hexdigest()
        try:
            self._interpreter: Any = Interpreter(model_content=data, num_threads=1)
            self._input = self._interpreter.get_input_details()[0]["index"]
            self._output = self._interpreter.get_output_details()[0]["index"]
            self._interpreter.resize_tensor_input(self._input, (CPU_BATCH, PATCH_PX, PATCH_PX, 4))
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ConfigError(f"{path} cannot be loaded by LiteRT: {error}") from error

    def score(self, patches: np.ndarray) -> np.ndarray:
        """Return (n, 20, 20) float32 in [0, 1] for (n, 736, 736, 4) uint8 patches."""

        def call(batch: np.ndarray) -> np.ndarray:
            self._interpreter.set_tensor(self._input, batch)
            self._interpreter.invoke()
            return np.asarray(self._interpreter.get_tensor(self._output))

        return in_batches(patches, CPU_BATCH, call)


class _GpuScorer:
    """A compiled TensorFlow function on the GPU."""

    name: ScorerName = "tf-gpu"

    def __init__(self, path: Path) -> None:
        data = _read(path)
        self.digest = hashlib.sha256(data).hexdigest()
        if not _has_gpu():
            raise ConfigError("scorer tf-gpu: TensorFlow finds no GPU on this worker")
        import tensorflow as tf

        # TF32's 10 bits of mantissa would move scores further from the CPU's than the 1e-3 that we promise
        tf.config.experimental.enable_tensor_float_32_execution(False)
        self._predict: Any = compiled_network(path, GPU_BATCH)

    def score(self, patches: np.ndarray) -> np.ndarray:
        """Return (n, 20, 20) float32 in [0, 1] for (n, 736, 736, 4) uint8 patches."""
        return in_batches(patches, GPU_BATCH, lambda batch: np.asarray(self._predict(batch)))


def compiled_network(path: Path, batch: int) -> Any:
    """Return a trained network as a `tf.function` of (batch, 736, 736, 4) uint8; the reference for the LiteRT file."""
    import tensorflow as tf

    from foliopress.model.network import load_network

    network = load_network(path)
    return tf.function(
        lambda patches: network(patches, training=False),
        input_signature=[tf.TensorSpec((batch, PATCH_PX, PATCH_PX, 4), tf.uint8)],
    )


def in_batches(patches: np.ndarray, size: int, call: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Return (n, 20, 20) float32: the results of `call` on (n, 736, 736, 4) uint8 patches, `size` at a time.

    The last batch is padded with zeros, so that every call has the same shape.

    Raises:
        ValueError: If the patches have another shape or dtype.
    """
    if patches.dtype != np.uint8 or patches.shape[1:] != (PATCH_PX, PATCH_PX, 4):
        raise ValueError(f"patches are {patches.dtype} {patches.shape}, not uint8 (n, {PATCH_PX}, {PATCH_PX}, 4)")
    scores = np.zeros((len(patches), PATCH_TILES, PATCH_TILES), np.float32)
    for first in range(0, len(patches), size):
        part = patches[first : first + size]
        batch = np.ascontiguousarray(part)
        if len(part) < size:
            batch = np.zeros((size, *patches.shape[1:]), np.uint8)
            batch[: len(part)] = part
        scores[first : first + len(part)] = call(batch).reshape(size, PATCH_TILES, PATCH_TILES)[: len(part)]
    return scores


def _has_gpu() -> bool:
    """Return whether TensorFlow finds a GPU; without such a device on the machine TensorFlow is not even imported."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "?") in ("", "-1"):
        return False
    has_device = Path("/dev/nvidia0").exists() or Path("/dev/kfd").exists() or Path("/dev/dxg").exists()
    if not has_device or importlib.util.find_spec("tensorflow") is None:
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"importance.model: {path} cannot be read: {error.strerror}") from error
