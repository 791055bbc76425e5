"""Export the network to LiteRT files with smaller number types than the shipped float32."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from foliopress.model.scoring import KERAS_FILE, LITERT_FILE

VARIANTS = ("float16", "dynamic-int8", "full-int8")
"""16-bit weights; 8-bit weights; 8-bit weights and activations."""


def write_variants(model: Path, patches: np.ndarray, out: Path) -> None:
    """Write a `model.tflite` for each of `VARIANTS`, in a folder of that name.

    Args:
        model: Folder with `model.keras`.
        patches: (n, 736, 736, 4) uint8, used to calibrate the activation ranges of `full-int8`.
        out: Folder; created if absent.
    """
    from foliopress.model.export import convert_to_litert
    from foliopress.model.network import load_network

    network = load_network(model / KERAS_FILE)
    for name, options in converter_options(patches).items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / LITERT_FILE).write_bytes(convert_to_litert(network, **options))


def converter_options(patches: np.ndarray) -> dict[str, dict[str, object]]:
    """Return the attributes of `tf.lite.TFLiteConverter` for each of `VARIANTS`.

    Source: TensorFlow's guide "Post-training quantization". Input (uint8) and output (float32) do not change, so that
    each file can replace the shipped one.
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
