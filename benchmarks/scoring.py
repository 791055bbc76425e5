"""Measure the scoring speed of each engine that this machine supports; the README explains the results."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.comparison import measure_engines, model_folders, rows_of
from benchmarks.drawn import drawn_planes
from benchmarks.engines import ENGINES
from benchmarks.planes import Plane
from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ImportanceSettings
from foliopress.model.scoring import GPU_BATCH, KERAS_FILE, LITERT_FILE, SHIPPED
from foliopress.model.truth import data_folder
from foliopress.tasks.analysis.tiles import PATCH_TILES, count_patches

MEASURED_SEED, SAMPLES_SEED = 1, 1001
SAMPLE_PAGES = 7
"""Pages used to calibrate the integer export: one of each drawn kind."""

_PACKAGES = ("numpy", "ai-edge-litert", "tensorflow", "keras", "torch", "jax")
_WIDTH = 160  # fits the widest table with its largest numbers on any terminal

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    model: Annotated[Path, typer.Option(help="Folder of a trained model.", metavar="FOLDER")] = SHIPPED,
    out: Annotated[Path | None, typer.Option(help="Output file for all results, as JSON.", metavar="FILE")] = None,
    pages: Annotated[int, typer.Option(min=1, help="A4 pages per process.")] = 4,
    repeats: Annotated[int, typer.Option(min=1, help="Processes per engine.")] = 5,
    recall: Annotated[
        bool, typer.Option("--recall", help="Also score the scans of the test split with every LiteRT file.")
    ] = False,
    cache: Annotated[Path, typer.Option(help="Folder of OCR words, for --recall.", metavar="FOLDER")] = Path(".cache"),
    engine: Annotated[
        list[str] | None, typer.Option(help="Engine to measure; may be repeated. Default: all.", metavar="NAME")
    ] = None,
    most_difference: Annotated[
        float | None,
        typer.Option(help="Exit with 1 if an engine's score differs by more, or an engine is not measured.", min=0),
    ] = None,
) -> None:
    """Score drawn A4 pages with every engine that this machine supports, and print speed, cost and agreement."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    absent = [name for name in (LITERT_FILE, KERAS_FILE) if not (model / name).is_file()]
    engines = tuple(engine or ENGINES)
    if unknown := sorted(set(engines) - set(ENGINES)):
        message = f"no engine {', '.join(unknown)}; there are {', '.join(ENGINES)}"
        raise typer.BadParameter(message, param_hint="--engine")
    if absent:
        raise typer.BadParameter(f"{model} holds no {' and no '.join(absent)}", param_hint="--model")
    try:
        if recall:
            data_folder()  # fail now, not after minutes
        planes, samples = drawn_planes(pages, MEASURED_SEED), drawn_planes(SAMPLE_PAGES, SAMPLES_SEED)
        report = measure(model, planes, samples, repeats, cache if recall else None, engines)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    show(report, Console(width=_WIDTH))
    problems = [] if most_difference is None else disagreements(report, engines, most_difference)
    for problem in problems:
        typer.echo(problem, err=True)
    if report["failed"] or problems:
        raise typer.Exit(1)


def disagreements(report: Mapping[str, Any], engines: Sequence[str], most: float) -> list[str]:
    """Return a line for each engine whose scores differ by more from the reference's, or that has none.

    Args:
        report: From `measure`.
        engines: Names of the engines that were asked for.
        most: Largest difference of a tile's score that is allowed.
    """
    rows = {row["engine"]: row for row in report["engines"]}
    lines = [f"{name} was not measured" for name in engines if name not in rows]
    for name, row in rows.items():
        difference = row.get("largest_difference", 0.0)
        if difference > most:
            lines.append(f"{name} differs from {row['reference']} by {difference:.1e}; {most:g} is allowed")
    return lines


def measure(
    model: Path,
    planes: Sequence[Plane],
    samples: Sequence[Plane],
    repeats: int,
    recall_cache: Path | None = None,
    engines: Sequence[str] = tuple(ENGINES),
) -> dict[str, Any]:
    """Return all results, as written by `--out`.

    Args:
        model: Folder with `model.tflite` and `model.keras`.
        planes: The pages to score.
        samples: Other pages, to calibrate the integer export.
        repeats: Processes per engine.
        recall_cache: Folder of cached OCR words; without it no scans are scored.
        engines: Names of the engines to measure.

    Raises:
        ConfigError: If there are no scans for the recall.
    """
    threshold = ImportanceSettings().threshold
    report: dict[str, Any] = {
        "machine": machine(),
        "model_sha256": {
            name: hashlib.sha256((model / name).read_bytes()).hexdigest() for name in (LITERT_FILE, KERAS_FILE)
        },
        "pages": len(planes),
        "tiles": sum(grid.n_tiles for _, grid in planes),
        "tiles_with_padding": sum(count_patches(grid) for _, grid in planes) * PATCH_TILES**2,
        "repeats": repeats,
        "threshold": threshold,
    }
    with tempfile.TemporaryDirectory(prefix="foliopress-benchmark-") as folder:
        work = Path(folder)
        measured = measure_engines(model, planes, samples, repeats, work, engines)
        folders = model_folders(model, work)
        report["engines"] = rows_of(measured, folders, planes, threshold)
        report["not_measured"], report["failed"] = measured.not_measured, measured.failed
        if recall_cache is not None:
            from benchmarks.recall import recall_figures

            files = {name: folders[name] for name in measured.runs if ENGINES[name].model_file == LITERT_FILE}
            report["recall"] = recall_figures(files, recall_cache, threshold)
    return report


def machine() -> dict[str, Any]:
    """Return the properties of the machine: processor, cores, versions, and its load at the start."""
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def _processor() -> str:
    described = Path("/proc/cpuinfo")
    if described.is_file():
        for line in described.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def show(report: Mapping[str, Any], console: Console) -> None:
    """Print a report from `measure` as tables."""
    about = report["machine"]
    console.print(
        f"{about['processor']}, {about['cores']} cores, load {about['load_average']} at the start; "
        f"{report['pages']} pages of {report['tiles'] / report['pages']:.0f} tiles, "
        f"{report['repeats']} processes per engine; median (min–max)",
        highlight=False,
    )
    rows = report["engines"]
    console.print(_speed_table(rows), _cost_table(rows))
    if "recall" in report:
        console.print(_recall_table(report["recall"], report["threshold"]))
    for line in absences(report):
        console.print(line, highlight=False)


def absences(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each engine that was not measured, and one in total for GPU engines without a GPU."""
    reasons = dict(report["not_measured"])
    lines = []
    if not any(row["on_gpu"] for row in report["engines"]):
        names = [name for name, engine in ENGINES.items() if engine.on_gpu and name in reasons]
        waiting = [f"{name} ({reasons.pop(name)})" for name in names]
        if waiting:
            lines.append(f"No GPU was available; engines for a GPU, with batches of {GPU_BATCH}: {', '.join(waiting)}.")
    return lines + [f"Not measured: {name}: {reason}." for name, reason in reasons.items()]


def _speed_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table(
        "Speed", "engine", "tiles/s", "pages/s", "s, page alone", "engine s per page", "core-s per page", "× shipped"
    )
    for row in rows:
        ratio = "" if row["times_shipped"] is None else f"{row['times_shipped']:.2f}"
        spans = [_span(row[name], 3) for name in ("page_s", "engine_s_per_page", "core_s_per_page")]
        per_second = _span(row["tiles_per_s"], 0), f"{row['pages_per_s']['median']:.2f}"
        table.add_row(row["engine"], *per_second, *spans, ratio)
    return table


def _cost_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    against = rows[0]["reference"] if rows else None
    table = _table(
        f"Cost, and agreement with {against}",
        *("engine", "s until ready", "import + load + call", "peak MB", "file MB", "difference", "changed"),
    )
    for row in rows:
        parts = " + ".join(f"{row[part]['median']:.2f}" for part in ("import_s", "load_s", "first_call_s"))
        memory = {name: value / 1e6 for name, value in row["peak_bytes"].items()}
        size = f"{row['file_bytes'] / 1e6:.2f}"
        agrees = ("", "")
        if against is not None:
            agrees = (f"{row['largest_difference']:.1e}", f"{row['decisions_changed']:.3%}")
        table.add_row(row["engine"], _span(row["ready_s"], 2), parts, _span(memory, 0), size, *agrees)
    return table


def _recall_table(recall: Mapping[str, Any], threshold: float) -> Table:
    columns = ("recall_printed", "worst_recall_printed", "recall_handwritten", "freed_blank", "freed_other")
    names = ("printed", "worst page", "handwritten", "freed blank", "freed other")
    table = _table(f"Test split at threshold {threshold:g}", "engine", "decided by", *names)
    for engine, deciders in recall.items():
        for who, found in deciders.items():
            cells = ["" if found[column] is None else f"{found[column]:.4f}" for column in columns]
            table.add_row(engine, who, *cells)
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column in ("engine", "decided by") else "right", no_wrap=True)
    return table


def _span(found: Mapping[str, float], digits: int) -> str:
    least, middle, most = (f"{found[name]:,.{digits}f}" for name in ("min", "median", "max"))
    return f"{middle} ({least}–{most})"


if __name__ == "__main__":
    app()
