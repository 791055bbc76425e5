"""Test that the model card contains what was measured and omits the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from foliopress.model.card import card, read_tables, write_card

FIGURES = {
    "recall_printed": 0.99,
    "n_printed": 300,
    "recall_handwritten": None,
    "n_handwritten": 0,
    "freed_blank": 0.975,
    "n_blank": 200,
    "freed_other": 0.95,
    "n_other": 250,
    "worst_recall_printed": 0.9,
}


def bare_evaluation() -> dict[str, Any]:
    return {
        "split": "test",
        "pages": 3,
        "threshold": 0.05,
        "weights_sha256": "ab" * 32,
        "model": FIGURES,
        "mask": {**FIGURES, "recall_printed": 0.8},
        "model_or_mask": {**FIGURES, "recall_printed": 0.995},
        "per_page": [],
    }


def headings(text: str) -> list[str]:
    return [line[3:] for line in text.splitlines() if line.startswith("## ")]


def one_line(text: str) -> str:
    return " ".join(text.split())


def test_a_card_of_an_evaluation_alone_has_its_figures_and_limits_and_nothing_else() -> None:
    text = card({"evaluation": bare_evaluation()})
    assert headings(text) == ["Metrics on the test split", "Limits"]
    assert "| OCR mask alone | 0.8000 | 0.9000 | – | 0.9750 | 0.9500 |" in text
    assert "Tiles: 300 printed, 0 handwritten, 200 blank, 250 of little ink." in text
    assert "ab" * 32 in text
    assert "their recall is not measured here" in one_line(text)


def test_kinds_without_a_tile_are_left_out_and_pictures_are_counted() -> None:
    none = {"count": 0, "model": None, "mask": None, "model_or_mask": None}
    kinds = {
        "printed": {"count": 300, "model": 0.99, "mask": 0.8, "model_or_mask": 0.995},
        "typewritten": {"count": 120, "model": 0.98, "mask": 0.7, "model_or_mask": 0.985},
        "handwritten": none,
        "stamp_or_graphic": {"count": 12, "model": 0.75, "mask": 0.0, "model_or_mask": 0.75},
    }
    text = card({"evaluation": {**bare_evaluation(), "kinds": kinds}})
    assert "| of these, typewritten | 120 | 0.9800 | 0.7000 | 0.9850 |" in text
    assert "| stamp or graphic | 12 | 0.7500 | 0.0000 | 0.7500 |" in text
    assert "| handwritten |" not in text
    assert "their recall is measured on only 12 tiles" in one_line(text)


def test_turned_pages_show_the_fall_and_the_page_that_suffers_most() -> None:
    found = {"recall": 0.98, "fall": 0.004, "worst_page": {"key": "c/images/a.jpg", "fall": 0.0125, "n_text": 80}}
    nothing = {"recall": None, "fall": None, "worst_page": None}
    rotated = [
        {"degrees": 90, "model_or_mask": found, "model": {**found, "fall": 0.005}},
        {"degrees": 180, "model_or_mask": nothing, "model": nothing},
    ]
    text = card({"evaluation": {**bare_evaluation(), "rotated": rotated}})
    assert "| 90° | 0.9800 | 0.0040 | 0.0125 of 80 tiles (a.jpg) | 0.0050 |" in text
    assert "| 180° | – | – | – | – |" in text


def test_calibration_counts_the_text_below_the_operating_point() -> None:
    bins = [
        {"from": 0.0, "to": 0.02, "mean_score": 0.01, "share_important": 0.001, "count": 1000},
        {"from": 0.02, "to": 0.05, "mean_score": 0.03, "share_important": 0.02, "count": 100},
        {"from": 0.05, "to": 1.0, "mean_score": 0.9, "share_important": 0.95, "count": 500},
    ]
    calibration = {"bins": bins, "expected_error": 0.0123, "tiles": 1600}
    text = one_line(card({"evaluation": {**bare_evaluation(), "calibration": calibration}}))
    assert "by 0.0123 on average (expected calibration error, 3 bins)" in text
    assert "3 of the 1100 tiles with a score below 0.05 hold text." in text


def test_operating_points_ablations_and_experiments_are_tables_of_whatever_columns_they_have() -> None:
    metrics = {
        "evaluation": bare_evaluation(),
        "operating_points": [{"profile": "access", "threshold": 0.05, "validation_recall": 0.999, "freed": 0.97}],
    }
    ablations = [
        {"name": "mask alone", "note": "no|network", "recall_printed": 0.8},
        {"name": "all", "recall_printed": 0.99, "freed_blank": None},
    ]
    experiments = [{"name": "margin of two tiles", "recall": 0.5, "epochs": 8}]
    text = card(metrics, {"ablations": ablations, "experiments": experiments})
    assert headings(text) == [
        "Metrics on the test split",
        "Operating points",
        "Ablations",
        "Experiments",
        "Limits",
    ]
    assert "| profile | threshold | validation recall | freed |" in text
    assert "| access | 0.0500 | 0.9990 | 0.9700 |" in text
    assert "| name | recall printed | freed blank | note |" in text
    assert "| mask alone | 0.8000 | – | no/network |" in text
    assert "| all | 0.9900 | – | – |" in text
    assert "| margin of two tiles | 0.5000 | 8 |" in text


def test_documents_left_out_are_pooled_by_their_tiles() -> None:
    rows = [
        {"document": "a", "n_handwritten": 300, "recall_handwritten": 0.9, "n_printed": 0, "recall_printed": None},
        {"document": "b", "n_handwritten": 100, "recall_handwritten": 1.0, "n_printed": 50, "recall_printed": 0.98},
    ]
    text = card({"evaluation": bare_evaluation()}, {"leave_one_out": rows})
    assert "| document | handwritten tiles | recall handwritten | printed tiles | recall printed |" in text
    assert "| a | 300 | 0.9000 | 0 | – |" in text
    assert "| all documents | 400 | 0.9250 | 50 | 0.9800 |" in text
    assert card({"evaluation": bare_evaluation()}, {"leave_one_out": [*rows, {"document": "pooled"}]}) == text


def test_a_training_is_told_with_its_pages_its_course_and_its_sources() -> None:
    training = {
        "pages": 55,
        "rendered_pages": 160,
        "validation_pages": 16,
        "seed": 1,
        "epochs": 2,
        "batches_per_epoch": 150,
        "seconds": 600,
        "history": [{"val_loss": 0.5}, {"val_loss": 0.25}, {"loss": 0.1}],
        "backbone_sha256": "c" * 64,
        "collections": ["tapuscorpus", "attic"],
    }
    full = one_line(card({"evaluation": bare_evaluation(), "training": training}))
    assert "55 pages, and 16 for validation, split by document; 160 synthetic pages" in full
    assert "Seed 1, 2 epochs of 150 batches of 16 patches of 49 tiles, 10 minutes." in full
    assert "Best epoch on validation: loss 0.2500." in full
    assert "`cccccccccccccccc`" in full
    assert "| tapuscorpus | HTR-United/tapuscorpus | CC-BY 4.0 |" in full
    assert "| attic | not named | not named |" in full
    assert "Backbone" not in card({"evaluation": bare_evaluation(), "training": training | {"backbone_sha256": None}})


def test_tables_are_read_from_beside_the_metrics_and_written_into_the_card(tmp_path: Path) -> None:
    (tmp_path / "experiments.json").write_text(json.dumps([{"name": "larger tiles", "recall": 0.1}]))
    (tmp_path / "metrics.json").write_text("{}")
    tables = read_tables(tmp_path)
    assert tables == {"experiments": [{"name": "larger tiles", "recall": 0.1}]}
    write_card(tmp_path, {"evaluation": bare_evaluation()}, tables)
    assert "| larger tiles | 0.1000 |" in (tmp_path / "CARD.md").read_text(encoding="utf-8")
