"""Choice of the coarsest chroma, and pages with reduced chroma."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.tasks.analysis.chroma import CHROMA_LEVELS, coarsest_chroma, with_coarse_chroma
from foliopress.tasks.codecs.luma import luma_of

BUDGET = 4.0


def chroma_of(pixels):
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(int)


def printed(ink, paper=(232, 226, 210), lines=8):
    """Return lines of print-like strokes on toned paper, with the soft edges of a scan."""
    page = np.full((480, 480, 3), paper, np.uint8)
    for row in range(lines):
        for col in range(20, 440, 12):
            cv2.line(page, (col, 60 + 40 * row), (col + 6, 72 + 40 * row), ink, 2)
    return cv2.GaussianBlur(page, (0, 0), 1.2)


@pytest.mark.parametrize("level", [1, 2, 4, 8])
def test_a_grey_page_is_returned_as_it_is(level):
    grey = np.random.default_rng(1).integers(0, 256, (50, 70), np.uint8)
    assert with_coarse_chroma(grey, level) is grey


def test_level_1_leaves_a_page_untouched():
    noise = np.random.default_rng(1).integers(0, 256, (50, 70, 3), np.uint8)
    assert with_coarse_chroma(noise, 1) is noise


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    level=st.sampled_from(CHROMA_LEVELS),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_luma_stays_but_for_rounding(height, width, level, seed):
    # colours well within RGB: none is cut off when their chroma changes
    pixels = np.random.default_rng(seed).integers(70, 186, (height, width, 3), np.uint8)
    before = pixels.copy()
    coarse = with_coarse_chroma(pixels, level)
    assert (coarse.shape, coarse.dtype) == (pixels.shape, np.uint8)
    assert np.array_equal(pixels, before)
    assert np.abs(luma_of(coarse).astype(int) - luma_of(pixels)).max() <= 2


@pytest.mark.parametrize("level", CHROMA_LEVELS)
def test_a_square_of_chroma_is_its_mean_where_its_neighbours_are_alike(level):
    rng = np.random.default_rng(2)
    square = rng.integers(100, 156, (level, level, 3), np.uint8)
    page = np.tile(square, (64 // level, 64 // level, 1))
    coarse = with_coarse_chroma(page, level)
    assert np.abs(chroma_of(coarse) - chroma_of(square).reshape(-1, 2).mean(axis=0)).max() <= 3


def test_black_print_on_toned_paper_needs_little_chroma():
    assert coarsest_chroma(printed((70, 66, 54)), BUDGET) == 8


@pytest.mark.parametrize("ink", [(190, 30, 40), (40, 40, 170)])
def test_thin_coloured_lines_keep_the_codecs_chroma(ink):
    page = printed((70, 66, 54), lines=6)
    assert coarsest_chroma(page, BUDGET) == 8
    cv2.line(page, (20, 400), (460, 404), ink, 2)
    cv2.line(page, (20, 430), (460, 440), ink, 2)
    assert coarsest_chroma(page, BUDGET) == 1


@pytest.mark.parametrize("side_px", [480, 1600])
def test_a_lone_mark_in_colour_keeps_it_however_large_the_page(side_px):
    page = np.full((side_px, side_px, 3), (232, 226, 210), np.uint8)
    assert coarsest_chroma(page, BUDGET) == 8
    cv2.line(page, (200, 200), (206, 212), (190, 30, 40), 2)  # a red tick in two blocks of 40,000
    assert coarsest_chroma(page, BUDGET) < 8
    marked = with_coarse_chroma(page, coarsest_chroma(page, BUDGET))
    assert np.abs(chroma_of(marked) - chroma_of(page))[196:216, 196:212].mean() < 3


def test_softer_colours_may_come_at_a_quarter_where_an_eighth_is_too_coarse():
    rows, cols = np.mgrid[:256, :256]
    waves = (24 * np.sin(rows / 4.0) * np.sin(cols / 4.0)).astype(int)
    page = np.stack([150 + waves, 150 - waves // 2, 150 - waves // 2], axis=2).astype(np.uint8)
    assert coarsest_chroma(page, BUDGET) == 4


@given(budgets=st.lists(st.floats(0, 64), min_size=2, max_size=2).map(sorted), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_larger_budget_never_gives_finer_chroma(budgets, seed):
    rng = np.random.default_rng(seed)
    spots = rng.integers(0, 256, (12, 12, 3), np.uint8)
    page = cv2.resize(spots, (150, 130), interpolation=cv2.INTER_CUBIC)
    less, more = (coarsest_chroma(page, budget) for budget in budgets)
    assert less <= more
    assert {less, more} <= {1, *CHROMA_LEVELS}


@given(level=st.integers(1, 255), budget=st.floats(0.5, 64), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_hardly_a_block_loses_more_colour_than_the_budget(level, budget, seed):
    rng = np.random.default_rng(seed)
    spots = rng.integers(0, 256, (12, 12, 3), np.uint8) // (1 + level // 16)
    page = cv2.resize(spots, (160, 120), interpolation=cv2.INTER_LINEAR)
    coarse = with_coarse_chroma(page, coarsest_chroma(page, budget))
    if coarse is page:
        return
    lost = (chroma_of(coarse) - chroma_of(page)) ** 2
    blocks = lost.reshape(15, 8, 20, 8, 2).mean(axis=(1, 3)).max(axis=2)
    # RGB holds no colour beside the darkest and lightest, and rounds: a level more
    within_rgb = (page.min(axis=2) > 60).reshape(15, 8, 20, 8).all(axis=(1, 3))
    within_rgb &= (page.max(axis=2) < 195).reshape(15, 8, 20, 8).all(axis=(1, 3))
    assert (blocks[within_rgb] <= (budget + 1) ** 2).all()


def test_with_a_budget_of_0_chroma_is_left_to_the_codec():
    noise = np.random.default_rng(3).integers(0, 256, (120, 120, 3), np.uint8)
    flat = np.full((120, 120, 3), (230, 220, 200), np.uint8)
    mark = np.full((800, 800, 3), (230, 220, 200), np.uint8)
    mark[400:408, 400:408] = (200, 30, 30)  # fewer blocks than one in a thousand
    assert [coarsest_chroma(page, 0.0) for page in (noise, flat, mark)] == [1, 1, 1]


def test_a_page_smaller_than_a_block_has_chroma_too():
    assert coarsest_chroma(np.full((1, 3, 3), (200, 100, 90), np.uint8), BUDGET) == 8
