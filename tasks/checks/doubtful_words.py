"""Tell which words an encoding changed enough to be worth reading again."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.checks.page_pair import PagePair
from foliopress.tasks.checks.rereading import is_digit_string
from foliopress.tasks.ocr.recognition import Word


@dataclass(frozen=True)
class DoubtfulWords:
    """Answers, word by word, whether an encoding changed its shape and one of its strokes.

    `word_changes` is (height, width) float32 at reading size, from `stroke_changes.StrokeChanges`.
    """

    pair: PagePair
    word_changes: np.ndarray
    settings: LegibilitySettings

    def __call__(self, word: Word) -> bool:
        """Return whether the SSIM of a word is too low, and one of its strokes changed."""
        scale, wanted = self.pair.scale, self.settings
        rows = slice(int(word.row_px * scale), int((word.row_px + word.height_px) * scale) + 1)
        cols = slice(int(word.col_px * scale), int((word.col_px + word.width_px) * scale) + 1)
        least = wanted.reread_digits_below if is_digit_string(word.text) else wanted.reread_words_below
        if cv2.mean(self.pair.similarity[rows, cols])[0] >= least:
            return False
        return bool(self.word_changes[rows, cols].max(initial=0) > wanted.reread_changes_above)
