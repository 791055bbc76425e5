"""Export a trained network to the two files used for scoring."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import keras

from foliopress.model.scoring import KERAS_FILE, LITERT_FILE


def export_network(network: keras.Model, out: Path) -> None:
    """Write `model.keras` without the optimiser's state, and `model.tflite` (float32, any size and number of patches).

    Args:
        network: From `model.training.fit_network`.
        out: Folder; created if absent.
    """
    out.mkdir(parents=True, exist_ok=True)
    bare = keras.Model.from_config(network.get_config())  # `clone_model` would compile it: three times as large
    bare.set_weights(network.get_weights())
    bare.save(out / KERAS_FILE)
    (out / LITERT_FILE).write_bytes(convert_to_litert(bare))


def convert_to_litert(network: keras.Model, **options: object) -> bytes:
    """Convert a network to LiteRT.

    Args:
        network: Any network.
        options: Attributes of `tf.lite.TFLiteConverter`, for number types smaller than float32.
    """
    import tensorflow as tf

    folder = Path(tempfile.mkdtemp(prefix="foliopress-export-"))
    try:
        network.export(str(folder / "saved"), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        for name, value in options.items():
            setattr(converter, name, value)
        return bytes(converter.convert())
    finally:
        shutil.rmtree(folder)
