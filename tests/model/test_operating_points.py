"""Test that calibration recovers a known curve, and that operating points are the highest valid thresholds."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from foliopress.model.metrics import ScoredPage
from foliopress.model.network import build_network
from foliopress.model.operating_points import NetworkScorer, Target, calibrate, fit_logistic, operating_points
from foliopress.model.scoring import logit, score_planes
from foliopress.model.tile_truth import TileTruth
from foliopress.tasks.analysis.page_kinds import PageKind
from foliopress.tasks.analysis.tiles import TileGrid


def page(scores: list[float], text: list[bool], hand: list[bool] | None = None) -> ScoredPage:
    """Return one row of tiles; those without text are bare."""
    printed, by_hand = np.array(text), np.array(hand or [False] * len(text))
    no, bare = np.zeros(len(text), bool), ~(printed | by_hand)
    truth = TileTruth(printed, by_hand, no, no, printed | by_hand, bare, bare)
    grid = TileGrid(32, 32 * len(text), 32)
    picture = np.zeros((13, 13 * len(text)), np.uint8)
    return ScoredPage("c/a.jpg", PageKind.GREY, grid, picture, np.array(scores, np.float32), no, truth)


def test_the_fitted_curve_is_the_one_that_the_labels_were_drawn_from() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 3, 60_000)
    important = rng.random(60_000) < 1 / (1 + np.exp(-(0.6 * logits - 1.2)))
    scale, shift = fit_logistic(logits, important)
    assert scale == pytest.approx(0.6, abs=0.03)
    assert shift == pytest.approx(-1.2, abs=0.05)


def test_perfectly_parted_tiles_and_a_single_class_give_finite_curves() -> None:
    scale, shift = fit_logistic(np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True]))
    assert np.isfinite([scale, shift]).all() and scale > 0
    assert fit_logistic(np.array([1.0, 2.0]), np.array([True, True])) == (1.0, 0.0)


def test_scores_that_fall_with_importance_are_left_as_they_are() -> None:
    logits = np.array([-2.0, -1.0, 1.0, 2.0, 0.5])
    assert fit_logistic(logits, np.array([True, True, False, False, True])) == (1.0, 0.0)


def test_calibrating_moves_the_networks_scores_along_the_curve_and_keeps_their_order() -> None:
    keras.utils.set_random_seed(3)
    network = build_network()
    head = network.get_layer("importance")
    kernel, bias = head.get_weights()
    head.set_weights([kernel * 10_000, bias + 0.5])  # a fresh network gives almost the same output for everything
    rng = np.random.default_rng(2)
    plane = rng.integers(0, 256, (256, 256, 4), np.uint8)
    grid = TileGrid(256, 256, 32)
    before = score_planes(NetworkScorer(network), [(plane, grid)])[0]
    text = before + rng.normal(0, before.std(), 64) > np.quantile(before, 0.75)
    scale, shift = calibrate(network, [page(before.tolist(), text.tolist())])
    after = score_planes(NetworkScorer(network), [(plane, grid)])[0]
    assert after == pytest.approx(1 / (1 + np.exp(-(scale * logit(before.astype(np.float64)) + shift))), abs=1e-3)
    assert after.mean() == pytest.approx(text.mean(), abs=0.03)  # as many as there are
    assert np.abs(after - before).max() > 0.05


def test_an_operating_point_is_the_highest_threshold_that_keeps_what_it_must() -> None:
    # tiles in a row: each tile that is only just text has a certain one next to it, as have two of the bare ones
    scores = [0.9] * 7 + [0.3, 0.9, 0.06, 0.2, 0.9, 0.04, 0.01]
    text = [True] * 10 + [False, True, False, False]
    pages = [page(scores, text)]
    targets = {"most": Target(0.9, 0.0, 0.0), "all": Target(1.0, 0.0, 0.0)}
    most, every = operating_points(pages, targets)
    assert 0.28 < most["threshold"] <= 0.3
    assert most["recall_printed"] == round(10 / 11, 5) and most["freed_blank"] == 1.0
    assert 0.057 < every["threshold"] <= 0.06
    assert every["recall_printed"] == 1.0 and every["freed_blank"] == round(2 / 3, 5)


def test_handwriting_and_the_worst_page_count_too() -> None:
    pages = [
        page([0.9] * 30 + [0.02], [True] * 30 + [False], [False] * 31),
        page([0.9] * 19 + [0.2, 0.9, 0.07], [True] * 20 + [False] * 2, [False] * 20 + [True] * 2),
    ]
    assert operating_points(pages, {"x": Target(0.9, 0.0, 0.0)})[0]["threshold"] == 0.5
    assert operating_points(pages, {"x": Target(0.9, 0.0, 0.99)})[0]["threshold"] == pytest.approx(0.2, rel=0.1)
    assert operating_points(pages, {"x": Target(0.9, 1.0, 0.0)})[0]["threshold"] == pytest.approx(0.07, rel=0.1)


def test_a_target_out_of_reach_takes_the_finest_threshold() -> None:
    assert operating_points([page([0.0], [True])], {"x": Target(1.0, 1.0, 1.0)})[0]["threshold"] == 1e-4
