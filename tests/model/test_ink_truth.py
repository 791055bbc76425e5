"""Test labels on small sheets, calculated by hand."""

from __future__ import annotations

import numpy as np
import pytest

from foliopress.model.dataset import LabelledTiles
from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.pages import PAGES
from foliopress.model.drawn.scanning import DrawnPage, rotated_page
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.ink_truth import judge_ink, label_page, work_ink
from foliopress.tasks.analysis.tiles import tile_grid
from tests.model.drawn.by_hand import MM, SCAN, bar, lay, page_of, sheet


def label(drawn: TracedSheet) -> LabelledTiles:
    return label_page(page_of(drawn), (), SCAN)


def test_the_tile_with_ink_is_important_and_the_others_are_not() -> None:
    drawn = sheet(2, 3)
    lay(drawn, 40, 40, bar(4, 12))
    labelled = label(drawn)
    assert labelled.label.tolist() == [0, 0, 0, 0, 1, 0]
    assert labelled.weight.tolist() == [1] * 6
    assert not labelled.handwritten.any()
    assert labelled.plane.shape == (64, 96, 4)


def test_six_pixels_in_a_row_are_writing_and_five_are_a_trace() -> None:
    # With their neighbourhood they cover 3 x 10 + 2 x 6 = 42 pixels, and 4 % of a tile are 40.96.
    drawn = sheet(1, 3)
    lay(drawn, 10, 10, bar(1, 6))
    lay(drawn, 10, 42, bar(1, 5))
    labelled = label(drawn)
    assert labelled.label.tolist() == [1, 0, 0]
    assert labelled.weight.tolist() == [1, 0, 1]


def test_a_stroke_that_grazes_the_next_tile_leaves_it_unjudged() -> None:
    drawn = sheet(1, 2)
    lay(drawn, 8, 20, bar(4, 13))  # 12 columns in the first tile, 1 in the second: 4 pixels
    assert label(drawn).label.tolist() == [1, 0]
    assert label(drawn).weight.tolist() == [1, 0]


def test_ink_too_faint_to_be_read_is_not_judged_and_ink_without_a_trace_is_paper() -> None:
    # Black on this paper is 223 grey levels darker.
    drawn = sheet(1, 3)
    for tile, levels in enumerate((13.0, 11.0, 2.0)):
        lay(drawn, 10, 10 + 32 * tile, bar(6, 12), levels / 223)
    assert label(drawn).label.tolist() == [1, 0, 0]
    assert label(drawn).weight.tolist() == [1, 0, 1]


def test_faint_ink_in_strong_grain_is_not_judged() -> None:
    drawn = sheet(2, 2)
    lay(drawn, 10, 10, bar(6, 12), 16 / 223)
    ink = work_ink(drawn.ink, tile_grid(64, 64, 150))
    assert judge_ink(ink, 12.0)[0].tolist() == [1, 0, 0, 0]
    assert judge_ink(ink, 20.0)[1].tolist() == [0, 1, 1, 1]


def test_a_picture_is_not_judged_but_writing_on_it_is_important() -> None:
    drawn = sheet(1, 3)
    drawn.print_picture(np.full((32, 64, 3), 0.9, np.float32), 0, 0)
    lay(drawn, 10, 42, bar(4, 12))
    assert label(drawn).label.tolist() == [0, 1, 0]
    assert label(drawn).weight.tolist() == [0, 1, 1]


def test_a_rule_is_unimportant_from_the_second_tile_beside_writing_on() -> None:
    drawn = sheet(1, 4)
    lay(drawn, 10, 10, bar(4, 12))
    with drawn.layer(Layer.RULE):
        lay(drawn, 20, 0, bar(2, 128))
    assert label(drawn).label.tolist() == [1, 0, 0, 0]
    assert label(drawn).weight.tolist() == [1, 0, 1, 1]


def test_only_ink_of_a_hand_is_handwritten() -> None:
    drawn = sheet(1, 2)
    lay(drawn, 10, 10, bar(4, 12))
    with drawn.layer(Layer.HAND):
        lay(drawn, 10, 42, bar(4, 12))
    assert label(drawn).label.tolist() == [1, 1]
    assert label(drawn).handwritten.tolist() == [False, True]


def test_white_ink_covers_dark_card_and_is_writing() -> None:
    drawn = TracedSheet(32 * MM, 64 * MM, 150, (0.1, 0.1, 0.1))
    drawn.lay(bar(4, 12), 10 * MM, 10 * MM, (0.9, 0.9, 0.9))
    assert drawn.light[12, 12].tolist() == pytest.approx([0.9, 0.9, 0.9])
    assert label(drawn).label.tolist() == [1, 0]


def test_a_turned_page_has_turned_labels() -> None:
    drawn = PAGES[5](np.random.default_rng(1))
    side = tile_grid(100, 100, drawn.dpi).tile_px
    rows, cols = (size // side * side for size in drawn.light.shape[:2])  # whole tiles, so that the grid rotates too
    page = DrawnPage(np.asarray(drawn.light[:rows, :cols] * 255, np.uint8), drawn.ink[:rows, :cols], drawn.dpi)
    upright = label_page(page, (), SCAN)
    shape = rows // side, cols // side
    assert 0 < upright.label.mean() < 1 and 0 < upright.weight.mean() < 1
    for quarters in (1, 2, 3):
        turned = label_page(rotated_page(page, quarters), (), SCAN)
        for name in ("label", "weight", "handwritten"):
            wanted = np.rot90(getattr(upright, name).reshape(shape), quarters).ravel()
            assert np.array_equal(getattr(turned, name), wanted), (quarters, name)
