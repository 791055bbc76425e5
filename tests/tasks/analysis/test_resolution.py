"""Plan and rescale: levels within a budget of error, blended without touching what must stay."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.settings import ImportanceSettings, ResolutionSettings
from foliopress.tasks.analysis import resolution
from foliopress.tasks.analysis.resolution import (
    LEVELS,
    CoarseErrors,
    choose_levels,
    count_levels,
    has_strokes,
    important_tiles,
    reduced,
    restored,
)
from foliopress.tasks.analysis.strokes import find_ink
from foliopress.tasks.analysis.tiles import TileGrid, tile_grid
from foliopress.tasks.codecs.luma import luma_of

DPI = 150.0


def plan(luma, importance, *, keep=None, threshold=0.5, sure=0.0, **options):
    grid = tile_grid(*luma.shape, DPI)
    kept = np.zeros(importance.shape, bool) if keep is None else keep
    what_counts = ImportanceSettings(threshold=threshold, sure=sure)
    ink = find_ink(luma, DPI)
    errors = CoarseErrors(luma, grid, DPI)
    return choose_levels(errors, ink, importance, kept, what_counts, ResolutionSettings(**options))


def rescale(pixels, levels, grid, options, sure=None):
    return resolution.rescale(
        pixels, resolution.TilePlan(levels, grid, DPI, find_ink(luma_of(pixels), DPI), sure), options
    )


def test_blank_paper_reaches_an_eighth_and_important_tiles_stay_whole():
    luma = np.full((64, 96), 240, np.uint8)
    importance = np.array([[0.0, 0.9, 0.0], [0.0, 0.0, 0.5]], np.float32)
    assert plan(luma, importance).tolist() == [[8, 1, 8], [8, 8, 1]]


def test_a_tile_with_words_stays_whole_whatever_the_network_says():
    luma = np.full((64, 64), 240, np.uint8)
    keep = np.array([[False, True], [False, False]])
    assert plan(luma, np.zeros((2, 2), np.float32), keep=keep).tolist() == [[8, 1], [8, 8]]


def test_a_tile_just_above_the_threshold_is_important_only_beside_a_sure_one():
    importance = np.array(
        [
            [0.2, 0.0, 0.0, 0.2, 0.2],
            [0.0, 0.9, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.2, 0.0, 0.0],
            [0.2, 0.0, 0.0, 0.2, 0.05],
        ],
        np.float32,
    )
    found = important_tiles(importance, ImportanceSettings(threshold=0.1, sure=0.5))
    assert np.argwhere(found).tolist() == [[0, 0], [1, 1], [2, 2]]
    every = important_tiles(importance, ImportanceSettings(threshold=0.1, sure=0.0))
    assert np.array_equal(every, importance >= 0.1)


def test_a_tile_in_doubt_keeps_half_its_resolution_though_it_looks_blank():
    luma = np.full((32, 160), 240, np.uint8)
    importance = np.array([[0.1, 0.3, 0.2, 0.3, 0.9]], np.float32)
    assert plan(luma, importance, threshold=0.25, sure=0.8).tolist() == [[4, 2, 4, 1, 1]]
    assert plan(luma, importance, threshold=0.25, sure=0.8, harshest_level=1).tolist() == [[1, 1, 1, 1, 1]]


def test_from_paper_at_a_half_to_paper_at_an_eighth_it_goes_by_a_quarter_on_every_side():
    luma = np.full((160, 192), 240, np.uint8)
    importance = np.zeros((5, 6), np.float32)
    importance[2, 2] = 0.3
    importance[0, 5] = 0.9  # what is whole has a margin of its own
    levels = plan(luma, importance, threshold=0.25, sure=0.8)
    wanted = np.full((5, 6), 8)
    wanted[1:4, 1:4], wanted[2, 2], wanted[0, 5] = 4, 2, 1
    assert np.array_equal(levels, wanted)


def test_a_thin_drawn_line_keeps_more_resolution_than_paper():
    luma = np.full((64, 64), 240, np.uint8)
    luma[16:18, :32] = 40
    levels = plan(luma, np.zeros((2, 2), np.float32))
    assert levels[0, 0] <= 2
    assert levels[1, 1] == 8


def test_the_budget_shrinks_as_importance_nears_the_threshold():
    rng = np.random.default_rng(3)
    luma = np.clip(rng.normal(200, 8, (64, 64)), 0, 255).astype(np.uint8)  # grain, no stroke stands out of it
    least, most = (plan(luma, np.full((2, 2), score, np.float32), error_budget=5) for score in (0.0, 0.49))
    assert (most <= least).all()
    assert (most < least).any()


def test_strokes_that_stand_out_keep_half_their_resolution_whatever_the_budget():
    luma = np.full((32, 64), 200, np.uint8)
    luma[8:12, 4:28] = 120
    assert plan(luma, np.zeros((1, 2), np.float32), error_budget=64).tolist() == [[2, 4]]


@given(harshest=st.sampled_from(LEVELS), budget=st.floats(0, 64), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_a_larger_budget_never_gives_a_finer_level_and_none_is_harsher_than_allowed(harshest, budget, seed):
    rng = np.random.default_rng(seed)
    luma = rng.integers(0, 256, (50, 70), np.uint8)
    importance = rng.random((2, 3)).astype(np.float32)
    levels = plan(luma, importance, error_budget=budget, harshest_level=harshest)
    wider = plan(luma, importance, error_budget=64, harshest_level=harshest)
    assert levels.max() <= harshest
    assert (levels <= wider).all()
    assert (levels[importance >= 0.5] == 1).all()


@given(
    height=st.integers(1, 130),
    width=st.integers(1, 130),
    colour=st.booleans(),
    seed=st.integers(0, 999),
    margin=st.floats(0, 0.1),
)
@settings(max_examples=60, deadline=None)
def test_rescaling_keeps_the_shape_and_leaves_whole_tiles_and_their_margin_untouched(
    height, width, colour, seed, margin
):
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, 3) if colour else (height, width), np.uint8)
    before = pixels.copy()
    grid = tile_grid(height, width, DPI)
    levels = rng.choice(np.array(LEVELS, np.int8), (grid.n_rows, grid.n_cols))
    mixed = rescale(pixels, levels, grid, ResolutionSettings(margin_inch=margin, paper_level=1))
    assert mixed.shape == pixels.shape
    assert mixed.dtype == np.uint8
    assert np.array_equal(pixels, before)
    px = int(margin * DPI)
    for row, col in np.argwhere(levels == 1):
        rows = slice(max(0, row * grid.tile_px - px), (row + 1) * grid.tile_px + px)
        cols = slice(col * grid.tile_px, (col + 1) * grid.tile_px)
        assert np.array_equal(mixed[rows, cols], pixels[rows, cols])


@given(
    strokes=st.lists(st.tuples(*[st.integers(0, 219)] * 4, st.integers(1, 4)), max_size=8),
    contrast=st.integers(30, 180),
    inverted=st.booleans(),
    colour=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=60, deadline=None)
def test_strokes_of_level_1_tiles_and_their_margin_are_the_sources_own_pixels(
    strokes, contrast, inverted, colour, seed
):
    rng = np.random.default_rng(seed)
    ink = np.zeros((220, 220), np.uint8)
    for row, col, to_row, to_col, width in strokes:
        cv2.line(ink, (col, row), (to_col, to_row), 1, width)
    pixels = 220 - rng.integers(0, 6, ink.shape) - contrast * ink
    if colour:
        pixels = np.stack([pixels, pixels - 5, pixels - 25 + 10 * ink], axis=2)
    pixels = (255 - pixels if inverted else pixels).astype(np.uint8)
    grid = tile_grid(220, 220, DPI)
    levels = rng.choice(np.array(LEVELS, np.int8), (grid.n_rows, grid.n_cols))
    options = ResolutionSettings()
    mixed = rescale(pixels, levels, grid, options)
    whole = np.kron(levels == 1, np.ones((grid.tile_px, grid.tile_px), bool))[:220, :220]
    found = find_ink(luma_of(pixels), DPI).plain & whole  # what the check calls ink
    near = cv2.distanceTransform(1 - found.astype(np.uint8), cv2.DIST_L2, 3) <= options.margin_inch * DPI
    near &= found.any()
    assert np.array_equal(mixed[near], pixels[near])


def test_paper_between_strokes_is_smoothed_and_an_important_tile_without_strokes_stays_whole():
    rng = np.random.default_rng(9)
    pixels = (220 - rng.integers(0, 9, (64, 64))).astype(np.uint8)
    pixels[10:13, 4:28] = 40  # one rule, in the first tile
    levels = np.array([[1, 1], [8, 8]], np.int8)
    mixed = rescale(pixels, levels, TileGrid(64, 64, 32), ResolutionSettings())
    assert np.array_equal(mixed[10:13, 4:28], pixels[10:13, 4:28])
    assert mixed[24:30, 4:20].std() < pixels[24:30, 4:20].std() / 2
    assert np.array_equal(mixed[:32, 40:], pixels[:32, 40:])


@pytest.mark.parametrize("value", [0, 7, 128, 255])
def test_a_flat_page_stays_flat_at_every_level(value):
    pixels = np.full((100, 100, 3), value, np.uint8)
    grid = TileGrid(100, 100, 32)
    levels = np.array(LEVELS * 4, np.int8).reshape(4, 4)
    assert (rescale(pixels, levels, grid, ResolutionSettings()) == value).all()


def test_a_coarse_tile_fades_into_its_fine_neighbour_without_a_step():
    ramp = np.tile(np.linspace(60, 200, 256), (64, 1))
    pixels = np.clip(ramp, 0, 255).astype(np.uint8)
    levels = np.array([[1, 1, 1, 1, 8, 8, 8, 8]] * 2, np.int8)
    mixed = rescale(pixels, levels, TileGrid(64, 256, 32), ResolutionSettings()).astype(int)
    assert np.abs(np.diff(mixed, axis=1)).max() <= 3


def test_reduced_averages_squares_and_restored_gives_the_size_back():
    pixels = np.array([[0, 4, 8], [8, 12, 8]], np.uint8)
    assert reduced(pixels, 2).tolist() == [[6, 8]]
    assert restored(reduced(pixels, 2), 2, 2, 3).shape == (2, 3)


def test_levels_are_counted_each():
    assert count_levels(np.array([[1, 1, 8], [2, 8, 8]])) == (2, 1, 0, 3)


def test_a_whole_tile_without_a_stroke_keeps_its_grain_only_where_it_is_surely_important():
    rng = np.random.default_rng(4)
    pixels = np.clip(rng.normal(200, 3, (64, 192)), 0, 255).astype(np.uint8)
    levels = np.array([[1, 8, 8, 8, 8, 1], [8, 8, 8, 8, 8, 8]], np.int8)
    sure = np.zeros(levels.shape, bool)
    sure[0, 0] = True
    mixed = rescale(pixels, levels, TileGrid(64, 192, 32), ResolutionSettings(margin_inch=0), sure)
    assert np.array_equal(mixed[:32, :32], pixels[:32, :32])
    assert 0.2 < mixed[4:28, 164:].std() / pixels[4:28, 164:].std() < 0.8
    every = rescale(pixels, levels, TileGrid(64, 192, 32), ResolutionSettings(margin_inch=0))
    assert np.array_equal(every[:32, 160:], pixels[:32, 160:])


def test_tiles_with_a_faint_stroke_have_strokes_and_bare_paper_has_none():
    plane = np.full((64, 96, 4), 220, np.uint8)
    plane[40:42, 70:90, :3] = 205
    assert has_strokes(plane).tolist() == [[False, False, False], [False, False, True]]
