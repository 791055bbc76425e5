"""Plan and rescale: how coarse each tile may become, and the page of mixed resolution that follows."""

from __future__ import annotations

import cv2
import numpy as np

from configs.settings import ResolutionSettings
from tasks.tiles import TileGrid

LEVELS = (1, 2, 4, 8)
"""A tile at level n keeps every n-th pixel each way."""

_CELL_INCH = 1 / 64  # a stroke of print; finer differences are not seen at reading distance
_CELLS_PER_BLOCK = 4  # errors are pooled over 1/16 inch, so that grain averages out and a stroke does not
_UPSCALING = {2: cv2.INTER_CUBIC, 4: cv2.INTER_LINEAR, 8: cv2.INTER_LINEAR}


def choose_levels(
    luma: np.ndarray,
    importance: np.ndarray,
    must_keep: np.ndarray,
    grid: TileGrid,
    threshold: float,
    dpi: float,
    settings: ResolutionSettings,
) -> np.ndarray:
    """Return the level of every tile: the coarsest whose reconstruction error stays within the tile's budget.

    A tile whose importance reaches the threshold, or that must be kept, stays at level 1. Below the threshold the
    budget grows from half of `settings.error_budget` to the whole of it as the importance falls to 0.

    Args:
        luma: (height, width) uint8.
        importance: (n_rows, n_cols) float32 in [0, 1].
        must_keep: (n_rows, n_cols) bool, tiles that hold words which OCR did read.
        grid: The page's tiles.
        threshold: Importance from which a tile keeps its full resolution.
        dpi: Resolution of the page.
        settings: Error budget and harshest level.

    Returns:
        (n_rows, n_cols) int8, each 1, 2, 4 or 8.
    """
    levels = np.ones((grid.n_rows, grid.n_cols), np.int8)
    free = ~((importance >= threshold) | must_keep)
    if not free.any():
        return levels
    budget = settings.error_budget * (1.0 - 0.5 * np.clip(importance / max(threshold, 1e-6), 0.0, 1.0))
    for level in LEVELS[1:]:
        if level <= settings.harshest_level:
            error = tile_errors(luma, reduced(luma, level), level, grid, dpi)
            # a finer level that failed rules out the coarser ones: levels stay monotone in the budget
            free = free & (error <= budget)
            levels[free] = level
    return levels


def reduced(pixels: np.ndarray, level: int) -> np.ndarray:
    """Return a page averaged over squares of `level` pixels; the edge is drawn out to whole squares.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        level: 1, 2, 4 or 8.
    """
    if level == 1:
        return pixels
    height_px, width_px = pixels.shape[:2]
    padded = cv2.copyMakeBorder(pixels, 0, -height_px % level, 0, -width_px % level, cv2.BORDER_REPLICATE)
    size = padded.shape[1] // level, padded.shape[0] // level
    small: np.ndarray = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    return small


def restored(small: np.ndarray, level: int, height_px: int, width_px: int) -> np.ndarray:
    """Return a reduced page interpolated back to (height_px, width_px): cubic from 1/2, linear from 1/4 and 1/8."""
    if level == 1:
        return small
    size = small.shape[1] * level, small.shape[0] * level
    large: np.ndarray = cv2.resize(small, size, interpolation=_UPSCALING[level])
    return large[:height_px, :width_px]


def tile_errors(luma: np.ndarray, small: np.ndarray, level: int, grid: TileGrid, dpi: float) -> np.ndarray:
    """Return (n_rows, n_cols) float32: each tile's worst error after being reduced and restored, in grey levels.

    The error is averaged over cells of 1/64 inch, then its root mean square taken over blocks of 4 x 4 cells; the
    worst block of the tile counts.
    """
    height_px, width_px = luma.shape
    error = luma.astype(np.int16) - restored(small, level, height_px, width_px)
    cells_per_tile = max(1, round(grid.tile_px / max(1.0, _CELL_INCH * dpi)))
    padded = cv2.copyMakeBorder(
        error,
        0,
        grid.n_rows * grid.tile_px - height_px,
        0,
        grid.n_cols * grid.tile_px - width_px,
        cv2.BORDER_CONSTANT,
        value=0,
    )
    shape = grid.n_rows * cells_per_tile, grid.n_cols * cells_per_tile
    cells = cv2.resize(padded.astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
    side = min(_CELLS_PER_BLOCK, cells_per_tile)
    pooled = cv2.blur(cells * cells, (side, side))
    worst = pooled.reshape(grid.n_rows, cells_per_tile, grid.n_cols, cells_per_tile).max(axis=(1, 3))
    return np.sqrt(worst).astype(np.float32)


def rescale(
    pixels: np.ndarray, levels: np.ndarray, grid: TileGrid, dpi: float, settings: ResolutionSettings
) -> np.ndarray:
    """Return the page with each tile at its level's resolution, the levels blended into one another.

    Tiles of level 1 and a margin round them are the source's own pixels. A coarser tile fades in outside the margin
    of any finer one, so no border shows.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        levels: (n_rows, n_cols) int8 from `choose_levels`.
        grid: The page's tiles.
        dpi: Resolution of the page.
        settings: Lengths of margin and feather.

    Returns:
        uint8, the shape of `pixels`.
    """
    height_px, width_px = pixels.shape[:2]
    coarsest = int(levels.max())
    if coarsest == 1:
        return pixels.copy()
    result = restored(reduced(pixels, coarsest), coarsest, height_px, width_px)
    result = np.ascontiguousarray(result)
    for level in (4, 2, 1):
        if level >= coarsest or not (levels <= level).any():
            continue
        finer = np.ascontiguousarray(restored(reduced(pixels, level), level, height_px, width_px))
        weight = _weight(levels <= level, grid, settings.margin_inch * dpi, settings.feather_inch * dpi)
        blended = cv2.blendLinear(finer, result, weight, 1.0 - weight)
        result = cv2.copyTo(finer, (weight == 1.0).astype(np.uint8), blended)  # to the bit, whatever blending rounds
    return result


def _weight(tiles: np.ndarray, grid: TileGrid, margin_px: float, feather_px: float) -> np.ndarray:
    """Return (height, width) float32: 1 on the tiles and their margin, falling to 0 over the feather."""
    if tiles.all():
        return np.ones((grid.height_px, grid.width_px), np.float32)
    area = np.kron(tiles, np.ones((grid.tile_px, grid.tile_px), np.uint8))[: grid.height_px, : grid.width_px]
    distance = cv2.distanceTransform(1 - area, cv2.DIST_L2, 3)
    weight = 1.0 - np.clip((distance - margin_px - 1.0) / max(feather_px, 1.0), 0.0, 1.0)
    return np.asarray(weight, np.float32)


def count_levels(levels: np.ndarray) -> dict[int, int]:
    """Return how many tiles have each level.

    >>> count_levels(np.array([[1, 8], [8, 2]], np.int8))
    {1: 1, 2: 1, 4: 0, 8: 2}
    """
    return {level: int((levels == level).sum()) for level in LEVELS}
