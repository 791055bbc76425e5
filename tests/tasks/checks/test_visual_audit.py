"""Visual audit: outputs are compared with the sources they were made from, and no others."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.checks import visual_audit
from foliopress.tasks.checks.visual_audit import Row, look_again
from foliopress.tasks.errors import HostError
from foliopress.tasks.storage.store import Store
from tests.papers import Sheet, flate, paper

PAGE = np.tile(np.arange(0, 240, 2, np.uint8), (160, 1))


def as_image(pixels: np.ndarray, kind: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, save_all=kind == "TIFF")
    return file.getvalue()


SOURCES = {
    "a.png": as_image(PAGE, "PNG"),
    "a.tif": as_image(PAGE, "TIFF"),
    "a.pdf": paper(Sheet(flate(PAGE))),
}


@pytest.fixture
def places(tmp_path: Path) -> tuple[Store, Store]:
    return Store(str(tmp_path / "scans"), StorageSettings()), Store(str(tmp_path / "out"), StorageSettings())


def row(key: str, source: bytes, output_key: str, duplicate_of: str | None = None) -> Row:
    height_px = PAGE.shape[0]
    return {
        "document_key": key,
        "page_index": 0,
        "status": "compressed",
        "output_key": output_key,
        "source_sha256": hashlib.sha256(source).hexdigest(),
        "duplicate_of": duplicate_of,
        "dpi": 100.0,
        "height_px": height_px,
        "output_height_px": height_px,
    }


@pytest.mark.parametrize("key", SOURCES)
@pytest.mark.parametrize("duplicate_of", [None, "first"])
def test_a_source_that_is_another_one_by_now_is_said_to_be_that(key, duplicate_of, places):
    source, dest = places
    output_key = f"pages/{duplicate_of or key}.{key.rpartition('.')[2]}"
    dest.write_bytes(output_key, SOURCES[key])
    source.write_bytes(key, SOURCES[key])
    rows = [row(key, SOURCES[key], output_key, duplicate_of)]
    assert look_again(source, dest, rows) == (1, [])
    source.write_bytes(key, SOURCES[key] + b"\n")
    n_pages, damages = look_again(source, dest, rows)
    assert (n_pages, [(one.kind, one.key) for one in damages]) == (0, [("source_changed", key)])


def test_what_this_machine_lacks_is_no_damage_and_what_a_decoder_cannot_do_is(places, monkeypatch):
    source, dest = places
    for store, key in ((source, "a.png"), (dest, "pages/a.png")):
        store.write_bytes(key, SOURCES["a.png"])
    rows = [row("a.png", SOURCES["a.png"], "pages/a.png")]

    def raises(error: Exception) -> None:
        def compare(*_: object) -> None:
            raise error

        monkeypatch.setattr(visual_audit, "compare_images", compare)

    raises(ImportError("No module named 'imagecodecs'"))
    with pytest.raises(HostError, match="lacks a package"):
        look_again(source, dest, rows)
    raises(RuntimeError("no such marker"))
    ((damage,)) = look_again(source, dest, rows)[1]
    assert (damage.kind, "no such marker" in damage.message) == ("seen_otherwise", True)
