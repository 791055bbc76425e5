"""Read again: do the words that OCR was sure of still read the same on the decoded page?"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np

from configs.settings import LegibilitySettings
from tasks.ink import luma_of
from tasks.legibility import READING_DPI, at_reading_size, ssim_map
from tasks.ocr import Word, box_round, by_line


@dataclass(frozen=True)
class Reader:
    """OCR as a page's words were read by: whole pages, and pictures of one line of text each."""

    page: Callable[[np.ndarray], Sequence[Word]]
    lines: Callable[[Sequence[np.ndarray]], Sequence[Sequence[Word]]]


SURE_CONFIDENCE = 80.0
"""From which confidence a reading is taken for what stands there."""

_LEAST_FIGURES = 4  # lines: a date and a number make no table
_FEW_LINES = 1 / 4  # of a page's: more of them take longer than the whole page
_LINE_MARGIN = 0.3  # of the line's height, on every side of its picture: Tesseract reads badly at the very edge


@dataclass(frozen=True)
class Rereading:
    """What reading again found.

    `words_kept_fraction` is the share of the confident words that read the same, stand on lines that the encoding
    hardly touched, or were read by chance (None without such words); `digits_changed` counts digit strings that read
    otherwise, `digits_lost` those that read in no way sure; `lines_reread` the lines that were read at all. `failing`
    holds the boxes of words that could not be read again, (n, 4) (row_px, col_px, height_px, width_px).
    """

    passed: bool
    words_kept_fraction: float | None
    digits_changed: int
    digits_lost: int
    lines_reread: int
    failing: np.ndarray


@dataclass(frozen=True, eq=False)
class _Line:
    """A line's confident words, and where the picture that is cut of it lies on the page."""

    words: tuple[Word, ...]
    rows: slice
    cols: slice

    def cut(self, pixels: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(pixels[self.rows, self.cols])


_Words = Mapping[_Line, tuple[Word, ...]]


def reread(
    source: np.ndarray,
    decoded: np.ndarray,
    words: Sequence[Word],
    dpi: float,
    reader: Reader,
    settings: LegibilitySettings,
) -> Rereading:
    """Read again where a digit string or much of a word's shape changed, and compare word by word.

    A word is *kept* when the decoded page reads the same within half a line's height of its place. There are two ways
    to read it: as part of the whole page, as the source was, or as its line cut out, in which case the source's line
    is cut out and read as well. OCR wavers, so that a word is lost only if neither way gives it back, and the two cut
    lines do not read alike either. What the source itself does not say again when its line is cut out was read by
    chance, as OCR reads handwriting and ruled tables; its loss is not counted. A word is *changed* if another confident
    reading stands in its place; a digit string that is changed fails the page, by chance or not.

    Args:
        source: uint8, (height, width) or (height, width, 3), the upright page.
        decoded: The same page after encoding and decoding.
        words: What OCR read on the source.
        dpi: Resolution of the page.
        reader: Reads pages and lines.
        settings: Which lines are read again, and how many words may be lost.
    """
    lines = _confident_lines(words, *source.shape[:2])
    n_words = sum(len(line.words) for line in lines)
    if not n_words:
        return Rereading(True, None, 0, 0, 0, np.zeros((0, 4), np.int64))
    doubtful = _doubtful(lines, source, decoded, dpi, settings)
    cut_lines = _ByLine(source, decoded, reader)
    ways: list[_Way] = [cut_lines, _ByPage(decoded, reader)]
    if len(doubtful) > _FEW_LINES * len(lines):
        ways.reverse()
    missing: _Words = {line: line.words for line in doubtful}
    changed: set[Word] = set()
    for way in ways:
        missing = way.missing(missing, changed) if missing else missing
    doubted = [word for members in missing.values() for word in members]
    digits = [word in changed for word in doubted if is_digit_string(word.text)]
    digits_changed = sum(digits)
    lost = [
        word for word in doubted if word not in cut_lines.by_chance or (is_digit_string(word.text) and word in changed)
    ]
    # one word of a short page is no hundredth of it
    too_many = len(lost) > max(1.0, (1.0 - settings.min_words_kept) * n_words)
    boxes = [(word.row_px, word.col_px, word.height_px, word.width_px) for word in doubted]
    return Rereading(
        passed=digits_changed == 0 and not too_many,
        words_kept_fraction=1.0 - len(lost) / n_words,
        digits_changed=digits_changed,
        digits_lost=len(digits) - digits_changed,
        lines_reread=len(doubtful),
        failing=np.array(boxes, np.int64).reshape(-1, 4),
    )


def is_digit_string(text: str) -> bool:
    """Return whether a word is an amount, a date or a number: half or more of its letters are digits.

    >>> is_digit_string("1887,"), is_digit_string("20th"), is_digit_string("habill4e")
    (True, True, False)
    """
    letters = [letter for letter in text if letter.isalnum()]
    return 2 * sum(letter.isdigit() for letter in letters) >= max(1, len(letters))


def bears_figures(words: Sequence[Word]) -> bool:
    """Return whether a page is one of figures, a receipt or a table: a third of its lines hold digit strings."""
    lines = _confident_lines(words, 1, 1)
    with_digits = sum(any(is_digit_string(word.text) for word in line.words) for line in lines)
    return with_digits >= max(_LEAST_FIGURES, len(lines) / 3)


def plain_text(text: str) -> str:
    """Return what two readings of a word must agree in: its letters, and for a digit string where it is parted.

    Which mark parts them OCR often mistakes; that there is one tells 12.50 from 1250.

    >>> plain_text("(Ledger,"), plain_text("'4,512:60.")
    ('ledger', '4.512.60')
    """
    if is_digit_string(text):
        return re.sub(r"\W+", ".", re.sub(r"^\W+|\W+$", "", text)).casefold()
    return re.sub(r"[\W_]+", "", text).casefold()


def _confident_lines(words: Sequence[Word], height_px: int, width_px: int) -> list[_Line]:
    """Return the lines that hold confident words; a picture takes in the whole line and a margin."""
    lines = []
    for members in by_line(words):
        confident = tuple(word for word in members if word.confidence >= SURE_CONFIDENCE and plain_text(word.text))
        if not confident:
            continue
        top, bottom, left, right = box_round(members)
        margin = round(_LINE_MARGIN * (bottom - top)) + 4
        rows = slice(max(0, top - margin), min(height_px, bottom + margin))
        lines.append(_Line(confident, rows, slice(max(0, left - margin), min(width_px, right + margin))))
    return lines


def _doubtful(
    lines: Sequence[_Line], source: np.ndarray, decoded: np.ndarray, dpi: float, settings: LegibilitySettings
) -> list[_Line]:
    """Return the lines where reading again tells something: digits that changed at all, words that changed much."""
    before, after = (at_reading_size(luma_of(pixels), dpi) for pixels in (source, decoded))
    similarity = ssim_map(before, after)
    scale = min(1.0, READING_DPI / dpi)
    doubtful = []
    for line in lines:
        for word in line.words:
            rows = slice(int(word.row_px * scale), int((word.row_px + word.height_px) * scale) + 1)
            cols = slice(int(word.col_px * scale), int((word.col_px + word.width_px) * scale) + 1)
            floor = settings.reread_digits_below if is_digit_string(word.text) else settings.reread_words_below
            if cv2.mean(similarity[rows, cols])[0] < floor:
                doubtful.append(line)
                break
    return doubtful


class _Way(Protocol):
    def missing(self, wanted: _Words, changed: set[Word]) -> _Words:
        """Return the words that are not read again; those with another confident reading are added to `changed`."""


@dataclass(frozen=True)
class _ByPage:
    """Read the whole page again, as its source was read."""

    decoded: np.ndarray
    reader: Reader

    def missing(self, wanted: _Words, changed: set[Word]) -> _Words:
        again = self.reader.page(self.decoded)
        missing: dict[_Line, tuple[Word, ...]] = {}
        for line, words in wanted.items():
            for word in words:
                there = _at(word, 0, 0, again)
                if not _reads(word, there):
                    missing[line] = (*missing.get(line, ()), word)
                    _note_change(word, there, changed)
        return missing


@dataclass(frozen=True)
class _ByLine:
    """Cut lines out of the decoded page and read them; where a word is missing, the source's line as well.

    `by_chance` takes in the words that the source's own line does not give back.
    """

    source: np.ndarray
    decoded: np.ndarray
    reader: Reader
    by_chance: set[Word] = field(default_factory=set)

    def missing(self, wanted: _Words, changed: set[Word]) -> _Words:
        lines = list(wanted)
        found = self.reader.lines([line.cut(self.decoded) for line in lines])
        missing: dict[_Line, tuple[Word, ...]] = {}
        there: dict[Word, list[Word]] = {}
        for line, again in zip(lines, found, strict=True):
            for word in wanted[line]:
                there[word] = _at(word, line.rows.start, line.cols.start, again)
                if not _reads(word, there[word]):
                    missing[line] = (*missing.get(line, ()), word)
        return self._unlike_the_source(missing, there, changed) if missing else missing

    def _unlike_the_source(self, missing: _Words, there: dict[Word, list[Word]], changed: set[Word]) -> _Words:
        """Leave out what the source's line, cut out, gives no better: the cut made the difference."""
        lines = list(missing)
        lost: dict[_Line, tuple[Word, ...]] = {}
        for line, then in zip(lines, self.reader.lines([line.cut(self.source) for line in lines]), strict=True):
            for word in missing[line]:
                before = _at(word, line.rows.start, line.cols.start, then)
                if before and _joined(there[word]) == _joined(before):
                    continue
                if not _reads(word, before):
                    self.by_chance.add(word)
                lost[line] = (*lost.get(line, ()), word)
                _note_change(word, there[word], changed)
        return lost


def _reads(word: Word, there: Sequence[Word]) -> bool:
    wanted = plain_text(word.text)
    return any(plain_text(other.text) == wanted for other in there) or _joined(there) == wanted


def _at(word: Word, row_px: int, col_px: int, again: Sequence[Word]) -> list[Word]:
    """Return what was read within half the word's height of its box, in a picture whose corner lies at (row, col)."""
    slack = word.height_px / 2
    top, left = word.row_px - row_px - slack, word.col_px - col_px - slack
    bottom, right = top + word.height_px + 2 * slack, left + word.width_px + 2 * slack
    return [
        other
        for other in again
        if left <= other.col_px + other.width_px / 2 <= right and top <= other.row_px + other.height_px / 2 <= bottom
    ]


def _note_change(word: Word, there: Sequence[Word], changed: set[Word]) -> None:
    if any(other.confidence >= SURE_CONFIDENCE for other in there):
        changed.add(word)


def _joined(words: Sequence[Word]) -> str:
    return plain_text("".join(word.text for word in words))
