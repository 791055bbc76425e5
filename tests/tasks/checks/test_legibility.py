"""Legibility check: pages that pass and pages that fail."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.analysis.strokes import find_ink, grain, ink_mask
from foliopress.tasks.checks import legibility
from foliopress.tasks.checks.legibility import READING_DPI, at_reading_size, block_means, chroma_error, ssim_map
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.ocr.recognition import Word

DPI = 150.0


def judge(source, decoded, words):
    page = legibility.SourcePage(source, words, find_ink(luma_of(source), DPI), DPI)
    return legibility.judge(page, decoded, LegibilitySettings())


@pytest.fixture
def page():
    """Return a light page with one dark word at the top and faint writing at the bottom."""
    pixels = np.full((300, 450), 235, np.uint8)
    cv2.putText(pixels, "Ledger 1887", (40, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.4, 30, 3, cv2.LINE_AA)
    cv2.putText(pixels, "faint note", (40, 240), cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, 1.2, 205, 2, cv2.LINE_AA)
    return pixels


def test_a_page_equals_itself(page):
    verdict = judge(page, page, [])
    assert verdict.passed
    assert verdict.worst_block_ssim == pytest.approx(1.0, abs=1e-5)
    assert verdict.chroma_error == 0.0
    assert verdict.text_ssim is None


def test_text_ssim_speaks_of_the_words_that_ocr_read(page):
    harmed = page.copy()
    harmed[200:260] = 235  # the faint note is gone, the read word is untouched
    word = Word(0, 40, 36, 50, 300, "Ledger", 96.0)
    verdict = judge(page, harmed, [word])
    assert verdict.text_ssim == pytest.approx(1.0, abs=1e-3)
    assert not verdict.passed


def test_faint_writing_that_no_ocr_read_and_that_is_blurred_away_fails_the_page_and_is_found(page):
    harmed = page.copy()
    harmed[200:270] = cv2.GaussianBlur(page, (41, 41), 12)[200:270]
    verdict = judge(page, harmed, [])
    assert not verdict.passed
    assert verdict.worst_block_ssim < 0.5
    rows = verdict.failing[:, 0]
    assert ((rows + verdict.failing[:, 2] > 200) & (rows < 270)).all()


def test_light_ink_on_a_dark_cover_is_judged_too():
    cover = np.full((300, 450), 40, np.uint8)
    cv2.putText(cover, "ANNALS", (40, 160), cv2.FONT_HERSHEY_SIMPLEX, 2, 210, 4, cv2.LINE_AA)
    verdict = judge(cover, np.full_like(cover, 40), [])
    assert not verdict.passed


def test_a_page_that_loses_its_colour_fails():
    red = np.zeros((160, 160, 3), np.uint8)
    red[..., 0] = 200
    grey = np.full((160, 160), 60, np.uint8)
    assert chroma_error(red, grey) > 50
    assert not judge(red, grey, []).passed


def test_pages_of_different_size_are_not_compared(page):
    with pytest.raises(ValueError, match="decoded page"):
        judge(page, page[:-1], [])


def test_grain_is_told_from_ink():
    rng = np.random.default_rng(4)
    paper = np.clip(rng.normal(220, 4, (400, 400)), 0, 255).astype(np.uint8)
    assert 3 < grain(paper, DPI) < 5
    assert find_ink(paper, DPI).plain.mean() < 0.001
    assert ink_mask(paper, DPI).mean() > 0.01  # with the least contrast alone, grain would pass for ink


def test_ssim_of_hand_worked_planes():
    flat = np.full((40, 40), 100, np.uint8)
    assert ssim_map(flat, flat).min() == pytest.approx(1.0)
    # no variance: only the luminance term is left, (2 * 100 * 50 + c1) / (100^2 + 50^2 + c1)
    expected = (2 * 100 * 50 + 6.5025) / (100**2 + 50**2 + 6.5025)
    assert ssim_map(flat, np.full((40, 40), 50, np.uint8))[20, 20] == pytest.approx(expected, abs=1e-4)


def test_blocks_without_ink_are_not_judged():
    similarity = np.full((76, 150), 0.7, np.float32)
    ink = np.zeros((76, 150), bool)
    ink[:38, :75] = True
    blocks = block_means(similarity, ink, DPI)
    assert blocks.shape == (2, 2)
    assert blocks[0, 0] == pytest.approx(0.7, abs=1e-4)
    assert np.isinf(blocks[0, 1]) and np.isinf(blocks[1]).all()


@given(
    height=st.integers(1, 120),
    width=st.integers(1, 120),
    dpi=st.sampled_from([60.0, 150.0, 300.0]),
    spread=st.integers(0, 120),
    seed=st.integers(0, 99),
)
@settings(max_examples=40, deadline=None)
def test_plain_strokes_are_faint_ones_too(height, width, dpi, spread, seed):
    rng = np.random.default_rng(seed)
    page = np.clip(rng.normal(150, spread, (height, width)), 0, 255).astype(np.uint8)
    page[: height // 2, : width // 4] = 30
    ink = find_ink(page, dpi)
    assert ink.plain.shape == ink.faint.shape == page.shape
    assert not (ink.plain & ~ink.faint).any()


def test_a_faint_stroke_is_found_that_is_not_plain():
    rng = np.random.default_rng(7)
    paper = rng.normal(220, 4, (300, 300))
    paper[150:154, 60:240] -= 10
    ink = find_ink(np.clip(paper, 0, 255).astype(np.uint8), DPI)
    on_it = np.s_[150:154, 60:240]
    assert ink.plain[on_it].mean() < ink.faint[on_it].mean()
    assert ink.faint[on_it].mean() > 0.5


@pytest.mark.parametrize(("dpi", "size"), [(300.0, (50, 80)), (600.0, (25, 40)), (200.0, (75, 120))])
def test_at_reading_size_a_page_has_150_dpi_and_its_mean_tones(dpi, size):
    rng = np.random.default_rng(2)
    plane = rng.integers(0, 256, (100, 160), np.uint8)
    small = at_reading_size(plane, dpi)
    assert small.shape == size
    assert float(small.mean()) == pytest.approx(plane.mean(), abs=1)
    assert small.std() < plane.std()


@pytest.mark.parametrize("dpi", [72.0, 149.0, READING_DPI])
def test_a_page_of_few_dots_an_inch_is_not_enlarged_for_reading(dpi):
    plane = np.zeros((3, 4), np.uint8)
    assert at_reading_size(plane, dpi) is plane


def test_a_pixel_is_left_of_the_smallest_page():
    assert at_reading_size(np.zeros((1, 1), np.uint8), 1200.0).shape == (1, 1)
