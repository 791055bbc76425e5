"""Text export: files are well-formed, with every word once and in its position."""

import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.ocr.text_export import TextPage, as_alto, as_hocr, as_text, scaled, written

ALTO, XHTML = "{http://www.loc.gov/standards/alto/ns-v4#}", "{http://www.w3.org/1999/xhtml}"

WORDS = st.builds(
    Word,
    line_index=st.integers(0, 5),
    row_px=st.integers(0, 900),
    col_px=st.integers(0, 900),
    height_px=st.integers(1, 100),
    width_px=st.integers(1, 100),
    text=st.text(min_size=1, max_size=8).filter(lambda text: text.strip()),
    confidence=st.floats(-1, 101),
    quarter_turns=st.integers(0, 3),
)
PAGES = st.builds(
    TextPage,
    name=st.text(min_size=1, max_size=20),
    page_index=st.integers(0, 9),
    height_px=st.just(1000),
    width_px=st.just(1000),
    words=st.lists(WORDS, max_size=12),
    language=st.sampled_from(["eng", "deu+fra"]),
    engine=st.just("Tesseract"),
)


def in_lines(page):
    """Return the words in the order of their lines, as all forms write them."""
    order = list(dict.fromkeys(word.line_index for word in page.words))
    return sorted(page.words, key=lambda word: order.index(word.line_index))


def as_xml(text):
    """Return a text with characters that XML may not contain replaced."""
    return re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


@given(PAGES)
def test_alto_holds_every_word_once_with_its_box_and_confidence(page):
    root = ElementTree.fromstring(as_alto(page))
    found = list(root.iter(f"{ALTO}String"))
    for string, word in zip(found, in_lines(page), strict=True):
        assert string.get("CONTENT") == as_xml(word.text)
        box = [int(string.get(name)) for name in ("VPOS", "HPOS", "HEIGHT", "WIDTH")]
        assert box == [word.row_px, word.col_px, word.height_px, word.width_px]
        assert 0 <= float(string.get("WC")) <= 1
    assert len({one.get("ID") for one in root.iter() if one.get("ID")}) == sum(
        1 for one in root.iter() if one.get("ID")
    )
    space = root.find(f".//{ALTO}PrintSpace")
    assert (space.get("HEIGHT"), space.get("WIDTH")) == ("1000", "1000")


@given(PAGES)
def test_hocr_holds_every_word_once_with_its_box(page):
    root = ElementTree.fromstring(as_hocr(page))
    found = [one for one in root.iter(f"{XHTML}span") if one.get("class") == "ocrx_word"]
    for span, word in zip(found, in_lines(page), strict=True):
        assert (span.text or "").replace("\r", "\n") == as_xml(word.text).replace("\r\n", "\n").replace("\r", "\n")
        bottom, right = word.row_px + word.height_px, word.col_px + word.width_px
        assert span.get("title").startswith(f"bbox {word.col_px} {word.row_px} {right} {bottom}; x_wconf ")
    (sheet,) = [one for one in root.iter(f"{XHTML}div") if one.get("class") == "ocr_page"]
    assert f"bbox 0 0 1000 1000; ppageno {page.page_index}" in sheet.get("title")


@given(st.lists(WORDS, max_size=12), st.floats(0.05, 2), st.floats(0.05, 2))
def test_boxes_follow_the_picture_and_none_vanishes(words, rows, cols):
    for word, small in zip(words, scaled(words, rows, cols), strict=True):
        assert abs(small.row_px - word.row_px * rows) <= 1
        assert abs(small.width_px - word.width_px * cols) <= 1
        assert min(small.height_px, small.width_px) >= 1
        assert (small.text, small.confidence) == (word.text, word.confidence)
        assert small.quarter_turns == word.quarter_turns


PAGE = TextPage(
    "a.avif",
    2,
    300,
    200,
    [Word(0, 10, 10, 8, 30, "In", 96.0), Word(0, 10, 50, 8, 40, "1887", 91.0), Word(3, 40, 10, 8, 30, "<b>&", 60.0)],
    "eng",
    "Tesseract",
)


def test_plain_text_has_a_line_for_each_line():
    assert as_text(PAGE) == b"In 1887\n<b>&\n"


TURNED = replace(
    PAGE,
    words=[
        Word(0, 10, 10, 8, 30, "upright", 96.0),
        Word(1, 200, 10, 60, 8, "Second", 96.0, quarter_turns=1),
        Word(1, 150, 10, 40, 8, "word", 96.0, quarter_turns=1),
        Word(2, 200, 30, 60, 8, "below", 96.0, quarter_turns=1),
        Word(3, 250, 90, 8, 60, "over", 96.0, quarter_turns=2),
        Word(4, 50, 150, 60, 8, "down", 96.0, quarter_turns=3),
    ],
)


def test_alto_says_how_far_a_block_is_turned_counter_clockwise():
    blocks = list(ElementTree.fromstring(as_alto(TURNED)).iter(f"{ALTO}TextBlock"))
    found = [(block.get("ROTATION"), [one.get("CONTENT") for one in block.iter(f"{ALTO}String")]) for block in blocks]
    assert found == [
        (None, ["upright"]),
        ("90", ["Second", "word", "below"]),
        ("180", ["over"]),
        ("270", ["down"]),
    ]
    boxes = [tuple(int(block.get(name)) for name in ("VPOS", "HPOS", "HEIGHT", "WIDTH")) for block in blocks]
    assert boxes == [(10, 10, 8, 30), (150, 10, 110, 28), (250, 90, 8, 60), (50, 150, 60, 8)]
    (block,) = ElementTree.fromstring(as_alto(PAGE)).iter(f"{ALTO}TextBlock")
    assert (block.get("ID"), block.get("ROTATION")) == ("block", None)


def test_hocr_says_how_far_a_line_is_turned_counter_clockwise():
    root = ElementTree.fromstring(as_hocr(TURNED))
    lines = [one.get("title") for one in root.iter(f"{XHTML}span") if one.get("class") == "ocr_line"]
    assert lines == [
        "bbox 10 10 40 18",
        "bbox 10 150 18 260; textangle 90",
        "bbox 30 200 38 260; textangle 90",
        "bbox 90 250 150 258; textangle 180",
        "bbox 150 50 158 110; textangle 270",
    ]


def test_plain_text_of_turned_lines_is_in_the_order_of_reading():
    assert as_text(TURNED) == b"upright\nSecond word\nbelow\nover\ndown\n"


@pytest.mark.parametrize(("form", "start"), [("alto", b"<?xml"), ("hocr", b"<?xml"), ("txt", b"In")])
def test_each_form_is_written_in_utf_8(form, start):
    assert written(PAGE, form).startswith(start)
    assert "ü".encode() in written(replace(PAGE, words=[replace(PAGE.words[0], text="für")]), form)


@pytest.mark.parametrize("form", ["alto", "hocr", "txt"])
def test_a_page_without_words_is_a_page(form):
    empty = written(replace(PAGE, words=[]), form)
    assert empty == b"" if form == "txt" else ElementTree.fromstring(empty) is not None
