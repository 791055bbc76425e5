"""Test the training flow from a folder of marked scans to a model that the pipeline can use."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import foliopress.model.training
from foliopress.model.network import ALPHA, WEIGHTS_FILE
from foliopress.model.scoring import KERAS_FILE, LITERT_FILE, load_scorer, score_planes
from foliopress.tasks.analysis.tiles import TileGrid

pytestmark = pytest.mark.usefixtures("prefect_api")


@pytest.fixture
def marked_scans(tmp_path: Path, draw_page: Callable[[str], Image.Image]) -> Path:
    """Six pages to train on and one to test on, each with the boxes of its four lines."""
    folder = tmp_path / "data"
    (folder / "made-up").mkdir(parents=True)
    rows = []
    for number in range(7):
        stem = f"made-up/{number:03d}"
        draw_page(f"Page {number}").save(folder / f"{stem}.png", dpi=(100, 100))
        tops = [50 + 50 * line for line in range(4)]
        boxes = [f"40,{top},240,{top},240,{top + 26},40,{top + 26},Page {number}" for top in tops]
        (folder / f"{stem}.csv").write_text("\n".join(boxes))
        split = "test" if number == 6 else "train"
        rows += [(f"{stem}.png", split, "image"), (f"{stem}.csv", split, "truth")]
    with (folder / "manifest.csv").open("w", newline="") as table:
        csv.writer(table).writerows([("path", "split", "role"), *rows])
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Path:
    """Weights of a three-channel backbone."""
    backbone = keras.applications.MobileNetV2((96, 96, 3), alpha=ALPHA, include_top=False, weights=None)
    backbone.save_weights(tmp_path / WEIGHTS_FILE)
    return tmp_path / WEIGHTS_FILE


@pytest.fixture
def train(
    marked_scans: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], dict[str, Any]]:
    """Train for a few batches into `model` in the test's folder."""
    from foliopress.flows.train import TrainingRequest, train_importance

    monkeypatch.setattr(foliopress.model.training, "_HEAD_BATCHES", 2)
    folders = (tmp_path / "model", marked_scans, start, tmp_path / "cache")
    request = TrainingRequest(*folders, epochs=1, batches_per_epoch=1, rendered_pages=1)
    return lambda: train_importance(request)


@pytest.mark.long
def test_marked_scans_become_a_model_with_its_figures_and_card(
    train: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "model"
    metrics = train()
    training = metrics["training"]
    assert (training["pages"], training["validation_pages"], training["rendered_pages"]) == (5, 1, 1)
    assert [point["profile"] for point in metrics["operating_points"]] == [
        "preservation",
        "access",
        "compatible",
        "smallest",
    ]
    assert metrics["evaluation"]["pages"] == 1
    assert metrics["evaluation"]["model_or_mask"]["n_printed"] > 20
    assert [row["degrees"] for row in metrics["evaluation"]["rotated"]] == [90, 180, 270]
    assert json.loads((out / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    assert "1 for validation" in (out / "CARD.md").read_text()
    assert (out / KERAS_FILE).is_file()
    scores = score_planes(
        load_scorer(str(out), "litert-cpu"), [(np.zeros((64, 32, 4), np.uint8), TileGrid(64, 32, 32))]
    )
    assert scores[0].shape == (2,)


@pytest.mark.slow
def test_a_finished_training_is_evaluated_again_and_not_done_again(
    train: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    history = train()["training"]["history"]
    before = (tmp_path / "model" / LITERT_FILE).read_bytes()
    assert train()["training"]["history"] == history
    assert (tmp_path / "model" / LITERT_FILE).read_bytes() == before
