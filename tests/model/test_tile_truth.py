"""Test the ground truth of tiles on small pages, calculated by hand."""

from __future__ import annotations

import numpy as np

from foliopress.model.tile_truth import tile_std, tile_sums, tile_truth
from foliopress.model.truth import LineKind, TruthLine, TruthRegion
from foliopress.tasks.analysis.tiles import tile_grid


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """Return a rectangle whose outline runs through the given pixels, including the last ones."""
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], np.float64)


def line(polygon: np.ndarray, kind: LineKind = "printed", is_typewritten: bool = False) -> TruthLine:
    return TruthLine(polygon, "text", kind, is_typewritten)


def striped(luma: np.ndarray, left: int, right: int, ink: int = 0) -> None:
    """Draw ink in every other column."""
    luma[:, left:right][:, ::2] = ink


def test_typewriting_is_print_and_told_apart_and_handwriting_is_neither() -> None:
    luma = np.full((32, 96), 250, np.uint8)
    striped(luma, 0, 96)
    lines = [
        line(box(0, 0, 31, 31)),
        line(box(0, 32, 31, 63), "printed", True),
        line(box(0, 64, 31, 95), "handwritten"),
    ]
    truth = tile_truth(luma, lines, tile_grid(32, 96, 150))
    assert truth.printed.tolist() == [True, True, False]
    assert truth.typewritten.tolist() == [False, True, False]
    assert truth.handwritten.tolist() == [False, False, True]


def test_a_tile_of_a_picture_has_much_ink_there_and_no_text() -> None:
    luma = np.full((32, 160), 250, np.uint8)
    striped(luma, 0, 32)
    striped(luma, 32, 64, 224)  # standard deviation 13: little ink
    striped(luma, 96, 160)
    regions = [TruthRegion(box(0, 0, 31, 127), "graphic"), TruthRegion(box(0, 128, 31, 159), "text")]
    truth = tile_truth(luma, [line(box(0, 96, 31, 127))], tile_grid(32, 160, 150), regions)
    assert truth.graphic.tolist() == [True, False, False, False, False]
    assert truth.printed.tolist() == [False, False, False, True, False]
    assert truth.marked.tolist() == [False, False, False, True, False]
    assert truth.little_ink.tolist() == [False, True, True, False, False]
    assert truth.blank.tolist() == [False, False, True, False, False]


def test_a_page_without_marks_has_no_text_and_keeps_its_ink() -> None:
    luma = np.full((32, 64), 250, np.uint8)
    striped(luma, 0, 32)
    truth = tile_truth(luma, (), tile_grid(32, 64, 150))
    assert not (truth.printed | truth.handwritten | truth.typewritten | truth.graphic | truth.marked).any()
    assert truth.blank.tolist() == [False, True]


def test_sums_and_deviations_of_a_tile_count_what_lies_on_the_page() -> None:
    grid = tile_grid(40, 32, 150)  # the second tile is cut off after 8 rows
    values = np.arange(40 * 32).reshape(40, 32)
    assert tile_sums(values, grid).tolist() == [values[:32].sum(), values[32:].sum()]
    luma = np.zeros((40, 32), np.uint8)
    luma[32:36] = 100
    region = np.zeros((40, 32), bool)
    region[32:] = True
    assert tile_std(luma, region, grid).tolist() == [0.0, 50.0]
