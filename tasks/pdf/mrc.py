"""Split a page into a mask of its strokes, a foreground with their colour and a background.

Mixed raster content (ITU-T T.44) in its plainest form. The mask has the page's resolution and one bit a pixel; the two
other layers are smooth and may be small. What two colours cannot show (a photograph, a stamp over print, a very faint
stroke) stays in the background, which is sharp there.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from foliopress.tasks.analysis import resolution
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.analysis.strokes import LEAST_CONTRAST, SMOOTHING_INCH, WINDOW_INCH
from foliopress.tasks.analysis.tiles import TileGrid
from foliopress.tasks.checks.legibility import at_reading_size

_FOREGROUND_DPI, _BACKGROUND_DPI = 40.0, 100.0
"""Resolution of the layers where they are smooth: ink changes its colour from line to line, paper its tone within an
inch."""
_COLOUR_DPI = 40.0  # at which the tones of ink and paper are measured
_NEAR_INCH = 1 / 150  # around distinct pixels, for a stroke's faint edge
_SPECK_INCH = 1 / 100  # least extent of a stroke; anything smaller is grain
_LEAST_OF_USUAL = 0.4
"""Share of the page's usual ink contrast below which a dark place is taken for a fold, a shadow or a stain."""
_DIFFERING_LEVELS = 24.0
"""Mean error (grey levels, at reading size, over 1/50 inch) above which two colours do not reproduce the page."""
_CELL_INCH = 1 / 16  # over which strokes are averaged, as in `resolution.tile_errors`
_LEAST_STROKES = 1.0
"""Mean contrast of strokes over a cell, in grey levels, above which they are more than a speck of grain."""
_MOST_FADED = 0.2
"""Largest share of their contrast that strokes may lose."""
_BROADEST_INCH = 1 / 12  # width of light or pale strokes: a heading's
_MOST_MISSING, _GRAIN_VARIANCE = 0.3, 4.0
"""Share of the variance of strokes and ground that two tones need not reproduce, for the strokes' soft edges; and the
variance of grain."""
_FULL_WEIGHT = 4.0  # a quarter of a cell's pixels determine its colour


class Layers(NamedTuple):
    """A page in three layers.

    mask: (height, width) bool, True where the foreground shows. foreground, background: uint8, (rows, cols) grey or
    (rows, cols, 3) RGB, each of its own size, stretched over the page.
    """

    mask: np.ndarray
    foreground: np.ndarray
    background: np.ndarray


def find_strokes(analysis: PageAnalysis, levels: np.ndarray) -> np.ndarray:
    """Return the dark strokes in tiles of full resolution, (height, width) bool: pixels nearer to ink than to paper.

    Args:
        analysis: Analysis of the page.
        levels: (n_rows, n_cols) int8, the planned levels; strokes in coarser tiles are not important.
    """
    luma, ink, dpi = analysis.luma.astype(np.float32), analysis.ink.plain, analysis.dpi
    near_px = max(1, round(_NEAR_INCH * dpi))
    near_ink = _grown(ink, near_px)
    step = max(2, round(dpi / _COLOUR_DPI))
    paper = _stretched(_smooth(luma, ~near_ink, step), luma.shape)
    counts = resolution.tile_area(levels == 1, analysis.grid) > 0
    core = ink & counts & (luma < paper)
    if not core.any():
        return np.zeros(luma.shape, bool)
    tone = _stretched(_smooth(luma, core, step), luma.shape)
    contrast = paper - tone
    usual = float(np.percentile(contrast[core], 75))
    strokes = _grown(ink & counts, near_px) & (luma < (paper + tone) / 2) & (contrast > _LEAST_OF_USUAL * usual)
    return np.asarray(strokes & ~_specks(strokes, dpi))


def find_other_strokes(analysis: PageAnalysis, strokes: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Return other strokes of one tone, (height, width) bool: light ones on darker ground, and pale ones.

    A fold or a stain may be among them; `is_shown` decides whether two tones reproduce the page there.

    Args:
        analysis: Analysis of the page.
        strokes: From `find_strokes`; nothing near them is analysis.
        area: (height, width) bool, area to search.
    """
    dpi = analysis.dpi
    near_px = max(1, round(_NEAR_INCH * dpi))
    step = max(2, round(dpi / _COLOUR_DPI))
    plane = cv2.GaussianBlur(analysis.luma, (0, 0), max(0.5, SMOOTHING_INCH * dpi))
    broader = np.ones((round(_BROADEST_INCH * dpi) | 1,) * 2, np.uint8)
    free = area & ~_grown(strokes, near_px)
    result = np.zeros(area.shape, bool)
    paper = _stretched(_smooth(analysis.luma, ~_grown(analysis.ink.plain, near_px), step), area.shape)
    for sign, without in ((1, cv2.MORPH_OPEN), (-1, cv2.MORPH_CLOSE)):
        # from the ground without strokes of this kind, which leaves the edge of a darker ground, and from any ground
        # round: between strokes of the other kind it is as it is
        ground = cv2.morphologyEx(plane, without, broader)
        heights = (sign * cv2.subtract(analysis.luma, other, dtype=cv2.CV_32F) for other in (ground, paper))
        height = np.minimum(*heights)
        core = analysis.ink.plain & free & (height > LEAST_CONTRAST)
        if core.any():
            tone = _stretched(_smooth(height, core, step), area.shape)
            result |= _grown(core, near_px) & free & (height > tone / 2) & (tone > LEAST_CONTRAST)
    return np.asarray(result & ~_specks(result, dpi))


def is_shown(analysis: PageAnalysis, shown: np.ndarray, *, by_cell: bool = False) -> np.ndarray:
    """Return where layers reproduce, almost wholly, the page's differences from the ground around them.

    Args:
        analysis: Analysis of the page.
        shown: (height, width) uint8, luma of the composed layers.
        by_cell: Judge cells of 1/16 inch, not whole tiles.

    Returns:
        (n_rows, n_cols) bool by tile, or (height, width) bool by cell.
    """
    grid, dpi = analysis.grid, analysis.dpi
    per_tile = _cells_per_tile(grid, dpi) if by_cell else 1
    plane = _stroke_smooth(analysis.luma, dpi)
    wanted = _cells((plane - _around(analysis.luma, dpi)) ** 2, grid, per_tile)
    missing = _cells((plane - _stroke_smooth(shown, dpi)) ** 2, grid, per_tile)
    result = missing <= _MOST_MISSING * wanted + _GRAIN_VARIANCE
    if not by_cell:
        return np.asarray(result)
    size = grid.n_cols * grid.tile_px, grid.n_rows * grid.tile_px
    large = cv2.resize(result.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(large[: grid.height_px, : grid.width_px] > 0)


def split(
    pixels: np.ndarray,
    strokes: np.ndarray,
    sharp: np.ndarray,
    analysis: PageAnalysis,
    blended: np.ndarray,
    over: np.ndarray | None = None,
) -> Layers:
    """Return the layers of a page.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        strokes: From `find_strokes`.
        sharp: (n_rows, n_cols) bool, tiles that the background shows alone.
        analysis: Analysis of the page.
        blended: The page with these tiles at full resolution, from `tasks.analysis.resolution.rescale`.
        over: (height, width) bool, strokes that the foreground shows even in such tiles.
    """
    dpi = analysis.dpi
    area = resolution.tile_area(sharp, analysis.grid) > 0
    mask = strokes & ~area
    if over is not None:
        mask |= over
    fat = _grown(mask, max(1, round(dpi / 200)))
    thin = cv2.erode(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    core = np.where(_grown(thin, 2), thin, mask)  # a stroke's edge has some of the paper's colour
    foreground = _smooth(pixels, core, max(2, round(dpi / _FOREGROUND_DPI)))
    background = _smooth(pixels, ~fat, max(1, round(dpi / _BACKGROUND_DPI)))
    if area.any():
        weight = cv2.blur(area.astype(np.float32), (5, 5))
        weight = weight[..., np.newaxis] if pixels.ndim == 3 else weight
        background = weight * blended + (1 - weight) * _stretched(background, pixels.shape[:2])
    return Layers(mask, _levels(foreground), _levels(background))


def compose(layers: Layers) -> np.ndarray:
    """Return the page that layers show, uint8, with the mask's height and width."""
    foreground, background = (_stretched(layer, layers.mask.shape) for layer in (layers.foreground, layers.background))
    mask = layers.mask[..., np.newaxis] if background.ndim == 3 else layers.mask
    return np.where(mask, foreground, background)


def differing_tiles(plane: np.ndarray, shown: np.ndarray, grid: TileGrid, dpi: float) -> np.ndarray:
    """Return (n_rows, n_cols) bool: tiles in which composed layers differ from the page.

    Args:
        plane: (height, width) uint8, luma or a plane of chroma.
        shown: The same plane of the composed layers.
        grid: Tiles of the page.
        dpi: Resolution of the page.
    """
    error = cv2.absdiff(at_reading_size(plane, dpi), at_reading_size(shown, dpi))
    mean = cv2.blur(error, (3, 3), borderType=cv2.BORDER_REPLICATE)
    scale = mean.shape[0] / plane.shape[0], mean.shape[1] / plane.shape[1]
    differing = np.zeros((grid.n_rows, grid.n_cols), bool)
    rows, cols = np.nonzero(mean > _DIFFERING_LEVELS)
    differing[(rows / scale[0]).astype(int) // grid.tile_px, (cols / scale[1]).astype(int) // grid.tile_px] = True
    return differing


def faded_tiles(analysis: PageAnalysis, wanted: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Return (n_rows, n_cols) bool: tiles in which layers show strokes with too little contrast.

    Light strokes on dark ground, pale ones and those of tiles without a mask are in the background alone, which blurs
    them. The error in grey levels does not reveal it: it is small for pale strokes.

    Args:
        analysis: Analysis of the page.
        wanted: (height, width) uint8, luma of the page as it should look.
        shown: The same plane of the composed layers.
    """
    grid, dpi = analysis.grid, analysis.dpi
    around = _around(analysis.luma, dpi)
    ink = analysis.ink.faint.astype(np.float32)
    stroke, seen = ((_stroke_smooth(plane, dpi) - around) * ink for plane in (wanted, shown))
    contrast = np.abs(stroke)
    lost = np.clip(contrast - np.sign(stroke) * seen, 0, contrast)
    per_tile = _cells_per_tile(grid, dpi)
    contrast, lost = (_cells(plane, grid, per_tile) for plane in (contrast, lost))
    faded = (contrast > _LEAST_STROKES) & (lost > _MOST_FADED * contrast)
    return np.asarray(faded.reshape(grid.n_rows, per_tile, grid.n_cols, per_tile).any(axis=(1, 3)))


def _around(luma: np.ndarray, dpi: float) -> np.ndarray:
    """Return the mean of each pixel's neighbourhood, as in `tasks.analysis.strokes`, float32."""
    window = int(np.clip(WINDOW_INCH * dpi, 9, 201)) | 1
    return cv2.boxFilter(luma, cv2.CV_32F, (window, window))


def _stroke_smooth(luma: np.ndarray, dpi: float) -> np.ndarray:
    return cv2.GaussianBlur(luma.astype(np.float32), (0, 0), max(0.5, SMOOTHING_INCH * dpi))


def _cells_per_tile(grid: TileGrid, dpi: float) -> int:
    return max(1, round(grid.tile_px / max(1.0, _CELL_INCH * dpi)))


def _cells(plane: np.ndarray, grid: TileGrid, per_tile: int) -> np.ndarray:
    """Return the means of a plane over the cells of its tiles; it is 0 outside the page."""
    whole = np.zeros((grid.n_rows * grid.tile_px, grid.n_cols * grid.tile_px), np.float32)
    whole[: grid.height_px, : grid.width_px] = plane
    size = grid.n_cols * per_tile, grid.n_rows * per_tile
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))


def background_level(dpi: float) -> int:
    """Return the level of tiles of the smooth background.

    >>> [background_level(dpi) for dpi in (100, 200, 300, 600)]
    [1, 2, 4, 8]
    """
    step = max(1, round(dpi / _BACKGROUND_DPI))
    return next((level for level in resolution.LEVELS if level >= step), resolution.LEVELS[-1])


def _grown(area: np.ndarray, by_px: int) -> np.ndarray:
    kernel = np.ones((2 * by_px + 1, 2 * by_px + 1), np.uint8)
    return np.asarray(cv2.dilate(area.astype(np.uint8), kernel) > 0)


def _specks(strokes: np.ndarray, dpi: float) -> np.ndarray:
    least_px = max(3, round((_SPECK_INCH * dpi) ** 2))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes.astype(np.uint8), connectivity=8)
    is_small = stats[:, cv2.CC_STAT_AREA] < least_px
    is_small[0] = False  # the area outside all strokes
    return np.asarray(is_small[labels])


def _smooth(pixels: np.ndarray, area: np.ndarray, step: int) -> np.ndarray:
    """Return the means of a page over squares of `step` pixels, within an area, float32.

    Squares with little of the area take their colour from their neighbours, those with none from farther away.
    """
    bottom, right = -pixels.shape[0] % step, -pixels.shape[1] % step
    weight = cv2.copyMakeBorder(area.astype(np.float32), 0, bottom, 0, right, cv2.BORDER_CONSTANT)
    plane = cv2.copyMakeBorder(pixels.astype(np.float32), 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    size = weight.shape[1] // step, weight.shape[0] // step
    totals = [cv2.resize(plane * _as_wide(weight, plane), size, interpolation=cv2.INTER_AREA)]
    counts = [cv2.resize(weight, size, interpolation=cv2.INTER_AREA)]
    while min(counts[-1].shape) > 1:
        half = (counts[-1].shape[1] + 1) // 2, (counts[-1].shape[0] + 1) // 2
        totals.append(cv2.resize(totals[-1], half, interpolation=cv2.INTER_AREA))
        counts.append(cv2.resize(counts[-1], half, interpolation=cv2.INTER_AREA))
    result = _divided(totals[-1], counts[-1])
    for total, count in zip(reversed(totals[:-1]), reversed(counts[:-1]), strict=True):
        trust = _as_wide(np.clip(count * _FULL_WEIGHT, 0, 1), total)
        result = trust * _divided(total, count) + (1 - trust) * _stretched(result, count.shape)
    return result


def _divided(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.asarray(total / np.maximum(_as_wide(count, total), 1e-6))


def _as_wide(plane: np.ndarray, like: np.ndarray) -> np.ndarray:
    return plane[..., np.newaxis] if like.ndim == 3 else plane


def _stretched(small: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if small.shape[:2] == shape[:2]:
        return small
    large: np.ndarray = cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return large


def _levels(plane: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(np.rint(plane), 0, 255).astype(np.uint8))
