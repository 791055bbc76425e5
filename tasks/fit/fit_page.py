"""Fit: the smallest encoding of a page that passes its check, found in few tries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from foliopress.configs.settings import EncodeSettings, Settings
from foliopress.tasks.analysis import chroma, page_kinds, resolution, tiles
from foliopress.tasks.analysis.colour_marks import allowed_error
from foliopress.tasks.analysis.page_analysis import Findings
from foliopress.tasks.analysis.strokes import Ink
from foliopress.tasks.checks import perceptual, rereading
from foliopress.tasks.checks.page_check import Check, Judgement
from foliopress.tasks.codecs import encode
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit import fit_layers, quality_search
from foliopress.tasks.fit.outcome import (
    Outcome,
    keeps_colour,
    no_gain,
    pixels_to_code,
    plan_figures,
    planned_levels,
    strengthened,
)
from foliopress.tasks.fit.page_writer import Writer, read_back
from foliopress.tasks.images.image_reader import Page

Watch = Callable[[bytes, np.ndarray, np.ndarray], object]
"""Told of an encoding before it is judged: its bytes, its pixels (upright, of the source's size) and its levels."""

_NUDGE = 3  # part of a step: where OCR wavers over a digit, a little more mostly decides it
_COLOUR_NUDGE = 2  # the same where a coloured mark is off: from some quality on its colour is there, and nearly whole
_FIRST_FOR_LIKENESS = 4  # quality 76: to look the same takes more than to be read


@dataclass(frozen=True)
class CodedBitonal:
    """A page in one bit a pixel, as it lies in its document, and what it took to code it."""

    data: bytes = field(repr=False)
    seconds: float


def code_bitonal(page: Page, settings: EncodeSettings) -> CodedBitonal:
    """Return a page as CCITT G4, which needs to know nothing about it but its pixels."""
    start = perf_counter()
    stored = page.as_stored(page_kinds.to_bitonal(luma_of(page.pixels)))
    data = encode.encode(stored, "g4", 100, encode.carried_metadata(page), settings)
    return CodedBitonal(data, perf_counter() - start)


def fit_page(
    found: Findings,
    most_bytes: int,
    reader: rereading.Reader,
    settings: Settings,
    watch: Watch | None = None,
    coded: CodedBitonal | None = None,
) -> Outcome:
    """Return the page's smallest encoding that passes its check, or the problem that keeps it whole.

    Args:
        found: What is known of the page.
        most_bytes: Size from which an encoding is of no use.
        reader: Reads at the page's dpi.
        settings: The plan's, the encoder's and the check's.
        watch: Told of each encoding of the page in one layer; what it raises ends the fit.
        coded: From `code_bitonal`, where that is there already.
    """
    check = Check(found, reader, settings)
    one_bit = found.kind is page_kinds.PageKind.BITONAL or (
        found.kind is page_kinds.PageKind.TWO_TONE
        and settings.encode.two_tone_to_bitonal
        and not keeps_colour(found, settings.encode)
    )
    if one_bit:
        outcome = _as_bitonal(found, check, most_bytes, coded or code_bitonal(found.page, settings.encode))
        if outcome.problem is None or found.kind is page_kinds.PageKind.BITONAL:
            return outcome
    if settings.documents.layers == "mrc":
        outcome = fit_layers.fit_layers(check, most_bytes, settings)
        if outcome.problem is None:
            return outcome
    return _adaptive(found, check, most_bytes, settings, watch)


def useful_bytes(source_bytes: int, is_coded_well: bool, settings: EncodeSettings) -> int:
    """Return the size from which an output is of no use.

    Args:
        source_bytes: Size of the source.
        is_coded_well: The source is not worth coding again for a small gain: it is lossy, so that it would lose more,
            or CCITT G4, which is all that a bitonal page becomes here.
        settings: How much is to be gained then.

    >>> useful_bytes(1000, False, EncodeSettings()), useful_bytes(1000, True, EncodeSettings(least_gain=0.1))
    (1000, 900)
    """
    return math.floor(source_bytes * (1.0 - settings.least_gain)) if is_coded_well else source_bytes


def _as_bitonal(found: Findings, check: Check, most_bytes: int, coded: CodedBitonal) -> Outcome:
    """Write one bit a pixel; a bitonal source loses nothing by it, a two-tone one is judged like any other."""
    data, settings = coded.data, check.settings
    decoded_from = perf_counter()
    decoded = found.page.upright(read_back(data, settings.limits))
    whole = np.ones(found.importance.shape, np.int8)
    figures: dict[str, object] = {"codec": "g4", "attempts": 1, "seconds_encode": coded.seconds}
    figures |= plan_figures(whole)
    seconds_check = perf_counter() - decoded_from
    problem: PageError | None = None
    if len(data) >= most_bytes:
        problem = no_gain("CCITT G4", len(data), most_bytes)
    elif found.kind is page_kinds.PageKind.BITONAL:
        if not np.array_equal(decoded, found.page.pixels):
            problem = PageError("not_lossless", "the one-bit encoding does not decode to its source")
        words = 1.0 if found.words else None
        figures |= {"text_ssim": words, "worst_block_ssim": 1.0, "chroma_error": 0.0, "words_kept_fraction": words}
        figures |= {"digits_changed": 0, "lines_reread": 0}
    elif settings.legibility.mode != "off":
        judgement = check.judge(decoded)
        figures |= judgement.figures | {"seconds_reread": judgement.seconds_reread}
        seconds_check += judgement.seconds_check
        problem = judgement.problem
    return Outcome(problem, data, "g4", whole, figures | {"seconds_check": seconds_check})


@dataclass
class _Plan:
    """How the next try is to be made."""

    levels: np.ndarray
    coarse_chroma: int
    has_whole_chroma: bool
    quality: int
    is_to_be_probed: bool
    step: int

    def strengthen(self, judgement: Judgement, ink: Ink, grid: tiles.TileGrid, *, is_quality_free: bool) -> bool:
        """Give what failed more of its colour, resolution or quality, in this order; say if its pixels change by it."""
        stronger = strengthened(self.levels, judgement.failing, ink, grid)
        if judgement.is_discoloured and (self.coarse_chroma > 1 or not self.has_whole_chroma):
            self.coarse_chroma, self.has_whole_chroma = 1, True
        elif np.array_equal(stronger, self.levels):  # what fails has all its pixels already: it is the codec's doing
            part = _NUDGE if judgement.is_ambiguous else _COLOUR_NUDGE if judgement.is_discoloured else 1
            step = max(1, self.step // part)
            self.quality, self.step = min(100, self.quality + step), 2 * self.step
            return False
        else:  # strokes that are kept from now on may need more
            self.is_to_be_probed = is_quality_free
        self.levels = stronger
        return True


def _adaptive(found: Findings, check: Check, most_bytes: int, settings: Settings, watch: Watch | None) -> Outcome:
    """Rescale by importance and encode; what the check finds failing gets its resolution back and more quality.

    A page that passes but for a digit string that reads in no way sure is strengthened once; if that does no good, it
    stays as it was.
    """
    grid, dpi, codec = found.grid, found.dpi, settings.encode.codec
    pixels = pixels_to_code(found, settings.encode)
    if max(pixels.shape[:2]) > encode.LARGEST_SIDE_PX[codec]:
        message = f"{codec} holds at most {encode.LARGEST_SIDE_PX[codec]} pixels a side"
        return Outcome(PageError("too_long", message), None, None, np.ones(found.importance.shape, np.int8), {})
    start = perf_counter()
    writer = Writer.for_page(found, settings)
    plan = _first_plan(pixels, check)
    sure = found.importance >= settings.importance.sure
    spent: dict[str, float] = {"seconds_encode": 0.0, "seconds_check": 0.0, "seconds_reread": 0.0}
    passed: Outcome | None = None
    mixed: np.ndarray | None = None
    for attempt in range(1, settings.legibility.max_attempts + 1):
        spent["attempts"] = attempt
        if mixed is None:
            mixed = resolution.rescale(pixels, found.ink, plan.levels, grid, dpi, settings.resolution, sure)
            mixed = chroma.with_coarse_chroma(mixed, plan.coarse_chroma)
        if plan.is_to_be_probed:
            plan.quality = max(plan.quality, _probed_quality(pixels, mixed, plan.levels, check, writer))
            plan.is_to_be_probed = False
        data = writer.encode(mixed, plan.quality)
        spent["seconds_encode"] += perf_counter() - start
        start = perf_counter()
        figures: dict[str, object] = {"codec": codec, "quality": plan.quality} | writer.size_figures()
        outcome = Outcome(None, data, codec, plan.levels, figures | plan_figures(plan.levels))
        if len(data) >= most_bytes:
            outcome = replace(outcome, problem=no_gain(codec, len(data), most_bytes))
            break
        decoded = writer.decode(data)  # whatever else is left out: what cannot be decoded is never stored
        if watch is not None:
            watch(data, decoded, plan.levels)
        if settings.legibility.mode == "off":
            break
        spent["seconds_check"] += perf_counter() - start
        judgement = check.judge(decoded)
        spent["seconds_check"] += judgement.seconds_check
        spent["seconds_reread"] += judgement.seconds_reread
        outcome = replace(outcome, problem=judgement.problem, figures=outcome.figures | judgement.figures)
        if not (judgement.problem or judgement.is_ambiguous):
            passed = outcome
            break
        if passed:
            break
        if judgement.is_ambiguous:
            passed = outcome
        start = perf_counter()
        if plan.strengthen(judgement, found.ink, grid, is_quality_free=settings.encode.quality is None):
            mixed = None
        if plan.has_whole_chroma:
            writer = writer.with_whole_chroma()
    best = passed or outcome
    return replace(best, figures=best.figures | spent)


def _first_plan(pixels: np.ndarray, check: Check) -> _Plan:
    found, settings = check.found, check.settings
    levels = planned_levels(found, settings)
    coarse_chroma = 1
    if pixels.ndim == 3:
        allowed = allowed_error(found.colour_marks, settings.legibility.max_mark_chroma_error)
        coarse_chroma = chroma.coarsest_chroma(pixels, settings.encode.chroma_budget, found.colour_marks, allowed)
    quality = settings.encode.quality
    has_whole_chroma = pixels.ndim == 2 or settings.encode.codec != "avif" or settings.encode.avif_chroma == "4:4:4"
    step = settings.encode.retry_quality_step
    return _Plan(levels, coarse_chroma, has_whole_chroma, quality or 1, quality is None, step)


def _probed_quality(pixels: np.ndarray, mixed: np.ndarray, levels: np.ndarray, check: Check, writer: Writer) -> int:
    """Return the quality that the page's kept strokes need, or its likeness, or the least that a page gets."""
    settings = check.settings
    quality = settings.encode.least_quality
    if check.least_likeness is not None:
        quality = max(quality, _quality_for_likeness(pixels, mixed, check, writer))
    kept = check.found.ink.plain & (resolution.tile_area(levels == 1, check.found.grid) > 0)
    sample = quality_search.take_sample(pixels, mixed, kept)
    if sample is None:
        return quality
    wanted, found = settings.legibility, check.found
    target = wanted.figures_target_ssim if rereading.is_numeric_page(found.words) else wanted.target_ssim
    coder = writer.coder(*sample.ink.shape)
    target = max(target, wanted.target_ssim)
    return max(quality, quality_search.find_quality(sample, coder, found.dpi, target, wanted.target_full_ssim))


def _quality_for_likeness(pixels: np.ndarray, mixed: np.ndarray, check: Check, writer: Writer) -> int:
    """Return the quality at which a sample of the page looks enough like its source."""
    assert check.least_likeness is not None
    sample = perceptual.take_patches(pixels, mixed, check.text)
    coder = writer.coder(*sample.text.shape)

    def scores(quality: int) -> np.ndarray:
        like = perceptual.measure(sample.source, coder(sample.mixed, quality), sample.text)
        return np.array([100.0, 100.0] if like is None else [like.page, like.text])

    return quality_search.least_quality(scores, check.least_likeness, _FIRST_FOR_LIKENESS)
