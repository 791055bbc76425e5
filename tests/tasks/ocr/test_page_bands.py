"""Bands: a long page is cut between its lines, and areas without ink are left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.tasks.ocr.page_bands import LONGEST_PX, _spans, cut_bands


def ruled(height_px, width_px, tops, thick_px=20, grain=0.0):
    """Return paper with a block of ink, broken like letters, at each given row."""
    page = np.full((height_px, width_px), 240.0)
    for top in tops:
        page[top : top + thick_px, 40:-40:3] = 20
    page += np.random.default_rng(5).normal(0, grain, page.shape) if grain else 0
    return np.clip(page, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shape", [(2339, 1654), (4800, 3600), (2500, 600), (1, 1), (600, 2500)])
def test_an_ordinary_page_is_one_band_and_the_very_picture(shape):
    page = np.full(shape, 240, np.uint8)
    [band] = cut_bands(page, 200)
    assert (band.row_px, band.col_px) == (0, 0)
    assert band.picture is page


@pytest.mark.parametrize("is_tall", [True, False])
@pytest.mark.parametrize("grain", [0.0, 4.0])
def test_a_long_page_is_cut_between_its_lines(is_tall, grain):
    tops = range(30, 11_900, 52)
    page = ruled(12_000, 600, tops, grain=grain)
    bands = cut_bands(page if is_tall else np.ascontiguousarray(page.T), 200)
    assert len(bands) >= 5
    spans = []
    for band in bands:
        start = band.row_px if is_tall else band.col_px
        spans.append((start, start + band.picture.shape[0 if is_tall else 1]))
    for top in tops:
        assert any(start <= top and top + 20 <= end for start, end in spans), f"the line at {top} is cut"
    assert all(end - start <= 2500 for start, end in spans)
    assert spans == sorted(spans)
    for band in bands:
        rows, cols = (
            slice(at, at + side) for at, side in zip((band.row_px, band.col_px), band.picture.shape, strict=True)
        )
        whole = page if is_tall else page.T
        assert np.array_equal(band.picture, whole[rows, cols])


@pytest.mark.parametrize("grain", [0.0, 5.0])
def test_what_has_no_ink_is_in_no_band(grain):
    assert cut_bands(ruled(9000, 600, [], grain=grain), 200) == []
    first, last = cut_bands(ruled(30_000, 600, [100, 160, 29_000], grain=grain), 200)
    assert (first.row_px + first.picture.shape[0] < 300, last.row_px > 28_900) == (True, True)
    assert last.picture.shape[0] < 120


def test_faint_ink_is_ink():
    page = np.full((9000, 600), 240, np.uint8)
    page[5000:5020, 100:130:3] = 218  # a word of a tired ribbon
    [band] = cut_bands(page, 200)
    assert band.row_px <= 5000
    assert band.row_px + band.picture.shape[0] >= 5020


def test_no_band_is_longer_than_what_tesseract_is_given_even_where_ink_is_everywhere():
    page = np.tile(np.array([[20, 240, 240]], np.uint8), (40_000, 700))
    bands = cut_bands(page, 200)
    assert max(band.picture.shape[0] for band in bands) <= LONGEST_PX
    assert bands[0].row_px == 0
    assert bands[-1].row_px + bands[-1].picture.shape[0] == 40_000


@given(
    runs=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), min_size=1, max_size=30),
    longest=st.integers(40, 700),
)
def test_stretches_hold_all_ink_once_and_in_order(runs, longest):
    amount = np.repeat([count for count, _ in runs], [length for _, length in runs])
    spans = list(_spans(amount, longest))
    covered = np.zeros(len(amount), int)
    for start, end in spans:
        assert start < end <= start + longest
        assert amount[start] > 0
        assert amount[end - 1] > 0
        covered[start:end] += 1
    assert covered.max(initial=0) <= 1
    assert (covered[amount > 0] == 1).all()
    assert spans == sorted(spans)
