"""Check: one page, and what each of its encodings is held against."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter

import numpy as np

from foliopress.configs.settings import Settings
from foliopress.tasks.analysis import resolution
from foliopress.tasks.analysis.page_analysis import Findings
from foliopress.tasks.checks import legibility, perceptual, rereading
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError


@dataclass(frozen=True)
class Judgement:
    """What the check says of one encoding.

    `figures` are columns of the page's row; `failing` holds boxes, (n, 4) (row_px, col_px, height_px, width_px);
    `is_ambiguous` says that the page passes, but a digit string on it could not be read again.
    """

    problem: PageError | None
    figures: dict[str, object]
    failing: np.ndarray
    is_discoloured: bool
    is_ambiguous: bool
    seconds_check: float
    seconds_reread: float


@dataclass(frozen=True)
class Check:
    """The page as its encodings are held against it."""

    found: Findings
    reader: rereading.Reader
    settings: Settings

    @cached_property
    def text(self) -> np.ndarray:
        """(height, width) bool: where the source has text, for `likeness`."""
        sure = resolution.tile_area(self.found.importance >= self.settings.importance.sure, self.found.grid) > 0
        return perceptual.text_area(self.found.words, self.found.ink.plain, sure, self.found.dpi)

    @cached_property
    def least_likeness(self) -> np.ndarray | None:
        """(2,) float: what the page and its text must score, -inf where they need not; None if neither does."""
        wanted = self.settings.legibility
        least = [wanted.min_ssimulacra2, wanted.min_text_ssimulacra2]
        return np.array([-np.inf if one is None else one for one in least]) if least != [None, None] else None

    def judge(self, decoded: np.ndarray) -> Judgement:
        """Compare a decoded page with its source; words are read again only where its strokes have passed."""
        found, wanted = self.found, self.settings.legibility
        start = perf_counter()
        source = legibility.SourcePage(found.page.pixels, found.words, found.ink, found.dpi, found.colour_marks)
        verdict = legibility.judge(source, decoded, wanted)
        figures: dict[str, object] = {
            "text_ssim": verdict.text_ssim,
            "worst_block_ssim": verdict.worst_block_ssim,
            "chroma_error": verdict.chroma_error,
            "mark_chroma_error": verdict.mark_chroma_error,
        }
        problem, failing = _stroke_problem(verdict, self.settings), verdict.failing
        if self.least_likeness is not None:
            like = perceptual.measure(found.page.pixels, decoded, self.text)
            if like is not None:
                figures |= {"ssimulacra2": like.page, "text_ssimulacra2": like.text}
                unlike = _likeness_problem(like, self.least_likeness, wanted.mode)
                problem = problem or unlike
                if unlike:  # wherever it is coarser than its source
                    failing = np.array([[0, 0, *found.page.pixels.shape[:2]]])
        reread_at, is_ambiguous = perf_counter(), False
        if problem is None:
            again = rereading.reread(found.luma, luma_of(decoded), found.words, found.dpi, self.reader, wanted)
            figures |= {
                "words_kept_fraction": again.words_kept_fraction,
                "digits_changed": again.digits_changed,
                "lines_reread": again.lines_reread,
            }
            problem = problem or _word_problem(again, self.settings)
            is_ambiguous = wanted.mode == "enforce" and problem is None and again.digits_lost > 0
            failing = np.concatenate([failing, again.failing])
        seconds_reread = perf_counter() - reread_at
        return Judgement(
            problem, figures, failing, verdict.is_discoloured, is_ambiguous, reread_at - start, seconds_reread
        )


def _stroke_problem(verdict: legibility.Verdict, settings: Settings) -> PageError | None:
    if verdict.passed or settings.legibility.mode != "enforce":
        return None
    worst = "none" if verdict.worst_block_ssim is None else f"{verdict.worst_block_ssim:.3f}"
    return PageError(
        "legibility",
        f"worst block of ink SSIM {worst} (at least {settings.legibility.min_block_ssim:g}), "
        f"chroma error {verdict.chroma_error:.1f} (at most {settings.legibility.max_chroma_error:g})"
        + (f", {verdict.marks_lost} coloured marks off or faded" if verdict.marks_lost else ""),
    )


def _likeness_problem(like: perceptual.PerceptualScores, least: np.ndarray, mode: str) -> PageError | None:
    if mode != "enforce" or (np.array([like.page, like.text]) >= least).all():
        return None
    return PageError(
        "legibility",
        f"SSIMULACRA 2 of the page {like.page:.1f} (at least {least[0]:g}), of its text {like.text:.1f} "
        f"(at least {least[1]:g})",
    )


def _word_problem(again: rereading.Rereading, settings: Settings) -> PageError | None:
    if again.passed or settings.legibility.mode != "enforce":
        return None
    return PageError(
        "legibility",
        f"{again.digits_changed} words with digits read otherwise, {again.words_kept_fraction:.1%} of the words that "
        f"OCR was sure of read the same (at least {settings.legibility.min_words_kept:.1%})",
    )
