"""Existing text: which of the words that OCR read the text of a PDF page already holds where their ink is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foliopress.tasks.ocr.recognition import LEAST_CONFIDENCE, Word
from foliopress.tasks.pdf.pdf_reader import Letters

_HAS_TEXT = 0.75
"""Share of the confident words that a page's text must hold. Measured: a newspaper's own layer holds .98 of them."""
_ELSEWHERE = 0.25
"""Share of the surely read words that the text must say too. Measured: the newspaper's layer says .99 of them; layers
that were moved by up to 60 points lie on up to .97 of a dense page's words and say .05 as a rule, .17 at the 95th
percentile."""
_SURE, _SURE_LETTERS, _SURE_WORDS = 60.0, 3, 10
"""Confidence, letters and number of the words from which a text is said to stand elsewhere than its ink."""
_COMMON = 0.5
"""Share of the text's letters that OCR must know for the two to be compared: they may be of different scripts."""
_HELD = 0.5
"""Share of a word's letters that must lie on its box for the page's text to hold it."""
_MEETS = 1 / 3
"""Share of the smaller of two boxes, down and across, that a letter on a word's box overlaps: the letters of an OCR
program's layer are often twice as high as the ink, and set up to half a line too high."""
_LARGEST = 5.0
"""Times a word's short side that a letter on its box may measure: letters of a watermark belong to no word."""
_SAME = 0.6
"""Share of a word's letters that the text has too where both say the same; OCR programs misread different letters."""


def words_to_write(words: Sequence[Word], places: np.ndarray, letters: Letters) -> list[Word]:
    """Return the words that a text layer must add to the text that a page has.

    None where the text holds three quarters of the confident words: the page keeps its own. Else all words but those
    that the text holds. Places alone count, since the text may be in a language that OCR was not told of; only where
    hardly a word that was surely read is found in its place does the text belong elsewhere, and hold nothing.

    Args:
        words: What OCR read.
        places: (n_words, 4) float64, their boxes (left, bottom, right, top) in the units of the page's own space.
        letters: Of the page's text.
    """
    if not words or not letters.text:
        return list(words)
    found = find(words, places, letters)
    held = found.is_same if _is_elsewhere(words, letters, found) else found.is_held
    is_confident = np.array([word.confidence >= LEAST_CONFIDENCE and _n_letters(word) > 0 for word in words])
    if held[is_confident].mean() >= _HAS_TEXT if is_confident.any() else held.any():
        return []
    return [word for word, is_held in zip(words, held, strict=True) if not is_held]


@dataclass(frozen=True)
class Found:
    """Words that the text of a page holds, each (n_words,) bool.

    is_held: As many letters as half of the word's lie in its box. is_same: They are also mostly the word's own.
    """

    is_held: np.ndarray
    is_same: np.ndarray


def find(words: Sequence[Word], places: np.ndarray, letters: Letters) -> Found:
    """Look for words in a page's text. Letters that lie on one another count once.

    Args:
        words: What OCR read.
        places: (n_words, 4) float64, their boxes (left, bottom, right, top) in the units of the page's own space.
        letters: Of the page's text.
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
    return Found(is_held, is_same)


def _is_elsewhere(words: Sequence[Word], letters: Letters, found: Found) -> bool:
    is_sure = np.array([word.confidence >= _SURE and _n_letters(word) >= _SURE_LETTERS for word in words])
    if np.count_nonzero(is_sure) < _SURE_WORDS or found.is_same[is_sure].mean() >= _ELSEWHERE:
        return False
    known = {letter for word in words for letter in word.text.casefold()}
    return sum(letter in known for letter in letters.text.casefold()) >= _COMMON * len(letters.text)


def _n_letters(word: Word) -> int:
    return sum(map(str.isalnum, word.text))
