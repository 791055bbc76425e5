"""Encode a candidate form of a page, check it and strengthen it until it passes: the one loop of all fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Protocol

import numpy as np

from foliopress.tasks.analysis import resolution
from foliopress.tasks.checks.page_check import Judgement
from foliopress.tasks.fit.outcome import EncodedPage, FitMetrics, Outcome, PageSize, no_gain

Watch = Callable[[bytes, np.ndarray, np.ndarray], object]
"""Called with each encoding before it is judged: its bytes, its pixels (upright, of the source's size), its levels."""


@dataclass(frozen=True)
class Encoding:
    """One attempt to encode a page.

    `size_bytes` is compared with the size gate; `levels` are (n_rows, n_cols) int8; `seconds_before` is time that was
    spent on this encoding before the fit began.
    """

    page: EncodedPage
    size_bytes: int
    quality: int | None
    levels: np.ndarray
    size: PageSize
    seconds_before: float = 0.0


class Candidate(Protocol):
    """A form in which a page may be stored. It plans in its first `encode`, so that the plan's time is counted."""

    @property
    def form(self) -> str:
        """Name of the form, for messages."""

    @property
    def max_attempts(self) -> int:
        """Largest number of encodings to try."""

    @property
    def is_judged(self) -> bool:
        """Whether an encoding must pass the check."""

    def encode(self) -> Encoding:
        """Encode the page as it is planned now."""

    def decode(self, data: bytes) -> np.ndarray:
        """Return the pixels of an encoding, upright and of the source's size.

        Raises:
            PageError: If the encoding cannot be decoded; it must not be stored then.
        """

    def judge(self, decoded: np.ndarray) -> Judgement:
        """Compare a decoded encoding with the source."""

    def revise(self, judgement: Judgement, /) -> bool:
        """Plan the next encoding: more of whatever the judgement found lacking, or less after one that passed.

        Returns:
            Whether there is another encoding to try.
        """


def fit_candidate(candidate: Candidate, most_bytes: int, watch: Watch | None = None) -> Outcome:
    """Return the smallest encoding of a candidate that passes, of those tried; else the last one with its problem.

    An encoding that passes except for an ambiguous digit string is strengthened once; if the next attempt fails or is
    ambiguous too, the first one is returned.

    Args:
        candidate: Form in which the page is encoded.
        most_bytes: Size gate: an encoding of this size or more saves too little.
        watch: Called with each encoding that passes the size gate; an exception that it raises ends the fit.
    """
    seconds_encode = seconds_check = seconds_reread = 0.0
    attempts = 0
    passed: Outcome | None = None
    passed_bytes = most_bytes
    ambiguous: Outcome | None = None
    start = perf_counter()
    while True:
        attempts += 1
        encoding = candidate.encode()
        encoded_at = perf_counter()
        seconds_encode += encoding.seconds_before + encoded_at - start
        outcome = _outcome_of(encoding)
        if encoding.size_bytes >= most_bytes:
            outcome = replace(outcome, problem=no_gain(candidate.form, encoding.size_bytes, most_bytes))
            break
        decoded = candidate.decode(encoding.page.data)  # even unchecked: never store what cannot be decoded
        if watch is not None:
            watch(encoding.page.data, decoded, encoding.levels)
        if not candidate.is_judged:
            break
        seconds_check += perf_counter() - encoded_at
        judgement = candidate.judge(decoded)
        seconds_check += judgement.seconds_check
        seconds_reread += judgement.seconds_reread
        metrics = replace(outcome.metrics, legibility=judgement.metrics)
        outcome = replace(outcome, problem=judgement.problem, metrics=metrics)
        if judgement.is_clear:
            if encoding.size_bytes < passed_bytes:
                passed, passed_bytes = outcome, encoding.size_bytes
        elif passed is None and ambiguous is not None:  # a second try settles an ambiguous string, or the first stays
            break
        elif judgement.problem is None:
            ambiguous = outcome
        start = perf_counter()
        if attempts == candidate.max_attempts or not candidate.revise(judgement):
            break
    best = passed or ambiguous or outcome
    metrics = replace(
        best.metrics,
        attempts=attempts,
        seconds_encode=seconds_encode,
        seconds_check=seconds_check,
        seconds_reread=seconds_reread,
    )
    return replace(best, metrics=metrics)


def _outcome_of(encoding: Encoding) -> Outcome:
    metrics = FitMetrics(
        codec=encoding.page.codec,
        quality=encoding.quality,
        tiles_per_level=resolution.count_levels(encoding.levels),
        size=encoding.size,
    )
    return Outcome(None, encoding.page, encoding.levels, metrics)
