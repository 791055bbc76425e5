"""Run archive-pdf-tools and OCRmyPDF as commands, if installed, and render their PDFs for comparison.

Both have licences (AGPL, MPL) that this project does not adopt: none of their code is imported.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arms import ArmFailed, ArmResult, resized
from benchmarks.drawing import as_rgb
from benchmarks.marked import MarkedPage
from foliopress.configs.settings import LimitSettings
from foliopress.tasks.images.image_reader import read_header

_TIMEOUT_S = 900.0


@dataclass(frozen=True)
class Tool:
    """Another tool: its commands, and the function that converts a page to a PDF with them.

    `make(page, folder)` may write into the folder and returns the PDF in it; it raises ArmFailed.
    """

    name: str
    commands: tuple[str, ...]
    make: Callable[[MarkedPage, Path], Path]

    def missing(self) -> list[str]:
        """Return the commands that are not installed."""
        return [command for command in self.commands if shutil.which(command) is None]

    def version(self) -> str:
        """Return the version reported by the first command."""
        done = subprocess.run([self.commands[0], "--version"], capture_output=True, text=True, check=False)
        said = done.stdout.split()
        return said[-1] if said else "unknown"


@dataclass(frozen=True)
class ToolArm:
    """Every page as a PDF of one tool; the PDFs are stored below `folder`."""

    tool: str
    folder: Path
    reads_words: bool = True
    digest: str | None = None

    @property
    def name(self) -> str:
        """The tool's name."""
        return self.tool

    @property
    def family(self) -> str:
        """The tool's name."""
        return self.tool

    def make(self, page: MarkedPage) -> ArmResult:
        """Run the tool; the processor time of all its processes counts, including OCR."""
        place = self.folder / f"{page.scan.key}.pdf"
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="foliopress-benchmark-") as work:
            start = _seconds_of_children()
            made = TOOLS[self.tool].make(page, Path(work))
            seconds = _seconds_of_children() - start
            shutil.copyfile(made, place)
        return ArmResult(draw_pdf(place, page), place.stat().st_size, seconds, {"codec": "pdf"})


def draw_pdf(pdf: Path, page: MarkedPage) -> np.ndarray:
    """Render a PDF's first page, uint8, at the source's height and width.

    Raises:
        ArmFailed: If pypdfium2 is not installed, or cannot render it.
    """
    try:
        pdfium = importlib.import_module("pypdfium2")
    except ModuleNotFoundError as error:
        raise ArmFailed("rendering PDFs needs pypdfium2: pip install pypdfium2") from error
    try:
        with pdfium.PdfDocument(str(pdf)) as document:
            drawn = document[0]
            image = drawn.render(scale=page.luma.shape[1] / drawn.get_width()).to_pil()
            return resized(np.asarray(image.convert("RGB")), page)
    except (pdfium.PdfiumError, ValueError) as error:
        raise ArmFailed(f"{pdf.name} cannot be rendered: {error}") from error


def run_command(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> None:
    """Run a command in a folder, on one thread if configurable.

    Raises:
        ArmFailed: If it ends with an error or exceeds 15 minutes.
    """
    surroundings = {**os.environ, "OMP_THREAD_LIMIT": "1", **(environment or {})}
    try:
        done = subprocess.run(
            command, cwd=folder, env=surroundings, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ArmFailed(f"{command[0]} did not finish in {_TIMEOUT_S:g} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise ArmFailed(f"{command[0]} ended with {done.returncode}: {lines[-1] if lines else 'no output'}")


def _archive_pdf(page: MarkedPage, folder: Path, *extra: str) -> Path:
    """Run Tesseract's hOCR, then archive-pdf-tools; the mask is JBIG2 if jbig2enc is installed."""
    picture, dpi = upright_png(page, folder), str(round(page.dpi))
    run_command(["tesseract", picture.name, "page", "--dpi", dpi, "hocr"], folder)
    command = ["recode_pdf", "--from-imagestack", picture.name, "--hocr-file", "page.hocr", "--dpi", dpi]
    masks = "jbig2" if shutil.which("jbig2") else "ccitt"
    run_command([*command, "-J", "openjpeg", "--mask-compression", masks, *extra, "-o", "page.pdf"], folder)
    return _found(folder / "page.pdf", command[0])


def _archive_pdf_coarse(page: MarkedPage, folder: Path) -> Path:
    """The same with the background at a third of its resolution, as in the README examples of archive-pdf-tools."""
    return _archive_pdf(page, folder, "--bg-downsample", "3")


def _ocrmypdf(page: MarkedPage, folder: Path) -> Path:
    """Run `--optimize 3` on the scan itself; a scan that it refuses (e.g. an image with alpha) is passed as PNG."""
    options = ["--optimize", "3", "--output-type", "pdf", "--jobs", "1", "--quiet"]
    resolution = ["--image-dpi", str(round(page.dpi))]
    try:
        run_command(["ocrmypdf", *options, *resolution, str(page.scan.path.resolve()), "page.pdf"], folder)
    except ArmFailed:
        picture = upright_png(page, folder)
        run_command(["ocrmypdf", *options, *resolution, picture.name, "page.pdf"], folder)
    return _found(folder / "page.pdf", "ocrmypdf")


_ARCHIVE_COMMANDS = ("recode_pdf", "tesseract", "opj_compress")

TOOLS = {
    tool.name: tool
    for tool in (
        Tool("archive-pdf-tools", _ARCHIVE_COMMANDS, _archive_pdf),
        Tool("archive-pdf-tools --bg-downsample 3", _ARCHIVE_COMMANDS, _archive_pdf_coarse),
        Tool("OCRmyPDF", ("ocrmypdf", "tesseract"), _ocrmypdf),
    )
}


def upright_png(page: MarkedPage, folder: Path) -> Path:
    """Write the page as PNG with the scan's channels; detecting equal channels is left to the tool."""
    path = folder / "page.png"
    header = read_header(page.scan.path.read_bytes(), LimitSettings())
    is_grey_file = page.pixels.ndim == 2 and header.pages[0].mode in ("1", "L")
    cv2.imwrite(str(path), page.pixels if is_grey_file else as_rgb(page.pixels)[..., ::-1])
    return path


def _found(path: Path, command: str) -> Path:
    if not path.is_file():
        raise ArmFailed(f"{command} wrote no PDF")
    return path


def _seconds_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
