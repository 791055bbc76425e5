"""Text recognition: real Tesseract on small pages, and values derived from its words."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import OcrSettings
from foliopress.tasks.ocr import recognition
from foliopress.tasks.ocr.recognition import (
    Word,
    estimate_dpi,
    guess_dpi,
    letter_height,
    read_lines,
    read_words,
    reading_scale,
    text_mask,
)

ENGINES = ["library", "program"]
LINES = ["The ledger of the year 1887", "was closed on 31 December", "with a balance of 4,512.60"]


@pytest.fixture(scope="module")
def page():
    image = Image.new("L", (1200, 500), 245)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(LINES):
        draw.text((60, 60 + 120 * number), line, fill=25, font=ImageFont.load_default(56))
    return np.array(image)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("dpi", "scale"), [(300, 1.0), (600, 2.0), (150, 0.5)])
def test_words_are_read_and_stand_where_they_are_on_the_page_at_any_resolution(page, dpi, scale, engine):
    size = round(page.shape[1] * scale), round(page.shape[0] * scale)
    pixels = cv2.resize(page, size, interpolation=cv2.INTER_AREA)
    words = read_words(pixels, dpi, OcrSettings(engine=engine))
    assert " ".join(word.text for word in words).lower() == " ".join(LINES).lower()
    ledger = next(word for word in words if word.text == "ledger")
    assert ledger.confidence > 80
    box = (ledger.row_px, ledger.col_px, ledger.row_px + ledger.height_px, ledger.col_px + ledger.width_px)
    patch = pixels[box[0] : box[2], box[1] : box[3]]
    assert patch.min() < 60
    assert abs(ledger.row_px / scale - 70) < 25
    assert len({word.line_index for word in words}) == 3


def test_colour_is_read_like_grey(page):
    words = read_words(np.repeat(page[..., np.newaxis], 3, axis=2), 300, OcrSettings())
    assert words == read_words(page, 300, OcrSettings())


def test_an_empty_page_and_a_sliver_have_no_words():
    assert read_words(np.full((300, 300), 250, np.uint8), 300, OcrSettings()) == ()
    assert read_words(np.full((1, 600), 250, np.uint8), 300, OcrSettings()) == ()


def pictures_of_lines(page, *heights):
    """Return one line of the page each, in images of several heights."""
    return [page[60 + 120 * number - 20 :][:height] for number, height in enumerate(heights)]


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("dpi", "scale"), [(300, 1.0), (600, 2.0), (150, 0.5)])
def test_several_lines_are_read_in_one_call_and_answered_in_their_order(page, dpi, scale, colour, monkeypatch):
    calls = []
    real = recognition.read_pictures
    monkeypatch.setattr(recognition, "read_pictures", lambda *a: calls.append(a) or real(*a))
    pictures = []
    for picture in pictures_of_lines(page, 100, 84, 118):
        size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
        resized = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        pictures.append(np.repeat(resized[..., np.newaxis], 3, axis=2) if colour else resized)
    found = read_lines(pictures, dpi, OcrSettings())
    assert [" ".join(word.text for word in words) for words in found] == LINES
    assert len(calls) == 1
    for picture, words in zip(pictures, found, strict=True):
        height_px, width_px = picture.shape[:2]
        assert all(word.row_px + word.height_px <= height_px for word in words)
        assert all(word.col_px + word.width_px <= width_px for word in words)
        assert words[0].col_px == pytest.approx(60 * scale, abs=12 * scale)
        assert [word.col_px for word in words] == sorted(word.col_px for word in words)


def test_a_line_that_is_a_sliver_or_empty_has_no_sure_words_and_its_neighbours_keep_their_places(page):
    first, last = pictures_of_lines(page, 100, 100)
    sliver, empty = np.full((2, 400), 245, np.uint8), np.full((100, 400), 245, np.uint8)
    found = read_lines([sliver, first, empty, last, sliver], 300, OcrSettings())
    sure = [[word for word in words if word.confidence >= 80] for words in found]
    assert [" ".join(word.text for word in words) for words in sure] == ["", LINES[0], "", LINES[1], ""]
    assert found[0] == found[4] == ()  # what Tesseract is asked for it guesses at, on bare paper too


def test_without_lines_tesseract_is_not_asked(monkeypatch):
    monkeypatch.setattr(recognition, "read_pictures", pytest.fail)
    assert read_lines([], 300, OcrSettings()) == []
    assert read_lines([np.full((2, 400), 245, np.uint8)], 300, OcrSettings()) == [()]


def test_one_line_alone_is_read_like_one_of_many(page):
    pictures = pictures_of_lines(page, 100, 100)
    assert read_lines(pictures[:1], 300, OcrSettings()) == read_lines(pictures, 300, OcrSettings())[:1]


@given(dpi=st.floats(20, 2400))
def test_a_page_is_read_between_least_and_most_dpi_where_twofold_enlarging_can_reach_it(dpi):
    read_at = dpi * reading_scale(dpi, OcrSettings())
    assert read_at <= 200.0001
    assert read_at >= min(200, 2 * dpi) - 1e-6


def test_the_mask_holds_confident_words_only():
    words = [
        Word(0, 2, 3, 2, 4, "oak", 90.0),
        Word(0, 8, 0, 1, 9, "|", 95.0),  # no letter
        Word(1, 6, 0, 1, 2, "el", 12.0),  # not confident
    ]
    mask = text_mask(words, 10, 10)
    assert mask.sum() == 2 * 4
    assert mask[2:4, 3:7].all()


def receipt(n_rows, blank_rows=range(0), width_px=576):
    """Return a strip with a line of print every 60 rows, except some, and its text."""
    image = Image.new("L", (width_px, n_rows), 250)
    draw = ImageDraw.Draw(image)
    goods = ["Milk", "Bread", "Butter", "Sugar", "Coffee", "Apples", "Onions"]
    texts = []
    for number, row in enumerate(range(40, n_rows - 60, 60)):
        if row not in blank_rows:
            texts.append(f"{goods[number % 7]} and {goods[number % 5].lower()} {10 + number % 80}.{11 + number % 71}")
            draw.text((40, row), texts[-1], fill=30, font=ImageFont.load_default(28))
    return np.array(image), texts


def test_a_receipt_of_many_feet_is_read_from_end_to_end_in_bands(monkeypatch):
    pixels, texts = receipt(14_000, range(5000, 9000))
    calls, real = [], recognition.read_pictures
    monkeypatch.setattr(recognition, "read_pictures", lambda *a: calls.append(a) or real(*a))
    dpi = guess_dpi(*pixels.shape, None)
    assert 150 < dpi < 210
    words = read_words(pixels, dpi, OcrSettings())
    assert len(calls) >= 4
    # the blank rows are in no band
    assert sum(pictures[0].shape[0] for pictures, *_ in calls) < 0.75 * 14_000 * reading_scale(dpi, OcrSettings())
    lines = recognition.by_line(words)
    assert [" ".join(word.text for word in line) for line in lines] == texts
    assert [line[0].line_index for line in lines] == list(range(len(texts)))
    tops = [line[0].row_px for line in lines]
    assert tops == sorted(tops)
    for top in tops:
        assert abs((top - 40) % 60 - 4) < 12  # where the line was drawn, at whatever scale it was read


def test_a_receipt_that_lies_on_its_side_is_cut_between_its_lines_too():
    pixels, texts = receipt(6000)
    lying = np.ascontiguousarray(np.rot90(pixels, -1))
    assert guess_dpi(*lying.shape, None) == guess_dpi(*pixels.shape, None)
    found = [word.text for word in read_words(lying, 183, OcrSettings())]
    wanted = " ".join(texts).split()
    assert len(set(wanted) & set(found)) > 0.8 * len(set(wanted))


def test_bands_share_the_time_of_a_page_by_their_size_and_pass_on_what_they_leave(monkeypatch):
    limits = []

    def read(pictures, segmentation, dpi, settings, limit):
        limits.append((pictures[0].size, limit.processor_s))
        limit.spent_s += 1.0
        return [[]]

    monkeypatch.setattr(recognition, "read_pictures", read)
    pixels, _ = receipt(12_000)
    assert read_words(pixels, 200, OcrSettings(timeout_s=60)) == ()
    left_s, left_px = 60.0, sum(size for size, _ in limits)
    assert len(limits) >= 4
    for size, processor_s in limits:
        assert processor_s == pytest.approx(left_s * size / left_px)
        left_s, left_px = left_s - 1.0, left_px - size


def test_a_long_empty_strip_is_not_read(monkeypatch):
    monkeypatch.setattr(recognition, "read_pictures", pytest.fail)
    assert read_words(np.full((20_000, 600), 245, np.uint8), 200, OcrSettings()) == ()


def words_of_height(height_px, count=30):
    return [Word(0, 0, 0, height_px, 50, "written", 95.0)] * count


def test_resolution_comes_from_the_tag_unless_the_text_contradicts_it():
    tall = words_of_height(33)  # 8 points at 300 dpi
    assert estimate_dpi(3508, 2480, tall, 300.0) == 300.0
    assert estimate_dpi(3508, 2480, tall, 1200.0) == pytest.approx(297)
    assert estimate_dpi(3508, 2480, tall, None) == pytest.approx(297)
    assert estimate_dpi(3508, 2480, tall[:5], 1200.0) == 1200.0  # too few words to believe


def test_print_that_lies_on_its_side_is_as_high_as_its_boxes_are_wide():
    sideways = [Word(0, 0, 0, 120, 33, "written", 95.0)] * 30
    assert estimate_dpi(2480, 3508, sideways, 300.0) == 300.0
    assert estimate_dpi(2480, 3508, sideways, None) == pytest.approx(297)


def test_without_tag_or_text_a_page_is_taken_for_a4():
    assert guess_dpi(3508, 2480, None) == pytest.approx(300, rel=0.01)
    assert estimate_dpi(3508, 2480, [], None) == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize(
    ("shape", "dpi"),
    [
        ((30_000, 576), 183),  # a receipt
        ((576, 30_000), 183),
        ((1300, 576), 111),  # a short one: nothing tells it from a page
        ((80, 2500), 214),  # a line of a page
        ((4000, 2480), 342),  # a tall page
    ],
)
def test_a_long_strip_is_as_wide_as_a_receipt_unless_that_would_make_it_coarse(shape, dpi):
    assert guess_dpi(*shape, None) == pytest.approx(dpi, rel=0.01)
    assert guess_dpi(*shape, 300.0) == 300.0


def test_the_letters_of_a_word_are_as_high_as_its_short_side_wherever_a_box_can_tell():
    assert letter_height(Word(0, 0, 0, 20, 60, "written", 95.0)) == 20
    assert letter_height(Word(0, 0, 0, 60, 20, "written", 95.0)) == 20
    assert letter_height(Word(0, 0, 0, 20, 6, "1", 95.0)) == 20
    assert letter_height(Word(0, 0, 0, 6, 20, "1", 95.0, quarter_turns=1)) == 20
    assert letter_height(Word(0, 0, 0, 20, 60, "written", 95.0, quarter_turns=2)) == 20
