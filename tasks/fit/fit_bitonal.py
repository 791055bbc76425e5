"""Fit a page in one bit a pixel (CCITT G4)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import perf_counter

import numpy as np

from foliopress.configs.settings import EncodeSettings
from foliopress.tasks.analysis import page_kinds
from foliopress.tasks.checks import rereading
from foliopress.tasks.checks.page_check import Check, Judgement, LegibilityMetrics
from foliopress.tasks.codecs import encode
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.fit_loop import Encoding, fit_candidate
from foliopress.tasks.fit.outcome import EncodedPage, Outcome, full_resolution, size_of
from foliopress.tasks.fit.page_writer import read_back
from foliopress.tasks.images.image_reader import Page

_LOSSLESS_QUALITY = 100


@dataclass(frozen=True)
class BitonalEncoding:
    """A page in one bit a pixel, oriented as in its document, and the time that encoding it took."""

    data: bytes = field(repr=False)
    seconds: float


def encode_bitonal(page: Page, settings: EncodeSettings) -> BitonalEncoding:
    """Return a page as CCITT G4, which needs nothing but its pixels."""
    start = perf_counter()
    stored = page.as_stored(page_kinds.to_bitonal(luma_of(page.pixels)))
    data = encode.encode(stored, "g4", _LOSSLESS_QUALITY, encode.carried_metadata(page), settings)
    return BitonalEncoding(data, perf_counter() - start)


class BitonalPage:
    """Candidate: CCITT G4. A bitonal source loses nothing by it; a two-tone one is judged like any other page."""

    form = "CCITT G4"
    max_attempts = 1

    def __init__(self, check: Check, encoded: BitonalEncoding | None) -> None:
        self._check, self._encoded = check, encoded
        self._is_lossless = check.analysis.kind is page_kinds.PageKind.BITONAL
        self.is_judged = self._is_lossless or check.settings.legibility.mode != "off"

    def encode(self) -> Encoding:
        """Encode the page, unless that was done before the fit."""
        analysis, encoded = self._check.analysis, self._encoded
        seconds_before = 0.0 if encoded is None else encoded.seconds
        if encoded is None:
            encoded = encode_bitonal(analysis.page, self._check.settings.encode)
        page = EncodedPage(encoded.data, "g4")
        levels = full_resolution(analysis)
        return Encoding(page, len(encoded.data), None, levels, size_of(analysis), seconds_before)

    def decode(self, data: bytes) -> np.ndarray:
        """Decode the file."""
        return self._check.analysis.page.upright(read_back(data, self._check.settings.limits))

    def judge(self, decoded: np.ndarray) -> Judgement:
        """Require equal pixels of a bitonal source, legibility of a two-tone one; ambiguous digit strings pass."""
        if not self._is_lossless:
            return replace(self._check.judge(decoded), is_ambiguous=False)
        analysis, problem = self._check.analysis, None
        if not np.array_equal(decoded, analysis.page.pixels):
            problem = PageError("not_lossless", "the one-bit encoding does not decode to its source")
        words = 1.0 if analysis.words else None
        n_sure = len(rereading.sure_words(analysis.words))
        metrics = LegibilityMetrics(
            text_ssim=words,
            worst_block_ssim=1.0,
            chroma_error=0.0,
            words_kept_fraction=1.0 if n_sure else None,
            digits_changed=0,
            lines_reread=0,
            words_sure=n_sure,
            words_reread=0,
            words_unrepeatable=0,
            words_lost=0,
            word_change=0.0,
            stroke_change=0.0,
        )
        return Judgement(problem, metrics)

    def revise(self, _judgement: Judgement) -> bool:
        """Return False: there is one attempt."""
        return False


def fit_bitonal(check: Check, most_bytes: int, encoded: BitonalEncoding | None) -> Outcome:
    """Return the page in one bit a pixel, or the problem that prevents it.

    Args:
        check: Check of the page.
        most_bytes: Size gate.
        encoded: From `encode_bitonal`, if that was done before.
    """
    outcome = fit_candidate(BitonalPage(check, encoded), most_bytes)
    if check.analysis.kind is page_kinds.PageKind.BITONAL:  # nothing is read again where no pixel changes
        outcome = replace(outcome, metrics=replace(outcome.metrics, seconds_reread=None))
    return outcome
