"""Fit: the smallest encoding of a page that passes its check, found in few tries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from time import perf_counter

import cv2
import numpy as np

from configs.settings import EncodeSettings, Settings
from tasks import chroma, encode, kinds, legibility, likeness, ocr, pages, probe, reading, resolution, tiles
from tasks.errors import PageError
from tasks.ink import Ink, find_ink, luma_of

_FIRST_FOR_LIKENESS = 4  # quality 76: to look the same takes more than to be read
_LEAST_CAP = 0.95  # a page that is only just above the cap is not worth resampling


@dataclass(frozen=True)
class Findings:
    """All that was found out about a page before it is compressed.

    `masked` is (n_rows, n_cols) bool, the tiles in which OCR read a word; `importance` (n_rows, n_cols) float32 in
    [0, 1]; `dpi` what the page is judged at, whatever its tag says.
    """

    page: pages.Page
    kind: kinds.PageKind
    dpi: float
    words: Sequence[ocr.Word]
    grid: tiles.TileGrid
    masked: np.ndarray
    importance: np.ndarray


@dataclass(frozen=True)
class Outcome:
    """What compressing one page came to; `levels` are (n_rows, n_cols) int8, all 1 unless the page is written so.

    `figures` are columns of the page's row.
    """

    problem: PageError | None
    data: bytes | None = field(repr=False)
    codec: encode.Codec | None
    levels: np.ndarray = field(repr=False)
    figures: dict[str, object]


def fit_page(found: Findings, most_bytes: int, reader: reading.Reader, settings: Settings) -> Outcome:
    """Return the page's smallest encoding that passes its check, or the problem that keeps it whole.

    Args:
        found: What is known of the page.
        most_bytes: Size from which an encoding is of no use.
        reader: Reads at the page's dpi.
        settings: The plan's, the encoder's and the check's.
    """
    check = _Check(found, reader, settings)
    one_bit = found.kind is kinds.PageKind.BITONAL or (
        found.kind is kinds.PageKind.TWO_TONE and settings.encode.two_tone_to_bitonal
    )
    if one_bit:
        outcome = _as_bitonal(found, check, most_bytes, settings)
        if outcome.problem is None or found.kind is kinds.PageKind.BITONAL:
            return outcome
    return _adaptive(found, check, most_bytes, settings)


def useful_bytes(source_bytes: int, is_lossy: bool, settings: EncodeSettings) -> int:
    """Return the size from which an output is of no use: a lossy source is not coded again for a small gain.

    >>> useful_bytes(1000, False, EncodeSettings()), useful_bytes(1000, True, EncodeSettings(least_gain=0.1))
    (1000, 900)
    """
    return math.floor(source_bytes * (1.0 - settings.least_gain)) if is_lossy else source_bytes


@dataclass(frozen=True)
class _Judgement:
    """What the check says of one encoding: its problem if any, its figures, and the boxes of what failed."""

    problem: PageError | None
    figures: dict[str, object]
    failing: np.ndarray
    is_discoloured: bool
    seconds_check: float
    seconds_reread: float


@dataclass(frozen=True)
class _Check:
    """The page as its encodings are held against it."""

    found: Findings
    reader: reading.Reader
    settings: Settings

    @cached_property
    def luma(self) -> np.ndarray:
        return luma_of(self.found.page.pixels)

    @cached_property
    def ink(self) -> Ink:
        return find_ink(self.luma, self.found.dpi)

    @cached_property
    def text(self) -> np.ndarray:
        sure = resolution.tile_area(self.found.importance >= self.settings.importance.sure, self.found.grid) > 0
        return likeness.text_area(self.found.words, self.ink.plain, sure, self.found.dpi)

    @cached_property
    def least_likeness(self) -> np.ndarray | None:
        """(2,) float: what the page and its text must score, -inf where they need not; None if neither does."""
        wanted = self.settings.legibility
        least = [wanted.min_ssimulacra2, wanted.min_text_ssimulacra2]
        return np.array([-np.inf if one is None else one for one in least]) if least != [None, None] else None

    def judge(self, decoded: np.ndarray) -> _Judgement:
        """Compare a decoded page with its source; words are read again only where its strokes have passed."""
        found, wanted = self.found, self.settings.legibility
        start = perf_counter()
        verdict = legibility.judge(found.page.pixels, decoded, found.words, self.ink, found.dpi, wanted)
        figures: dict[str, object] = {
            "text_ssim": verdict.text_ssim,
            "worst_block_ssim": verdict.worst_block_ssim,
            "chroma_error": verdict.chroma_error,
        }
        problem, failing = _stroke_problem(verdict, self.settings), verdict.failing
        if self.least_likeness is not None:
            like = likeness.measure(found.page.pixels, decoded, self.text)
            if like is not None:
                figures |= {"ssimulacra2": like.page, "text_ssimulacra2": like.text}
                unlike = _likeness_problem(like, self.least_likeness, wanted.mode)
                problem = problem or unlike
                if unlike:  # wherever it is coarser than its source
                    failing = np.array([[0, 0, *found.page.pixels.shape[:2]]])
        reread_at = perf_counter()
        if problem is None:
            again = reading.reread(self.luma, luma_of(decoded), found.words, found.dpi, self.reader, wanted)
            figures |= {
                "words_kept_fraction": again.words_kept_fraction,
                "digits_changed": again.digits_changed,
                "lines_reread": again.lines_reread,
            }
            problem = problem or _word_problem(again, self.settings)
            failing = np.concatenate([failing, again.failing]) if not again.passed else failing
        is_discoloured = verdict.chroma_error > wanted.max_chroma_error
        return _Judgement(problem, figures, failing, is_discoloured, reread_at - start, perf_counter() - reread_at)


def _as_bitonal(found: Findings, check: _Check, most_bytes: int, settings: Settings) -> Outcome:
    """Write one bit a pixel; a bitonal source loses nothing by it, a two-tone one is judged like any other."""
    start = perf_counter()
    data = encode.encode(kinds.to_bitonal(check.luma), "g4", 100, encode.carried_by(found.page), settings.encode)
    encoded_at = perf_counter()
    decoded = pages.read_page(data, 0, settings.limits).pixels
    whole = np.ones(found.importance.shape, np.int8)
    figures: dict[str, object] = {"codec": "g4", "attempts": 1, "seconds_encode": encoded_at - start}
    figures |= plan_figures(whole)
    seconds_check = perf_counter() - encoded_at
    problem: PageError | None = None
    if len(data) >= most_bytes:
        problem = _no_gain("CCITT G4", data, most_bytes)
    elif found.kind is kinds.PageKind.BITONAL:
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


def _adaptive(found: Findings, check: _Check, most_bytes: int, settings: Settings) -> Outcome:
    """Rescale by importance and encode; what the check finds failing gets its resolution back and more quality."""
    grid, dpi, codec = found.grid, found.dpi, settings.encode.codec
    pixels = _pixels_to_code(found)
    if max(pixels.shape[:2]) > encode.LARGEST_SIDE_PX[codec]:
        message = f"{codec} holds at most {encode.LARGEST_SIDE_PX[codec]} pixels a side"
        return Outcome(PageError("too_long", message), None, None, np.ones(found.importance.shape, np.int8), {})
    start = perf_counter()
    writer = _Writer.for_page(found, settings)
    levels = resolution.choose_levels(
        check.luma, check.ink, found.importance, found.masked, grid, dpi, settings.importance, settings.resolution
    )
    coarse_chroma = chroma.coarsest_chroma(pixels, settings.encode.chroma_budget) if pixels.ndim == 3 else 1
    sure = found.importance >= settings.importance.sure
    quality, is_to_be_probed = settings.encode.quality or 1, settings.encode.quality is None
    step = settings.encode.retry_quality_step
    spent = {"seconds_encode": 0.0, "seconds_check": 0.0, "seconds_reread": 0.0}
    for attempt in range(1, settings.legibility.max_attempts + 1):
        mixed = resolution.rescale(pixels, check.ink, levels, grid, dpi, settings.resolution, sure)
        mixed = chroma.with_coarse_chroma(mixed, coarse_chroma)
        if is_to_be_probed:
            quality = max(quality, _probed_quality(pixels, mixed, levels, check, writer, settings))
            is_to_be_probed = False
        data = writer.encode(mixed, quality)
        spent["seconds_encode"] += perf_counter() - start
        start = perf_counter()
        figures: dict[str, object] = {"codec": codec, "quality": quality, "attempts": attempt} | writer.size_figures()
        if len(data) >= most_bytes:
            problem: PageError | None = _no_gain(codec, data, most_bytes)
            break
        if settings.legibility.mode == "off":
            problem = None
            break
        decoded = writer.decode(data)
        spent["seconds_check"] += perf_counter() - start
        judgement = check.judge(decoded)
        problem = judgement.problem
        figures |= judgement.figures
        spent["seconds_check"] += judgement.seconds_check
        spent["seconds_reread"] += judgement.seconds_reread
        if problem is None:
            break
        start = perf_counter()
        stronger = strengthened(levels, judgement.failing, check.ink, grid)
        if judgement.is_discoloured and coarse_chroma > 1:
            coarse_chroma = 1
        elif np.array_equal(stronger, levels):  # what fails has all its pixels already: it is the codec's doing
            quality, step = min(100, quality + step), 2 * step
        else:  # strokes that are kept from now on may need more
            is_to_be_probed = settings.encode.quality is None
        levels = stronger
    return Outcome(problem, data, codec, levels, figures | spent | plan_figures(levels))


@dataclass(frozen=True)
class _Writer:
    """Encodes a page at the resolution that it may have, and decodes it to its source's size again."""

    codec: encode.Codec
    carried: encode.Carried
    size_px: tuple[int, int]
    written_px: tuple[int, int]
    settings: Settings

    @classmethod
    def for_page(cls, found: Findings, settings: Settings) -> _Writer:
        carried = encode.carried_by(found.page)
        size_px = found.page.pixels.shape[0], found.page.pixels.shape[1]
        most = settings.resolution.max_dpi
        if most is None or most / found.dpi > _LEAST_CAP:
            return cls(settings.encode.codec, carried, size_px, size_px, settings)
        scale = most / found.dpi
        written_px = max(1, round(size_px[0] * scale)), max(1, round(size_px[1] * scale))
        dpi = carried.dpi * scale if carried.dpi else None
        return cls(settings.encode.codec, replace(carried, dpi=dpi), size_px, written_px, settings)

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        smaller = pixels
        if self.written_px != self.size_px:
            smaller = cv2.resize(pixels, self.written_px[::-1], interpolation=cv2.INTER_AREA)
        return encode.encode(smaller, self.codec, quality, self.carried, self.settings.encode)

    def decode(self, data: bytes) -> np.ndarray:
        pixels = pages.read_page(data, 0, self.settings.limits).pixels
        if self.written_px != self.size_px:
            pixels = cv2.resize(pixels, self.size_px[::-1], interpolation=cv2.INTER_CUBIC)
        return pixels

    def coder(self, height_px: int, width_px: int) -> probe.Coder:
        """Return the codec there and back for a sample of another size."""
        rows, cols = self.written_px[0] / self.size_px[0], self.written_px[1] / self.size_px[1]
        written_px = max(1, round(height_px * rows)), max(1, round(width_px * cols))
        bare = replace(self, carried=encode.Carried(), size_px=(height_px, width_px), written_px=written_px)
        return lambda pixels, quality: bare.decode(bare.encode(pixels, quality))

    def size_figures(self) -> dict[str, object]:
        height_px, width_px = self.written_px
        return {"output_height_px": height_px, "output_width_px": width_px, "output_dpi": self.carried.dpi}


def _probed_quality(
    pixels: np.ndarray, mixed: np.ndarray, levels: np.ndarray, check: _Check, writer: _Writer, settings: Settings
) -> int:
    """Return the quality that the page's kept strokes need, or its likeness, or the least that a page gets."""
    quality = settings.encode.least_quality
    if check.least_likeness is not None:
        quality = max(quality, _quality_for_likeness(pixels, mixed, check, writer))
    kept = check.ink.plain & (resolution.tile_area(levels == 1, check.found.grid) > 0)
    sample = probe.take_sample(pixels, mixed, kept)
    if sample is None:
        return quality
    wanted, found = settings.legibility, check.found
    target = wanted.figures_target_ssim if reading.bears_figures(found.words) else wanted.target_ssim
    coder = writer.coder(*sample.ink.shape)
    target = max(target, wanted.target_ssim)
    return max(quality, probe.find_quality(sample, coder, found.dpi, target, wanted.target_full_ssim))


def _quality_for_likeness(pixels: np.ndarray, mixed: np.ndarray, check: _Check, writer: _Writer) -> int:
    """Return the quality at which a sample of the page looks enough like its source."""
    assert check.least_likeness is not None
    sample = likeness.take_sample(pixels, mixed, check.text)
    coder = writer.coder(*sample.text.shape)

    def scores(quality: int) -> np.ndarray:
        like = likeness.measure(sample.source, coder(sample.mixed, quality), sample.text)
        return np.array([100.0, 100.0] if like is None else [like.page, like.text])

    return probe.least_quality(scores, check.least_likeness, _FIRST_FOR_LIKENESS)


def strengthened(levels: np.ndarray, failing: np.ndarray, ink: Ink, grid: tiles.TileGrid) -> np.ndarray:
    """Return the levels with every tile of ink near a failing box at its full resolution; bare paper stays coarse.

    Args:
        levels: (n_rows, n_cols) int8.
        failing: (n, 4) (row_px, col_px, height_px, width_px).
        ink: The page's strokes.
        grid: The page's tiles.
    """
    near = np.zeros(levels.shape, bool)
    for row_px, col_px, height_px, width_px in failing.tolist():
        rows = slice(row_px // grid.tile_px, (row_px + height_px) // grid.tile_px + 1)
        cols = slice(col_px // grid.tile_px, (col_px + width_px) // grid.tile_px + 1)
        near[rows, cols] = True
    has_ink = tiles.masked_fraction(ink.plain, grid) >= resolution.LEAST_STROKE_FRACTION
    return np.where(near & has_ink, np.int8(1), levels)


def plan_figures(levels: np.ndarray) -> dict[str, object]:
    """Return the columns of a page's row that count its levels."""
    return {f"tiles_at_level_{level}": count for level, count in resolution.count_levels(levels).items()}


def _pixels_to_code(found: Findings) -> np.ndarray:
    """Return the page without its chroma where it has none to speak of."""
    is_coloured = found.kind is kinds.PageKind.COLOUR or (
        found.kind is kinds.PageKind.BLANK and kinds.has_colour(found.page.pixels)  # a blank page may be red
    )
    return found.page.pixels if is_coloured else luma_of(found.page.pixels)


def _no_gain(form: str, data: bytes, most_bytes: int) -> PageError:
    return PageError("no_gain", f"as {form} it would have {len(data)} bytes, of use are less than {most_bytes}")


def _stroke_problem(verdict: legibility.Verdict, settings: Settings) -> PageError | None:
    if verdict.passed or settings.legibility.mode != "enforce":
        return None
    worst = "none" if verdict.worst_block_ssim is None else f"{verdict.worst_block_ssim:.3f}"
    return PageError(
        "legibility",
        f"worst block of ink SSIM {worst} (at least {settings.legibility.min_block_ssim:g}), "
        f"chroma error {verdict.chroma_error:.1f} (at most {settings.legibility.max_chroma_error:g})",
    )


def _likeness_problem(like: likeness.Likeness, least: np.ndarray, mode: str) -> PageError | None:
    if mode != "enforce" or (np.array([like.page, like.text]) >= least).all():
        return None
    return PageError(
        "legibility",
        f"SSIMULACRA 2 of the page {like.page:.1f} (at least {least[0]:g}), of its text {like.text:.1f} "
        f"(at least {least[1]:g})",
    )


def _word_problem(again: reading.Rereading, settings: Settings) -> PageError | None:
    if again.passed or settings.legibility.mode != "enforce":
        return None
    return PageError(
        "legibility",
        f"{again.digits_changed} words with digits read otherwise, {again.words_kept_fraction:.1%} of the words that "
        f"OCR was sure of read the same (at least {settings.legibility.min_words_kept:.1%})",
    )
