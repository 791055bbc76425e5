"""Plan and rescale: how coarse each tile may become, and the page of mixed resolution that follows."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.configs.settings import ImportanceSettings, ResolutionSettings
from foliopress.tasks.analysis.strokes import Ink, find_ink
from foliopress.tasks.analysis.tiles import CORE_PX, WORK_DPI, TileGrid, masked_fraction
from foliopress.tasks.codecs.luma import luma_of

LEVELS = (1, 2, 4, 8)
"""A tile at level n keeps every n-th pixel each way."""

LEAST_STROKE_FRACTION = 0.002
"""Share of a tile from which strokes in it are more than a speck."""

MUCH_STROKE_FRACTION = 0.03
"""Share of a tile from which strokes are more than a trace: the edge of the sheet, a drawing, a stain with a rim."""

_CELL_INCH = 1 / 64  # a stroke of print; finer differences are not seen at reading distance
_CELLS_PER_BLOCK = 4  # errors are pooled over 1/16 inch, so that grain averages out and a stroke does not
_UPSCALING = {2: cv2.INTER_CUBIC, 4: cv2.INTER_LINEAR, 8: cv2.INTER_LINEAR}


class CoarseErrors:
    """What each tile of a page loses at each level; worked out when asked for, once.

    Args:
        luma: (height, width) uint8.
        grid: The page's tiles.
        dpi: Resolution of the page.
    """

    def __init__(self, luma: np.ndarray, grid: TileGrid, dpi: float) -> None:
        self.grid = grid
        self._luma, self._dpi = luma, dpi
        self._held: dict[int, np.ndarray] = {}

    def at(self, level: int) -> np.ndarray:
        """Return (n_rows, n_cols) float32, as `tile_errors` gives it."""
        if level not in self._held:
            small = reduced(self._luma, level)
            self._held[level] = tile_errors(self._luma, small, level, self.grid, self._dpi)
        return self._held[level]


def choose_levels(
    errors: CoarseErrors,
    ink: Ink,
    importance: np.ndarray,
    must_keep: np.ndarray,
    what_counts: ImportanceSettings,
    settings: ResolutionSettings,
) -> np.ndarray:
    """Return the level of every tile: the coarsest whose reconstruction error stays within the tile's budget.

    A tile that is important, or must be kept, stays at level 1. One in doubt, which reaches the threshold alone, and
    one that has strokes which stand out of the grain, fall to level 2 at most. The budget is half of
    `settings.error_budget` at the threshold and grows to the whole of it as the importance falls to 0.

    Args:
        errors: What the page's tiles lose at each level.
        ink: The page's strokes.
        importance: (n_rows, n_cols) float32 in [0, 1].
        must_keep: (n_rows, n_cols) bool, tiles that hold words which OCR did read.
        what_counts: From which importance a tile counts.
        settings: Error budget and harshest level.

    Returns:
        (n_rows, n_cols) int8, each 1, 2, 4 or 8.
    """
    levels = np.ones(importance.shape, np.int8)
    threshold = what_counts.threshold
    free = ~(important_tiles(importance, what_counts) | must_keep)
    if not free.any():
        return levels
    at_least_half = (importance >= threshold) | (masked_fraction(ink.plain, errors.grid) >= MUCH_STROKE_FRACTION)
    budget = settings.error_budget * (1.0 - 0.5 * np.clip(importance / max(threshold, 1e-6), 0.0, 1.0))
    for level in LEVELS[1:]:
        if level <= settings.harshest_level:
            # a finer level that failed rules out the coarser ones: levels stay monotone in the budget
            free = free & (errors.at(level) <= budget) & ((level == LEVELS[1]) | ~at_least_half)
            levels[free] = level
    # paper at 1/2 beside paper at 1/8 would stand out by its grain: it fades through 1/4
    beside_half = cv2.dilate((levels == LEVELS[1]).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    levels[beside_half & (levels == LEVELS[3])] = LEVELS[2]
    return levels


def important_tiles(importance: np.ndarray, what_counts: ImportanceSettings) -> np.ndarray:
    """Return (n_rows, n_cols) bool: tiles that are surely important, and those next to them that reach the threshold.

    Text comes in lines: a tile that is only just like text, with nothing like it on any of its eight sides, is most
    often a fold, a stain or grain. It is in doubt.

    Args:
        importance: (n_rows, n_cols) float32 in [0, 1].
        what_counts: `sure` and `threshold`.
    """
    sure = importance >= max(what_counts.sure, what_counts.threshold)
    beside = cv2.dilate(sure.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.asarray(sure | ((importance >= what_counts.threshold) & beside))


def has_strokes(plane: np.ndarray) -> np.ndarray:
    """Return (n_rows, n_cols) bool: tiles with any stroke, a faint one too.

    The box of a word may reach into a tile that has none.

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
        level: Its level.
        height_px: Of the page.
        width_px: Of the page.
        interpolation: OpenCV's, in place of the level's own.
    """
    if level == 1:
        return small
    size = small.shape[1] * level, small.shape[0] * level
    large: np.ndarray = cv2.resize(
        small, size, interpolation=_UPSCALING[level] if interpolation is None else interpolation
    )
    return large[:height_px, :width_px]


def tile_errors(luma: np.ndarray, small: np.ndarray, level: int, grid: TileGrid, dpi: float) -> np.ndarray:
    """Return (n_rows, n_cols) float32: each tile's worst error after being reduced and restored, in grey levels.

    The error is averaged over cells of 1/64 inch, then its root mean square taken over blocks of 4 x 4 cells; the
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


def rescale(
    pixels: np.ndarray,
    ink: Ink,
    levels: np.ndarray,
    grid: TileGrid,
    dpi: float,
    settings: ResolutionSettings,
    sure: np.ndarray | None = None,
) -> np.ndarray:
    """Return the page with each tile at its level's resolution, the levels blended into one another.

    In tiles of level 1 every stroke and the margin round it are the source's own pixels; the paper between them comes
    at `settings.paper_level`. Such a tile without a stroke that stands out stays whole where it is surely important,
    and comes at 1/2 elsewhere. A coarser tile fades in outside the margin of any finer one, so no border shows.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        ink: The page's strokes.
        levels: (n_rows, n_cols) int8 from `choose_levels`.
        grid: The page's tiles.
        dpi: Resolution of the page.
        settings: Level of the paper, lengths of margin and feather.
        sure: (n_rows, n_cols) bool, tiles that are surely important; all of them without it.

    Returns:
        uint8, the shape of `pixels`.
    """
    whole = levels == 1
    kept, coarse = tile_area(whole, grid), levels
    if settings.paper_level > 1 and whole.any():
        without = whole & (masked_fraction(ink.faint, grid) < LEAST_STROKE_FRACTION)
        stays = without if sure is None else without & sure
        kept &= (ink.faint | (tile_area(stays, grid) > 0)).astype(np.uint8)
        coarse = np.where(whole, np.where(without & ~stays, LEVELS[1], settings.paper_level), levels)
    if kept.all():
        return pixels.copy()
    # nothing but what is kept needs more than half the resolution: the coarser levels meet at that size
    half = _mixed_half(reduced(pixels, LEVELS[1]), np.maximum(coarse, LEVELS[1]), grid, dpi, settings)
    background = np.ascontiguousarray(restored(half, LEVELS[1], *pixels.shape[:2]))
    return _blended(pixels, background, kept, dpi, settings)


def _mixed_half(
    half: np.ndarray, levels: np.ndarray, grid: TileGrid, dpi: float, settings: ResolutionSettings
) -> np.ndarray:
    """Return a page of half size with each tile at its level, 2 or coarser, counted from the page's own size."""
    height_px, width_px = half.shape[:2]
    present = [level for level in reversed(LEVELS[1:]) if (levels == level).any()]
    result: np.ndarray | None = None
    for level in present:
        step = level // LEVELS[1]
        finer = np.ascontiguousarray(restored(reduced(half, step), step, height_px, width_px))
        if result is None:
            result = finer
        else:
            result = _blended(finer, result, tile_area(levels <= level, grid, LEVELS[1]), dpi / LEVELS[1], settings)
    assert result is not None
    return result


def _blended(
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
    mixed = cv2.blendLinear(finer, coarser, weight, other)
    # to the bit, whatever blending rounds
    exact: np.ndarray = cv2.copyTo(finer, (weight == 1.0).astype(np.uint8), mixed)
    return exact


def tile_area(tiles: np.ndarray, grid: TileGrid, step: int = 1) -> np.ndarray:
    """Return uint8, 1 on the tiles marked in (n_rows, n_cols) bool: the page, or every `step`-th pixel of it."""
    size = grid.n_cols * grid.tile_px, grid.n_rows * grid.tile_px
    area = cv2.resize(tiles.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.ascontiguousarray(area[: grid.height_px : step, : grid.width_px : step])


def count_levels(levels: np.ndarray) -> dict[int, int]:
    """Return how many tiles have each level.

    >>> count_levels(np.array([[1, 8], [8, 2]], np.int8))
    {1: 1, 2: 1, 4: 0, 8: 2}
    """
    return {level: int((levels == level).sum()) for level in LEVELS}
