"""Test the matching of a page's existing text, and the words that a text layer must add."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.pdf.existing_text import find_words, words_to_write
from foliopress.tasks.pdf.pdf_reader import Letters

TEXTS = ("Minutes", "of", "the", "board", "held", "March", "present", "whole", "carried", "forward", "ledger", "1887")


def page(texts=TEXTS, confidence=90.0):
    """Return words one below another, and their boxes in points: 20 high, 10 per letter."""
    words = [Word(number, 0, 0, 1, 1, text, confidence) for number, text in enumerate(texts)]
    places = [[50, 700 - 40 * number, 50 + 10 * len(text), 720 - 40 * number] for number, text in enumerate(texts)]
    return words, np.array(places, np.float64)


def letters_in(texts, places, moved=(0, 0)):
    """Return letters that fill the boxes of words from left to right."""
    boxes = [
        [left + 10 * number + moved[0], bottom + moved[1], left + 10 * number + 10 + moved[0], top + moved[1]]
        for text, (left, bottom, _, top) in zip(texts, places, strict=True)
        for number in range(len(text))
    ]
    return Letters("".join(texts), np.array(boxes, np.float64).reshape(-1, 4))


def test_a_page_without_text_gets_every_word():
    words, places = page()
    assert words_to_write(words, places, letters_in((), places[:0])) == words
    assert words_to_write([], places[:0], letters_in(TEXTS, places)) == []


@pytest.mark.parametrize("moved", [(0, 0), (2, 5), (-3, -6)])
def test_a_page_whose_text_lies_on_its_words_keeps_its_own(moved):
    words, places = page()
    assert words_to_write(words, places, letters_in(TEXTS, places, moved)) == []


def test_a_page_that_has_half_its_words_gets_the_other_half():
    words, places = page()
    assert words_to_write(words, places, letters_in(TEXTS[:6], places[:6])) == words[6:]


def test_a_footer_and_text_in_a_margin_are_none():
    words, places = page()
    footer = letters_in(("Scanned", "with"), [[200, 10, 270, 20], [300, 10, 340, 20]])
    assert words_to_write(words, places, footer) == words
    margin = letters_in(TEXTS, places, (-400, 0))
    assert words_to_write(words, places, margin) == words


def test_a_layer_of_twice_the_inks_height_that_stands_half_a_line_too_high_holds_its_words():
    words, places = page()
    letters = letters_in(TEXTS, places)
    boxes = letters.boxes + np.array([0, 10, 0, 30])
    assert find_words(words, places, Letters(letters.text, boxes)).is_same.all()


def test_a_watermark_across_the_page_holds_nothing():
    words, places = page(("a", "of", "by", *TEXTS))
    watermark = Letters(
        "COPY", np.array([[10 + 140 * number, 0, 150 + 140 * number, 800] for number in range(4)], float)
    )
    assert not find_words(words, places, watermark).is_held.any()


def test_letters_on_one_point_count_once():
    words, places = page()
    heap = Letters("x" * 500, np.tile([60.0, 705.0, 64.0, 709.0], (500, 1)))
    assert not find_words(words, places, heap).is_held.any()
    assert words_to_write(words, places, heap) == words


def test_text_of_another_place_that_happens_to_meet_ink_holds_nothing():
    words, places = page()
    letters = letters_in((*TEXTS[5:], *TEXTS[:5]), places)  # on every line, but never that line's own
    assert find_words(words, places, letters).is_held.mean() >= 0.75
    assert [word.text for word in words_to_write(words, places, letters)] == list(TEXTS)


def test_text_in_a_script_that_ocr_was_not_told_of_stays_the_pages_own():
    words, places = page()
    letters = letters_in(["журнал"[: len(text)] for text in TEXTS], places)
    assert words_to_write(words, places, letters) == []


def test_few_or_unsure_words_say_nothing_against_the_text_where_they_stand():
    texts = TEXTS[::-1]
    words, places = page(confidence=40.0)
    assert words_to_write(words, places, letters_in(texts, places)) == []
    words, places = page(TEXTS[:4])
    assert words_to_write(words, places, letters_in(("ledgers", "am", "how", "paper"), places)) == []


def test_of_words_that_nobody_is_sure_of_none_is_written_beside_a_text_on_any():
    words, places = page(confidence=10.0)
    assert words_to_write(words, places, letters_in(TEXTS[:1], places[:1])) == []
    footer = letters_in(("Scanned",), [[200, 10, 270, 20]])
    assert words_to_write(words, places, footer) == words


@given(st.lists(st.booleans(), min_size=len(TEXTS), max_size=len(TEXTS)))
def test_a_word_is_never_written_where_the_text_has_it(is_there):
    words, places = page()
    there = [number for number, one in enumerate(is_there) if one]
    letters = letters_in([TEXTS[number] for number in there], places[there])
    written = words_to_write(words, places, letters)
    assert not {word.line_index for word in written} & set(there)
    enough = len(there) >= 0.75 * len(TEXTS)
    assert len(written) == (0 if enough else len(TEXTS) - len(there))
