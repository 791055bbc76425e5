"""Labels on small pages, worked out by hand, and the split into training and validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.dataset import (
    MarkedPage,
    fill_polygons,
    handwritten_documents,
    label_tiles,
    shifted_page,
    split_documents,
    tile_truth,
)
from model.truth import LineKind, PageTruth, Scan, TruthLine, TruthRegion
from tasks.kinds import PageKind
from tasks.ocr import Word
from tasks.tiles import tile_grid


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    """A rectangle whose outline runs through the given pixels, the last ones included."""
    return np.array([[top, left], [top, right], [bottom, right], [bottom, left]], np.float64)


def line(polygon: np.ndarray, kind: LineKind = "printed") -> TruthLine:
    return TruthLine(polygon, "text", kind)


def scan(collection: str = "c", document: str = "c/d", truth: Path | None = Path("a.xml")) -> Scan:
    return Scan(f"{collection}/a.jpg", Path("a.jpg"), "train", collection, document, truth)


def striped(luma: np.ndarray, rows: slice, cols: slice) -> None:
    """Every other column black: ink of standard deviation above 100."""
    luma[rows, cols][:, ::2] = 0


def marked_page(luma: np.ndarray, truth: PageTruth | None, words: tuple[Word, ...] = (), name: str = "c") -> MarkedPage:
    return MarkedPage(scan(name), luma, PageKind.GREY, 150.0, words, truth)


def test_a_tile_is_text_from_four_per_cent_of_marked_area_with_ink_in_it() -> None:
    luma = np.full((32, 160), 250, np.uint8)
    striped(luma, np.s_[0:32], np.s_[0:128])
    lines = [
        line(box(0, 0, 31, 31)),  # all of tile 0
        line(box(0, 32, 0, 71)),  # 32 pixels of tile 1 (3.1 %) and 8 of tile 2
        line(box(2, 96, 3, 120), "handwritten"),  # 50 pixels of tile 3 (4.9 %)
        line(box(0, 128, 31, 159)),  # all of tile 4, which has no ink
    ]
    truth = tile_truth(luma, lines, tile_grid(32, 160, 150))
    assert truth.printed.tolist() == [True, False, False, False, False]
    assert truth.handwritten.tolist() == [False, False, False, True, False]
    assert truth.marked.tolist() == [True, True, True, True, True]
    assert truth.blank.tolist() == [False, False, False, False, True]


def test_a_tile_cut_off_by_the_page_counts_only_what_lies_on_it() -> None:
    luma = np.full((32, 40), 250, np.uint8)
    striped(luma, np.s_[0:32], np.s_[32:40])
    truth = tile_truth(luma, [line(box(0, 32, 1, 39))], tile_grid(32, 40, 150))  # 16 of 256 pixels
    assert truth.printed.tolist() == [False, True]


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


def test_a_shifted_page_carries_its_truth_and_words_along() -> None:
    luma = np.full((64, 64), 250, np.uint8)
    striped(luma, np.s_[40:50], np.s_[40:60])
    page = marked_page(luma, PageTruth((line(box(40, 40, 49, 59)),), ()), (Word(0, 2, 3, 8, 20, "word", 90.0),))
    shifted = shifted_page(page, 5, 7)
    assert shifted.pixels.shape == (59, 57)
    assert shifted.truth is not None
    inside = fill_polygons([shifted.truth.lines[0].polygon], shifted.pixels.shape)
    assert np.argwhere(inside).min(axis=0).tolist() == [35, 33]
    assert int(inside.sum()) == 10 * 20
    word = shifted.words[0]
    assert (word.row_px, word.col_px, word.height_px, word.width_px) == (0, 0, 5, 16)


def test_no_document_is_parted_and_every_larger_collection_is_in_both_parts() -> None:
    scans = [scan("books", f"books/{number // 3}") for number in range(12)]
    scans += [scan("letters", f"letters/{number}") for number in range(5)] + [scan("maps", "maps/1")]
    by_hand = frozenset({"letters/0", "letters/1"})
    training, validation = split_documents(scans, by_hand)
    documents = {s.document for s in training}, {s.document for s in validation}
    assert not documents[0] & documents[1]
    assert len(training) + len(validation) == len(scans)
    assert "maps/1" in documents[0]
    assert len([d for d in documents[1] if d.startswith("books")]) == 1
    assert len(by_hand & documents[1]) == 1
    assert split_documents(scans, by_hand) == (training, validation)


def test_a_document_is_handwritten_when_most_of_its_lines_are(tmp_path: Path) -> None:
    for name, labels in (("a", "HHP"), ("b", "HPP")):
        lines = "".join(f'<TextLine TAGREFS="{tag}" HPOS="0" VPOS="0" WIDTH="9" HEIGHT="9"/>' for tag in labels)
        (tmp_path / f"{name}.xml").write_text(f'<alto><OtherTag ID="H" LABEL="Handwritten"/>{lines}</alto>')
    scans = [scan("c", f"c/{name}", tmp_path / f"{name}.xml") for name in "ab"]
    assert handwritten_documents(scans) == {"c/a"}
