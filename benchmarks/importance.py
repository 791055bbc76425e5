"""What the network owes to its parts, and how it does on documents it never saw: tables for the model card.

python -m benchmarks.importance ablations --out model/weights
python -m benchmarks.importance leave-one-out --out model/weights

Both train networks anew, by the recipe of `foliopress train` but a shorter course, and write a JSON table beside the
model; `foliopress evaluate` puts it into the card. A table that is there already is added to, so a stopped run goes on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import keras
import typer

from model.dataset import RENDERED
from model.evidence import SHIPPED_DECIDER, ScoredPage, summary
from model.network import weights_file
from model.operating import DEFAULT_PROFILE, NetworkScorer, calibrate, operating_points
from model.recipe import RENDERED_PAGES, Material, find_material_scans, gather, score_scans
from model.training import BATCHES_PER_EPOCH, EPOCHS, Course, fit_network
from model.truth import Scan, data_folder, find_scans, read_truth

app = typer.Typer(add_completion=False, help=__doc__)

ABLATIONS_FILE = "ablations.json"
LEAVE_ONE_OUT_FILE = "leave_one_out.json"

Data = Annotated[Path | None, typer.Option(help="Folder of scans with ground truth; else FOLIOPRESS_DATA.")]
Weights = Annotated[Path | None, typer.Option(help="Folder of the ImageNet backbone; else FOLIOPRESS_WEIGHTS.")]
Cache = Annotated[Path, typer.Option(help="Folder for what is worked out once.")]
Out = Annotated[Path, typer.Option(help="Folder of the table.")]
Epochs = Annotated[int, typer.Option(min=1, help="Most epochs of each training.")]
Batches = Annotated[int, typer.Option(min=1, help="Batches in an epoch.")]
Rendered = Annotated[int, typer.Option(min=0, help="Pages to draw, beside the scans.")]


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
    """Measure on the test split: OCR mask alone, network without mask, without ImageNet, without drawn pages, all."""
    logging.basicConfig(level=logging.INFO)
    table = _Table(out / ABLATIONS_FILE, "name")
    material = gather(*find_material_scans(data, cache), cache, 1, rendered)
    test = [scan for scan in find_scans(data_folder(data), "test") if scan.truth and read_truth(scan.truth).lines]
    course = Course(weights_file(weights), epochs=epochs, batches_per_epoch=batches)
    drawn = {page.scan.document for page in material.training if page.scan.collection == RENDERED}
    trials = {
        "network with mask": (material, course),
        "network without the mask channel": (material, Course(course.weights, 1, epochs, batches, with_mask=False)),
        "network without ImageNet": (material, Course(None, 1, epochs, batches)),
        "network without drawn pages": (material.without(drawn), course),
    }
    for name, (pages, how) in trials.items():
        if table.has(name):
            continue
        network = _fitted(pages, how)
        scorer = NetworkScorer(network, with_mask=how.with_mask)
        points = _settled(network, scorer, pages, cache)
        scored = score_scans(scorer, test, cache)
        decider = SHIPPED_DECIDER if how.with_mask else "model"
        table.add({"name": name, **_at(scored, points["threshold"], decider)})
        if name == "network with mask":
            table.add({"name": "the same, network alone", **_at(scored, points["threshold"], "model")})
            table.add({"name": "OCR mask alone", **_at(scored, 1.0, "mask")})


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
    """Train without each document that has handwriting, then find its handwriting."""
    logging.basicConfig(level=logging.INFO)
    table = _Table(out / LEAVE_ONE_OUT_FILE, "document")
    training, validation = find_material_scans(data, cache)
    material = gather(training, validation, cache, 1, rendered)
    course = Course(weights_file(weights), epochs=epochs, batches_per_epoch=batches)
    for document in sorted({scan.document for scan in (*training, *validation) if _has_handwriting(scan)}):
        if table.has(document):
            continue
        left = [scan for scan in (*training, *validation) if scan.document == document]
        pages = material.without({document})
        network = _fitted(pages, course)
        scorer = NetworkScorer(network)
        threshold = _settled(network, scorer, pages, cache)["threshold"]
        table.add({"document": document, **_at(score_scans(scorer, left, cache), threshold, SHIPPED_DECIDER)})


class _Table:
    """Rows in a JSON file, written after each."""

    def __init__(self, path: Path, key: str) -> None:
        self._path, self._key = path, key
        self.rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []

    def has(self, name: str) -> bool:
        """Say whether there is such a row already."""
        return any(row[self._key] == name for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Add a row."""
        self.rows.append(row)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
        logging.info("%s", row)


def _fitted(material: Material, course: Course) -> keras.Model:
    keras.backend.clear_session()
    return fit_network(material.training, material.held_out, course)[0]


def _settled(network: keras.Model, scorer: NetworkScorer, material: Material, cache: Path) -> dict[str, Any]:
    """Calibrate on the validation scans and return the default profile's operating point there."""
    calibrate(network, score_scans(scorer, material.validation_scans, cache))
    points = operating_points(score_scans(scorer, material.validation_scans, cache))
    return next(point for point in points if point["profile"] == DEFAULT_PROFILE)


def _at(pages: Sequence[ScoredPage], threshold: float, decider: str) -> dict[str, Any]:
    found = {name: value for name, value in summary(pages, threshold, decider).items() if value is not None}
    return {"threshold": threshold, **found}


def _has_handwriting(scan: Scan) -> bool:
    return scan.truth is not None and any(line.kind == "handwritten" for line in read_truth(scan.truth).lines)


if __name__ == "__main__":
    app()
