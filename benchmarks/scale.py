"""Measure planning and bookkeeping for a million documents, with the page steps replaced by recorded rows.

python -m benchmarks.scale RECORD --out FOLDER
"""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.arms import ArmFailed
from benchmarks.listing import Listing, listing_server
from benchmarks.published import publish
from benchmarks.recorded import ON_WORKERS
from benchmarks.scale_report import as_markdown, write_plot
from benchmarks.scoring import machine

logger = logging.getLogger(__name__)

ARRIVALS = 1000
THROUGH_DASK = 5000
"""Documents that go through Dask, which is about twenty times as slow."""

_ROOT = Path(__file__).resolve().parents[1]
_EVERY_S = 0.5
_FINE = (0, 3)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Phase:
    """One call of the command.

    wall_s, core_s: Time of the call, all processes together. peak_bytes: Peak resident memory of the driver; api_bytes:
    of its Prefect API. database_bytes: Peak size of the API's database. curve: (pages done, driver's resident bytes,
    processor seconds of the driver alone), over time. files, stats_bytes: Files and bytes in DEST/stats afterwards.
    """

    name: str
    documents: int
    wall_s: float = 0.0
    core_s: float = 0.0
    peak_bytes: int = 0
    api_bytes: int = 0
    database_bytes: int = 0
    files: int = 0
    stats_bytes: int = 0
    said: str = ""
    curve: list[tuple[int, int, float]] = field(default_factory=list)


@app.command()
def main(
    record: Annotated[Path, typer.Argument(help="A finished DEST whose rows replace the page steps.")],
    out: Annotated[Path, typer.Option(help="Folder for JSON, table and plot.", metavar="FOLDER")],
    documents: Annotated[list[int] | None, typer.Option(help="Archive sizes (default: 100,000 and 1,000,000).")] = None,
    throughput: Annotated[
        Path | None, typer.Option(help="Results of benchmarks.throughput, to extrapolate to far more documents.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE")] = None,
) -> None:
    """Run the command over archives of different sizes: first run, rerun, with new documents, after a kill."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    phases: list[Phase] = []
    about = machine()
    with tempfile.TemporaryDirectory(prefix="foliopress-scale-") as work, listing_server(THROUGH_DASK) as listing:
        through_dask = Phase("through Dask", THROUGH_DASK)
        call(through_dask, record.resolve(), Path(work), listing, overrides or (), more=[ON_WORKERS])
    for n_documents in documents or [100_000, 1_000_000]:
        with tempfile.TemporaryDirectory(prefix="foliopress-scale-") as work, listing_server(n_documents) as listing:
            phases += run_phases(record.resolve(), Path(work), listing, overrides or ())
        figures: dict[str, Any] = {"machine": about, "through_dask": asdict(through_dask)}
        figures["phases"] = [asdict(phase) for phase in phases]
        if throughput:
            figures["throughput"] = json.loads(throughput.read_text())
        logger.info("%s", publish(out, "scale", figures, as_markdown, write_plot))


def run_phases(record: Path, folder: Path, listing: Listing, overrides: Sequence[str]) -> list[Phase]:
    """Run the command to half of the archive and kill it, then to the end, then rerun it, then with new documents.

    Raises:
        ArmFailed: If a call fails.
    """
    n_documents = listing.n_documents
    killed = call(Phase("killed at half", n_documents), record, folder, listing, overrides, kill_at=n_documents // 2)
    resumed = call(Phase("the rest", n_documents), record, folder, listing, overrides)
    again = call(Phase("again", n_documents), record, folder, listing, overrides)
    listing.n_documents += ARRIVALS
    arrived = call(Phase(f"{ARRIVALS} new", n_documents), record, folder, listing, overrides)
    return [killed, resumed, again, arrived]


def call(
    phase: Phase,
    record: Path,
    folder: Path,
    listing: Listing,
    overrides: Sequence[str],
    kill_at: int | None = None,
    more: Sequence[str] = (),
) -> Phase:
    """Run the command once, sampling its memory, and return the phase with its measurements."""
    dest = folder / "out"
    command = [sys.executable, "-m", "benchmarks.recorded", str(record), *more, "compress", "s3://scans", str(dest)]
    command += ["--workers", "1", "--log-file", str(folder / "log.txt")]
    command += [part for override in overrides for part in ("--set", override)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AWS"))}
    environment |= {"PYTHONPATH": str(_ROOT), "TMPDIR": str(folder), "PREFECT_HOME": str(folder / "no-prefect")}
    environment |= {"AWS_ENDPOINT_URL": listing.endpoint_url, "AWS_DEFAULT_REGION": "us-east-1"}
    environment |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    log_file = folder / "log.txt"
    begun = time.perf_counter()
    with log_file.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(phase, process.pid, folder, log_file, kill_at, ended), daemon=True)
    watcher.start()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    phase.wall_s = round(time.perf_counter() - begun, 2)
    ended.set()
    watcher.join()
    if process.returncode not in (*_FINE, *([-signal.SIGKILL] if kill_at else [])):
        raise ArmFailed(f"the command ended with {process.returncode}: {log_file.read_text()[-1000:]}")
    phase.core_s = round(used.ru_utime + used.ru_stime, 2)
    files = [path.stat().st_size for path in (dest / "stats").glob("*/*.parquet")]
    phase.files, phase.stats_bytes = len(files), sum(files)
    phase.said = next((line for line in log_file.read_text().splitlines() if line.startswith("this run:")), "")
    logger.info(
        "%d documents, %s: %.0f s, driver %.0f MB, %d files",
        *(phase.documents, phase.name, phase.wall_s, phase.peak_bytes / 1e6, phase.files),
    )
    return phase


def _watch(
    phase: Phase, process_id: int, folder: Path, log_file: Path, kill_at: int | None, ended: threading.Event
) -> None:
    """Sample the memory of the driver and of its Prefect API until it ends; kill it after `kill_at` pages."""
    while not ended.wait(_EVERY_S):
        with suppress(psutil.Error, OSError):
            driver = psutil.Process(process_id)
            resident = driver.memory_info().rss
            phase.peak_bytes = max(phase.peak_bytes, resident)
            pages = logged_pages(log_file)
            if not phase.curve or pages > phase.curve[-1][0]:
                used = driver.cpu_times()
                phase.curve.append((pages, resident, round(used.user + used.system, 2)))
            if kill_at is not None and pages >= kill_at:
                driver.kill()
            for child in driver.children():
                if any("flows.prefect_api" in word for word in child.cmdline()):
                    phase.api_bytes = max(phase.api_bytes, child.memory_info().rss)
            for database in folder.glob("foliopress-prefect-*/prefect.db*"):
                phase.database_bytes = max(phase.database_bytes, database.stat().st_size)


def logged_pages(log_file: Path) -> int:
    """Return the number of pages done according to a command's last line; 0 before its first."""
    found = re.findall(r"(\d+) pages, ", log_file.read_text(errors="replace")[-400:])
    return int(found[-1]) if found else 0


if __name__ == "__main__":
    app()
