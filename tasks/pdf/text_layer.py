"""Add OCR words as an invisible, searchable text layer below a PDF's scan."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import numpy as np
import pikepdf
from pikepdf import Array, Dictionary, Name

from foliopress.tasks.ocr.bidi import in_visual_order, is_right_to_left
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.pdf.existing_text import words_to_write
from foliopress.tasks.pdf.pdf_reader import Letters, PdfPage

_FONT = "/FoliopressText"
_MORE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # for pages that have such fonts already
_WIDTH = 500  # of every glyph, in thousandths of the font's size
_MOST_CODES = 256  # in a font with one-byte codes

_UPSIDE_DOWN = 2  # quarter turns

Point = tuple[float, float]
Codes = Mapping[str, tuple[int, int]]
"""The font number and the code of each character."""


def add_text(
    document: pikepdf.Pdf,
    page_index: int,
    described: PdfPage,
    words: Sequence[Word],
    size_px: tuple[int, int],
    letters: Letters | None = None,
) -> None:
    """Add words to a page, each at its place, except those that the page's own text already contains.

    All glyphs of the layer's font are empty, so that no reader shows it, however it treats hidden text. The font's
    table maps codes to text (ISO 32000-1, 9.6.5 and 9.10.3). Right-to-left lines are written from left to right, as in
    typeset
    pages: readers reverse them.

    Args:
        document: The PDF.
        page_index: 0-based.
        described: Description of the page.
        words: Boxes in pixels of the upright page.
        size_px: Height and width of the upright page.
        letters: The page's existing text.
    """
    page = document.pages[page_index]
    unit = float(page.obj.get("/UserUnit", 1))
    legible = _visible_words([word for word in words if word.text.strip()], described, size_px)
    if letters is not None:
        boxes = [_box_on_page(word, described, size_px, unit) for word in legible]
        legible = words_to_write(legible, np.array(boxes, np.float64).reshape(-1, 4), letters)
    legible = _in_visual_order(legible)
    if not legible:
        return
    alphabet = sorted({character for word in legible for character in word.text} | {" "})
    fonts = [alphabet[start : start + _MOST_CODES] for start in range(0, len(alphabet), _MOST_CODES)]
    codes = {character: divmod(place, _MOST_CODES) for place, character in enumerate(alphabet)}
    there = dict(page.resources.items())  # a copy: pages may share resources
    others = dict(there["/Font"].items()) if "/Font" in there else {}
    name = _free_name(others)
    content = ["q BT 3 Tr"]
    for (_, turns), line in groupby(legible, key=lambda word: (word.line_index, word.quarter_turns % 4)):
        if turns == _UPSIDE_DOWN:
            content += _line_operators(list(line), described, size_px, unit, codes, name)
        else:
            content += [one for word in line for one in _word_operators(word, described, size_px, unit, codes, name)]
    content.append("ET Q")
    own = {f"{name}{number}": _font(document, characters) for number, characters in enumerate(fonts)}
    there["/Font"] = Dictionary(others | own)
    page.obj.Resources = Dictionary(there)
    page.contents_add(_compressed_stream(document, "\n".join(content).encode("ascii")), prepend=True)


def _visible_words(words: Sequence[Word], described: PdfPage, size_px: tuple[int, int]) -> list[Word]:
    """Return the words whose centre is in the visible part of the page: a scan may be larger."""
    left, bottom, right, top = described.box
    seen = []
    for word in words:
        middle = word.row_px + word.height_px / 2, word.col_px + word.width_px / 2
        x, y = _on_page(middle, described, size_px, 1.0)
        if left <= x <= right and bottom <= y <= top:
            seen.append(word)
    return seen


def _free_name(fonts: Mapping[str, object]) -> str:
    """Return a prefix for font names that are free on the page; an earlier layer may have taken the first."""
    return next(name for name in (_FONT, *(f"{_FONT}{letter}" for letter in _MORE)) if f"{name}0" not in fonts)


def _in_visual_order(words: Sequence[Word]) -> list[Word]:
    """Return the words in visual order: right-to-left lines with words and characters reversed."""
    ordered: list[Word] = []
    for _, line in groupby(words, key=attrgetter("line_index")):
        there = list(line)
        if any(is_right_to_left(word.text) for word in there):
            there = [replace(word, text=in_visual_order(word.text)) for word in sorted(there, key=_along)]
        ordered += there
    return ordered


def _along(word: Word) -> int:
    """Return a word's start along its line, from left to right when the line is upright."""
    return {
        0: word.col_px,
        1: -(word.row_px + word.height_px),
        2: -(word.col_px + word.width_px),
        3: word.row_px,
    }[word.quarter_turns % 4]


def _word_operators(
    word: Word, described: PdfPage, size_px: tuple[int, int], unit: float, codes: Codes, name: str
) -> list[str]:
    """Return the operators that show a word, its glyphs stretched to the length of its box."""
    start, end, top = (_on_page(place, described, size_px, unit) for place in _corners(word))
    glyph = (end[0] - start[0]) / len(word.text), (end[1] - start[1]) / len(word.text)
    operators = [_text_matrix(start, glyph, top)]
    for number, piece in groupby((codes[one] for one in word.text + " "), key=itemgetter(0)):
        operators.append(f"{name}{number} 1 Tf <{''.join(f'{code:02x}' for _, code in piece)}> Tj")
    return operators


def _line_operators(
    line: Sequence[Word], described: PdfPage, size_px: tuple[int, int], unit: float, codes: Codes, name: str
) -> list[str]:
    """Return the operators that show the words of a line together.

    pdfium sorts words that are shown separately from left to right as displayed, so the last word of an upside-down
    line would come first. Glyphs are as wide as the widest word's, and set closer in the others.
    """
    places = [[_on_page(place, described, size_px, unit) for place in _corners(word)] for word in line]
    first, _, top = places[0]
    lengths = [math.dist(start, end) for start, end, _ in places]
    advances = [length / len(word.text) for length, word in zip(lengths, line, strict=True)]
    widest = max(advances)
    ahead = [(places[0][1][axis] - first[axis]) / lengths[0] for axis in (0, 1)]
    operators = [_text_matrix(first, (ahead[0] * widest, ahead[1] * widest), top)]
    pen = 0.0  # end of the text so far, in page units
    written: list[tuple[int, str]] = []
    for word, (start, _, _), advance in zip(line, places, advances, strict=True):
        begins = sum((start[axis] - first[axis]) * ahead[axis] for axis in (0, 1))
        for place, character in enumerate(word.text + " "):
            at = begins + place * advance
            moved, pen = (at - pen) / widest * _WIDTH, at + widest  # the first in thousandths of the font's size
            font, code = codes[character]
            written.append((font, (f"{-moved:.0f} " if round(moved) else "") + f"<{code:02x}>"))
    for number, pieces in groupby(written, key=itemgetter(0)):
        operators.append(f"{name}{number} 1 Tf [{''.join(piece for _, piece in pieces)}] TJ")
    return operators


def _text_matrix(start: Point, glyph: Point, top: Point) -> str:
    """Return the operator that sets glyphs to begin at `start`, advance by `glyph` and reach up to `top`."""
    along = glyph[0] * 1000 / _WIDTH, glyph[1] * 1000 / _WIDTH
    return " ".join(f"{value:.4f}" for value in (*along, top[0] - start[0], top[1] - start[1], *start)) + " Tm"


def _corners(word: Word) -> tuple[Point, Point, Point]:
    """Return (row, column) of the start and end of a word's baseline, and of the corner above the start."""
    top, left = word.row_px, word.col_px
    bottom, right = top + word.height_px, left + word.width_px
    # clockwise around the box, from the start of the baseline to the top of the first letters
    corners = [(bottom, left), (top, left), (top, right), (bottom, right)]
    turns = word.quarter_turns % 4
    return corners[-turns], corners[-turns - 1], corners[(1 - turns) % 4]


def _box_on_page(
    word: Word, described: PdfPage, size_px: tuple[int, int], unit: float
) -> tuple[float, float, float, float]:
    """Return a word's bounding box (left, bottom, right, top), in page units."""
    bottom, right = word.row_px + word.height_px, word.col_px + word.width_px
    corners = ((word.row_px, word.col_px), (word.row_px, right), (bottom, word.col_px), (bottom, right))
    xs, ys = zip(*(_on_page(corner, described, size_px, unit) for corner in corners), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _on_page(place: Point, described: PdfPage, size_px: tuple[int, int], unit: float) -> Point:
    """Convert (row, column) of the upright page to page units.

    The upright page is the scan, or the visible part of a rendered page.
    """
    (row, col), (height, width) = place, size_px
    if described.scan is not None:
        turns, (a, b, c, d, e, f) = described.quarter_turns, described.scan.matrix
    else:
        left, bottom, right, top = described.box
        turns, (a, b, c, d, e, f) = described.rotate // 90, (right - left, 0.0, 0.0, top - bottom, left, bottom)
    stored = [
        (row / height, col / width),
        (1 - col / width, row / height),
        (1 - row / height, 1 - col / width),
        (col / width, 1 - row / height),
    ]
    down, across = stored[turns]
    up = 1 - down
    return (a * across + c * up + e) / unit, (b * across + d * up + f) / unit


def _font(document: pikepdf.Pdf, characters: Sequence[str]) -> Any:
    last = len(characters) - 1
    glyph = document.make_stream(b"%d 0 0 0 %d 1000 d1" % (_WIDTH, _WIDTH))  # its bounding box, and no marks
    return document.make_indirect(
        Dictionary(
            Type=Name.Font,
            Subtype=Name.Type3,
            FontBBox=Array([0, 0, _WIDTH, 1000]),
            FontMatrix=Array([0.001, 0, 0, 0.001, 0, 0]),
            CharProcs=Dictionary(g=glyph),
            Encoding=Dictionary(Type=Name.Encoding, Differences=Array([0, *[Name.g] * len(characters)])),
            FirstChar=0,
            LastChar=last,
            Widths=Array([_WIDTH] * len(characters)),
            Resources=Dictionary(),
            ToUnicode=_compressed_stream(document, _to_unicode_cmap(characters)),
        )
    )


def _compressed_stream(document: pikepdf.Pdf, data: bytes) -> pikepdf.Stream:
    """Return a new compressed stream; compressed here because the document is saved with all streams unchanged."""
    return document.make_stream(zlib.compress(data, 9), Filter=Name.FlateDecode)


def _to_unicode_cmap(characters: Sequence[str]) -> bytes:
    """Return the CMap that maps the codes of a font to text (Adobe Technical Note 5411)."""
    entries = [f"<{code:02x}> <{one.encode('utf-16-be').hex()}>" for code, one in enumerate(characters)]
    blocks = [entries[start : start + 100] for start in range(0, len(entries), 100)]
    lines = [
        "/CIDInit /ProcSet findresource begin 12 dict begin begincmap",
        "/CMapName /FoliopressText def /CMapType 2 def",
        "1 begincodespacerange <00> <ff> endcodespacerange",
        *(f"{len(block)} beginbfchar\n" + "\n".join(block) + "\nendbfchar" for block in blocks),
        "endcmap CMapName currentdict /CMap defineresource pop end end",
    ]
    return "\n".join(lines).encode("ascii")
