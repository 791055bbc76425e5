"""Test the text layer: OCR words can be searched and copied at their place, but are invisible."""

import io
import shutil
import subprocess
import unicodedata
from dataclasses import replace

import numpy as np
import pypdfium2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pikepdf import Array, Dictionary, Name

from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.pdf import pdf_reader
from foliopress.tasks.pdf.pdf_writer import NewPage, NewText, rewrite_pdf
from tests.papers import Sheet, everything_else, flate, hidden, paper, shown

SCAN = np.full((842, 595), 240, np.uint8)
WORDS = (
    Word(0, 100, 60, 20, 120, "Received", 90.0),
    Word(0, 100, 190, 20, 60, "für", 90.0),
    Word(1, 400, 300, 40, 90, "£4", 80.0),
)

IN_LINES = (
    Word(0, 100, 60, 25, 100, "Minutes", 90.0),
    Word(0, 100, 175, 25, 20, "of", 90.0),
    Word(0, 100, 210, 25, 40, "the", 90.0),
    Word(0, 100, 265, 25, 80, "board", 90.0),
    Word(1, 150, 60, 25, 70, "Illinois", 90.0),
    Word(1, 150, 140, 25, 30, "mill", 90.0),
    Word(1, 150, 185, 25, 110, "WWII", 90.0),
    Word(2, 200, 60, 25, 90, "carried", 90.0),
)
LYING = ((595, 0, 0, 842, 0, 0), (0, -842, 595, 0, 0, 842), (-595, 0, 0, -842, 595, 842), (0, 842, -595, 0, 595, 0))
CHARACTERS = st.characters(exclude_categories=("C", "Z", "M"))
FROM_RIGHT = st.characters(categories=["Lo"], min_codepoint=0x5D0, max_codepoint=0x7EA)  # Hebrew to N'Ko
FROM_LEFT = CHARACTERS.filter(lambda character: unicodedata.bidirectional(character) not in ("R", "AL", "AN"))
# pdfium joins a word that ends in a hyphen with the first of the next line
TEXTS = st.one_of(st.text(characters, min_size=1, max_size=12) for characters in (FROM_LEFT, FROM_RIGHT)).filter(
    lambda text: unicodedata.category(text[-1]) != "Pd"
)
FROM_RIGHT_LINES = (
    "שלום עולם טוב",
    "سلام عليكم ورحمة",
    "בשנת 1914 היה",
    "(שלום) 12.5 תשע״ד.",
    "١٩١٤ سنة",
    "קבצים PDF א0",
)


def with_words(data, words=WORDS, size_px=(842, 595)):
    return rewrite_pdf(data, [NewPage(0, None, NewText(words, size_px))])


def found_in(data):
    """Return each run of text that pdfium finds on the first page, with its box (left, bottom, right, top)."""
    with pypdfium2.PdfDocument(data) as document:
        page = document[0].get_textpage()
        return page.get_text_range(), [page.get_charbox(index) for index in range(page.count_chars())]


def test_words_are_found_in_their_lines_and_places_and_not_seen():
    source = paper(Sheet(flate(SCAN)))
    data = with_words(source)
    text, boxes = found_in(data)
    assert text.split() == ["Received", "für", "£4"]
    assert "Received für" in text
    left, bottom, _, top = boxes[0]
    assert (left, top) == (pytest.approx(60, abs=8), pytest.approx(842 - 100, abs=8))
    assert bottom == pytest.approx(842 - 120, abs=8)
    assert np.array_equal(pdf_reader.render_page(data, 0, 72), pdf_reader.render_page(source, 0, 72))
    with pdf_reader.open_pdf(data) as document:
        assert document.check_pdf_syntax() == []


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_words_stand_where_they_are_seen_however_the_scan_lies(turns, rotate):
    source = paper(Sheet(flate(SCAN), matrix=LYING[turns], rotate=rotate))
    upright = (842, 595) if (turns + rotate // 90) % 2 == 0 else (595, 842)
    word = Word(0, 100, 60, 30, 200, "there", 90.0)
    data = with_words(source, (word,), upright)
    with pypdfium2.PdfDocument(data) as document:
        page = document[0]
        box = page.get_textpage().get_charbox(0)
        places = [_shown(x, y, rotate) for x, y in (box[:2], box[2:])]
    rows = sorted(row for row, _ in places)
    cols = sorted(col for _, col in places)
    height, width = (842, 595) if rotate % 180 == 0 else (595, 842)
    assert rows[0] / height == pytest.approx(100 / upright[0], abs=0.03)
    assert cols[0] / width == pytest.approx(60 / upright[1], abs=0.03)


def _shown(x, y, rotate):
    """Return the displayed (row, column), in points, of a place on a page."""
    return {0: (842 - y, x), 90: (x, y), 180: (y, 595 - x), 270: (595 - x, 842 - y)}[rotate]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("lies", [0, 1, 2, 3])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_turned_word_runs_the_way_its_letters_do_however_the_scan_lies(turns, lies, rotate):
    upright = (842, 595) if (lies + rotate // 90) % 2 == 0 else (595, 842)
    height_px, width_px = (40, 200) if turns % 2 == 0 else (200, 40)
    word = Word(0, 150, 100, height_px, width_px, "there", 90.0, quarter_turns=turns)
    data = with_words(paper(Sheet(flate(SCAN), matrix=LYING[lies], rotate=rotate)), (word,), upright)
    text, boxes, angles = angles_in(data)
    assert text.split() == ["there"]
    # text that runs up as displayed was rotated left once; pdfium counts clockwise, before page rotation
    assert angles[0] == pytest.approx(-(90 * turns + rotate) % 360, abs=0.1)
    first, last = (_middle_as_seen(boxes[number], rotate) for number in (0, 4))
    ends = [(170, 120), (170, 280)], [(330, 120), (170, 120)], [(170, 280), (170, 120)], [(170, 120), (330, 120)]
    rows_to_pt = (842 if rotate % 180 == 0 else 595) / upright[0]
    cols_to_pt = (595 if rotate % 180 == 0 else 842) / upright[1]
    for found, (row, col) in zip((first, last), ends[turns], strict=True):
        assert found == (pytest.approx(row * rows_to_pt, abs=1), pytest.approx(col * cols_to_pt, abs=1))


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_the_lines_of_a_turned_page_come_back_as_lines_with_each_word_in_its_place(turns, rotate):
    size_px = (842, 595) if rotate % 180 == 0 else (595, 842)
    words = turned_page(IN_LINES, turns, size_px)
    text, boxes, _ = angles_in(with_words(paper(Sheet(flate(SCAN), rotate=rotate)), words, size_px))
    assert [line.split() for line in text.splitlines()] == [
        ["Minutes", "of", "the", "board"],
        ["Illinois", "mill", "WWII"],
        ["carried"],
    ]
    position = 0
    for word in words:
        position = text.index(word.text, position)
        row, col = _middle_as_seen(boxes[position], rotate)
        start = {
            0: (word.row_px + word.height_px / 2, word.col_px),
            1: (word.row_px + word.height_px, word.col_px + word.width_px / 2),
            2: (word.row_px + word.height_px / 2, word.col_px + word.width_px),
            3: (word.row_px, word.col_px + word.width_px / 2),
        }[turns]
        assert np.hypot(row - start[0], col - start[1]) < 14


def turned_page(words, turns, size_px):
    """Return the words of a page that must be rotated clockwise `turns` times to be upright.

    `size_px` is the size of the page before rotation.
    """
    height_px, width_px = size_px if turns % 2 == 0 else size_px[::-1]
    for _ in range(turns):
        words = [
            replace(
                word,
                row_px=width_px - word.col_px - word.width_px,
                col_px=word.row_px,
                height_px=word.width_px,
                width_px=word.height_px,
            )
            for word in words
        ]
        height_px, width_px = width_px, height_px
    return [replace(word, quarter_turns=turns) for word in words]


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.integers(1, 3))
def test_any_turned_text_comes_back(texts, turns):
    upright = [Word(number, 20 + 40 * number, 20, 30, 400, text, 90.0) for number, text in enumerate(texts)]
    text, _ = found_in(with_words(paper(Sheet(flate(SCAN))), turned_page(upright, turns, (842, 595))))
    plain = lambda value: unicodedata.normalize("NFKC", value)  # noqa: E731 - pdfium takes ligatures apart
    assert sorted("".join(plain(text).split())) == sorted("".join(plain("".join(texts)).split()))


def angles_in(data):
    """Return the text of the first page, its characters' boxes, and their angles in degrees as pdfium counts them."""
    with pypdfium2.PdfDocument(data) as document:
        page = document[0].get_textpage()
        numbers = range(page.count_chars())
        angles = [np.degrees(pypdfium2.raw.FPDFText_GetCharAngle(page, number)) % 360 for number in numbers]
        return page.get_text_range(), [page.get_charbox(number) for number in numbers], angles


def _middle_as_seen(box, rotate):
    left, bottom, right, top = box
    return _shown((left + right) / 2, (bottom + top) / 2, rotate)


def at(words, scale=1.0):
    """Return hidden OCR words under a scan of 595 x 842 points."""
    return " ".join(
        hidden(word.text, (word.col_px * scale, 842 - (word.row_px + word.height_px) * scale)) for word in words
    )


TEXTS_OF_MANY = ("Minutes", "board", "held", "March", "present", "whole", "carried", "forward", "ledger", "parish")
MANY = tuple(
    Word(number, 60 + 30 * number, 60, 12, 8 * len(text), text, 90.0) for number, text in enumerate(TEXTS_OF_MANY)
)


@pytest.mark.parametrize(
    "above",
    [
        hidden(" "),
        shown("Scanned with PhoneScan", (200, 12)),
        shown("SMITH-000123", (450, 12)),
        hidden(" ".join(word.text for word in MANY), (50, 900)),
        at(MANY, 72 / 200),
        " BT 3 Tr /F1 12 Tf 60 772 Td " + "(Minutes) Tj 0 0 Td " * 40 + "ET ",
        " BT 3 Tr /F1 0.1 Tf 60 772 Td (" + " ".join(word.text for word in MANY) + ") Tj ET ",
    ],
    ids=["a blank", "a footer", "a number", "beyond the page", "at another scale", "on one point", "too small"],
)
def test_text_that_is_not_where_the_words_are_is_none(above):
    source = paper(Sheet(flate(SCAN), above=above))
    data = with_words(source, MANY)
    with pypdfium2.PdfDocument(data) as document:
        page = document[0].get_textpage()
        for word in MANY:
            box = word.col_px - 2, 842 - word.row_px - word.height_px - 2, word.col_px + word.width_px + 2, 0
            assert word.text in page.get_text_bounded(*box[:3], 842 - word.row_px + 2)
    with pypdfium2.PdfDocument(source) as document:
        assert set(document[0].get_textpage().get_text_range().split()) <= set(found_in(data)[0].split())
    assert np.array_equal(pdf_reader.render_page(data, 0, 72), pdf_reader.render_page(source, 0, 72))


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_page_that_has_text_keeps_its_own(rotate):
    source = paper(Sheet(flate(SCAN), above=at(MANY), rotate=rotate))
    size_px = (842, 595) if rotate % 180 == 0 else (595, 842)
    as_seen = turned_page(MANY, -rotate // 90 % 4, size_px)
    assert found_in(with_words(source, as_seen, size_px))[0] == found_in(source)[0]


def test_a_page_that_has_some_of_its_text_gets_the_rest_once():
    data = with_words(paper(Sheet(flate(SCAN), above=at(MANY[:5]))), MANY)
    assert sorted(found_in(data)[0].split()) == sorted(word.text for word in MANY)


def test_a_page_keeps_the_layer_that_it_was_given_before_and_gets_what_is_missing():
    before = with_words(paper(Sheet(flate(SCAN))), MANY[:3])
    assert with_words(before, MANY[:3]) == before
    data = with_words(before, (*MANY[3:], *MANY[:3]))
    assert sorted(found_in(data)[0].split()) == sorted(word.text for word in MANY)


def test_the_text_of_a_file_is_found_as_that_of_its_bytes():
    source = paper(*(Sheet(flate(SCAN), above=at(MANY[:number])) for number in (5, 1, 10)))
    pages = [NewPage(number, None, NewText(MANY, (842, 595))) for number in range(3)]
    data = rewrite_pdf(io.BytesIO(source), pages)
    assert data == rewrite_pdf(source, pages)
    with pypdfium2.PdfDocument(data) as document:
        for page in document:
            assert sorted(page.get_textpage().get_text_range().split()) == sorted(TEXTS_OF_MANY)


def test_words_that_the_page_does_not_show_are_left_out():
    source = paper(Sheet(flate(SCAN), more={"/CropBox": Array([0, 421, 595, 842])}))
    words = (Word(0, 100, 60, 20, 120, "upper", 90.0), Word(1, 700, 60, 20, 120, "lower", 90.0))
    assert found_in(with_words(source, words))[0].split() == ["upper"]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("unit", [1, 2])
def test_words_of_a_page_of_several_images_stand_where_they_are_seen(rotate, unit):
    half = flate(SCAN[:421])
    form = " q 595 0 0 421 0 421 cm /Im0 Do Q q 595 0 0 421 0 0 cm /Im0 Do Q "

    def strip(document):
        made = document.make_stream(form.encode(), Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 595, 842])
        made.Resources = Dictionary(XObject=Dictionary(Im0=half(document)))
        return made

    box = Array([45, 42, 545, 742])  # 500 x 700 points
    more = {"/CropBox": box, "/UserUnit": unit}
    source = paper(Sheet(strip, matrix=(1, 0, 0, 1, 0, 0), rotate=rotate, more=more))
    with pdf_reader.open_pdf(source) as document:
        assert pdf_reader.describe_page(document, 0).kind is pdf_reader.PdfPageKind.COMPOSED
    drawn = pdf_reader.render_page(source, 0, 72)
    height_px, width_px = drawn.shape[:2]
    assert (height_px, width_px) == ((700, 500) if rotate % 180 == 0 else (500, 700))
    data = with_words(source, (Word(0, 100, 60, 30, 200, "there", 90.0),), (height_px, width_px))
    text, boxes, angles = angles_in(data)
    assert text.split() == ["there"]
    assert angles[0] == pytest.approx(-rotate % 360, abs=0.1)
    left, bottom, right, top = boxes[0]
    x, y = (left + right) / 2 - 45, (bottom + top) / 2 - 42
    seen = {0: (700 - y, x), 90: (x, y), 180: (y, 500 - x), 270: (500 - x, 700 - y)}[rotate]
    assert seen == (pytest.approx(115, abs=1), pytest.approx(80, abs=1))
    assert np.array_equal(pdf_reader.render_page(data, 0, 72), drawn)


def test_what_else_the_document_holds_stays_and_shared_resources_stay_shared():
    source = paper(Sheet(flate(SCAN)), Sheet(flate(SCAN), above=hidden("second")), finish=everything_else)
    data = with_words(source)
    with pypdfium2.PdfDocument(data) as document:
        assert document[1].get_textpage().get_text_range().strip() == "second"
    with pdf_reader.open_pdf(data) as document:
        assert str(document.docinfo["/Title"]) == "Minutes"
        assert list(document.pages[1].Resources.Font.keys()) == ["/F1"]


@settings(deadline=None, max_examples=40)
@given(st.lists(TEXTS, min_size=1, max_size=9))
def test_any_text_comes_back(texts):
    words = [Word(0, 20 + 40 * number, 20, 30, 400, text, 90.0) for number, text in enumerate(texts)]
    text, _ = found_in(with_words(paper(Sheet(flate(SCAN))), words))
    plain = lambda value: unicodedata.normalize("NFKC", value)  # noqa: E731 - pdfium takes ligatures apart
    assert "".join(plain(text).split()) == "".join(plain("".join(texts)).split())


@pytest.mark.parametrize("line", FROM_RIGHT_LINES)
def test_a_line_from_right_to_left_comes_back_in_the_order_of_reading(line):
    words, col = [], 500
    for text in line.split():
        col -= 18 * len(text)
        words.append(Word(0, 100, col, 30, 18 * len(text), text, 90.0))
        col -= 12
    data = with_words(paper(Sheet(flate(SCAN))), words)
    text, boxes = found_in(data)
    assert text.strip() == line
    assert boxes[0][0] > boxes[len(line) - 1][0]


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler's pdftotext is not installed")
@pytest.mark.parametrize("text", ["שלום", "سلام", "תשע״ד", "0א"])
def test_poppler_gives_words_from_right_to_left_in_the_order_of_reading(text):
    data = with_words(paper(Sheet(flate(SCAN))), [Word(0, 100, 60, 30, 100, text, 90.0)])
    found = subprocess.run(["pdftotext", "-", "-"], input=data, capture_output=True, check=True).stdout.decode()
    assert [one for one in found if unicodedata.category(one) not in ("Cf", "Cc", "Zs")] == list(text)


def test_more_characters_than_one_font_holds_come_back():
    texts = ["".join(chr(0x4E00 + 20 * number + place) for place in range(20)) for number in range(30)]
    words = [Word(number, 20 + 25 * number, 20, 20, 400, text, 90.0) for number, text in enumerate(texts)]
    text, _ = found_in(with_words(paper(Sheet(flate(SCAN))), words))
    assert text.split() == texts
