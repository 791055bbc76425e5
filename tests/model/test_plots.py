"""Test that heatmaps show errors at their place, and that plots are written even with little data."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from foliopress.model.metrics import ScoredPage, calibration, curve, worst_pages
from foliopress.model.plots import KEPT_BARE_COLOUR, KEPT_BLANK_COLOUR, MISSED_COLOUR, heatmap, write_plots
from foliopress.model.tile_truth import TileTruth
from foliopress.tasks.analysis.page_kinds import PageKind
from foliopress.tasks.analysis.tiles import TileGrid


def six_tiles(page_kind: PageKind = PageKind.GREY) -> ScoredPage:
    """Return 2 x 3 tiles: text missed, text found, blank kept; little ink kept, blank freed, text kept by the mask."""

    def at(*tiles: int) -> np.ndarray:
        return np.isin(np.arange(6), tiles)

    return ScoredPage(
        key="c/images/a.jpg",
        page_kind=page_kind,
        grid=TileGrid(64, 96, 32),
        picture=np.full((26, 39), 200, np.uint8),
        scores=np.array([0.01, 1.0, 0.5, 0.5, 0.0, 0.01], np.float32),
        by_mask=at(5),
        truth=TileTruth(
            printed=at(0, 1, 5),
            handwritten=at(),
            typewritten=at(),
            graphic=at(),
            marked=at(0, 1, 5),
            blank=at(2, 4),
            little_ink=at(2, 3, 4),
        ),
    )


def outlined(picture: np.ndarray, colour: tuple[int, int, int]) -> list[int]:
    """Return the tiles whose whole outline has a colour."""
    found = []
    for tile in range(6):
        row, col = (13 * place for place in divmod(tile, 3))
        patch = (picture[row : row + 13, col : col + 13] == colour).all(axis=2)
        if patch[0].all() and patch[-1].all() and patch[:, 0].all() and patch[:, -1].all():
            found.append(tile)
            assert not patch[1:-1, 1:-1].any()
    return found


def test_a_heatmap_outlines_missed_text_in_red_and_kept_paper_in_blue() -> None:
    picture = heatmap(six_tiles(), 0.05)
    assert picture.shape == (26, 39, 3)
    assert picture.dtype == np.uint8
    assert outlined(picture, MISSED_COLOUR) == [0]
    assert outlined(picture, KEPT_BLANK_COLOUR) == [2]
    assert outlined(picture, KEPT_BARE_COLOUR) == [3]


def test_a_heatmap_tints_tiles_by_their_score_and_leaves_the_page_as_it_was() -> None:
    page = six_tiles()
    picture = heatmap(page, 0.05)
    assert picture[19, 19].tolist() == [200, 200, 200]  # score 0
    sure, unsure = picture[6, 19].astype(int), picture[6, 32].astype(int)
    assert sure[0] == unsure[0] == 200
    assert sure[2] < unsure[2] < 200
    assert (page.picture == 200).all()


def test_paper_of_a_page_that_is_not_rescaled_is_no_fault() -> None:
    picture = heatmap(six_tiles(PageKind.BITONAL), 0.05)
    assert outlined(picture, KEPT_BLANK_COLOUR) == outlined(picture, KEPT_BARE_COLOUR) == []
    assert outlined(picture, MISSED_COLOUR) == [0]


def figures(pages: list[ScoredPage]) -> dict[str, object]:
    return {
        "threshold": 0.05,
        "curve": curve(pages, 0.05),
        "calibration": calibration(pages),
        "worst": worst_pages(pages, 0.05),
    }


def test_plots_and_the_heatmaps_of_the_worst_pages_are_written_in_place_of_older_ones(tmp_path: Path) -> None:
    pages = [six_tiles()]
    (tmp_path / "heatmaps").mkdir()
    (tmp_path / "heatmaps" / "01-text-c-older.png").write_bytes(b"")
    write_plots(tmp_path, pages, figures(pages))
    assert [path.name for path in (tmp_path / "heatmaps").iterdir()] == ["01-text-c-a.png"]
    stored = cv2.imread(str(tmp_path / "heatmaps" / "01-text-c-a.png"))
    assert outlined(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), MISSED_COLOUR) == [0]
    for name in ("precision_recall", "calibration", "score_histogram"):
        plot = cv2.imread(str(tmp_path / f"{name}.png"))
        assert plot.shape[0] >= 400
        assert plot.std() > 5  # something is drawn


def test_a_split_without_handwriting_and_without_bare_paper_is_plotted_too(tmp_path: Path) -> None:
    pages = [six_tiles(PageKind.BITONAL)]
    write_plots(tmp_path, pages, figures(pages))
    assert (tmp_path / "precision_recall.png").stat().st_size > 1000
