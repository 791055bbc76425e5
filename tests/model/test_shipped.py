"""Test the shipped model's metrics, and the settings that depend on them."""

from __future__ import annotations

import hashlib
import json

import pytest

from foliopress.configs.loading import load_settings
from foliopress.model.card import card, read_tables
from foliopress.model.operating_points import TARGETS
from foliopress.model.scoring import LITERT_FILE, SHIPPED

METRICS = json.loads((SHIPPED / "metrics.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("point", METRICS["operating_points"], ids=lambda point: point["profile"])
def test_each_profiles_threshold_is_the_one_chosen_on_the_validation_pages(point: dict[str, float]) -> None:
    assert load_settings(point["profile"]).importance.threshold == point["threshold"]
    target = TARGETS[point["profile"]]
    assert point["recall_printed"] >= target.printed
    assert point["recall_handwritten"] >= target.handwritten
    assert point["worst_recall_printed"] >= target.worst_printed


def test_every_profile_has_an_operating_point() -> None:
    assert sorted(point["profile"] for point in METRICS["operating_points"]) == sorted(TARGETS)


def test_no_test_page_chose_a_threshold() -> None:
    chosen_on = set(METRICS["training"]["validation_keys"])
    tested_on = {page["key"] for page in METRICS["evaluation"]["per_page"]}
    assert len(chosen_on) > 10 and len(tested_on) > 20
    assert not chosen_on & tested_on


def test_the_figures_are_those_of_the_shipped_weights() -> None:
    digest = hashlib.sha256((SHIPPED / LITERT_FILE).read_bytes()).hexdigest()
    assert METRICS["evaluation"]["weights_sha256"] == digest
    assert METRICS["evaluation"]["threshold"] == load_settings("access").importance.threshold


def test_the_card_says_what_the_figures_say() -> None:
    assert (SHIPPED / "CARD.md").read_text(encoding="utf-8") == card(METRICS, read_tables(SHIPPED))
