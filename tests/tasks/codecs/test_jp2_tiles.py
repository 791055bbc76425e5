"""JPEG 2000 in strips: one file of all strips, none of them worse than in a page encoded as a whole."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from foliopress.tasks.codecs.jp2_tiles import coded, joined


def code(pixels: np.ndarray, decibels: float, **place: tuple[int, int]) -> bytes:
    buffer = io.BytesIO()
    options = {"quality_mode": "dB", "quality_layers": [decibels], "irreversible": True, "num_resolutions": 4}
    Image.fromarray(pixels).save(buffer, "JPEG2000", mct=int(pixels.ndim == 3), **options, **place)
    return buffer.getvalue()


def decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def written(rows: range, height_px: int = 1536, width_px: int = 1024) -> np.ndarray:
    """Return a grey page with text on some of its rows."""
    page = Image.new("L", (width_px, height_px), 240)
    draw = ImageDraw.Draw(page)
    for top in range(rows.start, rows.stop - 20, 20):
        draw.text(
            (10, top), "The quick brown fox jumps over the lazy dog, and then " * 2, 20, ImageFont.load_default(14)
        )
    return np.asarray(page)


def error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.square(one.astype(float) - other).mean())


@settings(deadline=None, max_examples=30)
@given(st.integers(70, 300), st.integers(33, 200), st.integers(2, 4), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_page_of_strips_holds_what_each_strip_is_by_itself(
    height_px: int, width_px: int, n_strips: int, colour: bool, seed: int
) -> None:
    noise = (
        np.random.default_rng(seed).integers(0, 256, (height_px, width_px, *([3] if colour else []))).astype(np.uint8)
    )
    strip_px = -(-height_px // n_strips)
    strips = [
        code(noise[top : top + strip_px], 30.0, offset=(0, top), tile_offset=(0, top), tile_size=(width_px, strip_px))
        for top in range(0, height_px, strip_px)
    ]
    page = decoded(joined(strips))
    assert page.shape == noise.shape
    assert np.array_equal(page, np.concatenate([decoded(strip) for strip in strips]))


def test_a_strip_with_little_on_it_errs_less_than_a_full_one_as_in_a_page_coded_whole() -> None:
    page = written(range(400, 1536))  # the first of three strips has five lines
    whole, strips = code(page, 34.0), coded(page, 34.0, 3, code)
    theirs, ours = (
        [error(found[top : top + 512], page[top : top + 512]) for top in (0, 512, 1024)]
        for found in (decoded(whole), decoded(strips))
    )
    assert ours == pytest.approx(theirs, rel=0.3)
    assert ours[0] < 0.5 * ours[1]
    assert len(strips) < 1.05 * len(whole)


def test_bare_paper_above_what_is_written_keeps_its_shade() -> None:
    page = written(range(1000, 1536))
    found = decoded(coded(page, 34.0, 3, code))
    assert np.abs(found[:900].astype(int) - page[:900]).max() <= 1
