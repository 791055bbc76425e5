"""Orientation: sideways and upside-down pages are read like upright ones; upright pages are not rotated."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import LimitSettings, OcrSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import orientation, recognition
from foliopress.tasks.ocr.orientation import find_words, read_turned, turned, turned_back, turns_of
from foliopress.tasks.ocr.recognition import Word

TEXT = [
    "The ledger of the year 1887 was closed on 31 December",
    "with a balance of 4,512.60 in favour of the parish",
    "The clerk was asked to bring the vouchers to the next",
    "meeting of the board, which is to be held in March",
    "Of the bequest of Mrs Harland nothing has been spent",
    "and the interest of three years lies with the bank",
    "The roof of the school was mended by William Foster",
    "for whom the sum of 118.40 was voted without dissent",
]
SETTINGS = OcrSettings()


def drawn(lines=TEXT, height_px=900, width_px=1100, size_px=36):
    image = Image.new("L", (width_px, height_px), 245)
    pen = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        pen.text((80, 80 + 90 * number), line, fill=25, font=ImageFont.load_default(size_px))
    return np.array(image)


class Counted:
    """Reads like `tasks.ocr.recognition.read_words`, and counts its calls."""

    def __init__(self):
        self.shapes = []

    def __call__(self, pixels, dpi, settings):
        self.shapes.append(pixels.shape[:2])
        return recognition.read_words(pixels, dpi, settings)


@pytest.mark.parametrize("quarter_turns", [1, 2, 3])
def test_a_page_that_lies_on_its_side_or_upside_down_is_read_as_if_it_stood(quarter_turns):
    page = drawn()
    upright = find_words(page, 200, SETTINGS, recognition.read_words)
    lying = turned(page, quarter_turns)
    found = find_words(lying, 200, SETTINGS, recognition.read_words)
    assert [word.text for word in found] == [word.text for word in upright]
    assert {word.quarter_turns for word in found} == {4 - quarter_turns}
    assert [word.line_index for word in found] == [word.line_index for word in upright]
    for word, same in zip(found, upright, strict=True):
        box = lying[word.row_px : word.row_px + word.height_px, word.col_px : word.col_px + word.width_px]
        there = page[same.row_px : same.row_px + same.height_px, same.col_px : same.col_px + same.width_px]
        assert np.array_equal(turned(box, word.quarter_turns), there)
    assert recognition.estimate_dpi(*lying.shape, found, None) == recognition.estimate_dpi(*page.shape, upright, None)
    mask = recognition.text_mask(found, *lying.shape)
    assert np.array_equal(turned(mask, turns_of(found)), recognition.text_mask(upright, *page.shape))


def test_an_upright_page_is_read_once_and_stays_as_it_is():
    read = Counted()
    found = find_words(drawn(), 200, SETTINGS, read)
    assert (len(read.shapes), turns_of(found)) == (1, 0)
    assert found == recognition.read_words(drawn(), 200, SETTINGS)


def test_a_receipt_upside_down_is_turned_too():
    lines = [
        f"{name} {number}.{number:02d}" for number, name in enumerate(["Sugar", "Bread", "Candles", "Lamp"] * 3, 11)
    ]
    page = drawn(lines, height_px=1300, width_px=500)
    assert turns_of(find_words(turned(page, 2), 200, SETTINGS, recognition.read_words)) == 2


def scrawl(seed=3):
    """Return lines of strokes as long as words that are illegible in every orientation."""
    rng = np.random.default_rng(seed)
    image = Image.new("L", (1100, 900), 245)
    pen = ImageDraw.Draw(image)
    for row in range(100, 820, 80):
        for col in range(80, 950, 160):
            points = [(col + 9 * step, row + int(rng.integers(-22, 22))) for step in range(15)]
            pen.line(points, fill=40, width=4)
    return np.array(image)


@pytest.mark.parametrize("quarter_turns", range(4))
def test_what_reads_badly_in_every_way_stays_as_it_is_and_is_not_read_as_a_whole_again(quarter_turns):
    page, read = turned(scrawl(), quarter_turns), Counted()
    found = find_words(page, 200, SETTINGS, read)
    assert turns_of(found) == 0
    assert read.shapes == [page.shape]


def test_a_stamp_that_lies_on_its_side_turns_no_page_of_handwriting():
    page = scrawl()
    stamp = drawn(["City archive of Foliotown", "Received 12 March 1902"], 260, 620)[60:]
    page[300:920, 880:1080] = turned(stamp, 1)[: 900 - 300]
    assert turns_of(find_words(page, 200, SETTINGS, recognition.read_words)) == 0


def test_an_empty_page_has_no_words_and_no_turns():
    assert find_words(np.full((600, 500), 245, np.uint8), 200, SETTINGS, recognition.read_words) == ()
    assert turns_of(()) == 0


def test_a_trial_without_an_answer_leaves_the_page_as_it_was_read(monkeypatch):
    page = turned(drawn(), 2)
    first = recognition.read_words(page, 200, SETTINGS)
    answers = [first]

    def read(*_):
        if not answers:
            raise PageError("ocr_timeout", "too slow")
        return answers.pop()

    monkeypatch.setattr(recognition, "read_words", read)
    assert find_words(page, 200, SETTINGS, read) == first


def test_a_page_without_an_answer_is_an_error_like_any_other():
    def read(*_):
        raise PageError("ocr_timeout", "too slow")

    with pytest.raises(PageError):
        find_words(drawn(), 200, SETTINGS, read)


@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    corners=st.tuples(*[st.floats(0, 1)] * 4),
    quarter_turns=st.integers(0, 3),
)
def test_a_box_on_the_turned_picture_holds_the_same_pixels_on_the_page(size, corners, quarter_turns):
    page = np.arange(size[0] * size[1]).reshape(size)
    lying = turned(page, quarter_turns)
    (top, bottom), (left, right) = (
        sorted(int(share * side) for share in pair)
        for pair, side in zip((corners[:2], corners[2:]), lying.shape, strict=True)
    )
    word = Word(0, top, left, bottom - top, right - left, "oak", 90.0)
    (back,) = turned_back([word], quarter_turns, *page.shape)
    rows, cols = slice(back.row_px, back.row_px + back.height_px), slice(back.col_px, back.col_px + back.width_px)
    assert np.array_equal(np.rot90(page[rows, cols], -quarter_turns), lying[top:bottom, left:right])
    assert back.quarter_turns == quarter_turns
    assert read_turned(page, quarter_turns, lambda _: [word]) == (back,)


def test_words_that_are_not_turned_are_the_same_words():
    words = (Word(0, 1, 2, 3, 4, "oak", 90.0),)
    assert turned_back(words, 0, 10, 10) == words
    assert replace(words[0], quarter_turns=0) == words[0]


@pytest.mark.long
def test_real_scans_are_turned_upright_and_upright_ones_never_turned(scans):
    """Typed reports, letters, books and receipts in each orientation; handwritten wills, illegible in all."""
    with (scans / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["role"]) == ("train", "image")]
    groups = {"ehri-typed": 2, "stanford-letters": 1, "tapuscorpus": 2, "sroie-receipts": 2, "poilus-wills": 4}
    for group, count in groups.items():
        chosen = [row for row in rows if row["path"].startswith(group)][1 : count + 1]
        assert len(chosen) == count
        for row in chosen:
            page = image_reader.read_page((scans / row["path"]).read_bytes(), 0, LimitSettings())
            dpi = recognition.guess_dpi(*page.pixels.shape[:2], page.dpi)
            for quarter_turns in range(4 if group != "poilus-wills" else 1):
                found = orientation.find_words(
                    turned(page.pixels, quarter_turns), dpi, SETTINGS, recognition.read_words
                )
                assert turns_of(found) == -quarter_turns % 4, (row["path"], quarter_turns)
