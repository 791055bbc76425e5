"""Plant damage in a page as a bad encoder would leave it: swapped digits, smeared words, lost dots, lines, stamps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import cv2
import numpy as np

from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.checks.rereading import SURE_CONFIDENCE, is_digit_string
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.ocr.recognition import Word, bounding_box, by_line

_SWAPS = {"5": "6", "6": "5", "3": "8", "8": "3", "1": "7", "7": "1"}
_DOTTED = frozenset("ijäöüéèêàâîôûçñ")
_LEAST_LETTERS = 4
_TALL, _SHORT = 0.55, 0.35  # heights of a digit and of a point, in heights of their word
_LEAST_MARK_SQ_INCH = 0.02
_SEEN_INCH, _SEEN_LEVELS, _SEEN_CONTRAST = 0.02, 12.0, 0.3  # a full stop; grey levels; share of the contrast around
_AROUND_INCH = 0.1
_STROKE_INCH, _LEAST_STROKE_SHARE = 0.12, 0.06  # side of a piece of writing, and its least share of ink


@dataclass(frozen=True)
class Plant:
    """One damage: its kind, and the pixels that take the place of the page's from (row_px, col_px) on."""

    kind: str
    row_px: int
    col_px: int
    patch: np.ndarray

    def on(self, page: np.ndarray) -> np.ndarray:
        """Return a copy of a page with the damage."""
        damaged = page.copy()
        rows, cols = slice(self.row_px, self.row_px + len(self.patch)), slice(self.col_px, None)
        damaged[rows, cols][:, : self.patch.shape[1]] = self.patch
        return damaged


@dataclass(frozen=True)
class _Glyph:
    """One connected stroke of a word: its box on the page, and its pixels, bool of the box's size."""

    row_px: int
    col_px: int
    mask: np.ndarray

    @property
    def height_px(self) -> int:
        return len(self.mask)


def plant_all(
    page: np.ndarray, analysis: PageAnalysis, most_per_kind: int, lines: np.ndarray | None = None
) -> Iterator[Plant]:
    """Yield damage of every kind that a page has room for, if a person could see it.

    Args:
        page: uint8, (height, width) or (height, width, 3): an encoding of the analysed page, decoded.
        analysis: Its words, strokes and marks.
        most_per_kind: Number of plants of a kind, spread evenly over the page.
        lines: (height, width) bool, the area of text lines; writing outside it is left alone. None for no limit.
    """
    for make in (
        _swapped_digits,
        _lost_points,
        _lost_dots,
        _smeared_words,
        _thin_words,
        _lost_lines,
        _lost_marks,
        partial(_lost_strokes, lines=lines),
    ):
        found = [plant for plant in make(page, analysis) if _is_visible(plant, page, analysis.dpi)]
        chosen = np.linspace(0, len(found) - 1, min(most_per_kind, len(found))).round().astype(int)
        yield from (found[number] for number in chosen)


def _is_visible(plant: Plant, page: np.ndarray, dpi: float) -> bool:
    """Return whether a damage changes the page over the size of a full stop, by a good part of the contrast there."""
    around = round(_AROUND_INCH * dpi)
    top, left = max(0, plant.row_px - around), max(0, plant.col_px - around)
    bottom, right = plant.row_px + len(plant.patch) + around, plant.col_px + plant.patch.shape[1] + around
    before = luma_of(np.ascontiguousarray(page[top:bottom, left:right]))
    after = luma_of(np.ascontiguousarray(plant.on(page)[top:bottom, left:right]))
    darkest, lightest = np.percentile(before, (2, 98))
    side = max(1, round(_SEEN_INCH * dpi))
    change = cv2.blur(after.astype(np.float32) - before, (side, side))
    return bool(np.abs(change).max() >= max(_SEEN_LEVELS, _SEEN_CONTRAST * (lightest - darkest)))


def _sure_words(analysis: PageAnalysis) -> list[Word]:
    return [word for word in analysis.words if word.confidence >= SURE_CONFIDENCE and not word.quarter_turns]


def _swapped_digits(page: np.ndarray, analysis: PageAnalysis) -> Iterator[Plant]:
    """Put another digit of the same page in the place of one that looks like it."""
    digits: list[tuple[str, _Glyph]] = []
    for word in _sure_words(analysis):
        if is_digit_string(word.text):
            tall = [glyph for glyph in _glyphs(page, word) if glyph.height_px >= _TALL * word.height_px]
            letters = [letter for letter in word.text if letter.isalnum()]
            if len(tall) == len(letters):
                digits += [pair for pair in zip(letters, tall, strict=True) if pair[0].isdigit()]
    for digit, glyph in digits:
        others = [other for name, other in digits if name == _SWAPS.get(digit)]
        alike = [other for other in others if 0.85 <= other.height_px / glyph.height_px <= 1.18]
        if alike:
            yield _replaced("digit", page, glyph, min(alike, key=lambda other: abs(other.row_px - glyph.row_px)))


def _lost_points(page: np.ndarray, analysis: PageAnalysis) -> Iterator[Plant]:
    """Erase a decimal point."""
    for word in _sure_words(analysis):
        if is_digit_string(word.text) and any(mark in word.text[1:-1] for mark in ".,"):
            glyphs = _glyphs(page, word)
            inner = [
                glyph
                for glyph in glyphs
                if glyph.height_px <= _SHORT * word.height_px
                and glyph.row_px + glyph.height_px > word.row_px + 0.6 * word.height_px
                and min(one.col_px for one in glyphs) < glyph.col_px < max(one.col_px for one in glyphs)
            ]
            for glyph in inner[:1]:
                yield _erased("point", page, glyph)


def _lost_dots(page: np.ndarray, analysis: PageAnalysis) -> Iterator[Plant]:
    """Erase the dot or accent of a letter."""
    for word in _sure_words(analysis):
        if not is_digit_string(word.text) and _DOTTED & set(word.text.casefold()):
            for glyph in _glyphs(page, word):
                bottom = glyph.row_px + glyph.height_px
                if glyph.height_px <= _SHORT * word.height_px and bottom < word.row_px + 0.5 * word.height_px:
                    yield _erased("diacritic", page, glyph)
                    break


def _long_words(analysis: PageAnalysis) -> Iterator[Word]:
    for word in _sure_words(analysis):
        if sum(map(str.isalpha, word.text)) >= _LEAST_LETTERS:
            yield word


def _smeared_words(page: np.ndarray, analysis: PageAnalysis) -> Iterator[Plant]:
    """Blur a word along its line until its letters run together."""
    for word in _long_words(analysis):
        crop = _crop(page, word)
        side = max(3, round(0.6 * word.height_px)) | 1
        yield Plant("smeared word", word.row_px, word.col_px, cv2.blur(crop, (side, 1)))


def _thin_words(page: np.ndarray, analysis: PageAnalysis) -> Iterator[Plant]:
    """Thin a word's strokes until the thinnest are gone."""
    side = max(3, round(analysis.dpi / 60))
    for word in _long_words(analysis):
        yield Plant("thin strokes", word.row_px, word.col_px, cv2.dilate(_crop(page, word), np.ones((side, side))))


def _lost_lines(page: np.ndarray, analysis: PageAnalysis) -> Iterator[Plant]:
    """Put a line's neighbour in its place."""
    lines = [line for line in by_line(analysis.words) if len(line) > 1 and not line[0].quarter_turns]
    boxes = [bounding_box(line) for line in lines if max(word.confidence for word in line) >= SURE_CONFIDENCE]
    for here, there in pairwise(boxes):
        height, width = here[1] - here[0], here[3] - here[2]
        if 0.8 <= (there[1] - there[0]) / height <= 1.25 and there[3] - there[2] >= width / 2:
            other = page[there[0] : there[0] + height, there[2] : there[2] + width]
            if len(other) == height:
                yield Plant("line", here[0], here[2], other[:, :width].copy())


def _lost_marks(page: np.ndarray, analysis: PageAnalysis) -> Iterator[Plant]:
    """Erase a stamp or another coloured mark."""
    area = analysis.colour_marks.area(*page.shape[:2]) if len(analysis.colour_marks) else None
    for row_px, col_px, height_px, width_px in analysis.colour_marks.boxes:
        if area is not None and height_px * width_px >= _LEAST_MARK_SQ_INCH * analysis.dpi**2:
            mask = area[row_px : row_px + height_px, col_px : col_px + width_px]
            yield _erased("coloured mark", page, _Glyph(int(row_px), int(col_px), mask))


def _lost_strokes(page: np.ndarray, analysis: PageAnalysis, lines: np.ndarray | None) -> Iterator[Plant]:
    """Erase a piece of writing that OCR did not read, where the network sees writing."""
    side = max(8, round(_STROKE_INCH * analysis.dpi))
    read = np.zeros(page.shape[:2], bool)
    for word in analysis.words:
        read[word.row_px : word.row_px + word.height_px, word.col_px : word.col_px + word.width_px] = True
    tile_px = analysis.grid.tile_px
    for row, col in np.argwhere((analysis.importance >= 0.9) & ~analysis.word_tiles):
        top, left = int(row) * tile_px, int(col) * tile_px
        ink = analysis.ink.plain[top : top + side, left : left + side]
        if (
            ink.shape == (side, side)
            and ink.mean() >= _LEAST_STROKE_SHARE
            and not read[top : top + side, left : left + side].any()
            and (lines is None or lines[top : top + side, left : left + side].all())
        ):
            yield _erased("written stroke", page, _Glyph(top, left, ink))


def _crop(page: np.ndarray, word: Word) -> np.ndarray:
    return page[word.row_px : word.row_px + word.height_px, word.col_px : word.col_px + word.width_px]


def _glyphs(page: np.ndarray, word: Word) -> list[_Glyph]:
    """Return the connected strokes of a word, from left to right."""
    luma = np.ascontiguousarray(luma_of(_crop(page, word)))
    if min(luma.shape) < 4:
        return []
    _, dark = cv2.threshold(luma, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(dark, connectivity=8)
    found = []
    for number in range(1, count):
        left, top, width, height, area = (int(value) for value in stats[number])
        if area >= 4:
            mask = labels[top : top + height, left : left + width] == number
            found.append(_Glyph(word.row_px + top, word.col_px + left, mask))
    return sorted(found, key=lambda glyph: glyph.col_px)


def _erased(kind: str, page: np.ndarray, glyph: _Glyph) -> Plant:
    top, left, patch = _without(page, glyph)
    return Plant(kind, top, left, patch)


def _replaced(kind: str, page: np.ndarray, glyph: _Glyph, other: _Glyph) -> Plant:
    """Return a glyph's place with another glyph on its baseline."""
    top, left, patch = _without(page, glyph)
    rows, cols = other.mask.shape
    there = page[other.row_px : other.row_px + rows, other.col_px : other.col_px + cols]
    size = max(1, round(cols * glyph.height_px / rows)), glyph.height_px
    ink: np.ndarray = cv2.resize(there, size, interpolation=cv2.INTER_AREA)
    row, col = glyph.row_px - top, glyph.col_px - left
    place = patch[row : row + size[1], col : col + size[0]]
    place[:] = np.minimum(place, ink[: place.shape[0], : place.shape[1]])
    return Plant(kind, top, left, patch)


def _without(page: np.ndarray, glyph: _Glyph) -> tuple[int, int, np.ndarray]:
    """Return (row_px, col_px) and pixels of a glyph's surroundings, the glyph painted over with paper."""
    around = 6
    top, left = max(0, glyph.row_px - around), max(0, glyph.col_px - around)
    bottom, right = glyph.row_px + glyph.height_px + around, glyph.col_px + glyph.mask.shape[1] + around
    patch = page[top:bottom, left:right].copy()
    mask: np.ndarray = np.zeros(patch.shape[:2], np.uint8)
    row, col = glyph.row_px - top, glyph.col_px - left
    mask[row : row + glyph.mask.shape[0], col : col + glyph.mask.shape[1]] = glyph.mask[
        : mask.shape[0] - row, : mask.shape[1] - col
    ]
    mask = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    return top, left, cv2.inpaint(patch, mask, 4, cv2.INPAINT_TELEA)
