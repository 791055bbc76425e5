"""Measure response times of the app: first view, first result, a changed setting, a run of a million pages.

python -m benchmarks.window DATA --out FOLDER [--run DEST]
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import numpy as np
import pyarrow as pa
import typer

from benchmarks.arms import ArmFailed
from benchmarks.published import publish
from benchmarks.scoring import machine
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.schemas import PAGES_SCHEMA
from foliopress.tasks.records.statistics import live_table
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.storage.store import Store

logger = logging.getLogger(__name__)

ROWS = 1_000_000
SCAN = "tapuscorpus/images/2020601_https___1914_1918_europeana_eu_contributions_21574.pdf_page_9.png"
"""A typewritten A4 page at 300 dpi, in colour."""
TARGETS_S: dict[str, float | None] = {
    "first view": 3.0,
    "first result": 6.0,
    "a setting that does not touch OCR: its picture": 1.5,
    "the same: its verdict and figures": None,
}
"""Target seconds; the picture is that of the first encoding, which is mostly the final one."""
RUN_TARGETS_S = {"opens, from a folder": 3.0, "is filtered": 1.0, "opens, from S3": 3.0, "is filtered, from S3": 1.0}
"""Target seconds for each displayed run."""

_ROOT = Path(__file__).resolve().parents[1]
_ROWS_A_FILE = 200_000
_LONG_MS = 120_000
_QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Folder of scans with a manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for JSON and table.", metavar="FOLDER")],
    rows: Annotated[int, typer.Option(min=1, help="Pages of the synthetic run.")] = ROWS,
    run: Annotated[
        Path | None, typer.Option(help="Also measure with this finished run on a disk.", metavar="DEST")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; medians are reported.")] = 5,
) -> None:
    """Measure response times in a real browser with the real server."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    about = machine()
    with tempfile.TemporaryDirectory(prefix="foliopress-window-") as work:
        made_up = Path(work) / "run"
        write_run(made_up, rows)
        looked_through = [_Run(f"a made-up run of {rows:,} pages", made_up, "box 00{:03d}")]
        if run is not None:
            pages = live_table(Store(str(run), StorageSettings()), ["document_key"]).num_rows
            looked_through.append(_Run(f"a real run of {pages:,} pages", run, "{:02d}"))
        with _servers(Path(work)) as url:
            for number, one in enumerate(looked_through):
                one.places.append(_uploaded(one.folder, f"run-{number}"))
            waits = _waits(url, folder / SCAN, looked_through, rounds)
    figures = {
        "machine": about,
        "rows": rows,
        "rounds": rounds,
        "scan": SCAN,
        "seconds": {name: round(median(found), 3) for name, found in waits.items()},
        "asked": TARGETS_S | {name: asked for one in looked_through for name, asked in one.asked.items()},
        "all": waits,
    }
    logger.info("%s", publish(out, "window", figures, as_markdown, lambda *_: None))


def as_markdown(figures: Mapping[str, Any], plot: str | None) -> str:  # noqa: ARG001
    """Return the Markdown page."""
    about = figures["machine"]
    lines = [
        "# The window",
        "",
        f"Response times in seconds, medians of {figures['rounds']}; {about['processor']}, {about['cores']} cores,",
        f"shared by browser and server. The scan is {figures['scan']}; runs are opened for the",
        "first time; the synthetic run has statistics files like a real run; S3 is a server on the same",
        "machine (moto). Written by",
        "",
        "    python -m benchmarks.window DATA --out docs/benchmarks --run DEST",
        "",
        "| | seconds | asked |",
        "| --- | --- | --- |",
    ]
    asked = figures["asked"]
    lines += [f"| {name} | {seconds:.2f} | {asked[name] or '–'} |" for name, seconds in figures["seconds"].items()]
    return "\n".join(lines) + "\n"


@dataclass
class _Run:
    """A finished run in each of its locations; `filtered` turns a number into part of a name."""

    name: str
    folder: Path
    filtered: str
    places: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.places = [str(self.folder)]

    @property
    def asked(self) -> dict[str, float]:
        return {f"{self.name} {wait}": asked for wait, asked in RUN_TARGETS_S.items()}


def write_run(dest: Path, n_rows: int) -> None:
    """Write statistics of `n_rows` synthetic pages, in files like those at the end of a run."""
    chance = np.random.default_rng(0)
    for first in range(0, n_rows, _ROWS_A_FILE):
        name = f"{first:016x}"
        path = dest / file_key("pages", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        table = _made_up(first, min(_ROWS_A_FILE, n_rows - first), chance)
        keys = table["document_key"]
        entry = ShardEntry(name, "r1", keys[0].as_py(), keys[-1].as_py(), table.num_rows)
        path.write_bytes(table_bytes(table, PAGES_SCHEMA, Footer(name, (entry,)).as_metadata()))


def _made_up(first: int, count: int, chance: np.random.Generator) -> pa.Table:
    numbers = range(first, first + count)
    keys = [f"collection-{number // 20_000:02d}/box {number // 500:05d}/scan {number:07d}.jpg" for number in numbers]
    kept = chance.random(count) < 0.03
    source = chance.integers(100_000, 2_000_000, count)
    known: dict[str, Any] = {
        "run_id": ["r1"] * count,
        "shard_id": [f"{number // 200:016x}" for number in numbers],
        "document_key": keys,
        "page_index": np.zeros(count, np.int32),
        "status": np.where(kept, "kept", "compressed").tolist(),
        "reason": ["no_gain" if one else None for one in kept],
        "duplicate_of": [None] * count,
        "page_kind": chance.choice(["grey", "colour", "bitonal"], count).tolist(),
        "codec": [None if one else "avif" for one in kept],
        "output_key": [f"pages/{key}" + ("" if one else ".avif") for key, one in zip(keys, kept, strict=True)],
        "source_bytes": source,
        "output_bytes": np.where(kept, source, source // chance.integers(4, 20, count)),
        "source_sha256": [f"{number:064x}" for number in numbers],
        "output_sha256": [f"{number:064x}" for number in numbers],
    }
    columns = []
    for column in PAGES_SCHEMA:
        if column.name in known:
            values = known[column.name]
        elif pa.types.is_string(column.type):
            values = ["made up"] * count
        elif pa.types.is_floating(column.type):
            values = 1 - chance.random(count) ** 3 / 2
        else:
            values = chance.integers(1, 100, count)
        columns.append(pa.array(values, column.type))
    return pa.table(columns, schema=PAGES_SCHEMA)


@contextmanager
def _servers(folder: Path) -> Iterator[str]:
    """Run the app and an S3 server, and yield the app's URL; this process then uses the S3 server too."""
    window, s3 = _free_port(), _free_port()
    os.environ |= {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
    os.environ |= {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}", "AWS_DEFAULT_REGION": "us-east-1"}
    environment = {**os.environ, "PYTHONPATH": str(_ROOT), "OMP_THREAD_LIMIT": "1"}
    commands = {
        window: ["foliopress.flows.cli", "app", "--port", str(window), "--no-browser"],
        s3: ["moto.server", "-H", "127.0.0.1", "-p", str(s3)],
    }
    started = []
    try:
        for port, command in commands.items():
            with (folder / f"said-{port}.txt").open("wb") as said:
                started.append(
                    subprocess.Popen([sys.executable, "-m", *command], env=environment, stdout=said, stderr=said)
                )
            _wait_for(port)
        yield f"http://127.0.0.1:{window}"
    finally:
        for process in started:
            process.terminate()
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int) -> None:
    for _ in range(240):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
            return
        time.sleep(0.25)
    raise ArmFailed(f"no server on port {port}")


def _uploaded(run: Path, bucket: str) -> str:
    httpx.put(f"{os.environ['AWS_ENDPOINT_URL']}/{bucket}").raise_for_status()  # creates the bucket
    store = Store(f"s3://{bucket}/run", StorageSettings())
    for path in sorted(path for path in run.rglob("*") if path.is_file()):
        store.write_bytes(path.relative_to(run).as_posix(), path.read_bytes())
    return store.url


def _waits(url: str, scan: Path, runs: Sequence[_Run], rounds: int) -> dict[str, list[float]]:
    from playwright.sync_api import sync_playwright

    names = [*TARGETS_S, *(name for run in runs for name in run.asked)]
    waits: dict[str, list[float]] = {name: [] for name in names}
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=chromium, args=_QUIET)
        for number in range(rounds + 1):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.set_default_timeout(_LONG_MS)
            found = dict(zip(names, _one_round(page, url, scan, runs, number), strict=True))
            page.close()
            logger.info("round %d: %s", number, {name: round(seconds, 2) for name, seconds in found.items()})
            for name, seconds in found.items():
                is_opening = " opens, from " in name  # later rounds find it in memory: only the first counts
                if is_opening == (number == 0) or name == "first view":
                    waits[name].append(round(seconds, 3))
        browser.close()
    return waits


def _one_round(page: Any, url: str, scan: Path, runs: Sequence[_Run], number: int) -> Iterator[float]:
    yield _timed(lambda: page.goto(url), page.get_by_role("heading", name="Try a scan").wait_for)
    data = {"name": f"{number}.png", "mimeType": "image/png", "buffer": scan.read_bytes() + bytes(number + 1)}
    upload = page.locator("input[type=file]")
    yield _timed(lambda: upload.set_input_files([data]), page.locator(".stage").wait_for, lambda: _shown(page, None))
    page.get_by_text("Time: read").wait_for()
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    before = page.locator(".stage").get_attribute("data-output")
    page.get_by_role("slider", name="Importance threshold").press("ArrowRight")
    begun = time.perf_counter()
    _shown(page, before)
    yield time.perf_counter() - begun
    page.wait_for_function(_IS_JUDGED)
    yield time.perf_counter() - begun
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    for run in runs:
        for place in run.places:
            opened = page.get_by_text("Pages by what became of them")
            page.goto(f"{url}/run?dest={place}")
            button = page.get_by_role("button", name="Open it")
            button.wait_for()
            yield _timed(button.click, opened.wait_for)
            page.get_by_role("tab", name="All pages").click()
            found = page.get_by_text(re.compile(r"^[\d,]+ pages found"))
            found.wait_for()
            before = found.inner_text()
            page.get_by_label("Name contains").fill(run.filtered.format(number + 1))
            yield _timed(
                lambda: page.get_by_label("Name contains").press("Enter"),
                partial(page.wait_for_function, _IS_FILTERED, arg=before),
            )


def _timed(*calls: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for call in calls:
        call()
    return time.perf_counter() - begun


def _shown(page: Any, before: str | None) -> None:
    """Wait until source and output are drawn, and the output differs from `before`."""
    page.wait_for_function(_IS_SHOWN, arg=before)


_IS_SHOWN = (
    "before => { for (const host of document.querySelectorAll('*')) {"
    " const stage = host.shadowRoot && host.shadowRoot.querySelector('.stage');"
    " if (stage && stage.dataset.output !== before && +stage.dataset.loaded >= 2) return true; } return false; }"
)
_IS_FILTERED = (
    "before => { const captions = [...document.querySelectorAll('[data-testid=stCaptionContainer]')]"
    ".map(one => one.textContent.trim()).filter(text => /^[\\d,]+ pages found/.test(text));"
    " return captions.length === 1 && captions[0] !== before.trim(); }"
)
_IS_JUDGED = (
    "() => [...document.querySelectorAll('[data-testid=stMetric]')].some("
    "one => one.textContent.includes('Text SSIM') && !one.textContent.includes('…'))"
)


if __name__ == "__main__":
    app()
