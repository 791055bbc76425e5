"""Define the scoring engines to compare, and their requirements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from benchmarks.exports import VARIANTS
from foliopress.model.scoring import (
    GPU_BATCH,
    KERAS_FILE,
    LITERT_FILE,
    Scorer,
    ScorerName,
    compiled_network,
    in_batches,
    load_scorer,
)

TF_CPU_BATCH = 4
"""Patches per call of TensorFlow on a CPU: three full calls for an A4 page; 1 was no faster, 16 slower."""

Backend = Literal["tensorflow", "torch", "jax"]


class Lacking(Exception):
    """An engine cannot run on this machine; the message names what is missing."""


@dataclass(frozen=True)
class Engine:
    """One scoring engine; `load` takes the model folder, in a process that uses no other engine.

    libraries: Modules that `load` needs, imported first to measure their cost. variant: The export that it uses, if not
    the shipped file.
    """

    name: str
    model_file: str
    libraries: tuple[str, ...]
    load: Callable[[Path], Scorer]
    backend: Backend = "tensorflow"
    on_gpu: bool = False
    variant: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables to set before the libraries are imported; a CPU engine sees no GPU."""
        hidden = {} if self.on_gpu else {"CUDA_VISIBLE_DEVICES": ""}
        return {"KERAS_BACKEND": self.backend, "TF_CPP_MIN_LOG_LEVEL": "2", **hidden}


class _CallScorer:
    """Scores by a function of whole batches, as `model.scoring.Scorer` does."""

    name: ClassVar[ScorerName] = "tf-gpu"
    digest = ""

    def __init__(self, batch: int, call: Callable[[np.ndarray], np.ndarray]) -> None:
        self._batch, self._call = batch, call

    def score(self, patches: np.ndarray) -> np.ndarray:
        """Return (n, 20, 20) float32 in [0, 1] for (n, 736, 736, 4) uint8 patches."""
        return in_batches(patches, self._batch, self._call)


def gpu_name(backend: Backend) -> str | None:
    """Return the name of the GPU that a library finds, or None."""
    if backend == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU")) if gpus else None
    if backend == "torch":
        import torch

        return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
    import jax

    return next((str(device.device_kind) for device in jax.devices() if device.platform == "gpu"), None)


def _load_litert(folder: Path) -> Scorer:
    return load_scorer(str(folder), "litert-cpu")


def _load_predict(folder: Path) -> Scorer:
    from foliopress.model.network import load_network

    network = load_network(folder / KERAS_FILE)
    return _CallScorer(TF_CPU_BATCH, lambda batch: np.asarray(network.predict(batch, TF_CPU_BATCH, verbose=0)))


def _load_function(folder: Path) -> Scorer:
    compiled = compiled_network(folder / KERAS_FILE, TF_CPU_BATCH)
    return _CallScorer(TF_CPU_BATCH, lambda batch: np.asarray(compiled(batch)))


def _load_function_gpu(folder: Path) -> Scorer:
    return load_scorer(str(folder), "tf-gpu")


def _load_torch(folder: Path) -> Scorer:
    import keras
    import torch

    from foliopress.model.network import load_network

    network = load_network(folder / KERAS_FILE)

    def call(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(keras.ops.convert_to_numpy(network(batch, training=False)))

    return _CallScorer(GPU_BATCH, call)


def _load_jax(folder: Path) -> Scorer:
    import jax

    from foliopress.model.network import load_network

    network = load_network(folder / KERAS_FILE)

    def stateless(trained: Any, held: Any, batch: Any) -> Any:
        scores, _ = network.stateless_call(trained, held, batch, training=False)
        return scores

    compiled = jax.jit(stateless)
    trained = [variable.value for variable in network.trainable_variables]
    held = [variable.value for variable in network.non_trainable_variables]
    return _CallScorer(GPU_BATCH, lambda batch: np.asarray(compiled(trained, held, batch)))


_LITERT = ("ai_edge_litert.interpreter",)
_TENSORFLOW = ("tensorflow", "keras")

SHIPPED_ENGINE = "litert"
ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine(SHIPPED_ENGINE, LITERT_FILE, _LITERT, _load_litert),
        Engine("tf-function", KERAS_FILE, _TENSORFLOW, _load_function),
        Engine("predict", KERAS_FILE, _TENSORFLOW, _load_predict),
        *(Engine(f"litert-{name}", LITERT_FILE, _LITERT, _load_litert, variant=name) for name in VARIANTS),
        Engine("tf-function-gpu", KERAS_FILE, _TENSORFLOW, _load_function_gpu, on_gpu=True),
        Engine("keras-torch-gpu", KERAS_FILE, ("torch", "keras"), _load_torch, "torch", on_gpu=True),
        Engine("keras-jax-gpu", KERAS_FILE, ("jax", "keras"), _load_jax, "jax", on_gpu=True),
    )
}
"""Engines in table order, described in the README."""
REFERENCES = ("tf-function", SHIPPED_ENGINE)
"""Engines whose scores are the reference: the first of these that was measured."""
