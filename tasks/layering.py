"""Fit in layers: the smallest page in layers that passes its check, or none."""

from __future__ import annotations

from time import perf_counter

import numpy as np

from configs.settings import Settings
from tasks import layered_pdf, layers, resolution
from tasks.checking import Check
from tasks.errors import PageError
from tasks.outcomes import Outcome, no_gain, pixels_to_code, plan_figures, planned_levels, strengthened

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
    if max(pixels.shape[:2]) > layered_pdf.LARGEST_SIDE_PX:
        return Outcome(PageError("too_long", "a page in layers would be too long for a PDF"), None, None, whole, {})
    start = perf_counter()
    levels = planned_levels(found, settings)
    strokes = layers.find_strokes(found, levels)
    sharp = np.where(_unlike(strokes, check), np.int8(1), layers.background_level(found.dpi)).astype(np.int8)
    sure = found.importance >= settings.importance.sure
    quality, step = settings.encode.quality or settings.encode.least_quality, settings.encode.retry_quality_step
    spent = dict.fromkeys(("seconds_encode", "seconds_check", "seconds_reread"), 0.0)
    problem: PageError | None = None
    for attempt in range(1, _MOST_TRIES + 1):
        mixed = resolution.rescale(pixels, found.ink, sharp, grid, found.dpi, settings.resolution, sure)
        parted = layers.part(pixels, strokes, sharp == 1, found, mixed)
        stored = layers.Layers(*(found.page.as_stored(plane) for plane in parted))
        data = layered_pdf.encode_layers(stored, settings.encode.codec, quality, settings.encode)
        spent["seconds_encode"] += perf_counter() - start
        if len(data) >= most_bytes:
            problem = no_gain("a page in layers", len(data), most_bytes)
            break
        decoded = found.page.upright(layered_pdf.decode_layers(data))
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


def _unlike(strokes: np.ndarray, check: Check) -> np.ndarray:
    """Return the tiles which no two colours can show, worked out before anything is encoded."""
    found = check.found
    none = np.zeros(found.importance.shape, bool)
    shown = layers.put_together(layers.part(found.luma, strokes, none, found, found.luma))
    return layers.unlike_tiles(found.luma, shown.astype(np.uint8), found.grid, found.dpi)
