"""Perceptual scores of a page, its text and its sample."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.tasks.checks import ssimulacra2
from foliopress.tasks.checks.perceptual import PATCH_PX, SAMPLED_SHARE, measure, take_patches, text_area
from foliopress.tasks.ocr.recognition import Word

DPI = 100.0


def page(height_px=200, width_px=160, colour=True):
    rng = np.random.default_rng(5)
    pixels = np.full((height_px, width_px, 3), (230, 222, 200), np.uint8)
    for row in range(12, height_px, 24):
        for col in range(8, width_px, 12):
            cv2.line(
                pixels, (col, row), (col + int(rng.integers(1, 9)), row + int(rng.integers(-8, 8))), (40, 30, 60), 2
            )
    return pixels if colour else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def word(line_index, row_px, col_px, height_px, width_px):
    return Word(line_index, row_px, col_px, height_px, width_px, "word", 90.0)


def test_a_line_of_text_reaches_from_its_first_word_to_its_last():
    none = np.zeros((60, 100), bool)
    words = [word(0, 10, 10, 8, 20), word(0, 12, 60, 10, 20), word(1, 40, 5, 5, 10)]
    wanted = np.zeros((60, 100), bool)
    wanted[10:22, 10:80] = True
    wanted[40:45, 5:15] = True
    assert np.array_equal(text_area(words, none, none, DPI), wanted)


def test_writing_that_ocr_did_not_read_counts_with_the_paper_round_it_as_far_as_it_is_sure():
    ink, sure = np.zeros((60, 100), bool), np.zeros((60, 100), bool)
    ink[30, 20], ink[30, 80] = True, True
    sure[:, :50] = True
    area = text_area((), ink, sure, DPI)
    wanted = np.zeros((60, 100), bool)
    wanted[21:40, 11:30] = True  # 0.09 inch round the stroke that is sure to be important
    assert np.array_equal(area, wanted)
    assert text_area((), np.ones((60, 100), bool), sure, DPI)[:, :50].all()
    assert not text_area((), np.ones((60, 100), bool), sure, DPI)[:, 50:].any()


@pytest.mark.parametrize("colour", [True, False])
def test_the_page_is_what_the_measure_says_and_its_text_only_what_lies_in_it(colour):
    source = page(colour=colour)
    decoded = cv2.GaussianBlur(source, (0, 0), 1.0)
    text = np.zeros(source.shape[:2], bool)
    text[:60] = True
    found = measure(source, decoded, text)
    only_text = np.concatenate([decoded[:60], source[60:]])
    assert (found.page, found.text) == tuple(ssimulacra2.scores(source, [decoded, only_text]))
    assert found.page < found.text < 100
    assert measure(source, decoded, np.zeros_like(text)).text == 100.0
    everywhere = measure(source, decoded, np.ones_like(text))
    assert everywhere.page == everywhere.text == found.page


def test_a_page_that_is_coded_grey_is_held_against_its_coloured_source():
    source = page()
    grey = cv2.cvtColor(source, cv2.COLOR_RGB2GRAY)
    text = np.ones(grey.shape, bool)
    assert measure(source, grey, text) == measure(source, cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), text)
    assert measure(grey, source, text).page < 100
    assert measure(source, grey, text).page < 100


def test_a_page_too_small_for_the_measure_has_none():
    tiny = page()[:7]
    assert measure(tiny, tiny, np.ones(tiny.shape[:2], bool)) is None


@given(height=st.integers(1, 2600), width=st.integers(1, 2600), colour=st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_sample_is_about_a_quarter_of_its_page_in_whole_patches_and_spread_over_it(height, width, colour):
    """Each pixel of the page encodes its position, so that the sample shows where it was taken."""
    rows, cols = np.mgrid[:height, :width]
    source = (rows // 16 % 256).astype(np.uint8)
    mixed = (cols // 16 % 256).astype(np.uint8)
    text = (rows + cols) % 3 == 0
    if colour:
        source, mixed = (np.repeat(plane[..., np.newaxis], 3, axis=2) for plane in (source, mixed))
    sample = take_patches(source, mixed, text)
    assert sample.source.shape == sample.rescaled.shape and sample.source.shape[:2] == sample.text.shape
    if sample.text.shape == (height, width):
        assert min(height, width) < PATCH_PX or height * width <= 4 * PATCH_PX**2
        assert np.array_equal(sample.source, source)
        return
    side = PATCH_PX
    n_places = -(-height // side) * -(-width // side)
    n_patches = sample.text.shape[0] // side
    assert sample.text.shape == (n_patches * side, side)
    assert n_patches == max(4, round(SAMPLED_SHARE * n_places))
    first, last = (part[..., 0] if colour else part for part in (sample.source[:side], sample.source[-side:]))
    assert first[0, 0] == 0 and sample.rescaled.flat[0] == 0
    assert last[-1, -1] == (height - 1) // 16 % 256
    assert sample.rescaled.reshape(n_patches * side, side, -1)[-1, -1, 0] == (width - 1) // 16 % 256


def test_a_samples_text_is_that_of_its_places():
    text = np.zeros((2048, 2048), bool)
    text[:PATCH_PX] = True
    plane = np.where(text, 1, 0).astype(np.uint8)
    sample = take_patches(plane, plane, text)
    assert np.array_equal(sample.text, sample.source > 0)
    assert sample.text.any() and not sample.text.all()
