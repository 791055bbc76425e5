"""Tiles: a grid on paper, and the windows that the network looks at."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.tiles import CORE_PX, WINDOW_PX, TileGrid, cut_windows, masked_fraction, tile_grid, work_plane

sides = st.integers(1, 300)
dpis = st.floats(20, 1200)


@given(height=sides, width=sides, dpi=dpis)
def test_every_pixel_lies_in_exactly_one_tile(height, width, dpi):
    grid = tile_grid(height, width, dpi)
    assert (grid.n_rows - 1) * grid.tile_px < height <= grid.n_rows * grid.tile_px
    assert (grid.n_cols - 1) * grid.tile_px < width <= grid.n_cols * grid.tile_px
    assert grid.n_tiles == grid.n_rows * grid.n_cols


@pytest.mark.parametrize(("dpi", "tile_px"), [(150, 32), (300, 64), (600, 128), (75, 16), (20, 8)])
def test_a_tile_is_a_length_on_paper_and_never_below_8_pixels(dpi, tile_px):
    assert tile_grid(1000, 1000, dpi).tile_px == tile_px


@pytest.mark.parametrize(("height", "width", "dpi"), [(0, 5, 300), (5, 0, 300), (5, 5, 0), (5, 5, float("nan"))])
def test_a_page_without_size_or_resolution_is_refused(height, width, dpi):
    with pytest.raises(ValueError, match="no tiles"):
        tile_grid(height, width, dpi)


@given(height=sides, width=sides, dpi=dpis, colour=st.booleans())
def test_the_work_plane_has_32_pixels_for_every_tile(height, width, dpi, colour):
    grid = tile_grid(height, width, dpi)
    pixels = np.full((height, width, 3) if colour else (height, width), 77, np.uint8)
    plane = work_plane(pixels, np.ones((height, width), bool), grid)
    assert plane.shape == (grid.n_rows * CORE_PX, grid.n_cols * CORE_PX, 4)
    assert (plane[..., :3] == 77).all()
    assert set(np.unique(plane[..., 3])) <= {0, 255}


def test_at_150_dpi_a_tiles_window_has_the_tile_in_its_middle_and_its_neighbours_round_it():
    rng = np.random.default_rng(1)
    page = rng.integers(0, 256, (96, 128, 3), np.uint8)
    grid = TileGrid(96, 128, 32)
    windows = cut_windows(work_plane(page, np.zeros((96, 128), bool), grid))
    assert windows.shape == (12, WINDOW_PX, WINDOW_PX, 4)
    assert np.array_equal(windows[5, ..., :3], page[0:96, 0:96])  # tile (1, 1): its window is all inside
    assert np.array_equal(windows[0, 32:64, 32:64, :3], page[:32, :32])
    assert (windows[0, :32, 32:64, :3] == page[0, :32]).all()  # above the first row its edge is drawn out


@given(first=st.integers(0, 12), count=st.integers(0, 12))
def test_windows_cut_in_parts_are_the_windows_cut_at_once(first, count):
    rng = np.random.default_rng(2)
    plane = rng.integers(0, 256, (96, 128, 4), np.uint8)
    assert np.array_equal(cut_windows(plane, first, first + count), cut_windows(plane)[first : first + count])


def test_the_masked_fraction_counts_only_what_lies_within_the_page():
    grid = TileGrid(48, 32, 32)  # the second tile reaches 16 rows past the page
    mask = np.zeros((48, 32), bool)
    mask[:8] = True
    mask[32:40] = True
    assert masked_fraction(mask, grid).ravel().tolist() == pytest.approx([0.25, 0.5])
