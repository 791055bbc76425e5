"""Fit a page in one layer: resize its tiles by importance, and search for the lowest quality that passes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from foliopress.tasks.analysis import chroma, resolution, tiles
from foliopress.tasks.analysis.colour_marks import allowed_error
from foliopress.tasks.analysis.strokes import Ink
from foliopress.tasks.checks import perceptual, rereading
from foliopress.tasks.checks.page_check import Check, Judgement
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit import quality_search
from foliopress.tasks.fit.fit_loop import Encoding, Watch, fit_candidate
from foliopress.tasks.fit.outcome import (
    EncodedPage,
    Outcome,
    pixels_to_encode,
    planned_levels,
    rejected,
    strengthened,
    tile_plan,
)
from foliopress.tasks.fit.page_writer import Writer
from foliopress.tasks.fit.quality_steps import QualitySteps

_AMBIGUOUS_SHARE = 3  # part of a step: where OCR wavers over a digit, a little more mostly decides it
_COLOUR_SHARE = 2  # the same where a coloured mark is off: from some quality on its colour is there, and nearly whole
_FIRST_FOR_LIKENESS = 4  # quality 76: to look the same takes more than to be read


@dataclass
class _Plan:
    """Parameters of the next attempt."""

    levels: np.ndarray
    coarse_chroma: int
    has_whole_chroma: bool
    steps: QualitySteps
    is_quality_free: bool
    needs_search: bool

    def gives_pixels_back(self, judgement: Judgement, ink: Ink, grid: tiles.TileGrid) -> bool:
        """Plan the chroma, or else the resolution, of what fails; return False if all of it has both."""
        stronger = strengthened(self.levels, judgement.failing, ink, grid)
        if judgement.is_discoloured and (self.coarse_chroma > 1 or not self.has_whole_chroma):
            self.coarse_chroma, self.has_whole_chroma = 1, True
        elif np.array_equal(stronger, self.levels):
            return False
        else:  # strokes that are kept from now on may need more
            self.needs_search = self.is_quality_free and not self.steps.has_passed
        self.levels = stronger
        self.steps.restart()
        return True


class AdaptivePage:
    """Candidate: one image whose tiles have the resolution that their importance asks for."""

    def __init__(self, check: Check, pixels: np.ndarray) -> None:
        self._check, self._pixels, self._settings = check, pixels, check.settings
        self._blended: np.ndarray | None = None
        self.form = check.settings.encode.codec
        self.max_attempts = check.settings.legibility.max_attempts
        self.is_judged = check.settings.legibility.mode != "off"

    def encode(self) -> Encoding:
        """Resize the tiles, search for the quality if need be, and encode."""
        plan = self._plan
        blended = self._blended if self._blended is not None else self._resized()
        self._blended = blended
        if plan.needs_search:
            plan.steps.quality = max(plan.steps.quality, self._search_quality(blended))
            plan.needs_search = False
        data = self._writer.encode(blended, plan.steps.quality)
        page = EncodedPage(data, self._settings.encode.codec)
        return Encoding(page, len(data), plan.steps.quality, plan.levels, self._writer.output_size)

    def decode(self, data: bytes) -> np.ndarray:
        """Decode a file to the source's size."""
        return self._writer.decode(data)

    def judge(self, decoded: np.ndarray) -> Judgement:
        """Compare with the source."""
        return self._check.judge(decoded)

    def revise(self, judgement: Judgement) -> bool:
        """Give what failed its chroma or resolution back, and if it has both, more quality; then look for less."""
        analysis, plan = self._check.analysis, self._plan
        if judgement.is_clear:
            return plan.steps.after_pass()
        if plan.gives_pixels_back(judgement, analysis.ink, analysis.grid):
            self._blended = None
            return True
        share = _AMBIGUOUS_SHARE if judgement.is_ambiguous else _COLOUR_SHARE if judgement.is_discoloured else 1
        return plan.steps.after_failure(share)

    @cached_property
    def _plan(self) -> _Plan:
        analysis, settings = self._check.analysis, self._settings
        levels = planned_levels(analysis, settings)
        coarse_chroma = 1
        if self._pixels.ndim == 3:
            marks = analysis.colour_marks
            allowed = allowed_error(marks, settings.legibility.max_mark_chroma_error)
            coarse_chroma = chroma.coarsest_chroma(self._pixels, settings.encode.chroma_budget, marks, allowed)
        quality, step = settings.encode.quality, settings.encode.retry_quality_step
        is_free = quality is None
        has_whole_chroma = not self._is_subsampled_at_first
        return _Plan(levels, coarse_chroma, has_whole_chroma, QualitySteps(quality or 1, step), is_free, is_free)

    @property
    def _is_subsampled_at_first(self) -> bool:
        """Whether the first attempt subsamples a page's chroma; grey pages that are stored in colour have none."""
        encoding = self._settings.encode
        return self._pixels.ndim == 3 and encoding.codec == "avif" and encoding.avif_chroma != "4:4:4"

    @property
    def _writer(self) -> Writer:
        is_changed = self._is_subsampled_at_first and self._plan.has_whole_chroma
        return self._whole_chroma_writer if is_changed else self._first_writer

    @cached_property
    def _first_writer(self) -> Writer:
        return Writer.for_page(self._check.analysis, self._settings)

    @cached_property
    def _whole_chroma_writer(self) -> Writer:
        return self._first_writer.with_whole_chroma()

    def _resized(self) -> np.ndarray:
        plan = tile_plan(self._check.analysis, self._plan.levels, self._settings)
        blended = resolution.rescale(self._pixels, plan, self._settings.resolution)
        return chroma.with_coarse_chroma(blended, self._plan.coarse_chroma)

    def _search_quality(self, blended: np.ndarray) -> int:
        """Return the lowest quality that the kept strokes and the perceptual score need."""
        analysis, wanted = self._check.analysis, self._settings.legibility
        quality = self._settings.encode.least_quality
        if (least_scores := self._check.least_scores) is not None:
            quality = max(quality, self._quality_for_scores(blended, least_scores))
        kept = analysis.ink.plain & (resolution.tile_area(self._plan.levels == 1, analysis.grid) > 0)
        sample = quality_search.take_sample(self._pixels, blended, kept)
        if sample is None:
            return quality
        has_numbers = rereading.is_numeric_page(analysis.words)
        target = max(wanted.figures_target_ssim if has_numbers else wanted.target_ssim, wanted.target_ssim)
        codec = self._writer.coder(*sample.ink.shape)
        found = quality_search.find_quality(sample, codec, analysis.dpi, target, wanted.target_full_ssim)
        return max(quality, found)

    def _quality_for_scores(self, blended: np.ndarray, least_scores: np.ndarray) -> int:
        """Return the quality at which a sample of the page reaches the wanted SSIMULACRA 2 scores."""
        sample = perceptual.take_patches(self._pixels, blended, self._check.text)
        codec = self._writer.coder(*sample.text.shape)

        def scores(quality: int) -> np.ndarray:
            like = perceptual.measure(sample.source, codec(sample.rescaled, quality), sample.text)
            return np.array([100.0, 100.0] if like is None else [like.page, like.text])

        return quality_search.least_quality(scores, least_scores, _FIRST_FOR_LIKENESS)


def fit_adaptive(check: Check, most_bytes: int, watch: Watch | None) -> Outcome:
    """Return the page in one layer, or the problem that keeps it as it is."""
    settings = check.settings.encode
    pixels = pixels_to_encode(check.analysis, settings)
    longest_px = encode.LARGEST_SIDE_PX[settings.codec]
    if max(pixels.shape[:2]) > longest_px:
        problem = PageError("too_long", f"{settings.codec} holds at most {longest_px} pixels a side")
        return rejected(problem, check.analysis)
    return fit_candidate(AdaptivePage(check, pixels), most_bytes, watch)
