"""Measure recall and freed shares of each LiteRT file on the marked scans of the test split."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foliopress.configs.settings import OcrSettings
from foliopress.model.dataset import read_marked_page, read_words_cached
from foliopress.model.evaluation import score_page
from foliopress.model.metrics import SHIPPED_DECIDER, ScoredPage, summary
from foliopress.model.scoring import load_scorer
from foliopress.model.truth import data_folder, find_scans, read_truth
from foliopress.tasks.errors import PageError


def recall_figures(
    models: Mapping[str, Path], cache: Path, threshold: float, data: Path | None = None
) -> dict[str, Any]:
    """Score the test split with each model and count as `foliopress evaluate` does.

    Args:
        models: Folders with a `model.tflite`, by engine name.
        cache: Folder of cached OCR words.
        threshold: The operating point.
        data: Folder of scans; by default from `FOLIOPRESS_DATA`.

    Returns:
        For each name `model` (network alone) and `model_or_mask` (as shipped), each a `model.metrics.summary`.

    Raises:
        ConfigError: If there are no scans.
    """
    settings = OcrSettings()
    scans = [scan for scan in find_scans(data_folder(data), "test") if scan.truth and read_truth(scan.truth).lines]
    read_words_cached(scans, cache, settings)
    scorers = {name: load_scorer(str(folder), "litert-cpu") for name, folder in models.items()}
    scored: dict[str, list[ScoredPage]] = {name: [] for name in scorers}
    for scan in scans:
        try:
            page = read_marked_page(scan, cache, settings)
        except PageError:  # the pipeline keeps such a page whole, whatever its scores
            continue
        for name, scorer in scorers.items():
            scored[name].append(score_page(scorer, page))
    deciders = ("model", SHIPPED_DECIDER)
    return {name: {who: summary(pages, threshold, who) for who in deciders} for name, pages in scored.items()}
