"""Fit in layers: the smallest page in layers that passes its check, or none."""

from __future__ import annotations

from time import perf_counter

import cv2
import numpy as np

from foliopress.configs.settings import Settings
from foliopress.tasks.analysis import resolution
from foliopress.tasks.analysis.page_analysis import Findings
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.outcome import Outcome, no_gain, pixels_to_code, plan_figures, planned_levels, strengthened
from foliopress.tasks.pdf import mrc, mrc_page

_MOST_TRIES = 6  # more than a page in one layer has: each one settles a few blocks


def fit_layers(check: Check, most_bytes: int, settings: Settings) -> Outcome:
    """Return the page in layers, or the problem that keeps it from being one.

    What fails its check is shown by the background from then on, at full resolution, and if that does not help with
    more quality.

    Args:
        check: Of the page.
        most_bytes: Size from which an encoding is of no use.
        settings: The plan's, the encoder's and the check's.
    """
    found, grid = check.found, check.found.grid
    whole = np.ones(found.importance.shape, np.int8)
    pixels = pixels_to_code(found, settings.encode)
    if max(pixels.shape[:2]) > mrc_page.LARGEST_SIDE_PX:
        return Outcome(PageError("too_long", "a page in layers would be too long for a PDF"), None, None, whole, {})
    start = perf_counter()
    levels = planned_levels(found, settings)
    strokes = mrc.find_strokes(found, levels)
    strokes, over, sharp = _shared_out(strokes, levels, pixels, found)
    smooth = mrc.background_level(found.dpi)
    sure = found.importance >= settings.importance.sure
    quality, step = settings.encode.quality or settings.encode.least_quality, settings.encode.retry_quality_step
    spent = dict.fromkeys(("seconds_encode", "seconds_check", "seconds_reread"), 0.0)
    problem: PageError | None = None
    for attempt in range(1, _MOST_TRIES + 1):
        mixed = resolution.rescale(pixels, found.ink, sharp, grid, found.dpi, settings.resolution, sure)
        parted = mrc.part(pixels, strokes, (sharp < smooth) | (sharp == 1), found, mixed, over)
        stored = mrc.Layers(*(found.page.as_stored(plane) for plane in parted))
        data = mrc_page.encode_layers(stored, settings.encode.codec, quality, settings.encode)
        spent["seconds_encode"] += perf_counter() - start
        if len(data) >= most_bytes:
            problem = no_gain("a page in layers", len(data), most_bytes)
            break
        decoded = found.page.upright(mrc_page.decode_layers(data))
        shown = np.where(levels == 1, np.int8(1), sharp)
        figures: dict[str, object] = {"codec": "mrc", "quality": quality, "attempts": attempt} | plan_figures(shown)
        figures |= {"output_height_px": pixels.shape[0], "output_width_px": pixels.shape[1]}
        figures |= {"output_dpi": found.page.dpi}
        if settings.legibility.mode == "off":
            return Outcome(None, data, "mrc", shown, figures | spent)
        judgement = check.judge(decoded)
        spent["seconds_check"] += judgement.seconds_check
        spent["seconds_reread"] += judgement.seconds_reread
        problem = judgement.problem
        if problem is None and not judgement.is_ambiguous:
            return Outcome(None, data, "mrc", shown, figures | judgement.figures | spent)
        start = perf_counter()
        sharper = strengthened(sharp, judgement.failing, found.ink, grid)
        if np.array_equal(sharper, sharp):
            quality, step = min(100, quality + step), 2 * step
        sharp = sharper
    problem = problem or PageError("legibility", "a digit string reads in no way sure in layers")
    return Outcome(problem, None, None, whole, {**spent})


def _shared_out(
    strokes: np.ndarray, levels: np.ndarray, pixels: np.ndarray, found: Findings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what is parted where, before anything is encoded.

    Where dark strokes alone do not show what is there, light and pale ones are tried. What no two colours can show is
    in the background at full resolution, as are strokes that count and fade; strokes of tiles planned at half
    resolution have that, where they would fade.

    Returns:
        The mask (height, width); of it what is light or pale and lies over a background of full resolution, at the edge
        of the ground that it stands on; and the level (n_rows, n_cols) int8 of the background in each tile.
    """
    smooth, counts = mrc.background_level(found.dpi), levels == 1
    is_lost, faded = _lost(strokes, levels, pixels, found)
    tried = (is_lost | faded) & counts
    over = np.zeros(strokes.shape, bool)
    if smooth > 1 and tried.any():
        beside = _with_neighbours(tried) & counts  # a line of which some letters do not fade is one line
        others = mrc.find_other_strokes(found, strokes, resolution.tile_area(counts, found.grid) > 0)
        more = strokes | others
        is_lost_still, _ = _lost(more, levels, pixels, found)
        shown = luma_of(_shown(more, pixels, found))
        carried = beside & mrc.is_shown(found, shown) & ~is_lost_still
        edge = _with_neighbours(carried) & counts & ~carried
        over = others & mrc.is_shown(found, shown, by_cell=True) & (resolution.tile_area(edge, found.grid) > 0)
        strokes = strokes | (others & (resolution.tile_area(carried, found.grid) > 0))
        is_lost, faded = is_lost & ~carried, faded & ~carried
    result = np.where(faded & (levels == 2), np.int8(min(2, smooth)), np.int8(smooth))
    return strokes, over, np.where(is_lost | (faded & counts), np.int8(1), result)


def _with_neighbours(area: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.dilate(area.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _lost(
    strokes: np.ndarray, levels: np.ndarray, pixels: np.ndarray, found: Findings
) -> tuple[np.ndarray, np.ndarray]:
    """Return (n_rows, n_cols) bool twice: tiles that a mask and smooth layers do not show, those whose strokes fade."""
    shown = _shown(strokes, pixels, found)
    planes = zip(_planes(pixels), _planes(shown), strict=True)
    unlike = np.any([mrc.unlike_tiles(*pair, found.grid, found.dpi) for pair in planes], axis=0)
    half = resolution.restored(resolution.reduced(found.luma, 2), 2, *found.luma.shape)
    wanted = np.where(resolution.tile_area(levels == 1, found.grid) > 0, found.luma, half)
    return unlike, mrc.faded_tiles(found, wanted, luma_of(shown))


def _shown(strokes: np.ndarray, pixels: np.ndarray, found: Findings) -> np.ndarray:
    none = np.zeros(found.importance.shape, bool)
    return mrc.put_together(mrc.part(pixels, strokes, none, found, pixels)).astype(np.uint8)


def _planes(pixels: np.ndarray) -> list[np.ndarray]:
    """Return luma, and of a page in colour its chroma (ITU-R BT.601), each (height, width) uint8."""
    if pixels.ndim == 2:
        return [pixels]
    return list(cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)))
