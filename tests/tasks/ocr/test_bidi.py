"""A word's characters in visual order, from left to right."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.tasks.ocr.bidi import in_visual_order, is_right_to_left

LATIN = st.text(st.characters(categories=("Lu", "Ll", "Nd", "P"), max_codepoint=0x24F))
HEBREW = st.text(st.characters(min_codepoint=0x5D0, max_codepoint=0x5EA))


@pytest.mark.parametrize(
    ("read", "stands"),
    [
        ("שלום", "םולש"),
        ("(שלום)", "(םולש)"),
        ("שלום,", ",םולש"),
        ("ב-1914", "1914-ב"),
        ("1914", "1914"),
        ("PDFים", "PDFםי"),
        ("הPDF", "PDFה"),
        ("א12.5ב", "ב12.5א"),
        ("שָׁ", "\u05c1\u05b8ש"),
    ],
)
def test_letters_are_turned_and_numbers_are_not(read, stands):
    assert in_visual_order(read) == stands


@given(LATIN)
def test_words_from_left_to_right_stand_as_they_are_read(text):
    assert not is_right_to_left(text)
    assert in_visual_order(text) == text


@given(HEBREW)
def test_words_of_one_direction_are_turned_as_a_whole(text):
    assert in_visual_order(text) == text[::-1]


@given(st.text())
def test_no_letter_is_lost_whatever_stands_together(text):
    kept = [character for character in in_visual_order(text) if not unicodedata.mirrored(character)]
    assert sorted(kept) == sorted(character for character in text if not unicodedata.mirrored(character))
