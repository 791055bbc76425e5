"""Test the throughput benchmark: the bare loop does the same work as the product, and the report is correct."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.arms import ArmFailed
from benchmarks.contestants import REAPER, Archive, Timing, contestants, lay_out, timed
from benchmarks.throughput import figures_of, take_turns
from benchmarks.throughput_report import as_markdown, write_plot

STEPS = {"read", "ocr", "score", "encode", "check", "store"}


@pytest.fixture
def scans(tmp_path: Path, draw_page: Callable[[str], Image.Image]) -> list[Path]:
    paths = [tmp_path / "one.jpg", tmp_path / "two.png"]
    for path in paths:
        draw_page(f"Page {path.stem}").save(path, dpi=(100, 100))
    return paths


def test_an_archive_repeats_the_scans_in_turn_with_the_same_pages_as_png(scans: list[Path], tmp_path: Path) -> None:
    archive = lay_out(scans, tmp_path / "laid", 5)
    names = [str(path.relative_to(archive.source)) for path in sorted(archive.source.glob("*/*"))]
    assert names == ["000/000 one.jpg", "000/001 two.png", "001/000 one.jpg", "001/001 two.png", "002/000 one.jpg"]
    assert [path.name for path in archive.pngs] == ["000.png", "001.png", "000.png", "001.png", "000.png"]
    assert archive.source_bytes == 3 * scans[0].stat().st_size + 2 * scans[1].stat().st_size


def test_a_command_is_timed_with_the_processes_that_it_started(tmp_path: Path) -> None:
    busy = "import time\nwhile time.process_time() < 0.4: pass"
    both = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {busy!r}])\n{busy}"
    wall_s, core_s = timed([sys.executable, "-c", both], tmp_path)
    assert 0.8 <= core_s < 4 and wall_s >= 0.8
    left_behind = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', {busy!r}])"
    assert timed([*REAPER, sys.executable, "-c", left_behind], tmp_path)[1] >= 0.4
    with pytest.raises(ArmFailed, match="ended with 3: it says why"):
        timed([sys.executable, "-c", "print('it says why'); raise SystemExit(3)"], tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "shares"), [("bare loop, 1 process", [3]), ("bare loops, 2 processes at once", [1, 2])]
)
def test_bare_loops_take_every_page_through_every_step(scans: list[Path], tmp_path: Path, name, shares) -> None:
    archive = lay_out(scans, tmp_path / "laid", 3)
    (bare,) = (one for one in contestants(2) if one.name == name)
    (tmp_path / "work").mkdir()
    took = bare.run(archive, tmp_path / "work")
    assert {name for name, seconds in took.stages.items() if seconds > 0} >= STEPS
    assert took.core_s > 0 and took.start_core_s > 0
    assert not list((tmp_path / "work").glob("no-out-*/pages/*/*.avif"))  # start-up is that of a run without pages
    made = [list(out.glob("pages/*/*.avif")) for out in (tmp_path / "work").glob("out-*")]
    assert sorted(map(len, made)) == shares
    assert took.output_bytes == sum(path.stat().st_size for paths in made for path in paths)


@pytest.mark.slow  # it starts Prefect and Dask, twice
def test_the_bare_loop_writes_what_the_product_writes(scans: list[Path], tmp_path: Path) -> None:
    archive = lay_out(scans, tmp_path / "laid", 4)
    made = {}
    for one in contestants(2):
        if one.name in ("bare loop, 1 process", "Foliopress, 1 worker"):
            folder = tmp_path / one.name
            folder.mkdir()
            took = one.run(archive, folder)
            assert took.wall_s > 0 and took.start_s > 0
            made[one.name] = {
                path.relative_to(next(folder.glob("out*"))): path.read_bytes()
                for path in folder.glob("out*/pages/**/*")
                if path.is_file()
            }
    first, second = made.values()
    assert first == second and len(first) == 4


def test_figures_are_medians_and_leave_out_what_does_not_grow(tmp_path: Path) -> None:
    taken = [
        Timing(wall, core, 7, 10.0, 4.0, {"ocr": 30.0}) for wall, core in ((70.0, 104.0), (40.0, 64.0), (100.0, 200.0))
    ]
    found = figures_of(taken, 20)
    assert (found["wall_s"], found["pages_per_minute"], found["pages_per_minute_once_started"]) == (70, 17.143, 20.0)
    assert (found["core_s_per_page"], found["stages_s_per_page"]) == (5.0, {"ocr": 1.5})


def test_the_table_holds_everybody_against_the_product_with_all_cores(tmp_path: Path) -> None:
    def one(pages_per_minute: float, core_s: float) -> dict[str, object]:
        took = Timing(60.0, core_s * 10, 1_000_000, stages={"ocr": 5.0})
        return figures_of([took], 10) | {
            "pages_per_minute": pages_per_minute,
            "pages_per_minute_once_started": pages_per_minute,
        }

    found = {
        "bare loop, 1 process": one(10, 4.0),
        "bare loops, 2 processes at once": one(19.5, 4.1),
        "Foliopress, 1 worker": one(9.8, 4.1),
        "Foliopress, 2 workers": one(19, 4.2),
        "OCRmyPDF -O3 --jobs 2": one(5, 9),
    }
    figures = {
        "machine": {"processor": "Some CPU", "cores": 2},
        "scans": 5,
        "pages": 10,
        "rounds": 1,
        "source_bytes": 10_000_000,
        "not_measured": ["archive-pdf-tools: recode_pdf not installed"],
        "contestants": found,
    }
    text = as_markdown(figures, write_plot(tmp_path, figures))
    assert "| OCRmyPDF -O3 --jobs 2 | 60 | 0.0 | 5.0 | 5.0 | 9.00 | 3.80 × | 1.0 |" in text
    assert "With one worker, Prefect and Dask cost +2.5 % of the bare loop's core-seconds per page." in text
    assert "With all cores, they cost +2.4 % of those of as many bare loops at once." in text
    assert "2 workers are 1.94 × one, once started." in text
    assert "As many bare loops at once are 1.95 × one" in text
    assert "Not measured: archive-pdf-tools: recode_pdf not installed." in text
    assert (tmp_path / "throughput.png").stat().st_size > 1000


def test_what_is_not_installed_is_said_and_the_others_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda command: None)
    archive = Archive(tmp_path, (), None, 1, 1)
    taken, not_measured = take_turns(archive, tmp_path, 1, ["OCRmyPDF"])
    assert taken == {}
    assert len(not_measured) == 2 and all("ocrmypdf, tesseract not installed" in said for said in not_measured)
