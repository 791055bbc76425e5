"""Measure scoring engines in turns, each in a new process, and compare their speed and scores."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.engines import ENGINES, REFERENCES, SHIPPED_ENGINE, Engine
from benchmarks.exports import VARIANTS
from benchmarks.planes import Plane, save_planes
from benchmarks.worker import FIGURES_FILE, SCORES_FILE
from foliopress.tasks.analysis.tiles import cut_patches

logger = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parents[1]


class ProcessFailed(Exception):
    """A process ended with an error; holds its last line of output."""


@dataclass
class Measured:
    """Results of the processes of all engines.

    runs: Measurements of `benchmarks.worker.measure` by engine, one per repeat. scores: (n_tiles of all pages,) float32
    by engine. not_measured: Reason by engine that has no results. failed: The engines among these that broke, rather
    than lack something.
    """

    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    not_measured: dict[str, str] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def give_up(self, name: str, reason: str, *, failed: bool) -> None:
        """Exclude an engine and its results so far."""
        logger.info("%s is not measured: %s", name, reason)
        self.runs.pop(name, None)
        self.scores.pop(name, None)
        self.not_measured[name] = reason
        if failed:
            self.failed.append(name)


def model_folders(model: Path, work: Path) -> dict[str, Path]:
    """Return the folder of each engine's model; quantised exports are in `work`."""
    return {name: work / engine.variant if engine.variant else model for name, engine in ENGINES.items()}


def measure_engines(
    model: Path,
    planes: Sequence[Plane],
    samples: Sequence[Plane],
    repeats: int,
    work: Path,
    engines: Sequence[str] = tuple(ENGINES),
) -> Measured:
    """Export the network's variants, then measure every engine that this machine supports.

    Args:
        model: Folder with `model.tflite` and `model.keras`.
        planes: The pages to score.
        samples: Other pages, used to calibrate the integer export.
        repeats: Processes per engine. The engines take turns, so that background load affects all of them.
        work: Folder for data exchanged between processes; the exports stay there.
        engines: Names of the engines to measure.
    """
    measured = Measured()
    folders = model_folders(model.resolve(), work.resolve())
    pages = work.resolve() / "planes.npz"
    save_planes(pages, planes)
    names = [name for name in ENGINES if name in engines]
    if any(ENGINES[name].variant for name in names):
        _write_variants(measured, model.resolve(), samples, work.resolve())
    for turn in range(repeats):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            if name not in measured.not_measured:
                logger.info("repeat %d of %d: %s", turn + 1, repeats, name)
                _measure_once(measured, ENGINES[name], folders[name], pages)
    return measured


def _write_variants(measured: Measured, model: Path, samples: Sequence[Plane], work: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        for name in VARIANTS:
            measured.give_up(f"litert-{name}", "tensorflow, needed for the export, is not installed", failed=False)
        return
    logger.info("exporting %s", ", ".join(VARIANTS))
    patches = work / "samples.npy"
    np.save(patches, np.concatenate([cut_patches(plane) for plane, _ in samples]))
    try:
        _run("benchmarks.exports", (model, patches, work), {"CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"})
    except ProcessFailed as error:
        for name in VARIANTS:
            measured.give_up(f"litert-{name}", f"the export failed: {error}", failed=True)


def _measure_once(measured: Measured, engine: Engine, folder: Path, pages: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="foliopress-benchmark-") as out:
        try:
            _run("benchmarks.worker", (engine.name, folder, pages, out), engine.environment)
        except ProcessFailed as error:
            measured.give_up(engine.name, f"failed: {error}", failed=True)
            return
        figures = json.loads((Path(out) / FIGURES_FILE).read_text(encoding="utf-8"))
        if "lacking" in figures:
            measured.give_up(engine.name, figures["lacking"], failed=False)
            return
        measured.runs.setdefault(engine.name, []).append(figures)
        measured.scores[engine.name] = np.load(Path(out) / SCORES_FILE)


def _run(module: str, arguments: Sequence[object], environment: Mapping[str, str]) -> None:
    """Run a module of this project in a new process.

    Raises:
        ProcessFailed: If its exit code is not 0.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(
        command, cwd=_ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        logger.info("%s", done.stderr)
        lines = done.stderr.strip().splitlines()
        raise ProcessFailed(lines[-1] if lines else f"exit code {done.returncode}")


def rows_of(
    measured: Measured, folders: Mapping[str, Path], planes: Sequence[Plane], threshold: float
) -> list[dict[str, Any]]:
    """Return a row of measurements for each measured engine, in the order of `ENGINES`.

    Args:
        measured: From `measure_engines`.
        folders: From `model_folders`.
        planes: The scored pages.
        threshold: Score from which a tile keeps its resolution.

    Returns:
        `engine`, `on_gpu`, `gpu`, `file_bytes`; as `spread` over the repeats `tiles_per_s`, `pages_per_s`,
        `page_s` (each page alone), `engine_s_per_page` (without cutting patches), `core_s_per_page`, `import_s`,
        `load_s`, `first_call_s`, `ready_s` (sum of these three), `peak_bytes`; `times_shipped` (median tiles/s over
        the shipped engine's, None without that one), `largest_difference` and `decisions_changed` (share of tiles) from
        the scores of `reference`.
    """
    n_tiles = sum(grid.n_tiles for _, grid in planes)
    reference = next((name for name in REFERENCES if name in measured.scores), None)
    rows: list[dict[str, Any]] = []
    for name, engine in ENGINES.items():
        if name not in measured.runs:
            continue
        runs = measured.runs[name]
        load = {part: [run[part] for run in runs] for part in ("import_s", "load_s", "first_call_s")}
        row = {
            "engine": name,
            "on_gpu": engine.on_gpu,
            "gpu": runs[0]["gpu"],
            "file_bytes": (folders[name] / engine.model_file).stat().st_size,
            "tiles_per_s": spread([n_tiles / run["pages_s"] for run in runs]),
            "pages_per_s": spread([len(planes) / run["pages_s"] for run in runs]),
            "page_s": spread([seconds for run in runs for seconds in run["page_s"]]),
            "engine_s_per_page": spread([run["engine_s"] / len(planes) for run in runs]),
            "core_s_per_page": spread([run["core_s"] / len(planes) for run in runs]),
            **{part: spread(seconds) for part, seconds in load.items()},
            "ready_s": spread([sum(parts) for parts in zip(*load.values(), strict=True)]),
            "peak_bytes": spread([run["peak_bytes"] for run in runs]),
            "reference": reference,
        }
        if reference is not None:
            row |= agreement(measured.scores[name], measured.scores[reference], threshold)
        rows.append(row)
    shipped = next((row["tiles_per_s"]["median"] for row in rows if row["engine"] == SHIPPED_ENGINE), None)
    return [{**row, "times_shipped": shipped and round(row["tiles_per_s"]["median"] / shipped, 3)} for row in rows]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return minimum, median and maximum.

    >>> spread([3.0, 1.0, 2.5])
    {'min': 1.0, 'median': 2.5, 'max': 3.0}
    """
    found = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 5) for name, value in found.items()}


def agreement(scores: np.ndarray, reference: np.ndarray, threshold: float) -> dict[str, float]:
    """Return the difference between two engines' scores of the same tiles.

    Args:
        scores: (n_tiles,) float32.
        reference: (n_tiles,) float32.
        threshold: Score from which a tile keeps its resolution.

    Returns:
        `largest_difference`, and `decisions_changed`: the share of tiles that move across the threshold.

    >>> agreement(np.array([0.25, 0.5]), np.array([0.5, 0.75]), 0.5)
    {'largest_difference': 0.25, 'decisions_changed': 0.5}
    """
    return {
        "largest_difference": float(np.abs(scores - reference).max()),
        "decisions_changed": float(((scores >= threshold) != (reference >= threshold)).mean()),
    }
