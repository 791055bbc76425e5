"""Exports: the network as LiteRT files of smaller numbers than the shipped float32."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from foliopress.model.scoring import KERAS_FILE, LITERT_FILE

VARIANTS = ("float16", "dynamic-int8", "full-int8")
"""Weights of 16 bits; weights of 8 bits; weights and activations of 8 bits."""


def write_variants(model: Path, patches: np.ndarray, out: Path) -> None:
    """Write a `model.tflite` for each of `VARIANTS`, in a folder of its name.

    Args:
        model: Folder that holds `model.keras`.
        patches: (n, 736, 736, 4) uint8, from which `full-int8` takes the ranges of the activations.
        out: Folder, created if absent.
    """
    from foliopress.model.export import as_litert
    from foliopress.model.network import load_network

    network = load_network(model / KERAS_FILE)
    for name, options in converter_options(patches).items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LITERT_FILE).write_bytes(as_litert(network, **options))


def converter_options(patches: np.ndarray) -> dict[str, dict[str, object]]:
    """Return, for each of `VARIANTS`, attributes of `tf.lite.TFLiteConverter`.

    Source: TensorFlow's guide "Post-training quantization". Input (uint8) and output (float32) stay as they are, so
    that each file can stand in the shipped one's place.
    """
    import tensorflow as tf

    smaller = [tf.lite.Optimize.DEFAULT]
    return {
        "float16": {"optimizations": smaller, "target_spec": tf.lite.TargetSpec(supported_types=[tf.float16])},
        "dynamic-int8": {"optimizations": smaller},
        "full-int8": {
            "optimizations": smaller,
            "representative_dataset": _one_by_one(patches),
            "target_spec": tf.lite.TargetSpec(supported_ops=[tf.lite.OpsSet.TFLITE_BUILTINS_INT8]),
        },
    }


def _one_by_one(patches: np.ndarray) -> Callable[[], Iterator[list[np.ndarray]]]:
    return lambda: ([patch[np.newaxis]] for patch in patches)


if __name__ == "__main__":
    write_variants(Path(sys.argv[1]), np.load(sys.argv[2]), Path(sys.argv[3]))
