"""Tile: a page's grid of tiles, and the windows that the network looks at."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WORK_DPI = 150
"""Resolution at which tiles are judged."""
CORE_PX = 32
"""Side of a tile at `WORK_DPI`: 0.21 inch on paper, about two lines of print."""
WINDOW_PX = 96
"""Side of what the network sees: the tile and a margin of one tile round it."""
TILE_INCH = CORE_PX / WORK_DPI
LEAST_TILE_PX = 8


@dataclass(frozen=True)
class TileGrid:
    """Square tiles over an upright page, row by row; those of the last row and column may reach past it."""

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
    """Return the grid of a page; a tile is a length on paper, so its pixels follow the dpi.

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
    """Return the page and its OCR mask at the judging resolution, whole tiles only.

    Args:
        pixels: uint8, (height, width) or (height, width, 3) RGB.
        mask: (height, width) bool, True is text.
        grid: The page's tiles.

    Returns:
        (n_rows * 32, n_cols * 32, 4) uint8: RGB and mask (0 or 255); the page's edge is drawn out to whole tiles.
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
    """Return (n_rows, n_cols) float32: the share of each tile's area, within the page, that a mask covers.

    Args:
        mask: (height, width) bool.
        grid: The page's tiles.
    """
    bottom = grid.n_rows * grid.tile_px - grid.height_px
    right = grid.n_cols * grid.tile_px - grid.width_px
    size = grid.n_cols, grid.n_rows
    covered = cv2.copyMakeBorder(mask.astype(np.float32), 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)
    inside = cv2.copyMakeBorder(np.ones(mask.shape, np.float32), 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)
    shares: np.ndarray = cv2.resize(covered, size, interpolation=cv2.INTER_AREA) / cv2.resize(
        inside, size, interpolation=cv2.INTER_AREA
    )
    return shares


def cut_windows(plane: np.ndarray, first_tile: int = 0, end_tile: int | None = None) -> np.ndarray:
    """Return the window of each tile, the tile in its middle, row by row; past the page its edge is drawn out.

    Args:
        plane: (n_rows * 32, n_cols * 32, 4) uint8, from `work_plane`.
        first_tile: Number of the first tile wanted.
        end_tile: Number after the last tile wanted; all of them without it.

    Returns:
        (n_tiles, 96, 96, 4) uint8.
    """
    margin = (WINDOW_PX - CORE_PX) // 2
    n_cols = plane.shape[1] // CORE_PX
    n_tiles = plane.shape[0] // CORE_PX * n_cols
    numbers = np.arange(n_tiles)[first_tile:end_tile]
    padded = np.pad(plane, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW_PX, WINDOW_PX), axis=(0, 1))
    cut = views[(numbers // n_cols) * CORE_PX, (numbers % n_cols) * CORE_PX]
    return np.ascontiguousarray(np.moveaxis(cut, 1, -1))
