"""The fit loop: gate, decode, check and revise, for any candidate."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from foliopress.tasks.checks.page_check import Judgement, LegibilityMetrics
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.fit_loop import Encoding, fit_candidate
from foliopress.tasks.fit.outcome import EncodedPage, PageSize

LEVELS = np.array([[1, 8]], np.int8)
SIZE = PageSize(10, 20, 150.0)
FAILS, AMBIGUOUS, CLEAR = "fails", "ambiguous", "clear"


@dataclass
class Scripted:
    """A candidate whose attempts have the sizes and verdicts of a script; notes what it was asked to do."""

    verdicts: list
    sizes: list = field(default_factory=lambda: [10] * 9)
    max_attempts: int = 3
    is_judged: bool = True
    form: str = "a script"
    looks_for_less: bool = False
    done: list = field(default_factory=list)

    def encode(self):
        self.done.append("encode")
        number = self.done.count("encode")
        data = bytes([number]) * self.sizes[number - 1]
        return Encoding(EncodedPage(data, "jpeg"), len(data), 10 * number, LEVELS, SIZE)

    def decode(self, data):
        self.done.append("decode")
        return np.full((10, 20), data[0], np.uint8)

    def judge(self, decoded):
        self.done.append("judge")
        verdict = self.verdicts[decoded[0, 0] - 1]
        problem = PageError("legibility", "unlike") if verdict == FAILS else None
        metrics = LegibilityMetrics(text_ssim=float(decoded[0, 0]))
        return Judgement(problem, metrics, is_ambiguous=verdict == AMBIGUOUS, seconds_check=1.0, seconds_reread=2.0)

    def revise(self, judgement):
        self.done.append("revise")
        return not judgement.is_clear or self.looks_for_less


ROUND = ["encode", "decode", "judge"]


@pytest.mark.parametrize(
    ("verdicts", "attempts", "quality", "reason"),
    [
        ([CLEAR], 1, 10, None),
        ([FAILS, CLEAR], 2, 20, None),
        ([FAILS, FAILS, FAILS], 3, 30, "legibility"),
        ([AMBIGUOUS, CLEAR], 2, 20, None),
        ([AMBIGUOUS, FAILS], 2, 10, None),
        ([AMBIGUOUS, AMBIGUOUS], 2, 10, None),
        ([FAILS, FAILS, AMBIGUOUS], 3, 30, None),
    ],
)
def test_an_encoding_is_strengthened_until_it_passes_and_an_ambiguous_one_once(verdicts, attempts, quality, reason):
    candidate = Scripted(verdicts)
    found = fit_candidate(candidate, 100)
    assert (found.metrics.attempts, found.metrics.quality) == (attempts, quality)
    assert (found.problem and found.problem.reason) == reason
    assert found.metrics.legibility.text_ssim == found.data[0] == quality // 10
    rounds = ROUND + (attempts - 1) * ["revise", *ROUND]
    assert candidate.done in (rounds, [*rounds, "revise"])
    assert (found.metrics.tiles_per_level, found.metrics.size) == ((1, 0, 0, 1), SIZE)
    assert found.metrics.seconds_reread == 2 * attempts


@pytest.mark.parametrize(
    ("verdicts", "quality"),
    [
        ([FAILS, CLEAR, CLEAR], 30),
        ([FAILS, CLEAR, FAILS], 20),
        ([FAILS, CLEAR, AMBIGUOUS], 20),
        ([CLEAR, FAILS, CLEAR], 30),
        ([AMBIGUOUS, CLEAR, FAILS], 20),
        ([AMBIGUOUS, CLEAR, AMBIGUOUS], 20),
    ],
)
def test_after_an_encoding_that_passes_less_is_tried_and_the_smallest_that_passes_is_returned(verdicts, quality):
    candidate = Scripted(verdicts, sizes=[30, 20, 10], looks_for_less=True)
    found = fit_candidate(candidate, 100)
    assert (found.problem, found.metrics.quality, found.metrics.attempts) == (None, quality, 3)
    assert found.metrics.legibility.text_ssim == found.data[0] == quality // 10


def test_a_later_encoding_that_passes_but_is_larger_is_not_returned():
    found = fit_candidate(Scripted([FAILS, CLEAR, CLEAR], sizes=[10, 20, 30], looks_for_less=True), 100)
    assert (found.problem, found.metrics.quality, found.metrics.attempts) == (None, 20, 3)


def test_the_size_gate_comes_before_the_decoder():
    candidate = Scripted([], sizes=[100])
    found = fit_candidate(candidate, 100)
    assert (found.problem.reason, candidate.done) == ("no_gain", ["encode"])
    assert found.data is not None and found.metrics.legibility == LegibilityMetrics()


def test_an_ambiguous_encoding_stays_if_the_stronger_one_is_too_large():
    found = fit_candidate(Scripted([AMBIGUOUS], sizes=[10, 100]), 100)
    assert (found.problem, found.metrics.quality, found.metrics.attempts) == (None, 10, 2)


def test_without_a_check_the_encoding_is_decoded_all_the_same():
    candidate = Scripted([], is_judged=False)
    watched = []
    found = fit_candidate(candidate, 100, lambda *seen: watched.append(seen))
    assert (found.problem, candidate.done) == (None, ["encode", "decode"])
    assert len(watched) == 1 and watched[0][0] == found.data
