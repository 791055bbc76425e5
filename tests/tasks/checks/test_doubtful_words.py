"""Which words are worth reading again: both their shape and one of their strokes have changed."""

from __future__ import annotations

import numpy as np
import pytest

from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.checks.doubtful_words import DoubtfulWords
from foliopress.tasks.checks.page_pair import PagePair
from foliopress.tasks.ocr.recognition import Word

SETTINGS = LegibilitySettings(reread_words_below=0.9, reread_digits_below=0.99, reread_changes_above=0.1)
DPI = 300.0  # reading size is half of it


def is_doubtful(text: str, ssim: float, change: float) -> bool:
    """Return the answer for a word of 80 x 40 pixels: every pixel has that SSIM, and one of them changed."""
    before = np.full((120, 150), 230, np.uint8)
    pair = PagePair(before, before, 0.5)
    pair.__dict__["similarity"] = np.full(before.shape, 1.0, np.float32)
    pair.similarity[50:70, 30:70] = ssim
    changes = np.zeros(before.shape, np.float32)
    changes[60, 45] = change
    return DoubtfulWords(pair, changes, SETTINGS)(Word(0, 100, 60, 40, 80, text, 95.0))


@pytest.mark.parametrize(
    ("text", "ssim", "change", "expected"),
    [
        ("ledger", 0.85, 0.2, True),
        ("ledger", 0.95, 0.2, False),
        ("ledger", 0.85, 0.1, False),
        ("30.40", 0.95, 0.2, True),
        ("30.40", 0.995, 0.2, False),
        ("30.40", 0.95, 0.0, False),
    ],
)
def test_a_word_is_doubtful_if_its_shape_and_a_stroke_changed(
    text: str, ssim: float, change: float, expected: bool
) -> None:
    assert is_doubtful(text, ssim, change) == expected


def test_what_changed_outside_a_word_does_not_count() -> None:
    before = np.full((120, 150), 230, np.uint8)
    changes = np.ones(before.shape, np.float32)
    changes[49:72, 29:72] = 0
    pair = PagePair(before, np.zeros_like(before), 0.5)
    assert not DoubtfulWords(pair, changes, SETTINGS)(Word(0, 100, 60, 40, 80, "ledger", 95.0))
