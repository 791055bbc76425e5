"""Test the contact sheet: tints follow levels, and the most changed places are enlarged."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.contact_sheet import (
    LEVEL_COLOURS,
    app,
    draw_sheet,
    find_sheets,
    heat_map,
    index,
    most_changed,
    worst_ink,
)
from benchmarks.drawing import panel, side_by_side, text_line, window_round
from foliopress.tasks.ocr.recognition import Word
from tests.benchmarks.made_up_scans import HEIGHT_PX, LINE, STAMP, TILE_PX, WIDTH_PX, drawn_page, write_run, write_scans

DPI = 100.0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return two scans and a run over them with a damaged second output."""
    write_scans(tmp_path / "scans", ("c/a.png", "c/<b>.png"))
    write_run(tmp_path / "run", {"c/a.png": drawn_page(1), "c/<b>.png": drawn_page(2)})
    (tmp_path / "run/pages/c/<b>.png.png").write_bytes(b"\x89PNG, but not for long")
    return tmp_path / "run"


def test_each_tile_is_tinted_by_its_level_and_level_1_not_at_all() -> None:
    page = np.full((5, 8), 200, np.uint8)  # the last row and column of tiles extend past it
    tiles = {"tile_px": 3, "n_rows": 2, "n_cols": 3, "level": [1, 2, 4, 8, 1, 1]}
    tinted = heat_map(page, tiles)
    assert tinted.shape == (5, 8, 3)
    assert (tinted[:3, :3] == 200).all() and (tinted[3:, 3:] == 200).all()
    for place, level in ((np.s_[:3, 3:6], 2), (np.s_[:3, 6:], 4), (np.s_[3:, :3], 8)):
        expected = np.round(200 * 0.55 + 0.45 * np.array(LEVEL_COLOURS[level]))
        assert (tinted[place] == expected).all()
    assert (page == 200).all()


def test_a_page_that_was_kept_has_no_tint() -> None:
    assert (heat_map(np.full((4, 4), 9, np.uint8), None) == 9).all()


def test_the_largest_change_is_looked_for_away_from_strokes() -> None:
    page = drawn_page()
    made = page.copy()
    made[slice(*LINE)] = 225  # the line is gone, but only the other crop shows that
    made[200:230, 40:70] -= 12
    place = most_changed(page, made, DPI)
    assert place is not None
    assert 195 < place[0] < 235 and 35 < place[1] < 75


def test_without_any_change_there_is_no_place_to_show() -> None:
    assert most_changed(drawn_page(), drawn_page(), DPI) is None


def test_the_worst_ink_is_that_of_words_where_there_are_any() -> None:
    page = drawn_page()
    made = page.copy()
    made[slice(*LINE), 150:200] = cv2.GaussianBlur(made[slice(*LINE), 150:200], (0, 0), 1)
    stamp = np.s_[STAMP[0] : STAMP[1], STAMP[2] : STAMP[3]]
    made[stamp] = cv2.GaussianBlur(made[stamp], (0, 0), 5)
    word = Word(0, LINE[0], 20, LINE[1] - LINE[0], WIDTH_PX - 40, "word", 90.0)
    of_words, of_all = worst_ink(page, made, [word], DPI), worst_ink(page, made, [], DPI)
    assert of_words is not None and of_all is not None
    assert LINE[0] - 12 < of_words[0] < LINE[1] + 12 and 140 < of_words[1] < 210
    assert of_all[0] > STAMP[0] - 12
    blank = np.full((60, 60), 230, np.uint8)
    assert worst_ink(blank, blank, [], DPI) is None


def test_a_sheet_knows_source_output_and_levels_of_its_page(run: Path, tmp_path: Path) -> None:
    sheets = list(find_sheets(tmp_path / "scans", run))
    assert [sheet.row["document_key"] for sheet in sheets] == ["c/<b>.png", "c/a.png"]
    sheet = sheets[1]
    assert sheet.source == tmp_path / "scans/c/a.png" and sheet.output == run / "pages/c/a.png.png"
    assert sheet.tiles is not None and sheet.tiles["tile_px"] == TILE_PX
    picture = draw_sheet(sheet)
    assert picture.ndim == 3 and picture.shape[1] >= 3 * 700


def test_an_output_of_fewer_pixels_is_shown_at_the_size_of_its_source(tmp_path: Path) -> None:
    write_scans(tmp_path / "scans")
    write_run(tmp_path / "run", {"c/a.png": cv2.resize(drawn_page(), (WIDTH_PX // 2, HEIGHT_PX // 2))})
    (sheet,) = find_sheets(tmp_path / "scans", tmp_path / "run")
    assert draw_sheet(sheet).shape[1] >= 3 * 700


def test_every_page_gets_a_picture_and_what_cannot_be_shown_says_why(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "sheet"
    result = CliRunner().invoke(app, [str(tmp_path / "scans"), str(run), "--out", str(out), "--jobs", "1"])
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.glob("*.webp")] == ["0002-a-1.webp"]
    text = (out / "index.html").read_text()
    assert "c/&lt;b&gt;.png" in text and "<b>" not in text
    assert "cannot be drawn" in text
    assert '<img loading=lazy src="0002-a-1.webp">' in text


def test_names_that_are_no_plain_file_names_are_quoted_in_the_index(tmp_path: Path) -> None:
    write_scans(tmp_path / "scans", ('c/"x" 50%.png',))
    write_run(tmp_path / "run", {'c/"x" 50%.png': drawn_page()})
    (sheet,) = find_sheets(tmp_path / "scans", tmp_path / "run")
    assert 'src="0001-%22x%22%2050%25-1.webp"' in index([(sheet, None)])


@pytest.mark.parametrize(("name", "message"), [("empty", "contains no page"), ("missing", "there is no folder")])
def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, [str(tmp_path), str(tmp_path / name), "--out", str(tmp_path / "sheet")])
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_pictures_of_unequal_size_stand_beside_each_other_on_white() -> None:
    tall, low = np.zeros((30, 10, 3), np.uint8), np.zeros((10, 10, 3), np.uint8)
    both = side_by_side([tall, low])
    assert both.shape == (30, 26, 3)
    assert (both[:, :10] == 0).all() and (both[10:, 16:] == 255).all()


def test_a_caption_stands_above_its_picture_and_is_cut_to_its_width() -> None:
    framed = panel(np.full((5, 40), 7, np.uint8), "a caption that is far too long")
    assert framed.shape == (27, 40, 3)
    assert (framed[-5:] == 7).all() and framed[:22].min() < 100
    assert text_line("", 9).min() == 255


def test_a_window_is_cut_to_a_page_that_is_smaller() -> None:
    assert window_round((5, 5), (400, 20), (10, 100)) == (slice(0, 10), slice(0, 20))
