"""Test the SSIMULACRA 2 benchmark on a finished run with marked lines."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner

from benchmarks.likeness import app
from tests.benchmarks.made_up_scans import LINE, drawn_page, write_run, write_scans

pytest.importorskip("ssimulacra2")


def told(output: str) -> dict[str, tuple[float, float]]:
    """Return the scores of page and text by key."""
    rows = [line.split() for line in output.splitlines()[2:]]
    return {row[-1]: (float(row[0]), float(row[1])) for row in rows}


def test_a_page_that_lost_nothing_scores_100_and_harm_counts_where_it_is_done(tmp_path: Path) -> None:
    names = ("c/same.png", "c/line.png", "c/paper.png")
    write_scans(tmp_path / "scans", names)
    pages = {name: drawn_page(number) for number, name in enumerate(names, start=1)}
    rows = slice(*LINE)
    pages["c/line.png"][rows] = cv2.GaussianBlur(pages["c/line.png"], (0, 0), 1.0)[rows]
    pages["c/paper.png"][110:] = cv2.GaussianBlur(pages["c/paper.png"], (0, 0), 1.0)[110:]
    write_run(tmp_path / "run", pages)
    result = CliRunner().invoke(app, [str(tmp_path / "scans"), str(tmp_path / "run"), "--workers", "1"])
    assert result.exit_code == 0, result.output
    scores = told(result.output)
    assert scores["c/same.png"] == (100.0, 100.0)
    assert scores["c/line.png"][0] < 95 and scores["c/line.png"][1] < 95
    assert scores["c/paper.png"][0] < 95 and scores["c/paper.png"][1] == 100.0
    assert scores["worst"] == tuple(min(pair) for pair in zip(*list(scores.values())[:3], strict=True))


def test_kept_pages_are_counted_but_not_measured_and_a_folder_without_truth_is_an_error(tmp_path: Path) -> None:
    write_scans(tmp_path / "scans", ("c/a.png",))
    write_run(tmp_path / "run", {"c/a.png": drawn_page(1)}, status="kept")
    result = CliRunner().invoke(app, [str(tmp_path / "scans"), str(tmp_path / "run")])
    assert result.output.startswith("0 compressed pages with marked lines, 1 pages in all")
    (tmp_path / "bare").mkdir()
    result = CliRunner().invoke(app, [str(tmp_path / "bare"), str(tmp_path / "run")])
    assert result.exit_code == 2 and "no scan with marked lines" in result.output
