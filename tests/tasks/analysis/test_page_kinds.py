"""Sort: what kind of page it is."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.analysis.page_kinds import PageKind, has_colour, is_two_tone, page_kind, to_bitonal
from foliopress.tasks.images.image_reader import Page, read_page


def written(paper=235, ink=30, shape=(400, 300)):
    pixels = np.full(shape, paper, np.uint8)
    for row in range(40, shape[0], 40):
        cv2.putText(pixels, "Accounts 1887", (20, row), cv2.FONT_HERSHEY_SIMPLEX, 1, ink, 2)
    return np.where(pixels < (paper + ink) // 2, ink, paper).astype(np.uint8)


def as_page(pixels, *, is_bitonal=False):
    return Page(pixels, is_bitonal, None, None, None)


def test_grainy_empty_paper_is_blank_but_a_faint_line_is_not():
    rng = np.random.default_rng(6)
    paper = np.clip(rng.normal(220, 5, (600, 400)), 0, 255).astype(np.uint8)
    assert page_kind(as_page(paper)) is PageKind.BLANK
    paper[300:304, 100:300] = 180
    assert page_kind(as_page(paper)) is not PageKind.BLANK


def test_a_one_bit_page_is_bitonal():
    assert page_kind(as_page(written(255, 0), is_bitonal=True)) is PageKind.BITONAL


def test_a_bitonal_scan_saved_as_jpeg_is_two_tone():
    buffer = io.BytesIO()
    Image.fromarray(written(255, 0)).save(buffer, "JPEG", quality=92)
    assert page_kind(read_page(buffer.getvalue(), 0, LimitSettings())) is PageKind.TWO_TONE


@pytest.mark.parametrize(("paper", "ink"), [(235, 0), (255, 60)])
def test_toned_paper_or_grey_ink_makes_a_grey_page(paper, ink):
    assert page_kind(as_page(written(paper if paper < 231 else paper - 10, ink))) is PageKind.GREY


def test_soft_edges_that_carry_the_shapes_are_not_two_tone():
    assert is_two_tone(written(255, 0))
    assert not is_two_tone(cv2.GaussianBlur(written(255, 0), (9, 9), 2))


def test_a_small_red_stamp_makes_a_colour_page():
    page = np.repeat(written()[..., np.newaxis], 3, axis=2)
    assert page_kind(as_page(page)) is PageKind.GREY
    cv2.circle(page, (200, 200), 40, (180, 40, 40), 5)
    assert page_kind(as_page(page)) is PageKind.COLOUR


def test_yellowed_paper_is_colour():
    page = np.repeat(written()[..., np.newaxis], 3, axis=2).astype(int)
    page[..., 2] -= 25
    assert has_colour(np.clip(page, 0, 255).astype(np.uint8))


def test_the_middle_parts_the_two_tones():
    assert to_bitonal(np.array([[0, 127, 128, 255]], np.uint8)).tolist() == [[False, False, True, True]]
