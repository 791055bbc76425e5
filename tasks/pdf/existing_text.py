"""Match OCR words against the text that a PDF page already has at their position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foliopress.tasks.ocr.recognition import LEAST_CONFIDENCE, Word
from foliopress.tasks.pdf.pdf_reader import Letters

_HAS_TEXT = 0.75
"""Share of the confident words that a page's text must contain. Measured: a newspaper's own layer contains .98."""
_ELSEWHERE = 0.25
"""Share of the high-confidence words that the text must also match by letters. Measured: the newspaper's layer matches
.99; layers shifted by up to 60 points overlap up to .97 of a dense page's words, but match .05 as a rule and .17 at
the 95th percentile.
"""
_SURE, _SURE_LETTERS, _SURE_WORDS = 60.0, 3, 10
"""Confidence, letters and number of words needed to decide that a text is misplaced."""
_COMMON = 0.5
"""Share of the text's letters that OCR must know for a comparison: the two may use different scripts."""
_HELD = 0.5
"""Share of a word's letters that must overlap its box for the page's text to contain it."""
_MEETS = 1 / 3
"""Share of the smaller of two boxes, vertically and horizontally, that a letter on a word's box overlaps: letters in an
OCR layer are often twice as high as the ink, and up to half a line too high.
"""
_LARGEST = 5.0
"""Largest size of a letter on a word's box, in multiples of its short side: watermark letters belong to no word."""
_SAME = 0.6
"""Share of a word's letters found in the text if both agree; OCR programs misread different letters."""


def words_to_write(words: Sequence[Word], places: np.ndarray, letters: Letters) -> list[Word]:
    """Return the words that a text layer must add to a page's existing text.

    Returns no words if the text contains three quarters of the confident words: the page keeps its own text. Otherwise
    returns all words that the text does not contain. Only positions count, since the text may be in a language that OCR
    was not configured for. If hardly any high-confidence word matches the letters at its position, the text is
    misplaced and contains nothing.

    Args:
        words: OCR words.
        places: (n_words, 4) float64, their boxes (left, bottom, right, top) in the page's own units.
        letters: The page's existing text.
    """
    if not words or not letters.text:
        return list(words)
    found = find_words(words, places, letters)
    held = found.is_same if _is_elsewhere(words, letters, found) else found.is_held
    is_confident = np.array([word.confidence >= LEAST_CONFIDENCE and _n_letters(word) > 0 for word in words])
    if held[is_confident].mean() >= _HAS_TEXT if is_confident.any() else held.any():
        return []
    return [word for word, is_held in zip(words, held, strict=True) if not is_held]


@dataclass(frozen=True)
class FoundWords:
    """Words that the text of a page contains, each (n_words,) bool.

    is_held: At least half as many letters as the word has overlap its box. is_same: They also mostly match its letters.
    """

    is_held: np.ndarray
    is_same: np.ndarray


def find_words(words: Sequence[Word], places: np.ndarray, letters: Letters) -> FoundWords:
    """Find words in a page's text. Overlapping letters count once.

    Args:
        words: OCR words.
        places: (n_words, 4) float64, their boxes (left, bottom, right, top) in the page's own units.
        letters: The page's existing text.
    """
    middles = np.round((letters.boxes[:, :2] + letters.boxes[:, 2:]) / 2, 1)
    middles, first = np.unique(middles, axis=0, return_index=True)  # sorted from left to right
    boxes, text = letters.boxes[first], [letters.text[number].casefold() for number in first]
    sizes = boxes[:, 2:] - boxes[:, :2]
    largest = _LARGEST * np.minimum(places[:, 2] - places[:, 0], places[:, 3] - places[:, 1])
    starts = np.searchsorted(middles[:, 0], places[:, 0] - largest / 2, "left")
    ends = np.searchsorted(middles[:, 0], places[:, 2] + largest / 2, "right")
    is_held, is_same = np.zeros(len(words), bool), np.zeros(len(words), bool)
    for number, word in enumerate(words):
        near, place = slice(starts[number], ends[number]), places[number]
        overlap = np.minimum(boxes[near, 2:], place[2:]) - np.maximum(boxes[near, :2], place[:2])
        meets = (overlap >= _MEETS * np.minimum(sizes[near], place[2:] - place[:2])).all(axis=1)
        inside = starts[number] + np.flatnonzero(meets & (sizes[near].max(axis=1) <= largest[number]))
        own = [letter.casefold() for letter in word.text if letter.isalnum()]
        is_held[number] = len(inside) >= max(1.0, _HELD * len(own))
        there = Counter(text[one] for one in inside)
        is_same[number] = is_held[number] and (Counter(own) & there).total() >= _SAME * len(own)
    return FoundWords(is_held, is_same)


def _is_elsewhere(words: Sequence[Word], letters: Letters, found: FoundWords) -> bool:
    is_sure = np.array([word.confidence >= _SURE and _n_letters(word) >= _SURE_LETTERS for word in words])
    if np.count_nonzero(is_sure) < _SURE_WORDS or found.is_same[is_sure].mean() >= _ELSEWHERE:
        return False
    known = {letter for word in words for letter in word.text.casefold()}
    return sum(letter in known for letter in letters.text.casefold()) >= _COMMON * len(letters.text)


def _n_letters(word: Word) -> int:
    return sum(map(str.isalnum, word.text))
