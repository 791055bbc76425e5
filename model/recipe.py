"""Recipe: the steps from marked scans to a trained model in a folder, each a plain function."""

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
from foliopress.model.operating import NetworkScorer, calibrate, operating_points
from foliopress.model.rendered import rendered_pages
from foliopress.model.scoring import Scorer
from foliopress.model.training import Course
from foliopress.model.truth import Scan, data_folder, find_scans
from foliopress.model.views import labelled_views
from foliopress.tasks.errors import PageError

logger = logging.getLogger(__name__)

VIEWS = 5
"""How often each scan is looked at: as it is, and otherwise."""
RENDERED_PAGES = 160
"""Pages that the program draws itself to train on."""


@dataclass(frozen=True)
class Material:
    """What a training takes: labelled pages, and the scans that they came from.

    training: every scan of the training part in several views, and drawn pages. held_out: the marked ones of
    the validation scans, upright.
    """

    training: Sequence[LabelledTiles]
    held_out: Sequence[LabelledTiles]
    training_scans: Sequence[Scan]
    validation_scans: Sequence[Scan]

    def without(self, documents: Collection[str]) -> Material:
        """Return the material without some documents, which then can be tested on."""
        return replace(
            self,
            training=[page for page in self.training if page.scan.document not in documents],
            held_out=[page for page in self.held_out if page.scan.document not in documents],
            training_scans=[scan for scan in self.training_scans if scan.document not in documents],
            validation_scans=[scan for scan in self.validation_scans if scan.document not in documents],
        )


def find_material_scans(data: Path | None, cache: Path) -> tuple[tuple[Scan, ...], tuple[Scan, ...]]:
    """Return the scans to train on and to validate on, parted by document; their words are read into the cache.

    Raises:
        ConfigError: If there are no scans.
    """
    scans = training_scans(find_scans(data_folder(data), "train"))
    read_words_cached(scans, cache, OcrSettings())
    return split_documents(scans, handwritten_documents(scans))


def gather(
    training: Sequence[Scan], validation: Sequence[Scan], cache: Path, seed: int, rendered: int = RENDERED_PAGES
) -> Material:
    """Cut and label all views of the training scans, the validation scans as they are, and draw pages of our own."""
    settings = OcrSettings()
    drawn = rendered_pages(rendered, seed, cache / "rendered", settings) if rendered else []
    return Material(
        training=[*labelled_views(training, cache, settings, seed, VIEWS), *drawn],
        # of unmarked scans only some tiles are known: enough to learn from, too little to be judged by
        held_out=labelled_views([scan for scan in validation if scan.truth], cache, settings, seed, 1),
        training_scans=training,
        validation_scans=validation,
    )


def score_scans(scorer: Scorer, scans: Sequence[Scan], cache: Path) -> list[ScoredPage]:
    """Score scans that people marked lines on, as the pipeline does; others and unreadable ones are left out."""
    found = []
    for scan in scans:
        try:
            page = read_marked_page(scan, cache, OcrSettings())
        except PageError as error:
            logger.info("%s is left out: %s", scan.key, error)
            continue
        if page.truth is not None and page.truth.lines:
            found.append(score_page(scorer, page))
    return found


def settle(network: keras.Model, material: Material, cache: Path, out: Path) -> dict[str, Any]:
    """Calibrate a trained network on the validation scans, export it and find its operating points.

    Returns:
        `calibration` (scale and shift) and `operating_points`.
    """
    scorer = NetworkScorer(network)
    scale, shift = calibrate(network, score_scans(scorer, material.validation_scans, cache))
    points = operating_points(score_scans(scorer, material.validation_scans, cache))
    export_network(network, out)
    return {"calibration": {"scale": round(scale, 4), "shift": round(shift, 4)}, "operating_points": points}


def write_metrics(
    out: Path,
    material: Material,
    course: Course,
    history: Sequence[Mapping[str, float]],
    settled: Mapping[str, Any],
    seconds: float,
) -> None:
    """Write `metrics.json`: what was trained on, how, and what validation said."""
    training = {
        "seed": course.seed,
        "epochs": len(history),
        "batches_per_epoch": course.batches_per_epoch,
        "pages": len(material.training_scans),
        "rendered_pages": sum(page.scan.collection == RENDERED for page in material.training),
        "validation_pages": len(material.validation_scans),
        "validation_keys": sorted(scan.key for scan in material.validation_scans),
        "validation_documents": sorted({scan.document for scan in material.validation_scans}),
        "collections": sorted({scan.collection for scan in (*material.training_scans, *material.validation_scans)}),
        "backbone": BACKBONE,
        "backbone_sha256": hashlib.sha256(course.weights.read_bytes()).hexdigest() if course.weights else None,
        "keras": keras.__version__,
        "seconds": round(seconds),
        "history": list(history),
    }
    out.mkdir(parents=True, exist_ok=True)
    metrics = {"training": training, **settled}
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
