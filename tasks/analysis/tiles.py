"""Cut a page into a grid of tiles, and into the patches that the network scores."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.tasks.analysis.block_sums import block_areas, block_sums

WORK_DPI = 150
"""Resolution at which tiles are judged."""
CORE_PX = 32
"""Side of a tile at `WORK_DPI`: 0.21 inch on paper, about two lines of print."""
PATCH_TILES = 20
"""Tiles each way that the network scores at once."""
PATCH_MARGIN_PX = 48
"""Context on every side of a patch, a tile and a half."""
PATCH_PX = PATCH_TILES * CORE_PX + 2 * PATCH_MARGIN_PX
TILE_INCH = CORE_PX / WORK_DPI
LEAST_TILE_PX = 8


@dataclass(frozen=True)
class TileGrid:
    """Square tiles over an upright page, row by row; those of the last row and column may extend beyond it."""

    height_px: int
    width_px: int
    tile_px: int

    @property
    def n_rows(self) -> int:
        """Number of tile rows."""
        return -(-self.height_px // self.tile_px)

    @property
    def n_cols(self) -> int:
        """Number of tile columns."""
        return -(-self.width_px // self.tile_px)

    @property
    def n_tiles(self) -> int:
        """Number of tiles."""
        return self.n_rows * self.n_cols


def tile_grid(height_px: int, width_px: int, dpi: float) -> TileGrid:
    """Return the grid of a page; a tile has a fixed size on paper, so its pixels depend on the dpi.

    Raises:
        ValueError: If a size is below 1 pixel or the dpi is not above 0.

    >>> grid = tile_grid(3508, 2480, 300)
    >>> grid.tile_px, grid.n_rows, grid.n_cols
    (64, 55, 39)
    """
    if height_px < 1 or width_px < 1 or not dpi > 0:
        raise ValueError(f"no tiles over {height_px} x {width_px} pixels at {dpi} dpi")
    return TileGrid(height_px, width_px, max(LEAST_TILE_PX, round(TILE_INCH * dpi)))


def work_plane(pixels: np.ndarray, mask: np.ndarray, grid: TileGrid) -> np.ndarray:
    """Return the page and its OCR mask at `WORK_DPI`, in whole tiles.

    Args:
        pixels: uint8, (height, width) or (height, width, 3) RGB.
        mask: (height, width) bool, True is text.
        grid: Tiles of the page.

    Returns:
        (n_rows * 32, n_cols * 32, 4) uint8: RGB and mask (0 or 255); the page's edge is extended to whole tiles.
    """
    bottom = grid.n_rows * grid.tile_px - grid.height_px
    right = grid.n_cols * grid.tile_px - grid.width_px
    size = grid.n_cols * CORE_PX, grid.n_rows * CORE_PX
    shrinks = grid.tile_px >= CORE_PX
    plane = np.empty((size[1], size[0], 4), np.uint8)
    padded = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    reduced = cv2.resize(padded, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    plane[..., :3] = reduced if reduced.ndim == 3 else reduced[..., np.newaxis]
    text = cv2.copyMakeBorder(mask.astype(np.uint8) * 255, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)
    text = cv2.resize(text, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST)
    plane[..., 3] = np.where(text >= 64, 255, 0)
    return plane


def masked_fraction(mask: np.ndarray, grid: TileGrid) -> np.ndarray:
    """Return the share of each tile's area, within the page, that a mask covers, (n_rows, n_cols) float32.

    Args:
        mask: (height, width) bool.
        grid: Tiles of the page.
    """
    areas = block_areas(mask.shape, grid.tile_px, grid.tile_px)
    return np.asarray(block_sums(mask, grid.tile_px, grid.tile_px) / areas, np.float32)


def count_patches(grid: TileGrid) -> int:
    """Return the number of patches that cover a grid; those of the last row and column may extend beyond it."""
    return -(-grid.n_rows // PATCH_TILES) * -(-grid.n_cols // PATCH_TILES)


def cut_patches(plane: np.ndarray, first: int = 0, end: int | None = None) -> np.ndarray:
    """Return patches of a page, row by row, each with its margin; the page's edge is extended beyond it.

    Args:
        plane: (n_rows * 32, n_cols * 32, 4) uint8, from `work_plane`.
        first: Number of the first patch to cut.
        end: Number after the last patch to cut (default: all).

    Returns:
        (n_patches, 736, 736, 4) uint8.
    """
    height_px, width_px = plane.shape[:2]
    step = PATCH_TILES * CORE_PX
    per_row = -(-width_px // step)
    numbers = range(-(-height_px // step) * per_row)[first:end]
    patches = np.empty((len(numbers), PATCH_PX, PATCH_PX, plane.shape[2]), plane.dtype)
    for slot, number in enumerate(numbers):
        top, left = (place * step - PATCH_MARGIN_PX for place in divmod(number, per_row))
        bottom, right = top + PATCH_PX, left + PATCH_PX
        inside = plane[max(top, 0) : bottom, max(left, 0) : right]
        past = max(-top, 0), max(bottom - height_px, 0), max(-left, 0), max(right - width_px, 0)
        cv2.copyMakeBorder(inside, *past, cv2.BORDER_REPLICATE, dst=patches[slot])
    return patches


def join_patches(scores: np.ndarray, grid: TileGrid) -> np.ndarray:
    """Return the scores of all tiles, (n_tiles,) float32, row by row, from those of patches, (n_patches, 20, 20)."""
    per_row = -(-grid.n_cols // PATCH_TILES)
    rows = scores.reshape(-1, per_row, PATCH_TILES, PATCH_TILES).swapaxes(1, 2)
    joined = rows.reshape(-1, per_row * PATCH_TILES)[: grid.n_rows, : grid.n_cols]
    return np.ascontiguousarray(joined, np.float32).ravel()
