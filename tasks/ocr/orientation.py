"""Detect text that runs sideways or upside down, and rotate the page before OCR.

Tesseract finds the lines of such a page as on any other. If they run sideways, the boxes of words are higher than wide;
if they are upside down, the boxes look normal and the letters make no words. So a first OCR pass suggests a rotation,
and a few lines, cropped and rotated, confirm it: a whole page is read again only after that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from foliopress.configs.settings import OcrSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition
from foliopress.tasks.ocr.recognition import Word, bounding_box, by_line

_LETTERS = 3  # words with fewer are read into any speck
_SURE = 80.0  # confidence from which a word counts as correct
_READS_WELL = 0.2
"""Share of sure words from which a page counts as upright. On 99 scans, each also rotated by one of the quarter turns,
wrong orientations have at most .14; upright print has mostly .5 and more, upright handwriting up to .13."""
_TRIED_WORDS, _TRIED_LINES = 12, 6  # most words and lines in the part of a page that is tried
_TRIED_SHARE = 0.25  # of the page's area: larger parts are tried only if there is no smaller one
_LEAST_SURE = 3  # words: fewer may come from a stamp
_BETTER = 2.0  # factor by which sure words and their share must rise to confirm a rotation
_AROUND = 0.5  # margin on every side of a part, in line heights


class WholePageReader(Protocol):
    """`tasks.ocr.recognition.read_words`, or a cached version of it."""

    def __call__(self, pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[Word, ...]:
        """Return the words of a page, in reading order."""


def find_words(pixels: np.ndarray, dpi: float, settings: OcrSettings, read: WholePageReader) -> tuple[Word, ...]:
    """Return the words of a page whatever the orientation of its text, in reading order, boxes in its own pixels.

    Args:
        pixels: uint8, (height, width) or (height, width, 3) RGB.
        dpi: Resolution of the page.
        settings: Tesseract's settings.
        read: Reads a page of upright text.

    Raises:
        PageError: See `tasks.ocr.recognition.read_words`.
        ConfigError: If Tesseract or the language is not installed.
    """
    words = read(pixels, dpi, settings)
    found = _Reading.of(words)
    if found.share >= _READS_WELL:
        return words
    for turns in _likely_turns(found, pixels, dpi, settings):
        try:
            again = read_turned(pixels, turns, lambda turned: read(turned, dpi, settings))
        except PageError:  # the first reading is better than nothing
            return words
        if _Reading.of(again).is_clearly_better_than(found):
            return again
    return words


def read_turned(
    pixels: np.ndarray, quarter_turns: int, read: Callable[[np.ndarray], Sequence[Word]]
) -> tuple[Word, ...]:
    """Return the words of an image after so many clockwise quarter turns, boxes in the original image's pixels.

    >>> read_turned(np.zeros((10, 20)), 1, lambda turned: [Word(0, 1, 2, 3, 4, "a", 90.0)])
    (Word(line_index=0, row_px=4, col_px=1, height_px=4, width_px=3, text='a', confidence=90.0, quarter_turns=1),)
    """
    return turned_back(read(turned(pixels, quarter_turns)), quarter_turns, *pixels.shape[:2])


def turned(pixels: np.ndarray, quarter_turns: int) -> np.ndarray:
    """Return an image rotated by so many clockwise quarter turns."""
    return np.ascontiguousarray(np.rot90(pixels, -quarter_turns)) if quarter_turns else pixels


def turned_back(words: Sequence[Word], quarter_turns: int, height_px: int, width_px: int) -> tuple[Word, ...]:
    """Return the words of a rotated image with boxes in pixels of the original image.

    Args:
        words: Words with boxes on the rotated image.
        quarter_turns: Clockwise quarter turns that were applied, 0 to 3.
        height_px: Height of the original image.
        width_px: Width of the original image.
    """
    if not quarter_turns:
        return tuple(words)
    return tuple(_turned_back(word, quarter_turns, height_px, width_px) for word in words)


def turns_of(words: Sequence[Word]) -> int:
    """Return the clockwise quarter turns that make a page's words upright."""
    return words[0].quarter_turns if words else 0


@dataclass(frozen=True)
class _Reading:
    """Evidence that a page was read upright: its longer words, and the number of sure ones among them.

    A word with a box higher than wide is `standing` and does not count as `sure`: its line runs sideways, however well
    Tesseract read it.
    """

    words: tuple[Word, ...]
    sure: int
    standing: int
    sure_standing: int

    @classmethod
    def of(cls, words: Sequence[Word]) -> _Reading:
        long = tuple(word for word in words if sum(map(str.isalnum, word.text)) >= _LETTERS)
        is_odd = turns_of(words) % 2 == 1
        standing = [word for word in long if (word.height_px > word.width_px) != is_odd]
        sure = sum(word.confidence >= _SURE for word in long)
        sure_standing = sum(word.confidence >= _SURE for word in standing)
        return cls(long, sure - sure_standing, len(standing), sure_standing)

    @property
    def share(self) -> float:
        """Share of the words that are sure, 0 to 1."""
        return self.sure / max(1, len(self.words))

    def is_clearly_better_than(self, other: _Reading) -> bool:
        """Return whether this orientation of the page is the right one rather than the other."""
        is_enough = self.sure >= max(_LEAST_SURE, _BETTER * other.sure + 1)
        return is_enough and self.share >= max(_READS_WELL, _BETTER * other.share)


def _likely_turns(found: _Reading, pixels: np.ndarray, dpi: float, settings: OcrSettings) -> list[int]:
    """Return the quarter turns, most likely first, that justify reading the whole page again."""
    if not found.words:  # no lines in any direction
        return []
    if 2 * found.standing <= len(found.words):
        candidates = [2]
    elif found.sure_standing >= _READS_WELL * len(found.words):
        return [3]  # Tesseract itself rotated and read lines that run down the page
    else:
        candidates = [3, 1]
    return [turns for turns in candidates if _part_reads_better(found, pixels, dpi, settings, turns)]


def _part_reads_better(found: _Reading, pixels: np.ndarray, dpi: float, settings: OcrSettings, turns: int) -> bool:
    """Return whether a part of a page has clearly more sure words when it is rotated."""
    top, bottom, left, right = _part_to_try(found.words, *pixels.shape[:2])
    before = [
        word
        for word in found.words
        if top <= word.row_px + word.height_px / 2 < bottom and left <= word.col_px + word.width_px / 2 < right
    ]
    try:
        again = recognition.read_words(turned(pixels[top:bottom, left:right], turns), dpi, settings)
    except PageError:
        return False
    return _Reading.of(again).is_clearly_better_than(_Reading.of(before))


def _part_to_try(words: Sequence[Word], height_px: int, width_px: int) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) px of a part of the page with some consecutive lines full of words."""
    lines = by_line(words)
    best: tuple[int, int, int, int] | None = None
    best_rank = (False, 0)
    for start in range(len(lines)):
        part = list(lines[start])
        for line in lines[start + 1 : start + _TRIED_LINES]:
            if len(part) >= _TRIED_WORDS:
                break
            part += line
        top, bottom, left, right = bounding_box(part)
        around = round(_AROUND * float(np.median([min(word.height_px, word.width_px) for word in part])))
        top, bottom = max(0, top - around), min(height_px, bottom + around)
        left, right = max(0, left - around), min(width_px, right + around)
        is_small = (bottom - top) * (right - left) <= _TRIED_SHARE * height_px * width_px
        if (rank := (is_small, min(len(part), _TRIED_WORDS))) > best_rank:
            best, best_rank = (top, bottom, left, right), rank
    assert best is not None  # there are words
    return best


def _turned_back(word: Word, quarter_turns: int, height_px: int, width_px: int) -> Word:
    row, col, height, width = word.row_px, word.col_px, word.height_px, word.width_px
    if quarter_turns == 1:
        row, col, height, width = height_px - col - width, row, width, height
    elif quarter_turns == 2:
        row, col = height_px - row - height, width_px - col - width
    elif quarter_turns == 3:
        row, col, height, width = col, width_px - row - height, width, height
    return replace(word, row_px=row, col_px=col, height_px=height, width_px=width, quarter_turns=quarter_turns)
