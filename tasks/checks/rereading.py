"""Repeat OCR on the decoded page, and compare the words that OCR was sure of on the source."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import cv2
import numpy as np

from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.checks.legibility import READING_DPI, at_reading_size, ssim_map
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.ocr.orientation import turned, turned_back, turns_of
from foliopress.tasks.ocr.recognition import Word, bounding_box, by_line, letter_height


@dataclass(frozen=True)
class Reader:
    """The OCR functions that read the source: whole pages, and images of one upright line of text each."""

    page: Callable[[np.ndarray], Sequence[Word]]
    lines: Callable[[Sequence[np.ndarray]], Sequence[Sequence[Word]]]


SURE_CONFIDENCE = 80.0
"""Confidence from which a reading counts as correct."""

_LEAST_NUMERIC_LINES = 4  # a date and a number make no table
_FEW_LINES = 1 / 2  # of a page's lines: more of them take longer than the whole page
_MARGINS = (0.3, 0.1)
"""Margins on every side of a line's image, in line heights. Tesseract reads badly at the very edge, and also where
parts of the lines above and below are visible: words missed with one margin are mostly read with the other."""


@dataclass(frozen=True)
class Rereading:
    """Result of repeated OCR.

    `words_kept_fraction` is the share of the confident words that read the same, are on lines that the encoding hardly
    changed, or were read by chance (None without such words); `digits_changed` counts digit strings that read
    differently, `digits_lost` those without a confident reading; `lines_reread` the lines that were read again.
    `failing` has the boxes of words that could not be read again, (n, 4) (row_px, col_px, height_px, width_px).
    """

    passed: bool
    words_kept_fraction: float | None
    digits_changed: int
    digits_lost: int
    lines_reread: int
    failing: np.ndarray


@dataclass(frozen=True, eq=False)
class _Line:
    """A line's confident words, and (top, bottom, left, right) px of the bounding box of all its words."""

    words: tuple[Word, ...]
    box: tuple[int, int, int, int]

    def cut(self, pixels: np.ndarray, margin: float) -> tuple[np.ndarray, int, int]:
        """Return its image, and the row and column of the image's corner on the page."""
        top, bottom, left, right = self.box
        height_px = right - left if turns_of(self.words) % 2 else bottom - top
        around = round(margin * height_px) + 4
        rows = slice(max(0, top - around), min(pixels.shape[0], bottom + around))
        cols = slice(max(0, left - around), min(pixels.shape[1], right + around))
        return np.ascontiguousarray(pixels[rows, cols]), rows.start, cols.start


_Words = Mapping[_Line, tuple[Word, ...]]


def reread(
    source: np.ndarray,
    decoded: np.ndarray,
    words: Sequence[Word],
    dpi: float,
    reader: Reader,
    settings: LegibilitySettings,
) -> Rereading:
    """Repeat OCR where a digit string, or much of a word's shape, changed, and compare word by word.

    A word is *kept* if the decoded page reads the same within half a line's height of its position. It is read in three
    ways: as part of the whole page, like the source, and as its line cropped with two margins; then the source's line
    is cropped and read as well. OCR is unstable, so a word is lost only if no way recovers it, and the cropped lines of
    source and decoded page differ too. A word that neither crop of the source yields was read by chance, as happens
    with handwriting and ruled tables; its loss is not counted. A word is *changed* if another confident reading is in
    its place; a changed digit string fails the page, by chance or not.

    Args:
        source: uint8, (height, width) or (height, width, 3), the upright page.
        decoded: The same page after encoding and decoding.
        words: Words that OCR read on the source.
        dpi: Resolution of the page.
        reader: Reads pages and lines.
        settings: Thresholds for reading lines again, and for lost words.
    """
    lines = _confident_lines(words)
    n_words = sum(len(line.words) for line in lines)
    if not n_words:
        return Rereading(True, None, 0, 0, 0, np.zeros((0, 4), np.int64))
    doubtful = _doubtful(lines, source, decoded, dpi, settings)
    cuts = [_ByLine(source, decoded, reader, margin) for margin in _MARGINS]
    whole = _ByPage(decoded, reader)
    ways: list[_Way] = [*cuts, whole] if len(doubtful) <= _FEW_LINES * len(lines) else [whole, *cuts]
    missing: _Words = {line: line.words for line in doubtful}
    changed: set[Word] = set()
    for way in ways:
        missing = way.missing(missing, changed) if missing else missing
    doubted = [word for members in missing.values() for word in members]
    digits = [word in changed for word in doubted if is_digit_string(word.text)]
    digits_changed = sum(digits)
    by_chance = set[Word].intersection(*(cut.by_chance for cut in cuts))
    lost = [word for word in doubted if word not in by_chance or (is_digit_string(word.text) and word in changed)]
    # one word may always be lost: on a short page it exceeds any percentage
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


@dataclass(frozen=True)
class WordCheck:
    """A word that OCR was sure of, and the reading in its place on the decoded page; `found` is empty without one."""

    word: Word
    found: str
    verdict: Literal["kept", "changed", "lost"]


def check_words(words: Sequence[Word], again: Sequence[Word]) -> tuple[WordCheck, ...]:
    """Compare each word that OCR was sure of with OCR of the whole decoded page.

    `reread` also reads single lines; this is the check that a person can follow. A word that it reports as lost may
    still be legible on its line.

    Args:
        words: Words that OCR read on the source.
        again: Words that it read on the decoded page, of the same size.
    """
    checks = []
    for word in words:
        if word.confidence < SURE_CONFIDENCE or not comparable_text(word.text):
            continue
        there = _at(word, 0, 0, again)
        is_sure = any(other.confidence >= SURE_CONFIDENCE for other in there)
        verdict: Literal["kept", "changed", "lost"] = "changed" if is_sure else "lost"
        found = " ".join(other.text for other in there)
        checks.append(WordCheck(word, found, "kept" if _reads(word, there) else verdict))
    return tuple(checks)


def is_digit_string(text: str) -> bool:
    """Return whether a word is an amount, a date or a number: at least half of its alphanumerics are digits.

    >>> is_digit_string("1887,"), is_digit_string("20th"), is_digit_string("habill4e")
    (True, True, False)
    """
    letters = [letter for letter in text if letter.isalnum()]
    return 2 * sum(letter.isdigit() for letter in letters) >= max(1, len(letters))


def is_numeric_page(words: Sequence[Word]) -> bool:
    """Return whether a page is mostly numbers, like a receipt or a table: a third of its lines have digit strings."""
    lines = _confident_lines(words)
    with_digits = sum(any(is_digit_string(word.text) for word in line.words) for line in lines)
    return with_digits >= max(_LEAST_NUMERIC_LINES, len(lines) / 3)


def comparable_text(text: str) -> str:
    """Return the part of a word that two readings must agree in: its letters, and a digit string's separators.

    OCR often confuses separators, so all become `.`; their positions distinguish 12.50 from 1250.

    >>> comparable_text("(Ledger,"), comparable_text("'4,512:60.")
    ('ledger', '4.512.60')
    """
    if is_digit_string(text):
        return re.sub(r"\W+", ".", re.sub(r"^\W+|\W+$", "", text)).casefold()
    return re.sub(r"[\W_]+", "", text).casefold()


def _confident_lines(words: Sequence[Word]) -> list[_Line]:
    """Return the lines with confident words."""
    lines = []
    for members in by_line(words):
        confident = tuple(word for word in members if word.confidence >= SURE_CONFIDENCE and comparable_text(word.text))
        if confident:
            lines.append(_Line(confident, bounding_box(members)))
    return lines


def _doubtful(
    lines: Sequence[_Line], source: np.ndarray, decoded: np.ndarray, dpi: float, settings: LegibilitySettings
) -> list[_Line]:
    """Return the lines worth reading again: those with changed digits or strongly changed words."""
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
        """Return the words that are not read the same; add those with another confident reading to `changed`."""


@dataclass(frozen=True)
class _ByPage:
    """Reads the whole decoded page, as its source was read."""

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
    """Crops lines from the decoded page and reads them; if a word is missing, the source's line as well.

    `by_chance` collects the words that the source's own line does not yield.
    """

    source: np.ndarray
    decoded: np.ndarray
    reader: Reader
    margin: float
    by_chance: set[Word] = field(default_factory=set)

    def missing(self, wanted: _Words, changed: set[Word]) -> _Words:
        missing: dict[_Line, tuple[Word, ...]] = {}
        there: dict[Word, list[Word]] = {}
        for line, row_px, col_px, again in self._read(self.decoded, wanted):
            for word in wanted[line]:
                there[word] = _at(word, row_px, col_px, again)
                if not _reads(word, there[word]):
                    missing[line] = (*missing.get(line, ()), word)
        return self._unlike_the_source(missing, there, changed) if missing else missing

    def _read(self, pixels: np.ndarray, lines: Iterable[_Line]) -> Iterator[tuple[_Line, int, int, Sequence[Word]]]:
        """Yield each line with the corner of its image on the page, and the words read in the upright image."""
        cuts = [(line, *line.cut(pixels, self.margin)) for line in lines]
        found = self.reader.lines([turned(picture, turns_of(line.words)) for line, picture, _, _ in cuts])
        for (line, picture, row_px, col_px), words in zip(cuts, found, strict=True):
            yield line, row_px, col_px, turned_back(words, turns_of(line.words), *picture.shape[:2])

    def _unlike_the_source(self, missing: _Words, there: dict[Word, list[Word]], changed: set[Word]) -> _Words:
        """Leave out words that the source's cropped line reads the same: the crop made the difference."""
        lost: dict[_Line, tuple[Word, ...]] = {}
        for line, row_px, col_px, then in self._read(self.source, missing):
            for word in missing[line]:
                before = _at(word, row_px, col_px, then)
                if before and _joined(there[word]) == _joined(before):
                    continue
                if not _reads(word, before):
                    self.by_chance.add(word)
                lost[line] = (*lost.get(line, ()), word)
                _note_change(word, there[word], changed)
        return lost


def _reads(word: Word, there: Sequence[Word]) -> bool:
    wanted = comparable_text(word.text)
    return any(comparable_text(other.text) == wanted for other in there) or _joined(there) == wanted


def _at(word: Word, row_px: int, col_px: int, again: Sequence[Word]) -> list[Word]:
    """Return the words within half a letter height of a word's box, in an image with its corner at (row, col)."""
    slack = letter_height(word) / 2
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
    return comparable_text("".join(word.text for word in words))
