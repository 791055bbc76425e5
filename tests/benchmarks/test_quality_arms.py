"""Test the arms of the quality benchmark: runs of Foliopress, other tools as commands, and their failures."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks import other_tools, product
from benchmarks.arms import ArmFailed, decode
from benchmarks.marked import MarkedPage, find_marked, read_marked
from benchmarks.other_tools import TOOLS, Tool, ToolArm, run_command
from benchmarks.product import Setting, page_arms, run_product, settings_of
from tests.benchmarks.made_up_scans import HEIGHT_PX, WIDTH_PX, drawn_page, write_run, write_scans


@pytest.fixture
def page(tmp_path: Path) -> MarkedPage:
    """Return a scan in its own folder."""
    write_scans(tmp_path / "scans")
    (scan,) = find_marked(tmp_path / "scans", "test")
    return read_marked(scan)


def command_file(folder: Path, name: str, script: str) -> None:
    """Put a command on the path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of commands; only these and the shell's own are available."""
    folder = tmp_path / "commands"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/bin")
    return folder


def test_a_sweep_is_run_beside_each_profile_as_it_is() -> None:
    settings = settings_of(["access", "own/mine.yaml"], ["ocr.timeout_s=9"], "encode.quality=30, 40")
    assert [setting.name for setting in settings] == [
        "Foliopress access ocr.timeout_s=9",
        "Foliopress access ocr.timeout_s=9 encode.quality=30",
        "Foliopress access ocr.timeout_s=9 encode.quality=40",
        "Foliopress mine ocr.timeout_s=9",
        "Foliopress mine ocr.timeout_s=9 encode.quality=30",
        "Foliopress mine ocr.timeout_s=9 encode.quality=40",
    ]
    assert len({setting.family for setting in settings}) == 2


@pytest.mark.parametrize("sweep", ["encode.quality", "=30", "encode.quality="])
def test_a_sweep_without_key_or_values_is_refused(sweep: str) -> None:
    with pytest.raises(ValueError, match="expected key=value"):
        settings_of(["access"], [], sweep)


class Command:
    """Replacement for the command line that records its arguments and returns a given exit code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int, stderr: str = "") -> None:
        self.called: list[str] = []
        self._end = code, stderr
        monkeypatch.setattr(product.subprocess, "run", self._run)

    def _run(self, command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        self.called = command
        return subprocess.CompletedProcess(command, self._end[0], "", self._end[1])

    def after(self, option: str) -> list[str]:
        """Return the values after each occurrence of an option."""
        return [self.called[at + 1] for at, part in enumerate(self.called) if part == option]


def test_foliopress_is_run_on_the_marked_scans_alone_with_its_settings(
    page: MarkedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command(monkeypatch, 3)  # some pages failed: all have their rows
    setting = Setting("access", ("ocr.timeout_s=9",), "encode.quality=30")
    dest = run_product(tmp_path / "scans", [page.scan], setting, tmp_path / "runs", 2, again=False)
    assert command.called[1:4] == ["-m", "foliopress.flows.cli", "compress"]
    assert command.called[4:6] == [str(tmp_path / "scans"), str(dest)]
    assert command.after("--set") == ["ocr.timeout_s=9", "encode.quality=30"]
    assert (command.after("--profile"), command.after("--workers")) == (["access"], ["2"])
    assert Path(command.after("--keys")[0]).read_text() == "c/a.png\n"


def test_a_run_is_begun_anew_only_when_asked(page: MarkedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Command(monkeypatch, 0)
    folders = tmp_path / "scans", tmp_path / "runs"
    for again, remains in ((False, True), (True, False)):
        dest = run_product(folders[0], [page.scan], Setting("access"), folders[1], 1, again=False)
        dest.mkdir(exist_ok=True)
        (dest / "old").touch()
        run_product(folders[0], [page.scan], Setting("access"), folders[1], 1, again=again)
        assert (dest / "old").exists() == remains


def test_a_run_that_breaks_says_its_last_line(
    page: MarkedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Command(monkeypatch, 2, "run x starts\nencode.qality: no such setting")
    with pytest.raises(ArmFailed, match="Foliopress access: encode.qality: no such setting"):
        run_product(tmp_path, [page.scan], Setting("access"), tmp_path / "runs", 1, again=False)


def test_what_a_run_made_is_found_by_key_also_if_the_scans_were_laid_out_flat(tmp_path: Path) -> None:
    write_scans(tmp_path / "scans", ("c/images/a.png", "c/images/b.png", "c/images/z.png"))
    scans = find_marked(tmp_path / "scans", "test")
    write_run(tmp_path / "run", {"c/images/a.png": drawn_page(1), "c/b.png": drawn_page(2)})
    arms = page_arms(tmp_path / "run", scans, "ours", "ours", reads_words=False)
    assert list(arms) == ["c/images/a.png", "c/images/b.png"]
    arm = arms["c/images/b.png"]
    assert arm.seconds == 0.75
    assert arm.size_bytes == (tmp_path / "run/pages/c/b.png.png").stat().st_size
    made = arm.make(read_marked(scans[1]))
    assert np.array_equal(made.pixels, drawn_page(2)) and made.more == {"codec": "png", "status": "compressed"}


def test_an_output_of_fewer_pixels_is_judged_at_the_size_of_its_source(page: MarkedPage, tmp_path: Path) -> None:
    Image.fromarray(drawn_page()).resize((WIDTH_PX // 2, HEIGHT_PX // 2)).save(tmp_path / "small.png")
    assert decode((tmp_path / "small.png").read_bytes(), page).shape == (HEIGHT_PX, WIDTH_PX)


def test_an_output_that_cannot_be_decoded_is_a_failure_of_the_arm(page: MarkedPage) -> None:
    with pytest.raises(ArmFailed, match="cannot be decoded"):
        decode(b"\x00\x01", page)


def test_a_tool_is_left_out_if_one_of_its_commands_is_missing(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(commands))
    command_file(commands, "recode_pdf", "echo tools 1.2.3")
    tool = TOOLS["archive-pdf-tools"]
    assert tool.missing() == ["tesseract", "opj_compress"]
    assert tool.version() == "1.2.3"


def test_a_command_that_fails_or_hangs_says_so(commands: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command_file(commands, "breaks", "echo 'no alpha, please' >&2; exit 4")
    with pytest.raises(ArmFailed, match="breaks ended with 4: no alpha, please"):
        run_command(["breaks"], commands)
    command_file(commands, "hangs", "exec sleep 5")
    monkeypatch.setattr(other_tools, "_TIMEOUT_S", 0.1)
    with pytest.raises(ArmFailed, match="hangs did not finish in 0.1 s"):
        run_command(["hangs"], commands)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("archive-pdf-tools", "--mask-compression ccitt -o page.pdf"),
        ("archive-pdf-tools --bg-downsample 3", "--mask-compression ccitt --bg-downsample 3 -o page.pdf"),
    ],
)
def test_archive_pdf_tools_gets_the_upright_page_and_its_words(
    page: MarkedPage, commands: Path, tmp_path: Path, name: str, expected: str
) -> None:
    command_file(commands, "tesseract", f"echo $0 $* >> {tmp_path}/log; test -f $1 && touch $2.hocr")
    command_file(commands, "recode_pdf", f"echo $* >> {tmp_path}/log; test -f page.hocr && echo PDF > page.pdf")
    made = TOOLS[name].make(page, tmp_path)
    assert made.read_text() == "PDF\n"
    ocr, layers = (tmp_path / "log").read_text().splitlines()
    assert "page.png page --dpi 72 hocr" in ocr
    assert layers == f"--from-imagestack page.png --hocr-file page.hocr --dpi 72 -J openjpeg {expected}"


def test_a_scan_of_three_equal_channels_is_handed_on_with_three(tmp_path: Path) -> None:
    write_scans(tmp_path)
    scan = find_marked(tmp_path, "test")[0]
    for mode in ("L", "RGB"):
        Image.fromarray(drawn_page()).convert(mode).save(scan.path)
        with Image.open(other_tools.upright_png(read_marked(scan), tmp_path)) as image:
            assert image.mode == mode and np.array_equal(image.convert("L"), drawn_page())


def test_ocrmypdf_gets_the_scan_and_if_it_refuses_that_a_png(page: MarkedPage, commands: Path, tmp_path: Path) -> None:
    command_file(
        commands, "ocrmypdf", f"echo $* >> {tmp_path}/log; case $* in *page.png*) touch page.pdf;; *) exit 1;; esac"
    )
    TOOLS["OCRmyPDF"].make(page, tmp_path)
    first, second = (tmp_path / "log").read_text().splitlines()
    assert str(page.scan.path) in first and "page.png page.pdf" in second
    assert "--optimize 3 --output-type pdf" in first


def test_a_tool_that_writes_nothing_has_failed(page: MarkedPage, commands: Path, tmp_path: Path) -> None:
    command_file(commands, "ocrmypdf", "exit 0")
    with pytest.raises(ArmFailed, match="ocrmypdf wrote no PDF"):
        TOOLS["OCRmyPDF"].make(page, tmp_path)


def test_a_pdf_is_kept_and_drawn_in_the_pixels_of_its_source(
    page: MarkedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pypdfium2")

    def make(page: MarkedPage, folder: Path) -> Path:
        Image.fromarray(page.pixels).save(folder / "x.pdf", resolution=100)
        return folder / "x.pdf"

    monkeypatch.setitem(other_tools.TOOLS, "tool", Tool("tool", (), make))
    made = ToolArm("tool", tmp_path / "pdfs", reads_words=False).make(page)
    assert made.pixels.shape == (HEIGHT_PX, WIDTH_PX, 3)
    assert np.abs(made.pixels[..., 0].astype(int) - page.pixels).mean() < 6
    assert made.size_bytes == (tmp_path / "pdfs/c/a.png.pdf").stat().st_size


def test_without_pypdfium2_the_row_says_what_to_install(
    page: MarkedPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pypdfium2", None)
    with pytest.raises(ArmFailed, match="pip install pypdfium2"):
        other_tools.draw_pdf(tmp_path / "x.pdf", page)


@pytest.mark.slow  # it starts Prefect, Dask and Tesseract
def test_foliopress_itself_compresses_the_marked_scans_and_a_wrong_setting_is_named(tmp_path: Path) -> None:
    write_scans(tmp_path / "scans", ("c/a.png", "c/b.png"))
    scans = find_marked(tmp_path / "scans", "test")[:1]
    dest = run_product(tmp_path / "scans", scans, Setting("access"), tmp_path / "runs", 1, again=False)
    arms = page_arms(dest, scans, "ours", "ours", reads_words=False)
    assert list(arms) == ["c/a.png"] and arms["c/a.png"].make(read_marked(scans[0])).seconds
    with pytest.raises(ArmFailed, match="encode.qality: no such setting"):
        run_product(tmp_path / "scans", scans, Setting("access", ("encode.qality=3",)), tmp_path, 1, again=False)
