"""Repeat OCR on the decoded page, and compare the words that OCR was sure of on the source."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Protocol

import numpy as np

from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.checks.perturbations import perturbed
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


Outcome = Literal["unchanged", "same", "unrepeatable", "changed", "lost"]
"""Fate of a word that OCR was sure of.

`unchanged`: it stands on a line that the encoding hardly changed, and was not read again. `same`: it was, and reads the
same. `unrepeatable`: it reads otherwise, but the source does too when it is read again; this is held against no output.
`changed`: another confident reading is in its place. `lost`: no confident reading is.
"""


@dataclass(frozen=True)
class WordCheck:
    """A word that OCR was sure of, what became of it, and the reading in its place; empty without one."""

    word: Word
    outcome: Outcome
    found: str = ""


@dataclass(frozen=True)
class Rereading:
    """Result of repeated OCR: one check for each word that OCR was sure of, and the number of lines read again."""

    passed: bool
    checks: tuple[WordCheck, ...]
    lines_reread: int

    def count(self, *outcomes: Outcome) -> int:
        """Return the number of words with one of some outcomes."""
        return sum(check.outcome in outcomes for check in self.checks)

    @property
    def words_reread(self) -> int:
        """Words on lines that were read again."""
        return len(self.checks) - self.count("unchanged")

    @property
    def words_kept_fraction(self) -> float | None:
        """Share of the words that are neither changed nor lost; None without words."""
        return 1.0 - self.count("changed", "lost") / len(self.checks) if self.checks else None

    @property
    def digits_changed(self) -> int:
        """Digit strings with another confident reading in their place."""
        return self._digits("changed")

    @property
    def digits_lost(self) -> int:
        """Digit strings without a confident reading in their place."""
        return self._digits("lost")

    @property
    def failing(self) -> np.ndarray:
        """Boxes of changed and lost words, (n, 4) (row_px, col_px, height_px, width_px)."""
        words = [check.word for check in self.checks if check.outcome in ("changed", "lost")]
        boxes = [(word.row_px, word.col_px, word.height_px, word.width_px) for word in words]
        return np.array(boxes, np.int64).reshape(-1, 4)

    def _digits(self, outcome: Outcome) -> int:
        return sum(check.outcome == outcome and is_digit_string(check.word.text) for check in self.checks)


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


class _Found(NamedTuple):
    """A reading in a word's place, and whether OCR was sure of it."""

    text: str
    is_sure: bool


def reread(
    source: np.ndarray,
    decoded: np.ndarray,
    is_doubtful: Callable[[Word], bool],
    words: Sequence[Word],
    reader: Reader,
    settings: LegibilitySettings,
) -> Rereading:
    """Repeat OCR on the lines with doubtful words, and compare word by word.

    A word is read in three ways: as part of the whole page, like the source, and as its line cropped with two margins;
    then the source's line is cropped and read as well. OCR is unstable, so a word counts as missing only if no way
    gives it back within half a line's height of its place, and the cropped lines of source and decoded page differ too.

    A missing word is held against the page only if the source repeats it: if its own line yields it, cropped with
    either margin, and goes on doing so under perturbations that nobody can see. What the source does not repeat was
    read by chance, as happens with handwriting and ruled tables. Of the others, a changed digit string fails the page.

    Args:
        source: uint8, (height, width) or (height, width, 3), the upright page.
        decoded: The same page after encoding and decoding.
        is_doubtful: Says whether a word changed enough to be read again, with the other words of its line.
        words: Words that OCR read on the source.
        reader: Reads pages and lines.
        settings: Threshold for lost words.
    """
    lines = _confident_lines(words)
    if not lines:
        return Rereading(True, (), 0)
    doubtful = [line for line in lines if any(map(is_doubtful, line.words))]
    cuts = [_ByLine(source, decoded, reader, margin) for margin in _MARGINS]
    whole = _ByPage(decoded, reader)
    ways: list[_Way] = [*cuts, whole] if len(doubtful) <= _FEW_LINES * len(lines) else [whole, *cuts]
    missing: _Words = {line: line.words for line in doubtful}
    found: dict[Word, _Found] = {}
    for way in ways:
        missing = way.missing(missing, found) if missing else missing
    by_chance = set[Word].intersection(*(cut.by_chance for cut in cuts))
    by_chance |= _not_repeated(_without(missing, by_chance), source, reader)
    is_missing = {word for members in missing.values() for word in members}

    def outcome_of(line: _Line, word: Word) -> Outcome:
        if word in is_missing:
            return "unrepeatable" if word in by_chance else "changed" if found[word].is_sure else "lost"
        return "same" if line in read_again else "unchanged"

    read_again = set(doubtful)
    checks = tuple(
        WordCheck(word, outcome_of(line, word), found[word].text if word in is_missing else word.text)
        for line in lines
        for word in line.words
    )
    result = Rereading(True, checks, len(doubtful))
    # one word may always be lost: on a short page it exceeds any percentage
    most_lost = max(1.0, (1.0 - settings.min_words_kept) * len(checks))
    passed = result.digits_changed == 0 and result.count("changed", "lost") <= most_lost
    return replace(result, passed=passed)


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


def sure_words(words: Iterable[Word]) -> tuple[Word, ...]:
    """Return the words that OCR was sure of: read with confidence, and more than punctuation."""
    return tuple(word for word in words if word.confidence >= SURE_CONFIDENCE and comparable_text(word.text))


def _confident_lines(words: Sequence[Word]) -> list[_Line]:
    """Return the lines with confident words."""
    lines = [(sure_words(members), members) for members in by_line(words)]
    return [_Line(sure, bounding_box(members)) for sure, members in lines if sure]


def _without(words: _Words, excused: set[Word]) -> _Words:
    """Return the lines that hold other words than the excused ones, with those words."""
    left = {line: tuple(word for word in members if word not in excused) for line, members in words.items()}
    return {line: members for line, members in left.items() if members}


def _not_repeated(words: _Words, source: np.ndarray, reader: Reader) -> set[Word]:
    """Return the words that the source's line does not give back under every perturbation, cropped with any margin."""
    if not words:
        return set()
    crops = [(line, margin, *line.cut(source, margin)) for line in words for margin in _MARGINS]
    copies = [perturbed(turned(luma_of(picture), turns_of(line.words))) for line, _, picture, _, _ in crops]
    found = iter(reader.lines([copy for of_crop in copies for copy in of_crop]))
    repeated: dict[Word, set[int]] = {}
    for (line, _, picture, row_px, col_px), of_crop in zip(crops, copies, strict=True):
        for number in range(len(of_crop)):
            read = turned_back(next(found), turns_of(line.words), *picture.shape[:2])
            for word in words[line]:
                if _reads(word, _at(word, row_px, col_px, read)):
                    repeated.setdefault(word, set()).add(number)
    n_copies = len(copies[0])
    return {word for members in words.values() for word in members if len(repeated.get(word, ())) < n_copies}


class _Way(Protocol):
    def missing(self, wanted: _Words, found: dict[Word, _Found]) -> _Words:
        """Return the words that are not read the same, and note what is read in their places."""


@dataclass(frozen=True)
class _ByPage:
    """Reads the whole decoded page, as its source was read."""

    decoded: np.ndarray
    reader: Reader

    def missing(self, wanted: _Words, found: dict[Word, _Found]) -> _Words:
        again = self.reader.page(self.decoded)
        missing: dict[_Line, tuple[Word, ...]] = {}
        for line, words in wanted.items():
            for word in words:
                there = _at(word, 0, 0, again)
                if not _reads(word, there):
                    missing[line] = (*missing.get(line, ()), word)
                    _note(word, there, found)
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

    def missing(self, wanted: _Words, found: dict[Word, _Found]) -> _Words:
        missing: dict[_Line, tuple[Word, ...]] = {}
        there: dict[Word, list[Word]] = {}
        for line, row_px, col_px, again in self._read(self.decoded, wanted):
            for word in wanted[line]:
                there[word] = _at(word, row_px, col_px, again)
                if not _reads(word, there[word]):
                    missing[line] = (*missing.get(line, ()), word)
        return self._unlike_the_source(missing, there, found) if missing else missing

    def _read(self, pixels: np.ndarray, lines: Iterable[_Line]) -> Iterator[tuple[_Line, int, int, Sequence[Word]]]:
        """Yield each line with the corner of its image on the page, and the words read in the upright image."""
        cuts = [(line, *line.cut(pixels, self.margin)) for line in lines]
        read = self.reader.lines([turned(picture, turns_of(line.words)) for line, picture, _, _ in cuts])
        for (line, picture, row_px, col_px), words in zip(cuts, read, strict=True):
            yield line, row_px, col_px, turned_back(words, turns_of(line.words), *picture.shape[:2])

    def _unlike_the_source(self, missing: _Words, there: dict[Word, list[Word]], found: dict[Word, _Found]) -> _Words:
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
                _note(word, there[word], found)
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


def _note(word: Word, there: Sequence[Word], found: dict[Word, _Found]) -> None:
    """Note the reading in a word's place; a confident one by any way stays."""
    if word not in found or not found[word].is_sure:
        is_sure = any(other.confidence >= SURE_CONFIDENCE for other in there)
        found[word] = _Found(" ".join(other.text for other in there), is_sure)


def _joined(words: Sequence[Word]) -> str:
    return comparable_text("".join(word.text for word in words))
