"""A text layer: the words that OCR read, under a PDF's scan, to be searched and copied and never seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name

from tasks.ocr import Word
from tasks.pdf import PdfPage
from tasks.right_to_left import as_it_stands, runs_right_to_left

_FONT = "/FoliopressText"
_WIDTH = 500  # of every glyph, in thousandths of the font's size
_MOST_CODES = 256  # of a font whose codes are bytes

Point = tuple[float, float]


def add_text(
    document: pikepdf.Pdf, page_index: int, described: PdfPage, words: Sequence[Word], size_px: tuple[int, int]
) -> None:
    """Write words into a page that is a scan, each where it stands.

    Every glyph of the layer's font is empty, so that it shows in no reader, whatever it makes of hidden text; what a
    code stands for is in the font's table (ISO 32000-1, 9.6.5 and 9.10.3). Lines of scripts that run from right to left
    are written from left to right, as typeset pages hold them: readers turn round what they find so.

    Args:
        document: The PDF.
        page_index: 0-based.
        described: What the page holds.
        words: Boxes in pixels of the upright page.
        size_px: Height and width of the upright page.
    """
    legible = _as_they_stand([word for word in words if word.text.strip()])
    if described.scan is None or not legible:
        return
    page = document.pages[page_index]
    unit = float(page.obj.get("/UserUnit", 1))
    alphabet = sorted({character for word in legible for character in word.text} | {" "})
    fonts = [alphabet[start : start + _MOST_CODES] for start in range(0, len(alphabet), _MOST_CODES)]
    codes = {character: divmod(place, _MOST_CODES) for place, character in enumerate(alphabet)}
    content = ["q BT 3 Tr"]
    for word in legible:
        box = word.row_px, word.col_px, word.height_px, word.width_px
        content += _shown(word.text, box, described, size_px, unit, codes)
    content.append("ET Q")
    own = {f"{_FONT}{number}": _font(document, characters) for number, characters in enumerate(fonts)}
    there = dict(page.resources.items())  # a copy: pages may share theirs
    there["/Font"] = Dictionary(dict(there["/Font"].items()) | own if "/Font" in there else own)
    page.obj.Resources = Dictionary(there)
    page.contents_add(document.make_stream("\n".join(content).encode("ascii")), prepend=True)


def _as_they_stand(words: Sequence[Word]) -> list[Word]:
    """Return the words; of lines from right to left, those and their characters in the order in which they stand."""
    ordered: list[Word] = []
    for _, line in groupby(words, key=attrgetter("line_index")):
        there = list(line)
        if any(runs_right_to_left(word.text) for word in there):
            there = [replace(word, text=as_it_stands(word.text)) for word in sorted(there, key=attrgetter("col_px"))]
        ordered += there
    return ordered


def _shown(
    text: str,
    box: tuple[int, int, int, int],
    described: PdfPage,
    size_px: tuple[int, int],
    unit: float,
    codes: Mapping[str, tuple[int, int]],
) -> list[str]:
    """Return the operators that show a word, its glyphs drawn out to the width of its box; `codes` are (font, code)."""
    row, col, height, width = box
    start, end, top = (
        _on_page(place, described, size_px, unit)
        for place in ((row + height, col), (row + height, col + width), (row, col))
    )
    per_glyph = 1000 / (_WIDTH * len(text))
    along = (end[0] - start[0]) * per_glyph, (end[1] - start[1]) * per_glyph
    up = top[0] - start[0], top[1] - start[1]
    operators = [" ".join(f"{value:.4f}" for value in (*along, *up, *start)) + " Tm"]
    for number, piece in groupby((codes[one] for one in text + " "), key=itemgetter(0)):
        operators.append(f"{_FONT}{number} 1 Tf <{''.join(f'{code:02x}' for _, code in piece)}> Tj")
    return operators


def _on_page(place: Point, described: PdfPage, size_px: tuple[int, int], unit: float) -> Point:
    """Return where a (row, column) of the upright page lies, in the units of its page."""
    assert described.scan is not None
    (row, col), (height, width) = place, size_px
    stored = [
        (row / height, col / width),
        (1 - col / width, row / height),
        (1 - row / height, 1 - col / width),
        (col / width, 1 - row / height),
    ]
    down, across = stored[described.quarter_turns]
    a, b, c, d, e, f = described.scan.matrix
    up = 1 - down
    return (a * across + c * up + e) / unit, (b * across + d * up + f) / unit


def _font(document: pikepdf.Pdf, characters: Sequence[str]) -> Any:
    last = len(characters) - 1
    glyph = document.make_stream(b"%d 0 0 0 %d 1000 d1" % (_WIDTH, _WIDTH))  # its box, and nothing in it
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
            ToUnicode=document.make_stream(_meanings(characters)),
        )
    )


def _meanings(characters: Sequence[str]) -> bytes:
    """Return the table that says which text each code of a font stands for (Adobe Technical Note 5411)."""
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
