"""Compare size and legibility of Foliopress, uniform quality and other tools; the README explains the measures.

python -m benchmarks.quality DATA --out FOLDER
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.arms import Arm, ArmFailed, SourceArm
from benchmarks.curves import Measured
from benchmarks.judgement import judge_arm
from benchmarks.marked import find_marked
from benchmarks.other_tools import TOOLS, ToolArm
from benchmarks.product import PageArm, Setting, page_arms, run_product, settings_of
from benchmarks.quality_plots import write_plots
from benchmarks.quality_report import against_lines, as_markdown, figures_of
from benchmarks.rows import RowFile
from benchmarks.scoring import machine
from benchmarks.strips import write_strips
from benchmarks.uniform import CODECS, uniform_arms
from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import OcrSettings
from foliopress.model.truth import Scan
from foliopress.tasks.ocr import recognition

logger = logging.getLogger(__name__)

ROWS_FILE, FIGURES_FILE, TABLE_FILE = "rows.jsonl", "quality.json", "quality.md"

_PACKAGES = ("foliopress", "pillow", "opencv-python-headless")

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass
class Comparison:
    """The scans to compare, and the arms with results for them.

    `runs` holds the output of each run of Foliopress, by the scan's key; `everywhere` the arms that process every scan.
    """

    scans: Sequence[Scan]
    runs: list[Mapping[str, PageArm]] = field(default_factory=list)
    everywhere: list[Arm] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)

    def jobs(self) -> Iterator[tuple[Scan, Arm]]:
        """Yield every arm for every scan, scan by scan."""
        for scan in self.scans:
            yield from ((scan, arm) for arm in self.everywhere)
            yield from ((scan, run[scan.key]) for run in self.runs if scan.key in run)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Scans with ground truth: a folder with or without manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for rows, outputs, tables and pictures.", metavar="FOLDER")],
    split: Annotated[str, typer.Option(help="Split of the manifest.")] = "test",
    profile: Annotated[list[str] | None, typer.Option(help="Profile of Foliopress (default: access).")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Setting for every run of Foliopress.", metavar="KEY=VALUE")
    ] = None,
    sweep: Annotated[
        str | None, typer.Option(help="Further runs, e.g. encode.quality=30,40,53.", metavar="KEY=V,V,…")
    ] = None,
    run: Annotated[
        list[str] | None, typer.Option(help="Also judge a finished run of these scans.", metavar="NAME=FOLDER")
    ] = None,
    codec: Annotated[list[str] | None, typer.Option(help="Uniform codec: avif, webp, jpeg (default: all).")] = None,
    foliopress: Annotated[bool, typer.Option(help="Run Foliopress.")] = True,
    others: Annotated[bool, typer.Option(help="Run other tools if installed.")] = True,
    words: Annotated[bool, typer.Option(help="Count words; OCR takes most of the time.")] = True,
    again: Annotated[bool, typer.Option("--again", help="Run Foliopress again, e.g. after a code change.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Number of scans, spread over the folder; 0: all.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    publish: Annotated[
        Path | None, typer.Option(help="Also write tables and pictures, without rows, there.", metavar="FOLDER")
    ] = None,
) -> None:
    """Measure bytes against legibility for each scan; write rows, tables, plots and picture strips."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        settings = settings_of(profile or ["access"], overrides or (), sweep) if foliopress else []
        finished = dict(_name_and_folder(text) for text in run or ())
        if unknown := sorted({*(codec or ())} - {*CODECS}):
            raise ValueError(f"unknown codec {', '.join(unknown)}; available: {', '.join(CODECS)}")
        if words:
            recognition.check_tesseract(OcrSettings())  # fail now, not after minutes
        scans = some_of(find_marked(folder, split), limit)
        comparison = Comparison(scans, everywhere=[SourceArm(words), *uniform_arms(codec or CODECS, words)])
        table = RowFile(out / ROWS_FILE)
        add_runs(comparison, folder, settings, finished, out / "runs", jobs, words=words, again=again)
    except (ConfigError, ValueError, ArmFailed) as error:
        raise typer.BadParameter(str(error)) from error
    if others:
        add_tools(comparison, table, out / "outputs", words=words)
    measure(comparison, table, jobs)
    rows = [table.row(scan.key, arm) for scan, arm in comparison.jobs()]
    for place in (out, publish) if publish else (out,):
        write_report(place, comparison, rows, folder, split, with_rows=place == out)


def add_runs(
    comparison: Comparison,
    folder: Path,
    settings: Sequence[Setting],
    finished: Mapping[str, Path],
    runs: Path,
    jobs: int,
    *,
    words: bool,
    again: bool,
) -> None:
    """Run Foliopress with each configuration, and add these runs and the finished ones.

    Raises:
        ArmFailed: If a run fails, or a finished one contains none of the scans.
    """
    places = []
    for setting in settings:
        logger.info("%s", setting.name)
        dest = run_product(folder, comparison.scans, setting, runs, jobs, again=again)
        places.append((setting.name, setting.family, dest))
    for name, family, dest in (*places, *((name, name, dest) for name, dest in finished.items())):
        found = page_arms(dest, comparison.scans, name, family, reads_words=words)
        if not found:
            raise ArmFailed(f"{dest} contains none of the scans")
        comparison.runs.append(found)


def add_tools(comparison: Comparison, table: RowFile, outputs: Path, *, words: bool) -> None:
    """Add the other tools that are installed, or whose rows are complete."""
    for tool in TOOLS.values():
        arm = ToolArm(tool.name, outputs / tool.name, words)
        is_done = all(table.has(scan.key, arm) for scan in comparison.scans)
        missing = tool.missing()
        if is_done or not missing:
            comparison.everywhere.append(arm)
        else:
            comparison.not_measured.append(f"{tool.name}: {', '.join(missing)} not installed")


def measure(comparison: Comparison, table: RowFile, jobs: int) -> None:
    """Measure what has no row yet, several pages in parallel, and store each row at once."""
    open_jobs = [(scan, arm) for scan, arm in comparison.jobs() if not table.has(scan.key, arm)]
    for number, row in enumerate(_judged(open_jobs, jobs), start=1):
        table.add(row)
        result = f"SSIM {row['text_ssim'] or 1:.3f}" if "error" not in row else row["error"]
        logger.info("%d of %d: %s, %s: %s", number, len(open_jobs), row["key"], row["arm"], result)


def write_report(
    folder: Path, comparison: Comparison, rows: Sequence[Mapping[str, Any]], data: Path, split: str, *, with_rows: bool
) -> None:
    """Write JSON, table, plots and strips into a folder."""
    measured = Measured(rows)
    figures = figures_of(measured)
    plots = write_plots(folder, measured)
    strips = []
    if comparison.runs:
        shown = comparison.runs[0]
        name = next(iter(shown.values())).name
        strips = write_strips(folder, measured.of_arm(name), comparison.scans, shown)
    about = machine() | {"versions": versions()}
    where = f"the split `{split}`" if (data / "manifest.csv").is_file() else f"`{data.name}`"
    line = f"{len(comparison.scans)} scans with ground truth of {where}; {about['processor']}; " + ", ".join(
        f"{name} {version}" for name, version in about["versions"].items()
    )
    values = {"machine": about, "not_measured": comparison.not_measured, **figures}
    if with_rows:
        values["rows"] = list(rows)
    (folder / FIGURES_FILE).write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    text = as_markdown(figures, line, comparison.not_measured, plots, strips)
    (folder / TABLE_FILE).write_text(text, encoding="utf-8")
    for tool, found in figures["against_tools"].items():
        for sentence in against_lines(tool, found):
            logger.info("%s", sentence)
    logger.info("%s", folder / TABLE_FILE)


def versions() -> dict[str, str]:
    """Return the versions that the results depend on, including installed other tools."""
    found = {name: metadata.version(name) for name in _PACKAGES}
    if shutil.which("tesseract"):
        found["tesseract"] = recognition.check_tesseract(OcrSettings())
    return found | {tool.name: tool.version() for tool in TOOLS.values() if not tool.missing()}


def some_of(scans: Sequence[Scan], limit: int) -> Sequence[Scan]:
    """Return at most `limit` scans spread over a sequence; all of them with 0."""
    return scans if not limit else scans[:: max(1, len(scans) // limit)][:limit]


def _judged(jobs: Sequence[tuple[Scan, Arm]], processes: int) -> Iterator[dict[str, Any]]:
    if processes == 1:
        yield from (judge_arm(scan, arm) for scan, arm in jobs)
        return
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for done in as_completed([pool.submit(judge_arm, scan, arm) for scan, arm in jobs]):
            yield done.result()


def _name_and_folder(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or not name or not Path(folder).is_dir():
        raise ValueError(f"--run {text}: expected NAME=FOLDER, an output folder of foliopress compress")
    return name, Path(folder)


if __name__ == "__main__":
    app()
