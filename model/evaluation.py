"""Evaluate a model on every marked page of a split, upright and rotated, and write the metrics."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ImportanceSettings, OcrSettings
from foliopress.model.card import read_tables, write_card
from foliopress.model.dataset import MarkedPage, read_marked_page, read_words_cached
from foliopress.model.metrics import (
    DECIDERS,
    PICTURE_TILE_PX,
    SHIPPED_DECIDER,
    ScoredPage,
    calibration,
    count_tiles,
    curve,
    kind_recalls,
    rotation_falls,
    shares,
    summary,
    worst_pages,
)
from foliopress.model.rotated_pages import ROTATIONS, read_rotated_cached, rotated_page, rotated_words
from foliopress.model.scoring import SHIPPED, Scorer, load_scorer, score_planes
from foliopress.model.tile_truth import TEXT_FRACTION, tile_truth
from foliopress.model.truth import Scan, data_folder, find_scans, read_truth
from foliopress.tasks.analysis import tiles
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"


@dataclass(frozen=True)
class EvaluationRequest:
    """Model, scans and operating point of an evaluation.

    cache: Folder of cached OCR words. data: Folder of scans; by default from `FOLIOPRESS_DATA`. model: Folder of the
    model; by default the shipped one. split: `test`, or `train` to measure the fit on training pages. threshold: The
    operating point; by default from the settings. with_rotation: Also rotate every page by 90, 180 and 270 degrees; the
    first run spends minutes on OCR.
    """

    cache: Path
    data: Path | None = None
    model: Path | None = None
    split: str = "test"
    threshold: float | None = None
    with_rotation: bool = True

    @property
    def operating_point(self) -> float:
        """Score from which a tile keeps its resolution."""
        return ImportanceSettings().threshold if self.threshold is None else self.threshold


def evaluate_model(request: EvaluationRequest, out: Path | None = None, plots: Path | None = None) -> dict[str, Any]:
    """Score every marked page of a split and count which tiles keep full resolution.

    Args:
        request: Model, scans and operating point.
        out: Folder for `metrics.json` and `CARD.md`; by default nothing is written. The model's own `metrics.json` and
            the tables next to it are copied to the results.
        plots: Folder for the plots and the heatmaps of the worst pages.

    Returns:
        Contents of `metrics.json`: the training metrics, if the model has them, and `evaluation`.

    Raises:
        ConfigError: If scans or the model are missing, or no page of the split is marked.
    """
    if plots is not None:
        from foliopress.model.plots import (
            write_plots,  # now, not after minutes: matplotlib comes with the extra `train`
        )
    scans = _marked_scans(request)
    read_words_cached(scans, request.cache, OcrSettings())
    scorer = load_scorer(str(request.model) if request.model else None, "litert-cpu")
    scored = _score_scans(request, scorer, scans)
    pages = list(scored.values())
    evaluation = evaluation_metrics(pages, request, scorer.digest)
    if request.with_rotation:
        sizes = [(scan, page.grid.tile_px) for scan, page in scored.items()]
        evaluation["rotated"] = _rotation_rows(request, scorer, sizes)
    folder = request.model or SHIPPED
    known = folder / METRICS_FILE
    metrics: dict[str, Any] = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    metrics["evaluation"] = evaluation
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        write_card(out, metrics, read_tables(folder))
    if plots is not None:
        write_plots(plots, pages, evaluation)
    return metrics


def evaluation_metrics(pages: Sequence[ScoredPage], request: EvaluationRequest, weights_sha256: str) -> dict[str, Any]:
    """Return the metrics of scored pages, without rotation: `evaluation` of `metrics.json`."""
    at = request.operating_point
    return {
        "split": request.split,
        "pages": len(pages),
        "threshold": at,
        "weights_sha256": weights_sha256,
        **{name: summary(pages, at, name) for name in DECIDERS},
        "kinds": kind_recalls(pages, at),
        "calibration": calibration(pages),
        "curve": curve(pages, at),
        "worst": worst_pages(pages, at),
        "per_page": [_page_row(page, at) for page in pages],
    }


def score_page(scorer: Scorer, page: MarkedPage) -> ScoredPage:
    """Cut, mask and score a page as the pipeline does, and return it with its ground truth."""
    height_px, width_px = page.pixels.shape[:2]
    grid = tiles.tile_grid(height_px, width_px, page.dpi)
    mask = recognition.text_mask(page.words, height_px, width_px)
    plane = tiles.work_plane(page.pixels, mask, grid)
    luma = luma_of(page.pixels)
    lines, regions = (page.truth.lines, page.truth.regions) if page.truth else ((), ())
    size = grid.n_cols * PICTURE_TILE_PX, grid.n_rows * PICTURE_TILE_PX
    return ScoredPage(
        key=page.scan.key,
        page_kind=page.kind,
        grid=grid,
        picture=cv2.resize(luma_of(np.ascontiguousarray(plane[..., :3])), size, interpolation=cv2.INTER_AREA),
        scores=score_planes(scorer, [(plane, grid)])[0],
        by_mask=tiles.masked_fraction(mask, grid).ravel() >= TEXT_FRACTION,
        truth=tile_truth(luma, lines, grid, regions),
    )


def _marked_scans(request: EvaluationRequest) -> list[Scan]:
    """Return the scans of the split that have marked lines.

    Raises:
        ConfigError: If there are none.
    """
    scans = find_scans(data_folder(request.data), request.split)
    marked = [scan for scan in scans if scan.truth and read_truth(scan.truth).lines]
    if not marked:
        raise ConfigError(f"split {request.split!r} has no page with marked lines")
    return marked


def _score_scans(request: EvaluationRequest, scorer: Scorer, scans: Sequence[Scan]) -> dict[Scan, ScoredPage]:
    """Score scans page by page and log each result; unreadable scans are skipped.

    Raises:
        ConfigError: If none can be read.
    """
    settings = OcrSettings()
    scored: dict[Scan, ScoredPage] = {}
    for scan in scans:
        try:
            scored[scan] = page = score_page(scorer, read_marked_page(scan, request.cache, settings))
        except PageError as error:
            logger.info("%s is skipped: %s", scan.key, error)
            continue
        kept = page.kept(request.operating_point)[SHIPPED_DECIDER]
        logger.info("%s %s", scan.key, shares(count_tiles(kept, page.truth, page.may_free)))
    if not scored:
        raise ConfigError(f"split {request.split!r} has no marked page that can be read")
    return scored


def _rotation_rows(
    request: EvaluationRequest, scorer: Scorer, scans: Sequence[tuple[Scan, int]]
) -> list[dict[str, Any]]:
    """Return `rotation_falls` for each angle; pages whose OCR fails when rotated are left out of that angle.

    Args:
        request: The evaluation.
        scorer: From `load_scorer`.
        scans: Each with the side of its tiles in pixels.
    """
    settings, cache = OcrSettings(), request.cache
    read_rotated_cached(scans, cache, settings)
    upright: dict[int, list[ScoredPage]] = {degrees: [] for degrees in ROTATIONS}
    turned: dict[int, list[ScoredPage]] = {degrees: [] for degrees in ROTATIONS}
    for scan, tile_px in scans:
        page = read_marked_page(scan, cache, settings)
        flat = score_page(scorer, rotated_page(page, 0, page.words))
        for degrees in ROTATIONS:
            words = rotated_words(scan, tile_px, degrees, cache, settings)
            if words is not None:
                upright[degrees].append(flat)
                turned[degrees].append(score_page(scorer, rotated_page(page, degrees, words)))
    at = request.operating_point
    return [rotation_falls(upright[degrees], turned[degrees], degrees, at) for degrees in ROTATIONS]


def _page_row(page: ScoredPage, threshold: float) -> dict[str, Any]:
    kept = page.kept(threshold)
    return {"key": page.key, **{name: shares(count_tiles(kept[name], page.truth, page.may_free)) for name in DECIDERS}}
