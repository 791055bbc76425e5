"""Write the words that OCR read on a page as ALTO, hOCR or plain text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

from foliopress.tasks.ocr.recognition import Word, bounding_box, by_line

TextForm = Literal["alto", "hocr", "txt"]

EXTENSIONS: dict[TextForm, str] = {"alto": "alto.xml", "hocr": "hocr.html", "txt": "txt"}
"""Extension of a page's text, after the name of its document."""

_ALTO = "http://www.loc.gov/standards/alto/ns-v4#"
_XHTML = "http://www.w3.org/1999/xhtml"
# XML 1.0, production [2] Char: characters that a document may not contain, even escaped
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class TextPage:
    """A page's text with its context.

    height_px, width_px: Size of the image that the boxes of `words` refer to. name: Name of that image's file.
    page_index: 0-based, in its document. engine: OCR engine, e.g. `tesserocr 2.8`.
    """

    name: str
    page_index: int
    height_px: int
    width_px: int
    words: Sequence[Word]
    language: str
    engine: str


def written(page: TextPage, form: TextForm) -> bytes:
    """Return a page's text as a file, in UTF-8."""
    return _WRITERS[form](page)


def scaled(words: Iterable[Word], rows: float, cols: float) -> tuple[Word, ...]:
    """Return words with their boxes scaled by `rows` vertically and `cols` horizontally, to 1 pixel at least."""
    return tuple(
        replace(
            word,
            row_px=int(word.row_px * rows),
            col_px=int(word.col_px * cols),
            height_px=max(1, round(word.height_px * rows)),
            width_px=max(1, round(word.width_px * cols)),
        )
        for word in words
    )


def as_text(page: TextPage) -> bytes:
    """Return a page's words, one line of text per line of the page."""
    return "".join(" ".join(word.text for word in line) + "\n" for line in by_line(page.words)).encode()


def as_alto(page: TextPage) -> bytes:
    """Return a page as ALTO 4.2 (Library of Congress, alto-4-2.xsd), its boxes in pixels.

    It has one block, or one for each run of lines with the same rotation; `ROTATION` gives it in degrees
    counter-clockwise.
    """
    root = ElementTree.Element("alto", {"xmlns": _ALTO, "SCHEMAVERSION": "4.2"})
    about = ElementTree.SubElement(root, "Description")
    ElementTree.SubElement(about, "MeasurementUnit").text = "pixel"
    source = ElementTree.SubElement(about, "sourceImageInformation")
    ElementTree.SubElement(source, "fileName").text = _xml_text(page.name)
    step = ElementTree.SubElement(about, "Processing", {"ID": "ocr"})
    ElementTree.SubElement(step, "processingCategory").text = "contentGeneration"
    software = ElementTree.SubElement(step, "processingSoftware")
    ElementTree.SubElement(software, "softwareName").text = _xml_text(page.engine)
    size = {"HEIGHT": str(page.height_px), "WIDTH": str(page.width_px)}
    layout = ElementTree.SubElement(root, "Layout")
    sheet = ElementTree.SubElement(layout, "Page", {"ID": "page", "PHYSICAL_IMG_NR": str(page.page_index + 1), **size})
    space = ElementTree.SubElement(sheet, "PrintSpace", {"HPOS": "0", "VPOS": "0", **size})
    blocks = [list(lines) for _, lines in groupby(enumerate(by_line(page.words)), key=lambda one: _angle(one[1]))]
    for place, lines in enumerate(blocks):
        name = "block" if len(blocks) == 1 else f"block_{place}"
        attributes = {"ID": name, **_alto_box([word for _, line in lines for word in line])}
        if angle := _angle(lines[0][1]):
            attributes["ROTATION"] = str(angle)
        block = ElementTree.SubElement(space, "TextBlock", attributes)
        for number, line in lines:
            _add_alto_line(block, number, line)
    return _document(root)


def _add_alto_line(block: ElementTree.Element, number: int, words: Sequence[Word]) -> None:
    line = ElementTree.SubElement(block, "TextLine", {"ID": f"line_{number}", **_alto_box(words)})
    for place, word in enumerate(words):
        if place:
            ElementTree.SubElement(line, "SP")
        content = {"CONTENT": _xml_text(word.text), "WC": f"{min(max(word.confidence, 0.0), 100.0) / 100:.4f}"}
        ElementTree.SubElement(line, "String", {"ID": f"word_{number}_{place}", **content, **_alto_box([word])})


def as_hocr(page: TextPage) -> bytes:
    """Return a page as hOCR 1.2 (the hOCR specification), in XHTML.

    `textangle` gives a rotated line's angle in degrees counter-clockwise.
    """
    root = ElementTree.Element("html", {"xmlns": _XHTML, "lang": "en"})
    head = ElementTree.SubElement(root, "head")
    ElementTree.SubElement(head, "title").text = _xml_text(page.name)
    ElementTree.SubElement(head, "meta", {"charset": "utf-8"})
    for name, content in (
        ("ocr-system", _xml_text(page.engine)),
        ("ocr-capabilities", "ocr_page ocr_carea ocr_par ocr_line ocrx_word"),
        ("ocr-number-of-pages", "1"),
        ("ocr-langs", page.language.replace("+", " ")),
    ):
        ElementTree.SubElement(head, "meta", {"name": name, "content": content})
    body = ElementTree.SubElement(root, "body")
    image = _xml_text(page.name).replace("\\", "\\\\").replace('"', '\\"')
    title = f'image "{image}"; bbox 0 0 {page.width_px} {page.height_px}; ppageno {page.page_index}'
    sheet = ElementTree.SubElement(body, "div", {"class": "ocr_page", "id": "page", "title": title})
    if page.words:
        area = ElementTree.SubElement(sheet, "div", {"class": "ocr_carea", "id": "area", "title": _bbox(page.words)})
        paragraph = ElementTree.SubElement(area, "p", {"class": "ocr_par", "id": "par", "title": _bbox(page.words)})
        for number, words in enumerate(by_line(page.words)):
            turned = f"; textangle {angle}" if (angle := _angle(words)) else ""
            about = {"class": "ocr_line", "id": f"line_{number}", "title": _bbox(words) + turned}
            line = ElementTree.SubElement(paragraph, "span", about)
            for place, word in enumerate(words):
                confidence = f"; x_wconf {round(min(max(word.confidence, 0.0), 100.0))}"
                about = {"class": "ocrx_word", "id": f"word_{number}_{place}", "title": _bbox([word]) + confidence}
                span = ElementTree.SubElement(line, "span", about)
                span.text, span.tail = _xml_text(word.text), " "
            line.tail = "\n"
    return _document(root, "<!DOCTYPE html>\n")


def _angle(line: Sequence[Word]) -> int:
    """Return the counter-clockwise rotation of a line of words in degrees: 0, 90, 180 or 270."""
    return 90 * (line[0].quarter_turns % 4)


def _alto_box(words: Sequence[Word]) -> dict[str, str]:
    top, bottom, left, right = bounding_box(words)
    return {"HPOS": str(left), "VPOS": str(top), "WIDTH": str(right - left), "HEIGHT": str(bottom - top)}


def _bbox(words: Sequence[Word]) -> str:
    top, bottom, left, right = bounding_box(words)
    return f"bbox {left} {top} {right} {bottom}"


def _document(root: ElementTree.Element, kind: str = "") -> bytes:
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{kind}{text}\n'.encode()


def _xml_text(text: str) -> str:
    r"""Return text with a replacement character for each character that XML may not contain.

    >>> _xml_text("a\x00b")
    'a\ufffdb'
    """
    return _NOT_XML.sub("\ufffd", text)


_WRITERS: dict[TextForm, Callable[[TextPage], bytes]] = {"alto": as_alto, "hocr": as_hocr, "txt": as_text}
