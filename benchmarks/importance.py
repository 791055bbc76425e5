"""Measure ablations of the network, and its recall on unseen documents: tables for the model card.

python -m benchmarks.importance ablations --out model/weights
python -m benchmarks.importance leave-one-out --out model/weights

Both train networks as `foliopress train` does, and write a JSON table next to the model; `foliopress evaluate` adds it
to the card. An existing table is extended, so an interrupted run can be resumed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import keras
import typer

from foliopress.model.dataset import RENDERED
from foliopress.model.evaluation import METRICS_FILE
from foliopress.model.metrics import SHIPPED_DECIDER, ScoredPage, summary
from foliopress.model.network import weights_file
from foliopress.model.operating_points import NetworkScorer, calibrate, default_threshold, operating_points
from foliopress.model.recipe import RENDERED_PAGES, TrainingData, find_training_scans, load_training_data, score_scans
from foliopress.model.scoring import load_scorer
from foliopress.model.training import BATCHES_PER_EPOCH, EPOCHS, TrainingOptions, fit_network
from foliopress.model.truth import Scan, data_folder, find_scans, read_truth

app = typer.Typer(add_completion=False, help=__doc__)

ABLATIONS_FILE = "ablations.json"
LEAVE_ONE_OUT_FILE = "leave_one_out.json"

RECALL_TO_COMPARE_AT = 0.999
"""Recall of all text, printed and handwritten, at which networks are compared by their freed shares."""
_HALVINGS = 16

Data = Annotated[Path | None, typer.Option(help="Folder of scans with ground truth(default: FOLIOPRESS_DATA).")]
Weights = Annotated[Path | None, typer.Option(help="Folder of the ImageNet backbone(default: FOLIOPRESS_WEIGHTS).")]
Cache = Annotated[Path, typer.Option(help="Cache folder.")]
Out = Annotated[Path, typer.Option(help="Folder of the table.")]
Epochs = Annotated[int, typer.Option(min=1, help="Maximum epochs per training.")]
Batches = Annotated[int, typer.Option(min=1, help="Batches per epoch.")]
Rendered = Annotated[int, typer.Option(min=0, help="Synthetic pages to draw in addition to the scans.")]


@app.command()
def ablations(
    out: Out,
    data: Data = None,
    weights: Weights = None,
    cache: Cache = Path(".cache"),
    epochs: Epochs = EPOCHS,
    batches: Batches = BATCHES_PER_EPOCH,
    rendered: Rendered = RENDERED_PAGES,
) -> None:
    """Measure on the test split: the model in OUT, network and OCR mask separately, and networks without one part."""
    logging.basicConfig(level=logging.INFO)
    table = _Table(out / ABLATIONS_FILE, "name")
    test = [scan for scan in find_scans(data_folder(data), "test") if scan.truth and read_truth(scan.truth).lines]
    if not table.has("OCR mask alone"):
        scored = score_scans(load_scorer(str(out), "litert-cpu"), test, cache)
        threshold = default_threshold(json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))["operating_points"])
        table.add(
            {"name": "network and OCR mask (as shipped)", **_with_equal_recall(scored, threshold, SHIPPED_DECIDER)}
        )
        table.add({"name": "the same network, alone", **_with_equal_recall(scored, threshold, "model")})
        table.add({"name": "OCR mask alone", **_at(scored, threshold, "mask")})
    training_data = load_training_data(*find_training_scans(data, cache), cache, 1, rendered)
    options = TrainingOptions(weights_file(weights), epochs=epochs, batches_per_epoch=batches)
    drawn = {page.scan.document for page in training_data.training_pages if page.scan.collection == RENDERED}
    trials = {
        "trained without the mask channel": (training_data, replace(options, with_mask=False)),
        "trained without the ImageNet start": (training_data, replace(options, weights=None)),
        "trained without drawn pages": (training_data.without(drawn), options),
    }
    for name, (pages, how) in trials.items():
        if table.has(name):
            continue
        network = _fitted(pages, how)
        scorer = NetworkScorer(network, with_mask=how.with_mask)
        threshold = _calibrated_threshold(network, scorer, pages, cache)
        scored = score_scans(scorer, test, cache)
        table.add({"name": name, **_with_equal_recall(scored, threshold, "model")})


@app.command()
def leave_one_out(
    out: Out,
    data: Data = None,
    weights: Weights = None,
    cache: Cache = Path(".cache"),
    epochs: Epochs = EPOCHS,
    batches: Batches = BATCHES_PER_EPOCH,
    rendered: Rendered = RENDERED_PAGES,
) -> None:
    """Train without each document that has handwriting, then measure recall on its handwriting."""
    logging.basicConfig(level=logging.INFO)
    table = _Table(out / LEAVE_ONE_OUT_FILE, "document")
    training, validation = find_training_scans(data, cache)
    training_data = load_training_data(training, validation, cache, 1, rendered)
    options = TrainingOptions(weights_file(weights), epochs=epochs, batches_per_epoch=batches)
    for document in sorted({scan.document for scan in (*training, *validation) if _has_handwriting(scan)}):
        if table.has(document):
            continue
        left = [scan for scan in (*training, *validation) if scan.document == document]
        pages = training_data.without({document})
        network = _fitted(pages, options)
        scorer = NetworkScorer(network)
        threshold = _calibrated_threshold(network, scorer, pages, cache)
        table.add({"document": document, **_at(score_scans(scorer, left, cache), threshold, SHIPPED_DECIDER)})


class _Table:
    """Rows in a JSON file, written after each."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self.rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def has(self, name: str) -> bool:
        """Return whether such a row exists."""
        return any(row[self._key] == name for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self.rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
        logging.info("%s", row)


def _fitted(training_data: TrainingData, options: TrainingOptions) -> keras.Model:
    keras.backend.clear_session()
    return fit_network(training_data.training_pages, training_data.validation_pages, options)[0]


def _calibrated_threshold(
    network: keras.Model, scorer: NetworkScorer, training_data: TrainingData, cache: Path
) -> float:
    """Calibrate on the validation scans and return the default profile's threshold there."""
    calibrate(network, score_scans(scorer, training_data.validation_scans, cache))
    return default_threshold(operating_points(score_scans(scorer, training_data.validation_scans, cache)))


def _at(pages: Sequence[ScoredPage], threshold: float, decider: str) -> dict[str, Any]:
    found = {name: value for name, value in summary(pages, threshold, decider).items() if value is not None}
    return {"threshold": threshold, **found}


def _with_equal_recall(pages: Sequence[ScoredPage], threshold: float, decider: str) -> dict[str, Any]:
    """Return `_at`, and the shares freed at the highest threshold that finds `RECALL_TO_COMPARE_AT` of all text."""
    lowest, highest = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (lowest + highest) / 2
        found = sum(int((page.kept(middle)[decider] & page.text).sum()) for page in pages)
        if found >= RECALL_TO_COMPARE_AT * sum(int(page.text.sum()) for page in pages):
            lowest = middle
        else:
            highest = middle
    freed = {f"{name}_at_equal_recall": value for name, value in _at(pages, lowest, decider).items() if "freed" in name}
    return {**_at(pages, threshold, decider), **freed}


def _has_handwriting(scan: Scan) -> bool:
    return scan.truth is not None and any(line.kind == "handwritten" for line in read_truth(scan.truth).lines)


if __name__ == "__main__":
    app()
