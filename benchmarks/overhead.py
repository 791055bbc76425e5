"""Measure the processor time of Prefect and Dask during a run, by process and thread.

python -m benchmarks.overhead DATA --out FOLDER

Two runs on the same machine differ by several per cent, as much as the effect. Within one run it can be separated.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.contestants import Archive, lay_out, timed
from benchmarks.marked import scans_of_command
from benchmarks.published import publish
from benchmarks.scale import logged_pages
from benchmarks.scoring import machine

STEPS = "steps on pages"
"""Tesseract, and in each worker the busiest thread, which processes the pages."""
LOOPS = "workers' other threads"
DRIVER = "driver"
API = "Prefect API"

_EVERY_S = 2.0
_STARTED = 0.05
"""Share of the pages after which all workers are busy."""

logger = logging.getLogger(__name__)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Sample = tuple[int, float, Mapping[str, float]]
"""Pages done, elapsed seconds, and processor seconds by consumer; all since the start."""


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Scans with ground truth: a folder with manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for JSON and table.", metavar="FOLDER")],
    split: Annotated[str, typer.Option(help="Split of the manifest.")] = "test",
    pages: Annotated[int, typer.Option(min=20, help="Pages per run; the scans are repeated.")] = 72,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the worker counts take turns.")] = 3,
    workers: Annotated[list[int] | None, typer.Option(help="Worker counts (default: 1 and 2).")] = None,
) -> None:
    """Run the command over the scans, in turns, sampling its processes; write JSON and a table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scans = scans_of_command(folder, split)
    runs: dict[int, list[dict[str, Any]]] = {n_workers: [] for n_workers in workers or [1, 2]}
    with tempfile.TemporaryDirectory(prefix="foliopress-overhead-") as work:
        archive = lay_out(scans, Path(work), pages)
        for turn in range(rounds):
            for n_workers, found in runs.items():
                samples = watched_run(archive, Path(work) / f"{turn}-{n_workers}", n_workers)
                found.append(while_working(samples, pages))
                logger.info("round %d, %d worker(s): %s", turn + 1, n_workers, found[-1])
    figures = {"machine": machine(), "scans": len(scans), "pages": pages, "rounds": rounds, "runs": runs}
    logger.info("%s", publish(out, "overhead", figures, as_markdown, lambda *_: None))


def watched_run(archive: Archive, folder: Path, n_workers: int) -> list[Sample]:
    """Run the command over an archive, and return samples of its processes' time, every two seconds.

    Raises:
        ArmFailed: If the run fails.
    """
    folder.mkdir()
    command = [sys.executable, "-m", "foliopress.flows.cli", "compress", str(archive.source), str(folder / "out")]
    command += ["--workers", str(n_workers), "--set", "scan.duplicates=each"]
    samples: list[Sample] = []
    ended = threading.Event()

    def watch(process_id: int) -> None:
        begun = time.perf_counter()
        while not ended.wait(_EVERY_S):
            with suppress(psutil.Error, OSError):
                taken = taken_by(psutil.Process(process_id))
                samples.append((logged_pages(folder / "said.txt"), time.perf_counter() - begun, taken))

    watchers: list[threading.Thread] = []

    def started(process_id: int) -> None:
        watchers.append(threading.Thread(target=watch, args=(process_id,), daemon=True))
        watchers[0].start()

    try:
        timed(command, folder, fine=(0, 3), started=started)
    finally:
        ended.set()
        for watcher in watchers:
            watcher.join()
    return samples


def taken_by(driver: psutil.Process) -> dict[str, float]:
    """Return the processor seconds of a driver and its child processes, by consumer."""
    taken: Counter[str] = Counter()
    for process in (driver, *driver.children(recursive=True)):
        with suppress(psutil.Error):
            words = " ".join(process.cmdline())
            threads = sorted((one.user_time + one.system_time for one in process.threads()), reverse=True)
            if process == driver or "resource_tracker" in words:
                taken[DRIVER] += sum(threads)
            elif "flows.prefect_api" in words:
                taken[API] += sum(threads)
            elif "tesseract" in words:
                taken[STEPS] += sum(threads)
            else:
                taken[STEPS] += threads[0]
                taken[LOOPS] += sum(threads[1:])
    return {name: round(seconds, 2) for name, seconds in taken.items()}


def while_working(samples: Sequence[Sample], n_pages: int) -> dict[str, Any]:
    """Return the time used between all workers becoming busy and the first running out of work.

    Raises:
        ValueError: If the samples do not cover such a period.
    """
    working = [sample for sample in samples if _STARTED * n_pages <= sample[0] < (1 - _STARTED) * n_pages]
    if len(working) < 2:
        raise ValueError("the run was too short to measure")
    (first, begun_s, before), (last, ended_s, after) = working[0], working[-1]
    taken = {name: round(seconds - before.get(name, 0.0), 2) for name, seconds in after.items()}
    return {"pages": last - first, "wall_s": round(ended_s - begun_s, 2), "core_s": taken}


def as_markdown(figures: Mapping[str, Any], _plot: str | None = None) -> str:
    """Return the page: each consumer's share of a core, and relative to the pages' own time."""
    about = figures["machine"]
    lines = [
        "# Overhead of Prefect and Dask",
        "",
        f"Processor seconds of a run of {figures['pages']} pages ({figures['scans']} scans, repeated), "
        f"excluding start and end, summed over {figures['rounds']} alternating runs. {about['processor']}, "
        f"{about['cores']} cores. Written by",
        "",
        "    python -m benchmarks.overhead DATA --out docs/benchmarks",
        "",
        "*Steps on pages* are Tesseract and the busiest thread of each worker; all its other threads count as Dask.",
        "",
        f"| workers | pages | pages/min | {STEPS} | {LOOPS} | {DRIVER} | {API} | Prefect and Dask, of the steps |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for n_workers, runs in figures["runs"].items():
        pages = sum(run["pages"] for run in runs)
        taken = [sum(run["core_s"].get(name, 0.0) for run in runs) for name in (STEPS, LOOPS, DRIVER, API)]
        share = sum(taken[1:]) / taken[0]
        cells = " | ".join(f"{seconds:.1f}" for seconds in taken)
        rate = 60 * pages / sum(run["wall_s"] for run in runs)
        lines.append(f"| {n_workers} | {pages} | {rate:.1f} | {cells} | {100 * share:.1f} % |")
    return "\n".join([*lines, "", *_gains(figures["runs"])]) + "\n"


def _gains(found: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return the speed-up of more workers, round by round."""
    rates = {number: [run["pages"] / run["wall_s"] for run in runs] for number, runs in found.items()}
    fewest, *more = sorted(rates)
    return [
        f"{number} workers are {', '.join(f'{fast / slow:.2f}' for fast, slow in pairs)} × {fewest}, round by round."
        for number in more
        if (pairs := list(zip(rates[number], rates[fewest], strict=True)))
    ]


if __name__ == "__main__":
    app()
