"""Train a model from marked scans: load the data, calibrate, export and write metrics, each in a plain function."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras

from foliopress.configs.settings import OcrSettings
from foliopress.model.dataset import (
    RENDERED,
    LabelledTiles,
    handwritten_documents,
    read_marked_page,
    read_words_cached,
    split_documents,
    training_scans,
)
from foliopress.model.evaluation import METRICS_FILE, score_page
from foliopress.model.export import export_network
from foliopress.model.metrics import ScoredPage
from foliopress.model.network import BACKBONE
from foliopress.model.operating_points import NetworkScorer, calibrate, operating_points
from foliopress.model.rendered import rendered_pages
from foliopress.model.scoring import Scorer
from foliopress.model.training import TrainingOptions
from foliopress.model.truth import Scan, data_folder, find_scans
from foliopress.model.views import labelled_views
from foliopress.tasks.errors import PageError

logger = logging.getLogger(__name__)

VIEWS = 5
"""Views per scan: the original and four variations."""
RENDERED_PAGES = 160
"""Synthetic pages drawn for training."""


@dataclass(frozen=True)
class TrainingData:
    """Training data: labelled pages and the scans they came from.

    training_pages: every training scan in several views, and drawn pages. validation_pages: the marked validation
    scans, upright.
    """

    training_pages: Sequence[LabelledTiles]
    validation_pages: Sequence[LabelledTiles]
    training_scans: Sequence[Scan]
    validation_scans: Sequence[Scan]

    def without(self, documents: Collection[str]) -> TrainingData:
        """Return the data without some documents, which can then be tested on."""
        return replace(
            self,
            training_pages=[page for page in self.training_pages if page.scan.document not in documents],
            validation_pages=[page for page in self.validation_pages if page.scan.document not in documents],
            training_scans=[scan for scan in self.training_scans if scan.document not in documents],
            validation_scans=[scan for scan in self.validation_scans if scan.document not in documents],
        )


def find_training_scans(data: Path | None, cache: Path) -> tuple[tuple[Scan, ...], tuple[Scan, ...]]:
    """Return the training and validation scans, split by document; their OCR words are cached.

    Raises:
        ConfigError: If there are no scans.
    """
    scans = training_scans(find_scans(data_folder(data), "train"))
    read_words_cached(scans, cache, OcrSettings())
    return split_documents(scans, handwritten_documents(scans))


def load_training_data(
    training: Sequence[Scan], validation: Sequence[Scan], cache: Path, seed: int, rendered: int = RENDERED_PAGES
) -> TrainingData:
    """Cut and label all views of the training scans and the original validation scans, and draw synthetic pages."""
    settings = OcrSettings()
    drawn = rendered_pages(rendered, seed, cache / "rendered", settings) if rendered else []
    return TrainingData(
        training_pages=[*labelled_views(training, cache, settings, seed, VIEWS), *drawn],
        # unmarked scans have labels for some tiles only: enough to learn from, too few for validation
        validation_pages=labelled_views([scan for scan in validation if scan.truth], cache, settings, seed, 1),
        training_scans=training,
        validation_scans=validation,
    )


def score_scans(scorer: Scorer, scans: Sequence[Scan], cache: Path) -> list[ScoredPage]:
    """Score the scans with marked lines as the pipeline does; other and unreadable scans are skipped."""
    found = []
    for scan in scans:
        try:
            page = read_marked_page(scan, cache, OcrSettings())
        except PageError as error:
            logger.info("%s is skipped: %s", scan.key, error)
            continue
        if page.truth is not None and page.truth.lines:
            found.append(score_page(scorer, page))
    return found


def calibrate_and_export(network: keras.Model, training_data: TrainingData, cache: Path, out: Path) -> dict[str, Any]:
    """Calibrate a trained network on the validation scans, export it and choose its operating points.

    Returns:
        `calibration` (scale and shift) and `operating_points`.
    """
    scorer = NetworkScorer(network)
    scale, shift = calibrate(network, score_scans(scorer, training_data.validation_scans, cache))
    points = operating_points(score_scans(scorer, training_data.validation_scans, cache))
    export_network(network, out)
    return {"calibration": {"scale": round(scale, 4), "shift": round(shift, 4)}, "operating_points": points}


def write_metrics(
    out: Path,
    training_data: TrainingData,
    options: TrainingOptions,
    history: Sequence[Mapping[str, float]],
    calibrated: Mapping[str, Any],
    seconds: float,
) -> None:
    """Write `metrics.json`: training data, options, validation history, calibration and operating points."""
    training = {
        "seed": options.seed,
        "epochs": len(history),
        "batches_per_epoch": options.batches_per_epoch,
        "pages": len(training_data.training_scans),
        "rendered_pages": sum(page.scan.collection == RENDERED for page in training_data.training_pages),
        "validation_pages": len(training_data.validation_scans),
        "validation_keys": sorted(scan.key for scan in training_data.validation_scans),
        "validation_documents": sorted({scan.document for scan in training_data.validation_scans}),
        "collections": sorted(
            {scan.collection for scan in (*training_data.training_scans, *training_data.validation_scans)}
        ),
        "backbone": BACKBONE,
        "backbone_sha256": hashlib.sha256(options.weights.read_bytes()).hexdigest() if options.weights else None,
        "keras": keras.__version__,
        "seconds": round(seconds),
        "history": list(history),
    }
    out.mkdir(parents=True, exist_ok=True)
    metrics = {"training": training, **calibrated}
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
