"""Measure pages per minute and core-seconds per page, compared with a bare loop and other tools on the same pages.

python -m benchmarks.throughput DATA --out FOLDER
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks.arms import ArmFailed
from benchmarks.contestants import Archive, Timing, contestants, lay_out
from benchmarks.marked import scans_of_command
from benchmarks.published import publish
from benchmarks.scoring import machine
from benchmarks.throughput_report import as_markdown, write_plot

logger = logging.getLogger(__name__)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    folder: Annotated[Path, typer.Argument(help="Scans with ground truth: a folder with manifest.csv.")],
    out: Annotated[Path, typer.Option(help="Folder for JSON, table and plot.", metavar="FOLDER")],
    split: Annotated[str, typer.Option(help="Split of the manifest.")] = "test",
    pages: Annotated[int, typer.Option(min=1, help="Pages per round; the scans are repeated.")] = 216,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; the contestants take turns.")] = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="Only contestants whose name contains TEXT.", metavar="TEXT")
    ] = None,
) -> None:
    """Run all contestants on the same pages, in turns; write JSON, a table and a plot."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    scans = scans_of_command(folder, split)
    about = machine()
    with tempfile.TemporaryDirectory(prefix="foliopress-throughput-") as work:
        archive = lay_out(scans, Path(work), pages)
        taken, not_measured = take_turns(archive, Path(work), rounds, only)
    figures = {
        "machine": about,
        "scans": len(scans),
        "pages": pages,
        "rounds": rounds,
        "source_bytes": archive.source_bytes,
        "not_measured": not_measured,
        "contestants": {name: figures_of(found, pages) for name, found in taken.items()},
    }
    logger.info("%s", publish(out, "throughput", figures, as_markdown, write_plot))


def take_turns(
    archive: Archive, folder: Path, rounds: int, only: Sequence[str] | None
) -> tuple[dict[str, list[Timing]], list[str]]:
    """Run every contestant once per round, and return their times and the reasons why others could not run."""
    taken: dict[str, list[Timing]] = {}
    wanted = [one for one in contestants(os.cpu_count() or 1) if not only or any(text in one.name for text in only)]
    missing = {one.name: one.missing() for one in wanted}
    not_measured = [f"{name}: {', '.join(commands)} not installed" for name, commands in missing.items() if commands]
    for turn in range(rounds):
        for one in (one for one in wanted if not missing[one.name]):
            with tempfile.TemporaryDirectory(dir=folder) as place:
                try:
                    took = one.run(archive, Path(place))
                except ArmFailed as error:
                    not_measured.append(f"{one.name}: {error}")
                    continue
            taken.setdefault(one.name, []).append(took)
            logger.info("round %d: %s: %.0f s, %.0f core-s", turn + 1, one.name, took.wall_s, took.core_s)
    return taken, not_measured


def figures_of(taken: Sequence[Timing], n_pages: int) -> dict[str, Any]:
    """Return a contestant's results: medians over rounds, with and without the fixed start-up time."""
    wall_s, core_s, start_s, start_core_s = (
        median(getattr(took, name) for took in taken) for name in ("wall_s", "core_s", "start_s", "start_core_s")
    )
    return {
        "wall_s": round(wall_s, 2),
        "core_s": round(core_s, 2),
        "start_s": round(start_s, 2),
        "start_core_s": round(start_core_s, 2),
        "pages_per_minute": round(60 * n_pages / wall_s, 3),
        "pages_per_minute_once_started": round(60 * n_pages / (wall_s - start_s), 3),
        "core_s_per_page": round((core_s - start_core_s) / n_pages, 4),
        "output_bytes": taken[0].output_bytes,
        "stages_s_per_page": {name: round(seconds / n_pages, 4) for name, seconds in taken[0].stages.items()},
        "rounds": [asdict(took) for took in taken],
    }


if __name__ == "__main__":
    app()
