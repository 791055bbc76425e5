"""Check one encoding of a page against its source: strokes, colour, perceptual score and words read again."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from time import perf_counter

import numpy as np

from foliopress.configs.settings import LegibilitySettings, Settings
from foliopress.tasks.analysis import resolution
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.checks import legibility, perceptual, rereading, stroke_changes
from foliopress.tasks.checks.doubtful_words import DoubtfulWords
from foliopress.tasks.checks.page_pair import PagePair
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError


@dataclass(frozen=True)
class LegibilityMetrics:
    """Measurements of one encoding for the page's row; None where nothing was measured.

    The fields are columns of `tasks.records.rows.PageRow` and described there.
    """

    text_ssim: float | None = None
    worst_block_ssim: float | None = None
    chroma_error: float | None = None
    mark_chroma_error: float | None = None
    ssimulacra2: float | None = None
    text_ssimulacra2: float | None = None
    words_kept_fraction: float | None = None
    digits_changed: int | None = None
    lines_reread: int | None = None
    words_sure: int | None = None
    words_reread: int | None = None
    words_unrepeatable: int | None = None
    words_lost: int | None = None
    word_change: float | None = None
    stroke_change: float | None = None


def _no_boxes() -> np.ndarray:
    return np.zeros((0, 4), np.int64)


@dataclass(frozen=True)
class Judgement:
    """Result of checking one encoding.

    `problem` is None if it passes; `failing` holds the boxes that fail, (n, 4) (row_px, col_px, height_px, width_px);
    `is_ambiguous` says that the page passes although OCR could not read a digit string on it again.
    """

    problem: PageError | None
    metrics: LegibilityMetrics
    failing: np.ndarray = field(default_factory=_no_boxes)
    is_discoloured: bool = False
    is_ambiguous: bool = False
    seconds_check: float = 0.0
    seconds_reread: float = 0.0

    @property
    def is_clear(self) -> bool:
        """Whether the encoding passes without reservation."""
        return self.problem is None and not self.is_ambiguous


@dataclass(frozen=True)
class Check:
    """Checks the encodings of one page; `reader` reads at the page's dpi."""

    analysis: PageAnalysis
    reader: rereading.Reader
    settings: Settings

    @cached_property
    def text(self) -> np.ndarray:
        """Area of text in the source, (height, width) bool, for the perceptual score."""
        analysis = self.analysis
        sure = resolution.tile_area(analysis.importance >= self.settings.importance.sure, analysis.grid) > 0
        return perceptual.text_area(analysis.words, analysis.ink.plain, sure, analysis.dpi)

    @cached_property
    def least_scores(self) -> np.ndarray | None:
        """Least SSIMULACRA 2 scores of page and text, (2,) float, -inf for no limit; None if neither has one."""
        wanted = self.settings.legibility
        least = [wanted.min_ssimulacra2, wanted.min_text_ssimulacra2]
        return np.array([-np.inf if one is None else one for one in least]) if least != [None, None] else None

    @cached_property
    def before(self) -> np.ndarray:
        """Luma of the source at reading size."""
        return legibility.at_reading_size(self.analysis.luma, self.analysis.dpi)

    @cached_property
    def strokes(self) -> stroke_changes.SourceStrokes:
        """Strokes of the source, found once for all encodings."""
        return stroke_changes.source_strokes(self.analysis, self.before, self.settings.importance.sure)

    def reread(self, decoded: np.ndarray) -> rereading.Rereading:
        """Compare the words of a decoded page, whatever its strokes are like."""
        return self._reread(decoded, *self._changes(decoded))

    def _changes(self, decoded: np.ndarray) -> tuple[PagePair, stroke_changes.StrokeChanges]:
        pair, wanted = PagePair.of(self.before, decoded, self.analysis.dpi), self.settings.legibility
        return pair, stroke_changes.find_changes(pair, self.strokes, wanted.max_word_change, wanted.max_stroke_change)

    def _reread(
        self, decoded: np.ndarray, pair: PagePair, changes: stroke_changes.StrokeChanges
    ) -> rereading.Rereading:
        analysis, wanted = self.analysis, self.settings.legibility
        is_doubtful = DoubtfulWords(pair, changes.word_changes, wanted)
        return rereading.reread(analysis.luma, luma_of(decoded), is_doubtful, analysis.words, self.reader, wanted)

    def judge(self, decoded: np.ndarray) -> Judgement:
        """Compare a decoded page with its source; words are read again only if its strokes pass."""
        analysis, wanted = self.analysis, self.settings.legibility
        start = perf_counter()
        source = legibility.SourcePage(
            analysis.page.pixels, analysis.words, analysis.ink, analysis.dpi, analysis.colour_marks
        )
        verdict = legibility.judge(source, decoded, wanted)
        problem, failing = _stroke_problem(verdict, self.settings), verdict.failing
        pair, changes = self._changes(decoded)
        problem = problem or _change_problem(changes, wanted)
        failing = np.concatenate([failing, changes.failing])
        like: perceptual.PerceptualScores | None = None
        if self.least_scores is not None:
            like = perceptual.measure(analysis.page.pixels, decoded, self.text)
            if like is not None and (unlike := _perceptual_problem(like, self.least_scores, wanted.mode)):
                problem = problem or unlike
                failing = np.array([[0, 0, *analysis.page.pixels.shape[:2]]])  # wherever it is coarser than its source
        reread_at, is_ambiguous = perf_counter(), False
        again: rereading.Rereading | None = None
        if problem is None:
            again = self._reread(decoded, pair, changes)
            problem = _word_problem(again, self.settings)
            is_ambiguous = wanted.mode == "enforce" and problem is None and again.digits_lost > 0
            failing = np.concatenate([failing, again.failing])
        return Judgement(
            problem,
            _metrics(verdict, changes, like, again),
            failing,
            verdict.is_discoloured,
            is_ambiguous,
            seconds_check=reread_at - start,
            seconds_reread=perf_counter() - reread_at,
        )


def _change_problem(changes: stroke_changes.StrokeChanges, wanted: LegibilitySettings) -> PageError | None:
    if wanted.mode != "enforce" or not len(changes.failing):
        return None
    return PageError(
        "legibility",
        f"{len(changes.failing)} strokes changed: by up to {changes.in_words:.2f} of the ink's depth in words (at most "
        f"{wanted.max_word_change:g}), {changes.in_writing:.2f} elsewhere (at most {wanted.max_stroke_change:g})",
    )


def _metrics(
    verdict: legibility.Verdict,
    changes: stroke_changes.StrokeChanges,
    like: perceptual.PerceptualScores | None,
    again: rereading.Rereading | None,
) -> LegibilityMetrics:
    return LegibilityMetrics(
        text_ssim=verdict.text_ssim,
        worst_block_ssim=verdict.worst_block_ssim,
        chroma_error=verdict.chroma_error,
        mark_chroma_error=verdict.mark_chroma_error,
        ssimulacra2=like.page if like else None,
        text_ssimulacra2=like.text if like else None,
        words_kept_fraction=again.words_kept_fraction if again else None,
        digits_changed=again.digits_changed if again else None,
        lines_reread=again.lines_reread if again else None,
        words_sure=len(again.checks) if again else None,
        words_reread=again.words_reread if again else None,
        words_unrepeatable=again.count("unrepeatable") if again else None,
        words_lost=again.count("changed", "lost") if again else None,
        word_change=changes.in_words,
        stroke_change=changes.in_writing,
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


def _perceptual_problem(like: perceptual.PerceptualScores, least: np.ndarray, mode: str) -> PageError | None:
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
