"""Test the exam of the legibility check: its plants, and the command on a drawn scan."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from typer.testing import CliRunner

from benchmarks.gate import app, sound_copies
from benchmarks.gate_report import OUTPUT, Verdict, figure, markdown
from benchmarks.planted_damage import Plant, plant_all
from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.analysis.page_kinds import PageKind
from foliopress.tasks.analysis.tiles import tile_grid
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.ocr.recognition import Word

DPI = 200.0
LINES = ("Paid 12.50 to the printer", "for binding 3858 minutes", "and 1,773 indices in July")
PAPER = 230


def printed() -> tuple[np.ndarray, list[Word]]:
    """A grainy page of three lines of 12-point type, and its words."""
    image = Image.new("L", (900, 420), PAPER)
    draw, font, words = ImageDraw.Draw(image), ImageFont.load_default(34), []
    for line_index, line in enumerate(LINES):
        left = 60
        for text in line.split():
            box = [round(edge) for edge in draw.textbbox((left, 60 + 90 * line_index), text, font=font)]
            draw.text((left, 60 + 90 * line_index), text, fill=35, font=font)
            words.append(Word(line_index, box[1], box[0], box[3] - box[1], box[2] - box[0], text, 96.0))
            left = box[2] + 18
    grain = np.random.default_rng(1).normal(0, 2, (420, 900))
    return np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8), words


@pytest.fixture(scope="module")
def plants() -> tuple[np.ndarray, list[Plant]]:
    page, words = printed()
    grid = tile_grid(*page.shape, DPI)
    shape = grid.n_rows, grid.n_cols
    analysis = PageAnalysis(
        Page(page, False, DPI, None, None),
        PageKind.GREY,
        DPI,
        tuple(words),
        grid,
        np.ones(shape, bool),
        np.ones(shape, np.float32),
    )
    return page, list(plant_all(page, analysis, 3))


def test_a_page_of_print_has_room_for_every_kind_of_damage_to_words(plants: tuple[np.ndarray, list[Plant]]) -> None:
    kinds = {plant.kind for plant in plants[1]}
    assert kinds >= {"digit", "point", "diacritic", "smeared word", "thin strokes", "line"}
    assert max(sum(plant.kind == kind for plant in plants[1]) for kind in kinds) <= 3


def test_damage_is_visible_and_stays_within_its_patch(plants: tuple[np.ndarray, list[Plant]]) -> None:
    page, planted = plants
    for plant in planted:
        damaged = plant.on(page)
        rows, cols = np.nonzero(damaged != page)
        assert np.abs(damaged.astype(int) - page).max() >= 40
        height_px, width_px = plant.patch.shape[:2]
        assert plant.row_px <= rows.min() <= rows.max() < plant.row_px + height_px
        assert plant.col_px <= cols.min() <= cols.max() < plant.col_px + width_px


def test_a_lost_point_leaves_paper_and_a_swapped_digit_leaves_ink(plants: tuple[np.ndarray, list[Plant]]) -> None:
    page, planted = plants
    lost = next(plant for plant in planted if plant.kind == "point")
    assert (page[lost.row_px :, lost.col_px :][: lost.patch.shape[0], : lost.patch.shape[1]] < 120).sum() > (
        lost.patch < 120
    ).sum()
    swapped = next(plant for plant in planted if plant.kind == "digit")
    assert (swapped.patch < 120).sum() > 20


def test_sound_copies_differ_by_what_nobody_sees() -> None:
    page, _ = printed()
    copies = dict(sound_copies(page))
    assert copies.keys() == {"noise", "avif", "jpeg"}
    for copy in copies.values():
        assert copy.shape == page.shape
        assert 0 < np.abs(copy.astype(int) - page).mean() < 3


def test_the_report_counts_by_damage_and_writing_and_draws_the_limits() -> None:
    limits = LegibilitySettings()
    cases = (("digit", True, 0.6), ("digit", False, 0.1), (OUTPUT, False, 0.05), ("sound: noise", False, 0.01))
    verdicts = [
        Verdict("a/1.png", "stanford-letters", case, is_refused, is_refused, "", 0.1, change)
        for case, is_refused, change in cases
    ]
    report = markdown(verdicts)
    assert "2 plants on 1 scans" in report
    assert "| digit | handwriting | 2 | 1 | 50.0% |" in report
    assert "| sound: noise | handwriting | 1 | 0 | 0 |" in report
    words, _ = figure(verdicts, limits).axes
    assert [line.get_label() for line in words.lines] == ["output (1)", "digit (2)", "limit"]
    assert list(words.lines[-1].get_xdata()) == [limits.max_word_change] * 2


@pytest.mark.long
def test_the_command_counts_what_is_caught_and_passes_sound_copies(tmp_path: Path) -> None:
    page, _ = printed()
    (tmp_path / "scans" / "truth").mkdir(parents=True)
    Image.fromarray(page).save(tmp_path / "scans" / "a.png", dpi=(DPI, DPI))
    rows = [
        f"50,{50 + 90 * n},880,{50 + 90 * n},880,{110 + 90 * n},50,{110 + 90 * n},{line}"
        for n, line in enumerate(LINES)
    ]
    (tmp_path / "scans" / "truth" / "a.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    out, cache = tmp_path / "report", tmp_path / "cache"
    command = [str(tmp_path / "scans"), "--workers", "1", "--most", "2", "--out", str(out), "--cache", str(cache)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    verdicts = [Verdict(**row) for row in json.loads((out / "gate.json").read_text(encoding="utf-8"))]
    planted = [verdict for verdict in verdicts if not verdict.is_sound]
    assert len(planted) >= 6 and all(verdict.is_refused for verdict in planted)
    assert not any(verdict.is_strengthened for verdict in verdicts if verdict.case.startswith("sound"))
    assert f"{len(planted)} plants on 1 scans" in (out / "gate.md").read_text(encoding="utf-8")
    assert Image.open(out / "gate.png").width == 1100
    assert list(cache.iterdir()) and "s for a verdict" in result.output
    assert CliRunner().invoke(app, [str(tmp_path / "cache")]).exit_code == 2
