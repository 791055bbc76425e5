"""Test the evaluation of a small folder of synthetic scans, with stubs for the network and Tesseract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ImportanceSettings, OcrSettings
from foliopress.model import evaluation
from foliopress.model.evaluation import EvaluationRequest, evaluate_model
from foliopress.model.metrics import CURVE_THRESHOLDS
from foliopress.tasks.analysis.tiles import CORE_PX, TileGrid
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition
from foliopress.tasks.ocr.recognition import Word

DIGEST = "0123456789abcdef" * 4


def share_of_ink(_scorer: object, planes: Sequence[tuple[np.ndarray, TileGrid]]) -> list[np.ndarray]:
    """Score ink only: 0.9 for a tile with a dark pixel, else 0.01."""
    scores = []
    for plane, grid in planes:
        blocks = plane[..., 0].reshape(grid.n_rows, CORE_PX, grid.n_cols, CORE_PX)
        scores.append(np.where(blocks.min(axis=(1, 3)) < 128, 0.9, 0.01).astype(np.float32).ravel())
    return scores


def blind_to_standing_strokes(scorer: object, planes: Sequence[tuple[np.ndarray, TileGrid]]) -> list[np.ndarray]:
    """Score ink only on pages that are wider than high."""
    found = share_of_ink(scorer, planes)
    return [
        scores if grid.n_cols > grid.n_rows else scores * 0 for scores, (_, grid) in zip(found, planes, strict=True)
    ]


def read_nothing(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[Word, ...]:
    return ()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a split of one page, 192 x 320 pixels: a line of stripes, a tile of unmarked ink, paper."""
    folder = tmp_path / "data"
    for name in ("images", "truth"):
        (folder / "c" / name).mkdir(parents=True)
    page = np.tile(np.linspace(150, 235, 320).astype(np.uint8), (192, 1))  # shaded, so that it is not a two-tone page
    page[32:64, 32:160:2] = 20
    page[128:160, 256:288:2] = 20
    cv2.imwrite(str(folder / "c" / "images" / "a.png"), page)
    (folder / "c" / "truth" / "a.csv").write_text("32,32,159,32,159,63,32,63,Total 1234")
    (folder / "manifest.csv").write_text("path,split,role\nc/images/a.png,test,image\nc/truth/a.csv,test,truth\n")
    scorer = SimpleNamespace(digest=DIGEST)
    monkeypatch.setattr(evaluation, "load_scorer", lambda folder, kind: scorer)
    monkeypatch.setattr(evaluation, "score_planes", share_of_ink)
    monkeypatch.setattr(evaluation, "SHIPPED", tmp_path / "shipped")
    for name in (
        "read_words_cached",
        "read_rotated_cached",
    ):  # they start processes; words are also read one by one
        monkeypatch.setattr(evaluation, name, lambda *_: None)
    monkeypatch.setattr(recognition, "read_words", read_nothing)
    monkeypatch.setattr(recognition, "estimate_dpi", lambda *_: 150.0)
    return folder


def test_a_folder_is_evaluated_to_figures_and_a_card(data: Path, tmp_path: Path) -> None:
    metrics = evaluate_model(EvaluationRequest(tmp_path / "cache", data), tmp_path / "out")
    found = metrics["evaluation"]
    assert (found["pages"], found["split"], found["threshold"]) == (1, "test", ImportanceSettings().threshold)
    assert found["model"] == {
        "recall_printed": 1.0,
        "n_printed": 4,
        "recall_handwritten": None,
        "n_handwritten": 0,
        "freed_blank": 1.0,
        "n_blank": 6 * 10 - 5,
        "freed_other": 1.0,
        "n_other": 6 * 10 - 5,
        "worst_recall_printed": None,
    }
    assert found["mask"]["recall_printed"] == 0.0
    assert found["kinds"]["printed"] == {"count": 4, "model": 1.0, "mask": 0.0, "model_or_mask": 1.0}
    thresholds = {*CURVE_THRESHOLDS, found["threshold"]}
    assert [row["threshold"] for row in found["curve"]] == sorted(thresholds)
    assert found["calibration"]["tiles"] == 59
    assert found["worst"] == []
    assert [(row["degrees"], row["n_text"], row["model"]["fall"]) for row in found["rotated"]] == [
        (90, 4, 0.0),
        (180, 4, 0.0),
        (270, 4, 0.0),
    ]
    assert found["per_page"][0]["key"] == "c/images/a.png"
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    assert DIGEST in (tmp_path / "out" / "CARD.md").read_text()


def test_text_that_is_lost_on_its_side_shows_as_a_fall(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "score_planes", blind_to_standing_strokes)
    rows = evaluate_model(EvaluationRequest(tmp_path / "cache", data))["evaluation"]["rotated"]
    assert [row["model"]["fall"] for row in rows] == [1.0, 0.0, 1.0]
    assert rows[0]["model"]["worst_page"] == {"key": "c/images/a.png", "fall": 1.0, "n_text": 4}


def test_a_fall_is_held_against_the_page_drawn_out_to_whole_tiles(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sixth of the last row's 6 pixels is text; of the padded tile it is 3 %.
    path = str(data / "c" / "images" / "a.png")
    page = np.pad(cv2.imread(path, cv2.IMREAD_GRAYSCALE), ((0, 6), (0, 0)), mode="edge")
    page[193, 64:96:2] = 20
    cv2.imwrite(path, page)
    with (data / "c" / "truth" / "a.csv").open("a") as truth:
        truth.write("\n64,193,95,193,95,193,64,193,fine print")

    def blind_to_fine_print(scorer: object, planes: Sequence[tuple[np.ndarray, TileGrid]]) -> list[np.ndarray]:
        found = share_of_ink(scorer, planes)
        return [np.where(np.arange(grid.n_tiles) < 60, at, 0) for at, (_, grid) in zip(found, planes, strict=True)]

    monkeypatch.setattr(evaluation, "score_planes", blind_to_fine_print)
    found = evaluate_model(EvaluationRequest(tmp_path / "cache", data))["evaluation"]
    assert (found["model"]["n_printed"], found["model"]["recall_printed"]) == (5, 0.8)
    assert [(row["n_text"], row["model"]["recall_upright"]) for row in found["rotated"]] == [(4, 1.0)] * 3


def test_a_page_that_ocr_cannot_read_when_turned_is_left_out_of_that_turn(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_wide_pages(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[Word, ...]:
        if pixels.shape[0] > pixels.shape[1]:
            raise PageError("ocr_timeout", "too slow")
        return ()

    monkeypatch.setattr(recognition, "read_words", read_wide_pages)
    rows = evaluate_model(EvaluationRequest(tmp_path / "cache", data))["evaluation"]["rotated"]
    assert [row["pages"] for row in rows] == [0, 1, 0]


def test_without_turning_no_other_page_is_read_and_the_threshold_may_be_given(data: Path, tmp_path: Path) -> None:
    found = evaluate_model(EvaluationRequest(tmp_path / "cache", data, threshold=0.95, with_rotation=False))[
        "evaluation"
    ]
    assert "rotated" not in found
    assert len(list((tmp_path / "cache").iterdir())) == 1
    assert (found["threshold"], found["model"]["recall_printed"]) == (0.95, 0.0)
    assert [(row["key"], row["missed"]) for row in found["worst"]] == [("c/images/a.png", 4)]


def test_what_training_wrote_beside_the_model_is_carried_over(data: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "metrics.json").write_text('{"calibration": {"scale": 7}, "evaluation": {"pages": 99}}')
    (model / "ablations.json").write_text('[{"name": "without mask channel", "recall_printed": 0.5}]')
    metrics = evaluate_model(EvaluationRequest(tmp_path / "cache", data, model, with_rotation=False), tmp_path / "out")
    assert metrics["calibration"] == {"scale": 7}
    assert metrics["evaluation"]["pages"] == 1
    assert "| without mask channel | 0.5000 |" in (tmp_path / "out" / "CARD.md").read_text()


def test_plots_are_written_where_they_are_wanted(data: Path, tmp_path: Path) -> None:
    evaluate_model(
        EvaluationRequest(tmp_path / "cache", data, threshold=0.95, with_rotation=False), plots=tmp_path / "plots"
    )
    names = sorted(path.relative_to(tmp_path / "plots").as_posix() for path in (tmp_path / "plots").rglob("*.png"))
    assert names == ["calibration.png", "heatmaps/01-text-c-a.png", "precision_recall.png", "score_histogram.png"]


def test_a_split_without_marked_lines_is_a_settings_error(data: Path, tmp_path: Path) -> None:
    (data / "c" / "truth" / "a.csv").write_text("")
    with pytest.raises(ConfigError, match="'test' has no page with marked lines"):
        evaluate_model(EvaluationRequest(tmp_path / "cache", data))
