"""Test labels on small pages, calculated by hand, and transformed views."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foliopress.configs.settings import OcrSettings
from foliopress.model.dataset import MarkedPage
from foliopress.model.truth import LineKind, PageTruth, Scan, TruthLine, TruthRegion
from foliopress.model.views import View, label_tiles, labelled_views, random_view
from foliopress.tasks.analysis.page_kinds import PageKind
from foliopress.tasks.ocr.recognition import Word


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """Return a rectangle whose outline runs through the given pixels, including the last ones."""
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], np.float64)


def line(polygon: np.ndarray, kind: LineKind = "printed") -> TruthLine:
    return TruthLine(polygon, "text", kind)


def scan(collection: str = "c", document: str = "c/d", truth: Path | None = Path("a.xml")) -> Scan:
    return Scan(f"{collection}/a.jpg", Path("a.jpg"), "train", collection, document, truth)


def striped(luma: np.ndarray, rows: slice, cols: slice) -> None:
    """Draw every other column black: ink with a standard deviation above 100."""
    luma[rows, cols][:, ::2] = 0


def marked_page(luma: np.ndarray, truth: PageTruth | None, words: tuple[Word, ...] = (), name: str = "c") -> MarkedPage:
    return MarkedPage(scan(name), luma, PageKind.GREY, 150.0, words, truth)


def test_unmarked_ink_is_not_judged_and_blank_paper_is_unimportant() -> None:
    luma = np.full((32, 128), 250, np.uint8)
    striped(luma, np.s_[0:32], np.s_[0:64])
    luma[:, 96:128][:, ::2] = 226  # standard deviation 12: little ink
    labelled = label_tiles(marked_page(luma, PageTruth((line(box(0, 0, 31, 31)),), ())))
    assert labelled.label.tolist() == [1, 0, 0, 0]
    assert np.allclose(labelled.weight, [1, 0, 1, 0.7])
    assert label_tiles(marked_page(luma, None)).weight.tolist() == [0, 0, 1, 0]


def test_a_picture_is_never_taught_as_unimportant_and_a_bare_text_region_teaches_its_ink() -> None:
    luma = np.full((32, 128), 250, np.uint8)
    striped(luma, np.s_[0:32], np.s_[64:96])
    regions = (TruthRegion(box(0, 0, 31, 31), "graphic"), TruthRegion(box(0, 64, 31, 127), "text"))
    labelled = label_tiles(marked_page(luma, PageTruth((), regions)))
    assert labelled.label.tolist() == [0, 0, 1, 0]
    assert labelled.weight.tolist() == [0, 1, 1, 0.5]


def test_words_read_with_confidence_are_text_where_nobody_marked_any() -> None:
    luma = np.full((32, 96), 250, np.uint8)
    striped(luma, np.s_[0:32], np.s_[0:64])
    words = (Word(0, 4, 0, 20, 32, "certain", 95.0), Word(0, 4, 32, 20, 32, "doubtful", 50.0))
    labelled = label_tiles(marked_page(luma, None, words))
    assert labelled.label.tolist() == [1, 0, 0]
    assert labelled.weight.tolist() == [1, 0, 1]


def test_ink_of_a_page_written_by_hand_is_writing() -> None:
    luma = np.full((32, 64), 250, np.uint8)
    striped(luma, np.s_[0:32], np.s_[0:32])
    assert label_tiles(marked_page(luma, None, (), "noteshrink-notes")).handwritten.tolist() == [True, False]


def page_with_a_line() -> MarkedPage:
    """Return a page of 320 x 256 at 150 dpi with one line of strokes, read by OCR, in tile row 5, columns 2 to 5."""
    luma = np.full((320, 256), 250, np.uint8)
    striped(luma, np.s_[168:184], np.s_[70:190])
    truth = PageTruth((line(box(166, 68, 186, 192)),), ())
    return marked_page(luma, truth, (Word(0, 166, 68, 20, 124, "stripes", 90.0),))


def test_an_upright_view_labels_the_tiles_of_the_line_and_masks_them() -> None:
    labelled = label_tiles(page_with_a_line())
    assert labelled.shape == (10, 8)
    label = labelled.label.reshape(10, 8)
    assert np.argwhere(label == 1).tolist() == [[5, 2], [5, 3], [5, 4], [5, 5]]
    assert labelled.plane.shape == (320, 256, 4)
    assert (labelled.plane[166:186, 68:192, 3] == 255).all()


def test_what_is_cut_off_above_and_on_the_left_moves_line_and_mask_by_as_much() -> None:
    labelled = label_tiles(page_with_a_line(), View(row_px=8, col_px=10))
    label = labelled.label.reshape(labelled.shape)
    assert np.argwhere(label == 1).tolist() == [[5, 1], [5, 2], [5, 3], [5, 4], [5, 5]]
    assert (labelled.plane[160:174, 60:180, 3] == 255).all()
    assert not labelled.plane[:157, :, 3].any()


def test_a_skewed_view_finds_its_text_where_the_ink_went() -> None:
    labelled = label_tiles(page_with_a_line(), View(skew_degrees=20.0))
    ink = (labelled.plane[..., 0] < 128).reshape(10, 32, 8, 32).sum(axis=(1, 3))
    label = labelled.label.reshape(10, 8)
    assert label[ink > 60].all()
    assert not label[ink == 0].any()
    assert not np.array_equal(label, label_tiles(page_with_a_line()).label.reshape(10, 8))
    assert labelled.plane[..., 3][labelled.plane[..., 0] < 64].mean() > 250  # the mask is transformed too


def test_a_view_at_another_scale_has_as_many_more_tiles() -> None:
    page = page_with_a_line()
    assert label_tiles(page, View(scale=0.5)).shape == (20, 16)
    assert (label_tiles(page, View(scale=0.5)).label == 1).sum() >= 8


def test_views_by_chance_stay_within_their_bounds_and_are_not_all_skewed() -> None:
    rng = np.random.default_rng(1)
    views = [random_view(rng, 64) for _ in range(300)]
    assert all(0.75 <= view.scale <= 1.35 and 0 <= view.row_px < 64 and 0 <= view.col_px < 64 for view in views)
    assert 60 <= sum(view.skew_degrees == 0 for view in views) <= 140
    assert max(abs(view.skew_degrees) for view in views) < 8


def test_the_views_of_a_real_page_do_not_depend_on_the_pages_beside_it(scans: Path, tmp_path: Path) -> None:
    from foliopress.model.truth import find_scans

    receipts = [scan for scan in find_scans(scans, "train") if scan.collection == "sroie-receipts"]
    small = sorted(receipts, key=lambda scan: scan.path.stat().st_size)[:2]
    together = labelled_views(small, tmp_path, OcrSettings(), seed=3, n_views=2)
    alone = labelled_views(small[1:], tmp_path, OcrSettings(), seed=3, n_views=2)
    assert len(together) == 4
    for ours, theirs in zip(together[2:], alone, strict=True):
        assert np.array_equal(ours.plane, theirs.plane)
        assert np.array_equal(ours.label, theirs.label)
    assert not np.array_equal(alone[0].plane.shape, alone[1].plane.shape) or (alone[0].plane != alone[1].plane).any()
    assert all(0.1 < view.label.mean() < 0.9 for view in together)


def test_no_scans_are_no_views(tmp_path: Path) -> None:
    assert labelled_views([], tmp_path, OcrSettings(), seed=1, n_views=3) == []
