"""Strokes that an encoding removed, added or moved, on drawn pages."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.analysis.page_kinds import PageKind
from foliopress.tasks.analysis.tiles import TileGrid
from foliopress.tasks.checks.legibility import at_reading_size
from foliopress.tasks.checks.page_pair import PagePair
from foliopress.tasks.checks.stroke_changes import find_changes, source_strokes
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.ocr.recognition import Word

DPI = 150.0
PAPER, INK = 235, 40
SIZE = (320, 640)
TILE_PX = 32
AMOUNT = (60, 60)  # (row, col) of the first line
LIMITS = LegibilitySettings()


def written(text: str = "paid 13.50 in full", seed: int = 3) -> np.ndarray:
    """A line of 12-point type and a pen stroke on grainy paper, at 150 dpi."""
    image = Image.new("L", SIZE[::-1], PAPER)
    draw = ImageDraw.Draw(image)
    draw.text(AMOUNT[::-1], text, fill=INK, font=ImageFont.load_default(26))
    draw.line([(80, 220), (180, 260), (300, 210), (420, 262)], fill=90, width=3)
    grain = np.random.default_rng(seed).normal(0, 2, SIZE)
    return np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)


def analysed(page: np.ndarray, *, is_read: bool = True) -> PageAnalysis:
    """Its analysis: the first line is one word that OCR was sure of, and all tiles are important."""
    words = (Word(0, 56, 56, 40, 300, "paid", 96.0),) if is_read else ()
    grid = TileGrid(*SIZE, TILE_PX)
    shape = grid.n_rows, grid.n_cols
    return PageAnalysis(
        Page(page, False, DPI, None, None),
        PageKind.GREY,
        DPI,
        words,
        grid,
        np.zeros(shape, bool),
        np.ones(shape, np.float32),
    )


def changes(source: np.ndarray, decoded: np.ndarray, *, is_read: bool = True):
    before = at_reading_size(source, DPI)
    strokes = source_strokes(analysed(source, is_read=is_read), before, 0.5)
    return find_changes(PagePair.of(before, decoded, DPI), strokes, LIMITS.max_word_change, LIMITS.max_stroke_change)


def test_a_page_that_is_as_it_was_has_no_changes():
    found = changes(written(), written())
    assert (found.in_words, found.in_writing, found.failing.shape) == (0.0, 0.0, (0, 4))


@pytest.mark.parametrize(
    "text", ["paid 18.50 in full", "paid 1350 in full", "paid 13.60 in full", "paid 13.50 ln full"]
)
def test_another_digit_a_lost_point_or_a_lost_dot_is_found_in_a_word(text):
    found = changes(written(), written(text))
    assert found.in_words > LIMITS.max_word_change
    rows = found.failing[:, 0]
    assert len(found.failing) and rows.min() >= 50 and (rows + found.failing[:, 2]).max() <= 110


def test_a_piece_of_a_pen_stroke_that_is_gone_is_found_and_where():
    decoded = written()
    decoded[200:270, 230:250] = PAPER
    found = changes(written(), decoded)
    assert found.in_writing > LIMITS.max_stroke_change
    row, col, height, width = found.failing[0]
    assert 195 <= row <= row + height <= 275 and 225 <= col <= col + width <= 258


def test_a_stroke_that_the_source_lacks_is_found_in_a_word():
    decoded = written()
    decoded[70:90, 200:204] = INK
    assert len(changes(written(), decoded).failing)


def test_ink_outside_of_words_and_important_tiles_is_not_judged():
    source, decoded = written(), written()
    decoded[200:270] = PAPER
    unimportant = analysed(source)
    unimportant.importance[:] = 0
    strokes = source_strokes(unimportant, source, 0.5)
    found = find_changes(PagePair.of(source, decoded, DPI), strokes, LIMITS.max_word_change, LIMITS.max_stroke_change)
    assert not len(found.failing)


@given(st.integers(0, 2**32 - 1), st.sampled_from(["noise", "webp", "blur", "brighter"]), st.booleans())
@settings(max_examples=25, deadline=None)
def test_what_no_reader_would_notice_is_no_change(seed, how, is_read):
    source = written()
    if how == "noise":
        decoded = np.clip(source + np.random.default_rng(seed).normal(0, 2, SIZE), 0, 255).astype(np.uint8)
    elif how == "webp":
        quality = 70 + seed % 30
        decoded = cv2.imdecode(
            cv2.imencode(".webp", source, [cv2.IMWRITE_WEBP_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
        )
    elif how == "blur":
        decoded = cv2.GaussianBlur(source, (0, 0), 0.5)
    else:
        decoded = np.clip(source.astype(int) + seed % 5, 0, 255).astype(np.uint8)
    assert not len(changes(source, decoded, is_read=is_read).failing)


@pytest.mark.parametrize("faintness", [1.0, 0.5, 0.25])
def test_the_change_is_measured_against_the_ink_around_it(faintness):
    """A dot lost in pencil counts as much as one in ink."""

    def faint(page: np.ndarray) -> np.ndarray:
        return np.clip(PAPER - (PAPER - page.astype(float)) * faintness, 0, 255).astype(np.uint8)

    found = changes(faint(written(seed=3)), faint(written("paid 1350 in full", seed=3)))
    assert found.in_words == pytest.approx(changes(written(), written("paid 1350 in full")).in_words, rel=0.2)


def test_a_blank_page_and_a_tiny_one_have_no_changes():
    blank = np.full(SIZE, PAPER, np.uint8)
    assert not len(changes(blank, blank + 3, is_read=False).failing)


def test_boxes_are_in_pixels_of_the_page_whatever_its_resolution():
    source, decoded = (cv2.resize(page, None, fx=2, fy=2) for page in (written(), written("paid 18.50 in full")))
    grid = TileGrid(*source.shape, 2 * TILE_PX)
    shape = grid.n_rows, grid.n_cols
    words = (Word(0, 112, 112, 80, 600, "paid", 96.0),)
    analysis = PageAnalysis(
        Page(source, False, 2 * DPI, None, None),
        PageKind.GREY,
        2 * DPI,
        words,
        grid,
        np.zeros(shape, bool),
        np.zeros(shape, np.float32),
    )
    before = at_reading_size(source, 2 * DPI)
    pair = PagePair.of(before, decoded, 2 * DPI)
    found = find_changes(pair, source_strokes(analysis, before, 0.5), LIMITS.max_word_change, LIMITS.max_stroke_change)
    assert len(found.failing) and found.failing[:, 0].min() >= 110 and found.failing[:, 1].min() >= 200
