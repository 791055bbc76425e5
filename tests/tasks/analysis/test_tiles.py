"""Tiles: a grid on paper, and the patches that the network looks at."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.tasks.analysis.tiles import (
    CORE_PX,
    PATCH_PX,
    PATCH_TILES,
    TileGrid,
    count_patches,
    cut_patches,
    join_patches,
    masked_fraction,
    tile_grid,
    work_plane,
)

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


def test_at_150_dpi_a_patch_is_the_page_itself_with_its_surroundings():
    rng = np.random.default_rng(1)
    page = rng.integers(0, 256, (32 * 24, 32 * 45, 3), np.uint8)
    grid = TileGrid(*page.shape[:2], 32)
    assert count_patches(grid) == 2 * 3
    patches = cut_patches(work_plane(page, np.zeros(page.shape[:2], bool), grid))
    assert patches.shape == (6, PATCH_PX, PATCH_PX, 4)
    assert np.array_equal(patches[0, 48:, 48:, :3], page[:688, :688])
    assert (patches[0, :48, 48:, :3] == page[0, :688]).all()  # above the first row its edge is drawn out
    assert np.array_equal(patches[1, 48:, :, :3], page[:688, 640 - 48 : 1280 + 48])
    assert np.array_equal(patches[5, :176, :208, :3], page[640 - 48 :, 1280 - 48 :])
    assert (patches[5, 176:, 208:, :3] == page[-1, -1]).all()


@settings(deadline=None)
@given(first=st.integers(0, 6), count=st.integers(0, 6))
def test_patches_cut_in_parts_are_the_patches_cut_at_once(first, count):
    rng = np.random.default_rng(2)
    plane = rng.integers(0, 256, (96, 32 * 20 * 5, 1), np.uint8).repeat(4, axis=2)
    assert np.array_equal(cut_patches(plane, first, first + count), cut_patches(plane)[first : first + count])


@settings(deadline=None)
@given(n_rows=st.integers(1, 45), n_cols=st.integers(1, 45))
def test_joined_patches_give_every_tile_what_its_patch_had_for_it(n_rows, n_cols):
    grid = TileGrid(n_rows * 32 - 5, n_cols * 32 - 7, 32)
    numbers = np.arange(grid.n_tiles, dtype=np.float32).reshape(n_rows, n_cols)
    plane = np.kron(numbers, np.ones((32, 32), np.float32))[..., np.newaxis]
    middles = cut_patches(plane)[:, 48 + 16 : -48 : 32, 48 + 16 : -48 : 32, 0]
    assert middles.shape == (count_patches(grid), PATCH_TILES, PATCH_TILES)
    assert np.array_equal(join_patches(middles, grid), numbers.ravel())


def test_the_masked_fraction_counts_only_what_lies_within_the_page():
    grid = TileGrid(48, 32, 32)  # the second tile reaches 16 rows past the page
    mask = np.zeros((48, 32), bool)
    mask[:8] = True
    mask[32:40] = True
    assert masked_fraction(mask, grid).ravel().tolist() == pytest.approx([0.25, 0.5])
