"""Test the ablation tables: contents of a row, and resumption of an interrupted run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from benchmarks import importance
from benchmarks.importance import ABLATIONS_FILE, app
from foliopress.model.dataset import RENDERED
from foliopress.model.evaluation import METRICS_FILE
from foliopress.model.recipe import TrainingData
from foliopress.model.training import TrainingOptions
from tests.model.made_up import labelled, scored

ROWS = [
    "network and OCR mask (as shipped)",
    "the same network, alone",
    "OCR mask alone",
    "trained without the mask channel",
    "trained without the ImageNet start",
    "trained without drawn pages",
]


def test_networks_are_compared_by_what_they_free_where_they_find_the_same_text() -> None:
    page = scored("pbb", [0.9, 0.3, 0.01])
    row = importance._with_equal_recall([page], 0.2, "model")
    assert (row["recall_printed"], row["freed_blank"]) == (1.0, 0.5)
    assert row["freed_blank_at_equal_recall"] == 1.0


class Trainings:
    """Replacement for training that records each call, and fails for one name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.courses: list[TrainingOptions] = []
        self.pages: list[list[str]] = []
        self.fails_at = 0
        drawn = labelled(2, f"{RENDERED}/one")
        drawn = replace(drawn, scan=replace(drawn.scan, collection=RENDERED))
        training_data = TrainingData([labelled(1), drawn], [labelled(3)], [], [])
        monkeypatch.setattr(importance, "find_scans", lambda *_: [])
        monkeypatch.setattr(importance, "data_folder", lambda data: data)
        monkeypatch.setattr(importance, "find_training_scans", lambda *_: ((), ()))
        monkeypatch.setattr(importance, "load_training_data", lambda *_: training_data)
        monkeypatch.setattr(importance, "weights_file", lambda weights: weights)
        monkeypatch.setattr(importance, "load_scorer", lambda *_: SimpleNamespace())
        monkeypatch.setattr(importance, "NetworkScorer", lambda *_, **__: SimpleNamespace())
        monkeypatch.setattr(importance, "score_scans", lambda *_: [scored("pbb", [0.9, 0.3, 0.01], "010")])
        monkeypatch.setattr(importance, "_calibrated_threshold", lambda *_: 0.2)
        monkeypatch.setattr(importance, "_fitted", self._fitted)

    def _fitted(self, training_data: TrainingData, options: TrainingOptions) -> Any:
        self.courses.append(options)
        self.pages.append([page.scan.document for page in training_data.training_pages])
        if len(self.courses) == self.fails_at:
            raise MemoryError
        return SimpleNamespace()


def test_each_network_lacks_one_part_and_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [{"profile": "smallest", "threshold": 0.5}, {"profile": "access", "threshold": 0.2}]
    (tmp_path / METRICS_FILE).write_text(json.dumps({"operating_points": points}))
    trainings = Trainings(monkeypatch)
    arguments = ["ablations", "--out", str(tmp_path), "--weights", str(tmp_path)]

    trainings.fails_at = 2
    assert CliRunner().invoke(app, arguments).exit_code == 1
    written = json.loads((tmp_path / ABLATIONS_FILE).read_text())
    assert [row["name"] for row in written] == ROWS[:4]
    assert [row["threshold"] for row in written[:3]] == [0.2] * 3
    assert [row["recall_printed"] for row in written[:3]] == [1.0, 1.0, 0.0]

    trainings.fails_at = 0
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert [row["name"] for row in json.loads((tmp_path / ABLATIONS_FILE).read_text())] == ROWS
    without_mask, _, without_weights, without_drawn = trainings.courses
    assert not without_mask.with_mask and without_mask.weights == tmp_path
    assert without_weights.weights is None and without_weights.with_mask
    assert without_drawn.weights == tmp_path and trainings.pages[-1] == ["c/d"]
