"""Test the quality benchmark end to end on synthetic scans: rows, report, plots, strips and resumption."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import judgement, quality, strips
from benchmarks.curves import Measured
from benchmarks.marked import find_marked, read_marked
from benchmarks.product import page_arms
from benchmarks.quality import app, some_of
from benchmarks.quality_plots import ssim_figure, words_figure
from benchmarks.quality_report import as_markdown, bytes_against, figures_of
from benchmarks.strips import draw_strip, worst_text, write_strips
from benchmarks.uniform import SWEEP
from foliopress.tasks.ocr.recognition import Word
from tests.benchmarks.made_up_scans import LINE, TEXT, drawn_page, write_run, write_scans


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Replace OCR by one that reads every word of the line if it is there; return the pages it was given."""
    given: list[np.ndarray] = []

    def read(pixels: np.ndarray, dpi: float, settings: object) -> tuple[Word, ...]:
        given.append(pixels)
        is_there = int(pixels[slice(*LINE)].min()) < 100
        return tuple(Word(0, 0, 0, 1, 1, text, 90) for text in TEXT.split()) if is_there else ()

    monkeypatch.setattr(judgement.recognition, "read_words", read)
    monkeypatch.setattr(quality.recognition, "check_tesseract", lambda language: "0")
    return given


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Return two scans, and a run of Foliopress that lost the line of the second."""
    write_scans(tmp_path / "scans", ("c/a.png", "c/b.png"))
    lost = drawn_page(2)
    lost[slice(*LINE)] = 225
    write_run(tmp_path / "run", {"c/a.png": drawn_page(1), "c/b.png": lost})
    return tmp_path / "scans"


def invoke(scans: Path, *options: str) -> Any:
    base = ["--no-foliopress", "--no-others", "--codec", "avif", "--jobs", "1", "--run", f"ours={scans.parent / 'run'}"]
    return CliRunner().invoke(app, [str(scans), "--out", str(scans.parent / "out"), *base, *options])


def test_every_page_and_arm_becomes_a_row_and_the_report_says_what_was_lost(
    scans: Path, tmp_path: Path, reads: list[np.ndarray]
) -> None:
    result = invoke(scans, "--publish", str(tmp_path / "docs"))
    assert result.exit_code == 0, result.output
    found = json.loads((tmp_path / "out/quality.json").read_text())
    assert len(found["rows"]) == 2 * (1 + 1 + len(SWEEP))
    ours = found["arms"]["ours"]
    assert (ours["pages"], ours["words_source"], ours["words_found"]) == (2, 1.0, 0.5)
    assert ours["text_ssim_worst"] < 0.3 < ours["text_ssim"]
    assert found["arms"]["source"]["saved"] == 0
    table = (tmp_path / "out/quality.md").read_text()
    assert "| ours | 2 | 0 |" in table and "50.0% | 100.0% |" in table
    assert "rows" not in json.loads((tmp_path / "docs/quality.json").read_text())
    for name in ("quality.md", "bytes-ssim.png", "bytes-words.png", "strips/c.webp"):
        assert (tmp_path / "docs" / name).is_file()
        assert name == "quality.md" or f"]({name})" in table


def test_a_stopped_benchmark_goes_on_and_one_that_is_done_measures_nothing(
    scans: Path, reads: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, measured = quality.judge_arm, []

    def stops(scan: Any, arm: Any) -> dict[str, Any]:
        measured.append(arm.name)
        if len(measured) == 7:
            raise KeyboardInterrupt
        return real(scan, arm)

    monkeypatch.setattr(quality, "judge_arm", stops)
    invoke(scans)
    assert invoke(scans).exit_code == 0
    assert len(measured) == 2 * (2 + len(SWEEP)) + 1  # the interrupted one occurs twice
    n_read = len(reads)
    assert invoke(scans).exit_code == 0
    assert len(reads) == n_read and len(measured) == 2 * (2 + len(SWEEP)) + 1


def test_of_another_run_in_the_same_folder_only_its_own_pages_are_measured_again(
    scans: Path, reads: list[np.ndarray]
) -> None:
    invoke(scans)
    n_read = len(reads)
    write_run(scans.parent / "run", {"c/a.png": drawn_page(1), "c/b.png": drawn_page(2)})
    invoke(scans)
    assert len(reads) == n_read + 1
    found = json.loads((scans.parent / "out/quality.json").read_text())
    assert found["arms"]["ours"]["words_found"] == 1


def test_without_words_nothing_is_read(scans: Path, reads: list[np.ndarray]) -> None:
    assert invoke(scans, "--no-words").exit_code == 0
    assert not reads
    assert "uniform AVIF 98" in (scans.parent / "out/quality.md").read_text()


def test_two_processes_bring_the_rows_of_one(scans: Path) -> None:
    invoke(scans, "--no-words")
    rows = {
        (row["key"], row["arm"]): row for row in json.loads((scans.parent / "out/quality.json").read_text())["rows"]
    }
    (scans.parent / "out/rows.jsonl").unlink()
    assert invoke(scans, "--no-words", "--jobs", "2").exit_code == 0
    for row in json.loads((scans.parent / "out/quality.json").read_text())["rows"]:
        before = rows[row["key"], row["arm"]]
        assert {**row, "seconds": 0} == {**before, "seconds": 0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--codec", "gif"), "unknown codec gif"),
        (("--run", "nowhere"), "expected NAME=FOLDER"),
        (("--sweep", "encode.quality", "--foliopress"), "expected key=value"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(
    scans: Path, reads: list[np.ndarray], options: tuple[str, ...], message: str
) -> None:
    result = invoke(scans, *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
    assert not (scans.parent / "out/rows.jsonl").exists()


def test_a_tool_that_is_not_installed_is_named(
    scans: Path, reads: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(scans))
    assert invoke(scans, "--others").exit_code == 0
    table = (scans.parent / "out/quality.md").read_text()
    assert "- OCRmyPDF: ocrmypdf, tesseract not installed" in table


def test_a_limit_takes_scans_from_all_over_the_folder(scans: Path) -> None:
    (scan, _) = find_marked(scans, "test")
    many = [dataclasses.replace(scan, key=str(number)) for number in range(10)]
    assert [one.key for one in some_of(many, 3)] == ["0", "3", "6"]
    assert len(some_of(many, 0)) == len(some_of(many, 99)) == 10


def row(key: str, arm: str, size_bytes: int, kind: str = "grey") -> dict[str, Any]:
    made_up = {"text_ssim": 0.9, "other_ssim": None, "chroma_error": 1.0, "seconds": 2.0, "source_bytes": 1000}
    return {"key": key, "collection": "c", "arm": arm, "family": arm, "page_kind": kind, "bytes": size_bytes, **made_up}


def test_bytes_are_held_against_a_tool_on_the_pages_of_both_that_are_not_bitonal() -> None:
    tool = "archive-pdf-tools"
    rows = [row("a", tool, 100), row("b", tool, 50, "bitonal"), row("c", tool, 900)]
    rows += [row("a", "ours", 70), row("b", "ours", 5, "bitonal"), row("d", "ours", 1), row("a", "uniform AVIF 8", 9)]
    measured = Measured(rows)
    (found,) = bytes_against(tool, measured)
    assert found == {"arm": "ours", "pages": 1, "bytes": 70, "tool_bytes": 100, "ratio": 0.7, "target": 0.8}
    text = as_markdown(figures_of(measured), "", [], [], [])
    assert "ours: 0 kB on 1 non-bitonal scans, archive-pdf-tools 0 kB: 0.70 × (target: at most 0.8 ×)" in text


def test_what_failed_is_listed_and_leaves_no_plot_of_nothing() -> None:
    measured = Measured([{"key": "a", "arm": "x", "family": "x", "error": "it broke"}])
    assert "- a, x: it broke" in as_markdown(figures_of(measured), "", [], [], [])
    assert ssim_figure(measured) is None and words_figure(measured) is None


def test_a_strip_shows_the_place_that_fared_worst_three_times(scans: Path) -> None:
    scan = find_marked(scans, "test")[0]
    page = read_marked(scan)
    smeared = page.pixels.copy()
    smeared[slice(*LINE), 200:240] = cv2.GaussianBlur(smeared[slice(*LINE), 200:240], (0, 0), 4)
    row_px, col_px = worst_text(page, smeared)
    assert LINE[0] - 10 < row_px < LINE[1] + 10 and 180 < col_px < 260
    write_run(scans.parent / "run", {"c/a.png": smeared})
    arm = page_arms(scans.parent / "run", [scan], "ours", "ours", reads_words=False)[scan.key]
    with_source, without = draw_strip(page, arm, "somebody, CC-BY"), draw_strip(page, arm, None)
    assert with_source.shape[0] > without.shape[0] and with_source.shape[1] == without.shape[1]


def test_of_the_data_folder_only_collections_of_a_free_licence_are_shown_and_named(scans: Path, tmp_path: Path) -> None:
    scan = find_marked(scans, "test")[0]
    arms = page_arms(scans.parent / "run", [scan], "ours", "ours", reads_words=False)
    for collection, attribution in (("ocrd-assets", None), ("ehri-typed", strips._LICENCES["ehri-typed"])):
        one = dataclasses.replace(scan, collection=collection, split="test")
        rows = [row(scan.key, "ours", 1) | {"collection": collection}]
        shown = write_strips(tmp_path / "strips", rows, [one], arms)
        assert [strip.attribution for strip in shown] == ([attribution] if attribution else [])
