"""Choose the resolution of each tile, and resize a page to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from foliopress.configs.settings import ImportanceSettings, ResolutionSettings
from foliopress.tasks.analysis.strokes import Ink, find_ink
from foliopress.tasks.analysis.tiles import CORE_PX, WORK_DPI, TileGrid, masked_fraction
from foliopress.tasks.codecs.luma import luma_of

LEVELS = (1, 2, 4, 8)
"""A tile at level n keeps every n-th pixel each way."""

LEAST_STROKE_FRACTION = 0.002
"""Share of a tile above which its strokes are more than a speck."""

MUCH_STROKE_FRACTION = 0.03
"""Share of a tile above which its strokes are more than a trace: the edge of the sheet, a drawing, a stain with a
rim."""

_CELL_INCH = 1 / 64  # a stroke of print; finer differences are not seen at reading distance
_CELLS_PER_BLOCK = 4  # errors are pooled over 1/16 inch, so that grain averages out and a stroke does not
_UPSCALING = {2: cv2.INTER_CUBIC, 4: cv2.INTER_LINEAR, 8: cv2.INTER_LINEAR}


class LevelCounts(NamedTuple):
    """Number of tiles at each level."""

    level_1: int
    level_2: int
    level_4: int
    level_8: int


class CoarseErrors:
    """Errors of each tile of a page at each level, computed on first use.

    Args:
        luma: (height, width) uint8.
        grid: Tiles of the page.
        dpi: Resolution of the page.
    """

    def __init__(self, luma: np.ndarray, grid: TileGrid, dpi: float) -> None:
        self.grid = grid
        self._luma, self._dpi = luma, dpi
        self._by_level: dict[int, np.ndarray] = {}

    def at(self, level: int) -> np.ndarray:
        """Return the result of `tile_errors`, (n_rows, n_cols) float32."""
        if level not in self._by_level:
            small = reduced(self._luma, level)
            self._by_level[level] = tile_errors(self._luma, small, level, self.grid, self._dpi)
        return self._by_level[level]


def choose_levels(
    errors: CoarseErrors,
    ink: Ink,
    importance: np.ndarray,
    word_tiles: np.ndarray,
    importance_settings: ImportanceSettings,
    settings: ResolutionSettings,
) -> np.ndarray:
    """Return the level of every tile: the coarsest whose reconstruction error stays within the tile's budget.

    A tile that is important or holds a word stays at level 1. A doubtful one, which reaches the threshold without an
    important neighbour, and one whose strokes stand out from the grain are reduced to level 2 at most. The budget is
    half of `settings.error_budget` at the threshold and grows to the whole of it as the importance falls to 0.

    Args:
        errors: Errors of the tiles at each level.
        ink: Strokes of the page.
        importance: (n_rows, n_cols) float32 in [0, 1].
        word_tiles: (n_rows, n_cols) bool, tiles with words that OCR read.
        importance_settings: Thresholds of importance.
        settings: Error budget and coarsest level.

    Returns:
        (n_rows, n_cols) int8, each 1, 2, 4 or 8.
    """
    levels = np.ones(importance.shape, np.int8)
    threshold = importance_settings.threshold
    free = ~(important_tiles(importance, importance_settings) | word_tiles)
    if not free.any():
        return levels
    at_least_half = (importance >= threshold) | (masked_fraction(ink.plain, errors.grid) >= MUCH_STROKE_FRACTION)
    budget = settings.error_budget * (1.0 - 0.5 * np.clip(importance / max(threshold, 1e-6), 0.0, 1.0))
    for level in LEVELS[1:]:
        if level <= settings.harshest_level:
            # a finer level that failed rules out the coarser ones: levels stay monotone in the budget
            free = free & (errors.at(level) <= budget) & ((level == LEVELS[1]) | ~at_least_half)
            levels[free] = level
    # paper at 1/2 next to paper at 1/8 would stand out by its grain: it fades through 1/4
    near_half = cv2.dilate((levels == LEVELS[1]).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    levels[near_half & (levels == LEVELS[3])] = LEVELS[2]
    return levels


def important_tiles(importance: np.ndarray, importance_settings: ImportanceSettings) -> np.ndarray:
    """Return (n_rows, n_cols) bool: tiles that are surely important, and those next to them that reach the threshold.

    Text comes in lines: a tile that barely resembles text, with no such tile on any of its eight sides, is usually a
    fold, a stain or grain. It is doubtful.

    Args:
        importance: (n_rows, n_cols) float32 in [0, 1].
        importance_settings: `sure` and `threshold`.
    """
    sure = importance >= max(importance_settings.sure, importance_settings.threshold)
    near_sure = cv2.dilate(sure.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.asarray(sure | ((importance >= importance_settings.threshold) & near_sure))


def has_strokes(plane: np.ndarray) -> np.ndarray:
    """Return (n_rows, n_cols) bool: tiles with any stroke, even a faint one.

    The box of a word may reach into a tile without strokes.

    Args:
        plane: (n_rows * 32, n_cols * 32, 4) uint8, from `tasks.analysis.tiles.work_plane`.
    """
    strokes = find_ink(luma_of(np.ascontiguousarray(plane[..., :3])), WORK_DPI).faint
    n_rows, n_cols = plane.shape[0] // CORE_PX, plane.shape[1] // CORE_PX
    return np.asarray(strokes.reshape(n_rows, CORE_PX, n_cols, CORE_PX).any(axis=(1, 3)))


def reduced(pixels: np.ndarray, level: int) -> np.ndarray:
    """Return a page averaged over squares of `level` pixels; the edge is drawn out to whole squares.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        level: 1, 2, 4 or 8.
    """
    if level == 1:
        return pixels
    bottom, right = -pixels.shape[0] % level, -pixels.shape[1] % level
    padded = pixels
    if bottom or right:
        padded = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = padded.shape[1] // level, padded.shape[0] // level
    small: np.ndarray = cv2.resize(padded, size, interpolation=cv2.INTER_AREA)
    return small


def restored(
    small: np.ndarray, level: int, height_px: int, width_px: int, interpolation: int | None = None
) -> np.ndarray:
    """Return a reduced page interpolated back to (height_px, width_px): cubic from 1/2, linear from 1/4 and 1/8.

    Args:
        small: From `reduced`.
        level: Level of the reduced page.
        height_px: Height of the page.
        width_px: Width of the page.
        interpolation: OpenCV interpolation to use instead of the level's own.
    """
    if level == 1:
        return small
    size = small.shape[1] * level, small.shape[0] * level
    large: np.ndarray = cv2.resize(
        small, size, interpolation=_UPSCALING[level] if interpolation is None else interpolation
    )
    return large[:height_px, :width_px]


def tile_errors(luma: np.ndarray, small: np.ndarray, level: int, grid: TileGrid, dpi: float) -> np.ndarray:
    """Return the worst error of each tile after reducing and restoring it, (n_rows, n_cols) float32, in grey levels.

    The error is averaged over cells of 1/64 inch, then its root mean square is taken over blocks of 4 x 4 cells; the
    worst block of the tile counts.
    """
    height_px, width_px = luma.shape
    cells_per_tile = max(1, round(grid.tile_px / max(1.0, _CELL_INCH * dpi)))
    error = np.zeros((grid.n_rows * grid.tile_px, grid.n_cols * grid.tile_px), np.float32)
    page = error[:height_px, :width_px]
    cv2.subtract(luma, restored(small, level, height_px, width_px), page, dtype=cv2.CV_32F)
    shape = grid.n_rows * cells_per_tile, grid.n_cols * cells_per_tile
    cells = cv2.resize(error, shape[::-1], interpolation=cv2.INTER_AREA)
    side = min(_CELLS_PER_BLOCK, cells_per_tile)
    pooled = cv2.blur(cells * cells, (side, side))
    worst = pooled.reshape(grid.n_rows, cells_per_tile, grid.n_cols, cells_per_tile).max(axis=(1, 3))
    return np.asarray(np.sqrt(worst), np.float32)


@dataclass(frozen=True)
class TilePlan:
    """Planned resolution of a page's tiles.

    levels: (n_rows, n_cols) int8, from `choose_levels`. ink: Strokes of the page. sure: (n_rows, n_cols) bool, tiles
    that are surely important (default: all).
    """

    levels: np.ndarray
    grid: TileGrid
    dpi: float
    ink: Ink
    sure: np.ndarray | None = None


def rescale(pixels: np.ndarray, plan: TilePlan, settings: ResolutionSettings) -> np.ndarray:
    """Return the page with each tile at its level's resolution, the levels blended into one another.

    In tiles of level 1 every stroke and the margin around it keep the source's pixels; the paper between them is
    reduced to `settings.paper_level`. Such a tile without a distinct stroke stays whole if it is surely important, and
    is reduced to 1/2 otherwise. A coarser tile fades in outside the margin of any finer one, so no border shows.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        plan: Level of each tile.
        settings: Level of the paper, lengths of margin and feather.

    Returns:
        uint8, the shape of `pixels`.
    """
    levels, grid, ink = plan.levels, plan.grid, plan.ink
    whole = levels == 1
    kept, coarse = tile_area(whole, grid), levels
    if settings.paper_level > 1 and whole.any():
        without = whole & (masked_fraction(ink.faint, grid) < LEAST_STROKE_FRACTION)
        stays = without if plan.sure is None else without & plan.sure
        kept &= (ink.faint | (tile_area(stays, grid) > 0)).astype(np.uint8)
        coarse = np.where(whole, np.where(without & ~stays, LEVELS[1], settings.paper_level), levels)
    if kept.all():
        return pixels.copy()
    # only the kept area needs more than half the resolution: the coarser levels are blended at that size
    half = _blended_half(reduced(pixels, LEVELS[1]), np.maximum(coarse, LEVELS[1]), grid, plan.dpi, settings)
    background = np.ascontiguousarray(restored(half, LEVELS[1], *pixels.shape[:2]))
    return _blend(pixels, background, kept, plan.dpi, settings)


def _blended_half(
    half: np.ndarray, levels: np.ndarray, grid: TileGrid, dpi: float, settings: ResolutionSettings
) -> np.ndarray:
    """Return a page of half size with each tile at its level, 2 or coarser, relative to the page's full size."""
    height_px, width_px = half.shape[:2]
    coarsest, *finer_levels = (level for level in reversed(LEVELS[1:]) if (levels == level).any())

    def at(level: int) -> np.ndarray:
        step = level // LEVELS[1]
        return np.ascontiguousarray(restored(reduced(half, step), step, height_px, width_px))

    result = at(coarsest)
    for level in finer_levels:
        area = tile_area(levels <= level, grid, LEVELS[1])
        result = _blend(at(level), result, area, dpi / LEVELS[1], settings)
    return result


def _blend(
    finer: np.ndarray, coarser: np.ndarray, area: np.ndarray, dpi: float, settings: ResolutionSettings
) -> np.ndarray:
    """Return `finer` on the area and its margin, fading into `coarser` over the feather."""
    if not area.any():
        return coarser
    margin_px, feather_px = settings.margin_inch * dpi, max(settings.feather_inch * dpi, 1.0)
    other: np.ndarray = cv2.distanceTransform(1 - area, cv2.DIST_L2, 3)  # in place from here on: pages are large
    other -= np.float32(margin_px + 1.0)
    other /= np.float32(feather_px)
    weight = 1.0 - np.clip(other, 0.0, 1.0, out=other)
    blended = cv2.blendLinear(finer, coarser, weight, other)
    # the finer pixels to the bit, however blending rounds
    exact: np.ndarray = cv2.copyTo(finer, (weight == 1.0).astype(np.uint8), blended)
    return exact


def tile_area(tiles: np.ndarray, grid: TileGrid, step: int = 1) -> np.ndarray:
    """Return uint8, 1 on the tiles marked in (n_rows, n_cols) bool, for every `step`-th pixel of the page."""
    size = grid.n_cols * grid.tile_px, grid.n_rows * grid.tile_px
    area = cv2.resize(tiles.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(area[: grid.height_px : step, : grid.width_px : step])


def count_levels(levels: np.ndarray) -> LevelCounts:
    """Return the number of tiles at each level.

    >>> count_levels(np.array([[1, 8], [8, 2]], np.int8))
    LevelCounts(level_1=1, level_2=1, level_4=0, level_8=2)
    """
    return LevelCounts(*(int((levels == level).sum()) for level in LEVELS))
