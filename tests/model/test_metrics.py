"""Test the metrics of scored pages, calculated by hand on pages of a few tiles."""

from __future__ import annotations

import pytest

from foliopress.model.metrics import (
    CALIBRATION_EDGES,
    CURVE_THRESHOLDS,
    calibration,
    count_tiles,
    curve,
    kind_recalls,
    rotation_falls,
    shares,
    summary,
    worst_pages,
)
from foliopress.model.tile_truth import TileTruth
from foliopress.tasks.analysis.page_kinds import PageKind
from tests.model.made_up import flags, scored


def row_at(rows: list[dict[str, float | None]], threshold: float) -> dict[str, float | None]:
    return next(row for row in rows if row["threshold"] == threshold)


def test_recall_counts_all_text_and_freeing_only_unmarked_tiles_of_pages_that_are_rescaled() -> None:
    truth = TileTruth(
        printed=flags("110000"),
        handwritten=flags("001000"),
        typewritten=flags("100000"),
        graphic=flags("000000"),
        marked=flags("111100"),
        blank=flags("000110"),
        little_ink=flags("000111"),
    )
    counts = count_tiles(flags("100001"), truth, may_free=True)
    right = {"printed": 1, "handwritten": 0, "blank": 1, "other": 1}
    present = {"n_printed": 2, "n_handwritten": 1, "n_blank": 1, "n_other": 2}
    assert counts == right | present
    assert shares(counts)["recall_printed"] == 0.5
    kept = count_tiles(flags("100001"), truth, may_free=False)
    assert (kept["n_printed"], kept["n_blank"]) == (2, 0)
    assert shares(kept)["freed_blank"] is None


def test_a_summary_pools_tiles_and_names_the_worst_page_of_twenty_printed_tiles() -> None:
    large = scored("p" * 20, [0.9] * 15 + [0.01] * 5)
    small = scored("pph", [0.01, 0.01, 0.9])
    found = summary([large, small], 0.05, "model")
    assert (found["recall_printed"], found["n_printed"]) == (round(15 / 22, 5), 22)
    assert (found["recall_handwritten"], found["n_handwritten"]) == (1.0, 1)
    assert found["worst_recall_printed"] == 0.75
    assert found["freed_blank"] is None
    assert summary([small], 0.05, "model")["worst_recall_printed"] is None


def test_each_kind_is_counted_with_what_network_mask_and_both_keep() -> None:
    pages = [scored("ptth", [0.9, 0.9, 0.01, 0.01], "0110"), scored("ggb", [0.5, 0.04, 0.9], "000")]
    found = kind_recalls(pages, 0.05)
    assert found == {
        "printed": {"count": 3, "model": round(2 / 3, 5), "mask": round(2 / 3, 5), "model_or_mask": 1.0},
        "typewritten": {"count": 2, "model": 0.5, "mask": 1.0, "model_or_mask": 1.0},
        "handwritten": {"count": 1, "model": 0.0, "mask": 0.0, "model_or_mask": 0.0},
        "stamp_or_graphic": {"count": 2, "model": 0.5, "mask": 0.0, "model_or_mask": 0.5},
    }


def test_the_curve_of_six_tiles_worked_out_by_hand() -> None:
    page = scored("pphlbi", [0.9, 0.3, 0.6, 0.5, 0.01, 0.99])
    rows = curve([page], 0.05)
    assert row_at(rows, 0.4) == {
        "threshold": 0.4,
        "precision": round(
            2 / 3, 5
        ),  # a printed and the handwritten tile, and the one with little ink; other ink is not counted
        "recall": round(2 / 3, 5),
        "recall_printed": 0.5,
        "recall_handwritten": 1.0,
        "freed_blank": 1.0,
        "freed_other": 0.5,
    }
    assert row_at(rows, 0.001)["precision"] == 0.6
    assert row_at(rows, 0.001)["freed_other"] == 0.0
    assert row_at(rows, 0.98)["precision"] is None
    assert row_at(rows, 0.98)["recall"] == 0.0


def test_bare_paper_of_pages_that_are_not_rescaled_counts_for_precision_but_is_not_freed() -> None:
    row = row_at(curve([scored("pb", [0.9, 0.9], page_kind=PageKind.BITONAL)], 0.05), 0.05)
    assert row["precision"] == 0.5
    assert row["freed_blank"] is None


def test_the_curve_holds_the_operating_point_once() -> None:
    page = scored("pb", [0.9, 0.1])
    assert [row["threshold"] for row in curve([page], 0.05)] == list(CURVE_THRESHOLDS)
    assert [row["threshold"] for row in curve([page], 0.0421)] == sorted([*CURVE_THRESHOLDS, 0.0421])
    assert len(CURVE_THRESHOLDS) == 40


def test_calibration_worked_out_by_hand() -> None:
    # Between 0.35 and 0.5: mean score 0.425, one of two is text. In the last bin: 1.0 and 0.99, both text. Other ink
    # is excluded.
    page = scored("pbhpi", [0.4, 0.45, 1.0, 0.99, 0.4])
    found = calibration([page])
    filled = [row for row in found["bins"] if row["count"]]
    assert filled == [
        {"from": 0.35, "to": 0.5, "mean_score": 0.425, "share_important": 0.5, "count": 2},
        {"from": 0.98, "to": 1.0, "mean_score": 0.995, "share_important": 1.0, "count": 2},
    ]
    assert found["expected_error"] == pytest.approx((2 * 0.075 + 2 * 0.005) / 4, abs=1e-5)
    assert found["tiles"] == 4
    assert len(found["bins"]) == 12
    assert found["bins"][0]["mean_score"] is None
    assert (CALIBRATION_EDGES[0], CALIBRATION_EDGES[-1]) == (0.0, 1.0)


def test_scores_that_are_probabilities_have_no_calibration_error() -> None:
    assert calibration([scored("pbbb", [0.25] * 4)])["expected_error"] == 0.0


def test_calibration_without_a_known_tile_says_nothing() -> None:
    assert calibration([scored("ii", [0.5, 0.5])])["expected_error"] is None


def test_a_fall_is_pooled_recall_lost_and_the_worst_page_is_named_with_its_tiles() -> None:
    upright = [scored("pppph", [0.9] * 5, key="a"), scored("tt", [0.9, 0.01], key="b")]
    turned = [scored("hpppp", [0.01, 0.9, 0.9, 0.9, 0.9], key="a"), scored("tt", [0.01, 0.01], "10", key="b")]
    row = rotation_falls(upright, turned, 90, 0.05)
    assert (row["degrees"], row["pages"], row["n_text"]) == (90, 2, 7)
    assert row["model"] == {
        "recall": round(4 / 7, 5),
        "recall_printed": round(4 / 6, 5),
        "recall_handwritten": 0.0,
        "recall_upright": round(6 / 7, 5),
        "fall": pytest.approx(2 / 7, abs=2e-5),
        "worst_page": {"key": "b", "fall": 0.5, "n_text": 2},
    }
    assert row["model_or_mask"]["recall"] == round(5 / 7, 5)
    assert row["model_or_mask"]["worst_page"] == {"key": "a", "fall": 0.2, "n_text": 5}


def test_pages_without_text_have_no_fall() -> None:
    row = rotation_falls([scored("bb", [0, 0])], [scored("bb", [0, 0])], 180, 0.05)
    assert row["model"]["fall"] is None
    assert row["model"]["worst_page"] is None


def test_the_worst_pages_are_half_for_lost_text_and_then_for_paper_kept() -> None:
    pages = [
        scored("ppbb", [0.9, 0.01, 0.9, 0.9], key="half lost"),
        scored("pppb", [0.9, 0.9, 0.01, 0.01], key="third lost"),
        scored("pbb", [0.9, 0.9, 0.01], key="half kept"),
        scored("plbb", [0.9, 0.9, 0.01, 0.01], key="third kept"),
        scored("pbb", [0.9, 0.9, 0.9], key="bitonal", page_kind=PageKind.BITONAL),
        scored("pb", [0.9, 0.01], key="faultless"),
    ]
    found = worst_pages(pages, 0.05)
    assert [(row["key"], row["for"]) for row in found] == [
        ("half lost", "text"),
        ("third lost", "text"),
        ("half kept", "paper"),
        ("third kept", "paper"),
    ]
    assert found[1] == {
        "key": "third lost",
        "page_kind": "grey",
        "for": "text",
        "recall": round(2 / 3, 5),
        "n_text": 3,
        "missed": 1,
        "freed": 1.0,
        "n_bare": 1,
        "kept": 0,
    }
    assert [row["key"] for row in worst_pages(pages, 0.05, most=2)] == ["half lost", "half kept"]
