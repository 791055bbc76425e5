"""Test rotated pages: the ground truth follows the strokes, and OCR reads every rotation once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from foliopress.configs.settings import OcrSettings
from foliopress.model import rotated_pages
from foliopress.model.dataset import MarkedPage
from foliopress.model.rotated_pages import (
    ROTATIONS,
    pad_to_whole_tiles,
    rotate_pixels,
    rotate_polygon,
    rotated_page,
    rotated_words,
)
from foliopress.model.tile_truth import fill_polygons, tile_truth
from foliopress.model.truth import PageTruth, Scan, TruthLine, TruthRegion
from foliopress.tasks.analysis.page_kinds import PageKind
from foliopress.tasks.analysis.tiles import tile_grid
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr.recognition import Word


def page_of_one_line() -> MarkedPage:
    """Return 70 x 120 pixels at 150 dpi, with a dark bar on the marked line and a slanted picture next to it."""
    luma = np.full((70, 120), 240, np.uint8)
    luma[10:20, 30:90:2] = 0
    luma[10:20, 31:90:2] = 60
    bar = np.array([[10.0, 30.0], [10.0, 89.0], [19.0, 89.0], [19.0, 30.0]])
    picture = np.array([[40.4, 5.5], [66.0, 30.0], [60.0, 50.0]])
    truth = PageTruth((TruthLine(bar, "bar", "printed", True),), (TruthRegion(picture, "graphic"),))
    scan = Scan("c/a.png", Path("a.png"), "test", "c", "c/a", Path("a.xml"))
    return MarkedPage(scan, luma, PageKind.GREY, 150.0, (), truth)


@pytest.mark.parametrize("degrees", [0, *ROTATIONS])
def test_the_turned_line_lies_on_the_same_strokes(degrees: int) -> None:
    page = rotated_page(page_of_one_line(), degrees, ())
    assert page.pixels.shape == ((96, 128) if degrees in (0, 180) else (128, 96))
    assert page.truth is not None
    (line,) = page.truth.lines
    assert (line.kind, line.is_typewritten) == ("printed", True)
    inside = fill_polygons([line.polygon], page.pixels.shape)
    assert np.array_equal(inside, page.pixels < 100)
    assert int(inside.sum()) == 10 * 60


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_a_slanted_outline_turns_with_the_page(degrees: int) -> None:
    page = page_of_one_line()
    assert page.truth is not None
    polygon = page.truth.regions[0].polygon
    before = fill_polygons([polygon], (70, 120))
    after = fill_polygons([rotate_polygon(polygon, 70, 120, degrees)], rotate_pixels(before, degrees).shape)
    assert np.abs(after.astype(int) - rotate_pixels(before, degrees)).sum() <= 12  # single pixels along its edge


@pytest.mark.parametrize("degrees", ROTATIONS)
def test_the_tiles_of_a_turned_page_hold_what_they_held(degrees: int) -> None:
    def text_tiles(degrees: int) -> np.ndarray:
        page = rotated_page(page_of_one_line(), degrees, ())
        assert page.truth is not None
        grid = tile_grid(*page.pixels.shape[:2], page.dpi)
        return tile_truth(page.pixels, page.truth.lines, grid).printed.reshape(grid.n_rows, grid.n_cols)

    assert np.array_equal(text_tiles(degrees), np.rot90(text_tiles(0), degrees // 90))
    assert int(text_tiles(degrees).sum()) == 2  # the bar's 20 pixels in a third one are 2 % of it


def test_the_edge_is_drawn_out_to_whole_tiles() -> None:
    page = np.array([[1, 2], [3, 4]], np.uint8)
    assert pad_to_whole_tiles(page, 3).tolist() == [[1, 2, 2], [3, 4, 4], [3, 4, 4]]
    assert pad_to_whole_tiles(page, 2) is not page
    assert pad_to_whole_tiles(page, 2).tolist() == page.tolist()


class ScriptedOcr:
    """OCR that returns one word the size of the page, or raises, and counts the calls."""

    def __init__(self, trouble: PageError | None = None) -> None:
        self.trouble = trouble
        self.shapes: list[tuple[int, ...]] = []

    def __call__(self, pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[Word, ...]:
        self.shapes.append(pixels.shape)
        if self.trouble:
            raise self.trouble
        return (Word(0, 0, 0, *pixels.shape[:2], "word", 90.0),)


def png_scan(folder: Path) -> Scan:
    cv2.imwrite(str(folder / "a.png"), page_of_one_line().pixels)
    return Scan("c/a.png", folder / "a.png", "test", "c", "c/a", None)


def test_each_turn_is_read_once_on_the_turned_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ocr = ScriptedOcr()
    monkeypatch.setattr(rotated_pages.recognition, "read_words", ocr)
    scan = png_scan(tmp_path)
    for _ in range(2):
        words = [rotated_words(scan, 32, degrees, tmp_path / "cache", OcrSettings()) for degrees in ROTATIONS]
        assert [(found[0].height_px, found[0].width_px) for found in words if found] == [
            (128, 96),
            (96, 128),
            (128, 96),
        ]
    assert ocr.shapes == [(128, 96), (96, 128), (128, 96)]
    rotated_words(scan, 40, 90, tmp_path / "cache", OcrSettings())
    rotated_words(scan, 32, 90, tmp_path / "cache", OcrSettings(language="deu"))
    assert ocr.shapes[3:] == [(120, 80), (128, 96)]


def test_a_turned_page_that_ocr_cannot_read_has_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotated_pages.recognition, "read_words", ScriptedOcr(PageError("ocr_timeout", "too slow")))
    assert rotated_words(png_scan(tmp_path), 32, 90, tmp_path, OcrSettings()) is None
