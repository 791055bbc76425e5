"""Run the contestants of the throughput benchmark on the same pages, each as its users would, with all cores."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pyarrow.parquet as pq

from benchmarks.arms import ArmFailed
from foliopress.configs.settings import LimitSettings
from foliopress.flows.cluster.cluster import ONE_THREAD
from foliopress.tasks.images.image_reader import read_page

_ROOT = Path(__file__).resolve().parents[1]
_TESSERACT_ALONE = {"OMP_THREAD_LIMIT": "1"}  # as programs that run several at once recommend
_FINE = (0, 3)  # exit codes of `foliopress compress` after which all pages have rows
REAPER = (sys.executable, "-S", str(_ROOT / "benchmarks" / "reaper.py"))
"""Prefix for a command whose processes outlive it; it takes 0.04 s, so per-page commands run without it."""


@dataclass(frozen=True)
class Archive:
    """The pages of one benchmark.

    source: Folder of the original scans. pngs: The same pages, upright, as PNG, for tools that need PNG. pdf: All pages
    in one PDF, wrapped losslessly; None if no tool wraps them. n_pages: Number of pages. source_bytes: Size of the
    scans.
    """

    source: Path
    pngs: tuple[Path, ...]
    pdf: Path | None
    n_pages: int
    source_bytes: int


@dataclass(frozen=True)
class Timing:
    """Time and output of a contestant.

    wall_s: Elapsed time. core_s: Processor seconds of all its processes. start_s, start_core_s: The fixed part,
    measured with a rerun that has nothing to do; 0 if not available. output_bytes: Size of the images or PDFs written.
    stages: Seconds by stage, summed over pages.
    """

    wall_s: float
    core_s: float
    output_bytes: int
    start_s: float = 0.0
    start_core_s: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Contestant:
    """A program to measure; `run` takes the archive and an empty folder."""

    name: str
    commands: tuple[str, ...]
    run: Callable[[Archive, Path], Timing]

    def missing(self) -> list[str]:
        """Return the commands that are not installed."""
        return [command for command in self.commands if shutil.which(command) is None]


def timed(
    command: Sequence[str],
    folder: Path,
    fine: Sequence[int] = (0,),
    variables: Mapping[str, str] = _TESSERACT_ALONE,
    started: Callable[[int], None] = lambda _: None,
) -> tuple[float, float]:
    """Run a command and return its elapsed seconds and the processor seconds of all its processes.

    Args:
        command: Command line.
        folder: Working directory.
        fine: Accepted exit codes.
        variables: Added to the environment.
        started: Called with the process id.

    Raises:
        ArmFailed: If the exit code is not accepted.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT")}
    environment |= {"PYTHONPATH": str(_ROOT), "PREFECT_HOME": str(folder / "prefect"), **variables}
    begun = time.perf_counter()
    with (folder / "said.txt").open("ab") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        started(process.pid)
        _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in fine:
        raise ArmFailed(f"{command[0]} ended with {process.returncode}: {(folder / 'said.txt').read_text()[-800:]}")
    return wall_s, used.ru_utime + used.ru_stime


def _foliopress(archive: Archive, folder: Path, workers: int, *more: str) -> Timing:
    """Run the command on each copy of a scan, then rerun it with nothing to do to measure start-up."""
    dest = folder / "out"
    command = [*REAPER, sys.executable, "-m", "foliopress.flows.cli", "compress", str(archive.source), str(dest), *more]
    command += ["--workers", str(workers), "--set", "scan.duplicates=each"]
    wall_s, core_s = timed(command, folder, _FINE)
    output_bytes, stages = size_of(dest / "pages"), stages_of(dest)
    start_s, start_core_s = timed(command, folder, _FINE)
    return Timing(wall_s, core_s, output_bytes, start_s, start_core_s, stages)


def _bare(archive: Archive, folder: Path, processes: int) -> Timing:
    """Run the same step functions without Prefect and Dask, in processes configured like workers.

    Start-up is the time for an empty archive. With several processes each gets a share of the pages: the upper limit
    for workers on this machine, since processes share its memory, caches and clock.
    """
    sources = _shares(archive, folder, processes)
    outs = [folder / f"out-{number}" for number in range(processes)]
    (empty := folder / "empty").mkdir()

    def loop(source: Path, out: Path) -> tuple[float, float]:
        (work := out.with_name(f"work-{out.name}")).mkdir(exist_ok=True)
        command = [*REAPER, sys.executable, "-m", "benchmarks.bare", str(source), str(out)]
        return timed(command, work, variables=ONE_THREAD)

    with ThreadPoolExecutor(processes) as pool:
        worked = list(pool.map(loop, sources, outs))
        started = list(pool.map(loop, [empty] * processes, [out.with_name(f"no-{out.name}") for out in outs]))
    stages = [stages_of(out) for out in outs]
    return Timing(
        wall_s=max(wall_s for wall_s, _ in worked),
        core_s=sum(core_s for _, core_s in worked),
        output_bytes=sum(size_of(out / "pages") for out in outs),
        start_s=max(wall_s for wall_s, _ in started),
        start_core_s=sum(core_s for _, core_s in started),
        stages={name: round(sum(one.get(name, 0) for one in stages), 3) for name in stages[0]},
    )


def _shares(archive: Archive, folder: Path, n: int) -> list[Path]:
    """Distribute the pages of an archive over `n` folders, each with about as many copies of every scan."""
    shares = [folder / f"share-{number}" for number in range(n)]
    for number, page in enumerate(sorted(archive.source.glob("*/*"))):
        link = shares[(number + int(page.parent.name)) % n] / page.relative_to(archive.source)
        link.parent.mkdir(parents=True, exist_ok=True)
        os.link(page, link)
    return shares


def _ocrmypdf(archive: Archive, folder: Path, *more: str) -> Timing:
    """Run OCRmyPDF on all pages as one PDF, which it distributes over the cores; building the PDF is not timed."""
    if archive.pdf is None:
        raise ArmFailed("no PDF of the pages: img2pdf, which comes with OCRmyPDF, is not installed")
    out = folder / "out.pdf"
    options = ["--optimize", "3", "--jobs", str(os.cpu_count()), "--quiet", *more]
    wall_s, core_s = timed(["ocrmypdf", *options, str(archive.pdf), str(out)], folder)
    return Timing(wall_s, core_s, out.stat().st_size)


def _archive_pdf(archive: Archive, folder: Path) -> Timing:
    """Run Tesseract's hOCR and then `recode_pdf` per page, as many pages at once as there are cores."""
    masks = "jbig2" if shutil.which("jbig2") else "ccitt"

    def one(place: tuple[int, Path]) -> tuple[float, int]:
        number, png = place
        work = folder / str(number)
        work.mkdir()
        _, reading = timed(["tesseract", str(png), "page", "hocr"], work)
        command = ["recode_pdf", "--from-imagestack", str(png), "--hocr-file", "page.hocr", "-J", "openjpeg"]
        _, coding = timed([*command, "--mask-compression", masks, "-o", "page.pdf"], work)
        return reading + coding, (work / "page.pdf").stat().st_size

    begun = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = list(pool.map(one, enumerate(archive.pngs)))
    wall_s = time.perf_counter() - begun
    return Timing(wall_s, sum(seconds for seconds, _ in made), sum(size for _, size in made))


def contestants(cores: int) -> tuple[Contestant, ...]:
    """Return all contestants in report order."""
    tesseract = ("tesseract",)
    return (
        Contestant("bare loop, 1 process", tesseract, partial(_bare, processes=1)),
        Contestant(f"bare loops, {cores} processes at once", tesseract, partial(_bare, processes=cores)),
        Contestant("Foliopress, 1 worker", tesseract, partial(_foliopress, workers=1)),
        Contestant(f"Foliopress, {cores} workers", tesseract, partial(_foliopress, workers=cores)),
        Contestant(
            f"Foliopress, {cores} workers, check only measures",
            tesseract,
            lambda archive, folder: _foliopress(archive, folder, cores, "--set", "legibility.mode=measure"),
        ),
        Contestant(f"OCRmyPDF -O3 --jobs {cores}", ("ocrmypdf", "tesseract"), _ocrmypdf),
        Contestant(
            f"OCRmyPDF -O3 --jobs {cores} --output-type pdf",
            ("ocrmypdf", "tesseract"),
            lambda archive, folder: _ocrmypdf(archive, folder, "--output-type", "pdf"),
        ),
        Contestant(
            f"Tesseract and archive-pdf-tools, {cores} at once",
            ("recode_pdf", "tesseract", "opj_compress"),
            _archive_pdf,
        ),
    )


def lay_out(scans: Sequence[Path], folder: Path, n_pages: int) -> Archive:
    """Repeat single-page scans until there are `n_pages`: the originals, as PNG and as one PDF.

    Raises:
        ArmFailed: If a scan cannot be read.
    """
    source, as_png = folder / "source", folder / "png"
    as_png.mkdir(parents=True)
    once = []
    for number, scan in enumerate(scans):
        png = as_png / f"{number:03d}.png"
        pixels = read_page(scan.read_bytes(), 0, LimitSettings()).pixels
        cv2.imwrite(str(png), np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels))
        once.append((scan, png))
    pngs = []
    for number in range(n_pages):
        scan, png = once[number % len(once)]
        copy = source / f"{number // len(once):03d}" / f"{number % len(once):03d} {scan.name}"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scan, copy)
        pngs.append(png)
    pdf = _wrapped(once, n_pages, folder) if shutil.which("img2pdf") else None
    return Archive(source, tuple(pngs), pdf, n_pages, size_of(source))


def _wrapped(once: Sequence[tuple[Path, Path]], n_pages: int, folder: Path) -> Path:
    """Put all pages into one PDF: the scan itself if `img2pdf` accepts it, else its PNG."""
    taken = []
    with TemporaryDirectory() as work:
        for scan, png in once:
            tried = subprocess.run(["img2pdf", str(scan), "-o", f"{work}/page.pdf"], capture_output=True, check=False)
            taken.append(png if tried.returncode else scan)
    pdf = folder / "pages.pdf"
    names = [str(taken[number % len(taken)]) for number in range(n_pages)]
    subprocess.run(["img2pdf", *names, "-o", str(pdf)], capture_output=True, check=True)
    return pdf


def size_of(folder: Path) -> int:
    """Return the total size of all files below a folder."""
    return sum(path.stat().st_size for path in folder.glob("**/*") if path.is_file())


def stages_of(dest: Path) -> dict[str, float]:
    """Return seconds by stage from the rows of a DEST, summed over its pages."""
    table = pq.ParquetDataset(dest / "stats" / "pages").read()
    names = [name for name in table.column_names if name.startswith("seconds_")]
    sums = {name.removeprefix("seconds_"): sum(filter(None, table.column(name).to_pylist())) for name in names}
    return {name: round(seconds, 3) for name, seconds in sums.items()}
