"""Fit a page in layers: split it into mask, foreground and background, and search for an encoding that passes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from foliopress.tasks.analysis import resolution
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.checks.page_check import Check, Judgement
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.fit_loop import Encoding, fit_candidate
from foliopress.tasks.fit.outcome import (
    EncodedPage,
    Outcome,
    pixels_to_encode,
    planned_levels,
    rejected,
    size_of,
    strengthened,
    tile_plan,
)
from foliopress.tasks.fit.quality_steps import QualitySteps
from foliopress.tasks.pdf import mrc, mrc_page


@dataclass(frozen=True)
class _Segmentation:
    """Division of a page between its layers.

    strokes: (height, width) bool, the mask. over: (height, width) bool, the part of it that is light or pale and shows
    over a background of full resolution, at the edge of its ground. background_levels: (n_rows, n_cols) int8.
    """

    strokes: np.ndarray
    over: np.ndarray
    background_levels: np.ndarray


class LayeredPage:
    """Candidate: mixed raster content. Whatever fails is shown by the background, at full resolution, then sharper."""

    form = "a page in layers"
    max_attempts = 6  # more than a page in one layer has: each one settles a few blocks

    def __init__(self, check: Check, pixels: np.ndarray) -> None:
        self._check, self._pixels, self._settings = check, pixels, check.settings
        encoding = check.settings.encode
        self._steps = QualitySteps(encoding.quality or encoding.least_quality, encoding.retry_quality_step)
        self._background_levels: np.ndarray | None = None
        self.is_judged = check.settings.legibility.mode != "off"

    def encode(self) -> Encoding:
        """Split the page and encode its layers."""
        analysis, segmentation, sharp = self._check.analysis, self._segmentation, self._sharp
        plan = tile_plan(analysis, sharp, self._settings)
        blended = resolution.rescale(self._pixels, plan, self._settings.resolution)
        is_background = (sharp < mrc.background_level(analysis.dpi)) | (sharp == 1)
        layers = mrc.split(self._pixels, segmentation.strokes, is_background, analysis, blended, segmentation.over)
        stored = mrc.Layers(*(analysis.page.as_stored(plane) for plane in layers))
        data = mrc_page.encode_layers(stored, self._settings.encode.codec, self._steps.quality, self._settings.encode)
        shown = np.where(self._levels == 1, np.int8(1), sharp)
        return Encoding(EncodedPage(data, "mrc"), len(data), self._steps.quality, shown, size_of(analysis))

    def decode(self, data: bytes) -> np.ndarray:
        """Draw the layers."""
        return self._check.analysis.page.upright(mrc_page.decode_layers(data))

    def judge(self, decoded: np.ndarray) -> Judgement:
        """Compare with the source; an ambiguous digit string fails, since a page in one layer may show it better."""
        judgement = self._check.judge(decoded)
        if not judgement.is_ambiguous:
            return judgement
        problem = PageError("legibility", "a digit string reads in no way sure in layers")
        return replace(judgement, problem=problem, is_ambiguous=False)

    def revise(self, judgement: Judgement) -> bool:
        """Show what fails by a sharper background, or else raise the quality, until it passes; then look for less."""
        if judgement.is_clear:
            return self._steps.after_pass()
        analysis = self._check.analysis
        sharper = strengthened(self._sharp, judgement.failing, analysis.ink, analysis.grid)
        if np.array_equal(sharper, self._sharp):
            return self._steps.after_failure()
        self._background_levels = sharper
        self._steps.restart()
        return True

    @cached_property
    def _levels(self) -> np.ndarray:
        return planned_levels(self._check.analysis, self._settings)

    @cached_property
    def _segmentation(self) -> _Segmentation:
        return _segment(self._levels, self._pixels, self._check.analysis)

    @property
    def _sharp(self) -> np.ndarray:
        """Levels (n_rows, n_cols) int8 of the background."""
        return self._segmentation.background_levels if self._background_levels is None else self._background_levels


def fit_layers(check: Check, most_bytes: int) -> Outcome:
    """Return the page in layers, or the problem that prevents it.

    Args:
        check: Check of the page.
        most_bytes: Size gate.
    """
    pixels = pixels_to_encode(check.analysis, check.settings.encode)
    if max(pixels.shape[:2]) > mrc_page.LARGEST_SIDE_PX:
        problem = PageError("too_long", "a page in layers would be too long for a PDF")
        return rejected(problem, check.analysis)
    outcome = fit_candidate(LayeredPage(check, pixels), most_bytes)
    if outcome.problem is not None:  # nothing of the attempts is kept
        return rejected(outcome.problem, check.analysis, outcome.metrics.only_seconds())
    return outcome


def _segment(levels: np.ndarray, pixels: np.ndarray, analysis: PageAnalysis) -> _Segmentation:
    """Return the first segmentation of a page into mask and background.

    Tiles that dark strokes alone do not reproduce get light and pale strokes too. What two colours cannot show goes to
    the background at full resolution, as do important strokes that would fade; fading strokes of tiles planned at half
    resolution get a background of half resolution.
    """
    strokes = mrc.find_strokes(analysis, levels)
    smooth, is_important = mrc.background_level(analysis.dpi), levels == 1
    is_lost, faded = _lost(strokes, levels, pixels, analysis)
    candidates = (is_lost | faded) & is_important
    over = np.zeros(strokes.shape, bool)
    if smooth > 1 and candidates.any():
        nearby = _with_neighbours(candidates) & is_important  # a line of which some letters do not fade is one line
        others = mrc.find_other_strokes(analysis, strokes, resolution.tile_area(is_important, analysis.grid) > 0)
        more = strokes | others
        is_lost_still, _ = _lost(more, levels, pixels, analysis)
        shown = luma_of(_shown(more, pixels, analysis))
        carried = nearby & mrc.is_shown(analysis, shown) & ~is_lost_still
        edge = _with_neighbours(carried) & is_important & ~carried
        over = others & mrc.is_shown(analysis, shown, by_cell=True) & (resolution.tile_area(edge, analysis.grid) > 0)
        strokes = strokes | (others & (resolution.tile_area(carried, analysis.grid) > 0))
        is_lost, faded = is_lost & ~carried, faded & ~carried
    result = np.where(faded & (levels == 2), np.int8(min(2, smooth)), np.int8(smooth))
    return _Segmentation(strokes, over, np.where(is_lost | (faded & is_important), np.int8(1), result))


def _with_neighbours(area: np.ndarray) -> np.ndarray:
    return np.asarray(cv2.dilate(area.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0)


def _lost(
    strokes: np.ndarray, levels: np.ndarray, pixels: np.ndarray, analysis: PageAnalysis
) -> tuple[np.ndarray, np.ndarray]:
    """Return two (n_rows, n_cols) bool: tiles that a mask and smooth layers do not show, tiles whose strokes fade."""
    shown = _shown(strokes, pixels, analysis)
    planes = zip(_planes(pixels), _planes(shown), strict=True)
    differing = np.any([mrc.differing_tiles(*pair, analysis.grid, analysis.dpi) for pair in planes], axis=0)
    half = resolution.restored(resolution.reduced(analysis.luma, 2), 2, *analysis.luma.shape)
    wanted = np.where(resolution.tile_area(levels == 1, analysis.grid) > 0, analysis.luma, half)
    return differing, mrc.faded_tiles(analysis, wanted, luma_of(shown))


def _shown(strokes: np.ndarray, pixels: np.ndarray, analysis: PageAnalysis) -> np.ndarray:
    none = np.zeros(analysis.importance.shape, bool)
    return mrc.compose(mrc.split(pixels, strokes, none, analysis, pixels)).astype(np.uint8)


def _planes(pixels: np.ndarray) -> list[np.ndarray]:
    """Return the luma, and for a colour page the chroma (ITU-R BT.601), each (height, width) uint8."""
    if pixels.ndim == 2:
        return [pixels]
    return list(cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb)))
