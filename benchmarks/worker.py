"""Load and score one engine in a new process, and write its timings."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from benchmarks.engines import ENGINES, Engine, Lacking, gpu_name
from benchmarks.planes import Plane, load_planes
from foliopress.model.scoring import Scorer, score_planes
from foliopress.tasks.analysis.tiles import PATCH_PX

FIGURES_FILE = "figures.json"
SCORES_FILE = "scores.npy"


class _WatchedScorer:
    """A scorer with a stopwatch."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer
        self.name, self.digest = scorer.name, scorer.digest
        self.seconds = 0.0

    def score(self, patches: np.ndarray) -> np.ndarray:
        """Return the scorer's result."""
        start = perf_counter()
        scores = self._scorer.score(patches)
        self.seconds += perf_counter() - start
        return scores


def measure(engine: Engine, model: Path, planes: Sequence[Plane]) -> tuple[dict[str, Any], np.ndarray]:
    """Load an engine and score pages, one by one and then all together.

    Args:
        engine: One of `ENGINES`.
        model: Folder of the model's files.
        planes: The pages.

    Returns:
        Measurements and scores. Measurements: `import_s` (the engine's libraries; numpy and OpenCV are imported
        already), `load_s`, `first_call_s` (one patch: TensorFlow compiles, GPUs start), `page_s` (a list, each page
        alone), `pages_s` (all pages in one call), `engine_s` (the engine's part of that; the rest is cutting patches),
        `core_s` (processor seconds of that call, all threads together), `peak_bytes` (of resident memory), `gpu` (its
        name or None). Scores: (n_tiles of all pages,) float32.

    Raises:
        Lacking: If a library or the GPU is missing.
    """
    start = perf_counter()
    try:
        for library in engine.libraries:
            import_module(library)
    except ModuleNotFoundError as error:
        raise Lacking(f"{error.name} is not installed") from error
    imported = perf_counter()
    gpu = gpu_name(engine.backend) if engine.on_gpu else None
    if engine.on_gpu and gpu is None:
        raise Lacking(f"{engine.backend} finds no GPU")
    scorer = engine.load(model)
    loaded = perf_counter()
    scorer.score(np.zeros((1, PATCH_PX, PATCH_PX, 4), np.uint8))
    ready = perf_counter()
    page_s = [_page_seconds(scorer, plane) for plane in planes]
    watched = _WatchedScorer(scorer)
    core_start, pages_start = process_time(), perf_counter()
    scores = score_planes(watched, planes)
    figures = {
        "import_s": imported - start,
        "load_s": loaded - imported,
        "first_call_s": ready - loaded,
        "page_s": page_s,
        "pages_s": perf_counter() - pages_start,
        "engine_s": watched.seconds,
        "core_s": process_time() - core_start,
        "peak_bytes": peak_resident_bytes(),
        "gpu": gpu,
    }
    return figures, np.concatenate(scores)


def peak_resident_bytes() -> int:
    """Return the peak memory of this process."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux's getrusage includes the parent's memory: it survives exec
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _page_seconds(scorer: Scorer, plane: Plane) -> float:
    start = perf_counter()
    score_planes(scorer, [plane])
    return perf_counter() - start


def main(name: str, model: str, planes: str, out: str) -> None:
    """Write `SCORES_FILE` and `FIGURES_FILE` into the folder `out`; `lacking` holds why an engine cannot run."""
    try:
        figures, scores = measure(ENGINES[name], Path(model), load_planes(Path(planes)))
        np.save(Path(out) / SCORES_FILE, scores)
    except Lacking as error:
        figures = {"lacking": str(error)}
    (Path(out) / FIGURES_FILE).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:5])
