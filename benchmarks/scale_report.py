"""Write the growth benchmark's table and plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.extrapolation import as_section, measured

PLOT_FILE = "scale.png"

_COLUMNS = (
    *("documents", "call", "wall s", "core-s", "ms a document", "driver, MB", "Prefect API, MB", "database, MB"),
    *("files", "MB"),
)
_DPI = 110


def as_markdown(figures: Mapping[str, Any], plot: str | None) -> str:
    """Return the page: a row for each call of the command, then the quantities that grow with the archive or do not."""
    about, phases, through_dask = figures["machine"], figures["phases"], figures["through_dask"]
    lines = [
        "# Growth",
        "",
        "Listing from an S3 server, shards, Prefect task runs, statistics and resume are real; the page steps are",
        "replaced by recorded rows, which take no time. In the first call one Dask worker returns them, with as many",
        "tasks as in a real run; in all others the driver has them in memory. "
        f"{about['processor']}, {about['cores']} cores. Written by",
        "",
        "    python -m benchmarks.scale RECORD --out docs/benchmarks",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "| --- " * len(_COLUMNS) + "|",
    ]
    for phase in (through_dask, *phases):
        done = max((pages for pages, *_ in phase["curve"]), default=0)
        each = f"{1000 * phase['wall_s'] / done:.2f}" if done > phase["documents"] // 10 else ""
        lines.append(
            f"| {phase['documents']:,} | {phase['name']} | {phase['wall_s']:.0f} | {phase['core_s']:.0f} | {each} "
            f"| {phase['peak_bytes'] / 1e6:.0f} | {phase['api_bytes'] / 1e6:.0f} | {phase['database_bytes'] / 1e6:.0f} "
            f"| {phase['files']:,} | {phase['stats_bytes'] / 1e6:.0f} |"
        )
    sizes = {phase["documents"] for phase in phases}
    if len(sizes) == 2 and "throughput" in figures:
        lines += as_section(measured(phases, through_dask, figures["throughput"]))
    if plot:
        lines += ["", f"![Memory of the driver]({plot})"]
    return "\n".join(lines) + "\n"


def write_plot(folder: Path, figures: Mapping[str, Any]) -> str | None:
    """Plot the driver's memory over the pages done, and return the picture's name; None without data."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for phase in figures["phases"]:
        if len(phase["curve"]) > 1:
            pages, resident, _ = zip(*phase["curve"], strict=True)
            name = f"{phase['documents']:,}, {phase['name']}"
            axes.plot(pages, [value / 1e6 for value in resident], label=name)
    if not axes.lines:
        return None
    axes.set_xlabel("documents done in the call")
    axes.set_ylabel("resident memory of the driver, MB")
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / PLOT_FILE, dpi=_DPI)
    return PLOT_FILE
