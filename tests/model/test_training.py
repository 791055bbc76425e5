"""Drawing, training and export on a set so small that it takes seconds; evaluation's arithmetic; the model card."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest

from model.augmentation import vary_place, vary_scan, write_on
from model.dataset import LabelledTiles, TileTruth
from model.evaluation import card, count_tiles, evaluate_model, shares
from model.network import build_network
from model.scoring import KERAS_FILE, LITERT_FILE, load_scorer
from model.training import BATCH, DrawnWindows, export_network, fit_network, fixed_windows, settle_operating_point
from model.truth import Scan
from tasks.tiles import cut_windows

PLANE_TILES = 8


def labelled(seed: int, document: str = "c/d") -> LabelledTiles:
    """A page whose upper half is lines of marks and whose lower half is paper; the border between is not judged."""
    rng = np.random.default_rng(seed)
    side = PLANE_TILES * 32
    luma = rng.normal(230, 4, (side, side))
    for row in range(4, side // 2, 16):
        for col in range(4, side - 8, 9):
            luma[row : row + 9, col : col + int(rng.integers(2, 6))] = rng.uniform(0, 80)
    plane = np.zeros((side, side, 4), np.uint8)
    plane[..., :3] = np.clip(luma, 0, 255).astype(np.uint8)[..., np.newaxis]
    plane[: side // 2, :, 3] = 255
    label = np.zeros((PLANE_TILES, PLANE_TILES), np.float32)
    label[: PLANE_TILES // 2] = 1
    weight = np.ones_like(label)
    weight[PLANE_TILES // 2] = 0
    scan = Scan("c/a.jpg", Path("a.jpg"), "train", "c", document, Path("a.xml"))
    hand = (np.arange(label.size) % 5 == 0) & (label.ravel() == 1)
    return LabelledTiles(scan, plane, label.ravel(), weight.ravel(), hand, (label.ravel() > 0).astype(np.float32))


def test_a_place_without_variation_is_the_window_that_the_pipeline_cuts() -> None:
    class Still:
        def integers(self, *_: int) -> int:
            return 0

        def random(self) -> float:
            return 0.0

    plane = labelled(1).plane
    padded = np.pad(plane, ((96, 96), (96, 96), (0, 0)), mode="edge")
    windows = cut_windows(plane)
    for tile in (0, 7, 19, 63):
        window = vary_place(padded, *divmod(tile, PLANE_TILES), Still())  # type: ignore[arg-type]
        assert np.array_equal(window, windows[tile])


def test_half_of_the_varied_windows_lose_their_mask_and_none_gains_one() -> None:
    rng = np.random.default_rng(3)
    window = np.full((96, 96, 4), 200, np.uint8)
    window[:, :48, 3] = 255
    window[:, 48:, 3] = 0
    before = window.copy()
    masks = [vary_scan(window, rng)[..., 3] for _ in range(200)]
    assert np.array_equal(window, before)
    with_mask = [mask for mask in masks if mask.any()]
    assert 70 <= len(with_mask) <= 130
    assert all(np.array_equal(mask, before[..., 3]) for mask in with_mask)


def test_writing_drawn_on_paper_is_labelled_by_the_strokes_in_the_middle() -> None:
    rng = np.random.default_rng(4)
    paper = np.full((96, 96, 4), 240, np.uint8)
    found = {0.0: 0, 1.0: 0}
    for _ in range(150):
        written, label = write_on(paper, rng)
        changed = np.abs(written[32:64, 32:64, :3].astype(int) - 240).max()
        assert not written[..., 3].any()
        if label is not None:
            found[label] += 1
            assert (changed > 8) == (label == 1)
    assert min(found.values()) >= 10


def test_the_same_seed_epoch_and_number_draw_the_same_batch() -> None:
    pages = [labelled(1), labelled(2)]
    first, second = DrawnWindows(pages, 2, seed=5), DrawnWindows(pages, 2, seed=5)
    for ours, theirs in zip(first[1], second[1], strict=True):
        assert np.array_equal(ours, theirs)
    windows, labels, weights = first[0]
    assert windows.shape == (BATCH, 96, 96, 4)
    assert windows.dtype == np.uint8
    assert set(np.unique(labels)) == {0.0, 1.0}
    assert (weights > 0).all()
    first.on_epoch_end()
    assert not np.array_equal(first[1][0], second[1][0])


def test_tiles_that_nobody_judged_are_not_drawn_for_validation() -> None:
    windows, labels, weights = fixed_windows([labelled(1)], 1000, seed=1)
    assert len(windows) == PLANE_TILES * (PLANE_TILES - 1)
    assert weights[labels.ravel() == 1].sum() == pytest.approx(weights[labels.ravel() == 0].sum())
    assert len(fixed_windows([labelled(1)], 10, seed=1)[0]) == 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[keras.Model, list[dict[str, float]], Path]:
    """A network after one short epoch, its figures, and the folder it was exported to."""
    keras.utils.set_random_seed(1)
    pages = [labelled(1), labelled(2)]
    network, history = fit_network(pages, [labelled(3, "c/e")], None, seed=1, epochs=1, tiles_per_epoch=2 * BATCH)
    folder = tmp_path_factory.mktemp("trained")
    export_network(network, folder)
    return network, history, folder


def test_a_short_training_exports_two_small_files_that_score_alike(
    trained: tuple[keras.Model, list[dict[str, float]], Path],
) -> None:
    network, history, folder = trained
    assert [set(row) for row in history] == [{"loss", "val_loss", "val_recall", "val_freed", "seconds"}]
    windows = fixed_windows([labelled(3, "c/e")], 32, seed=1)[0]
    scores = load_scorer(str(folder), "litert-cpu").score(windows)
    assert np.abs(scores - np.asarray(network(windows, training=False)).ravel()).max() < 1e-3
    assert sum((folder / name).stat().st_size for name in (KERAS_FILE, LITERT_FILE)) < 6_000_000


def test_settling_shifts_the_scores_until_the_operating_point_finds_the_text() -> None:
    keras.utils.set_random_seed(3)
    network = build_network()
    validation = fixed_windows([labelled(3)], 64, seed=1)
    before = network.predict(validation[0], verbose=0).ravel()
    found = settle_operating_point(network, validation)
    after = network.predict(validation[0], verbose=0).ravel()
    assert found["shift"] == pytest.approx(-2.5)  # a fresh network says 0.5 to everything; the shift has its limit
    assert np.array_equal(np.argsort(before, kind="stable"), np.argsort(after, kind="stable"))
    assert found["recall"] == 1.0
    again = settle_operating_point(network, validation)
    assert again["shift"] == pytest.approx(np.log(0.05 / 0.95) + 2.5, abs=0.2)
    assert again["recall"] >= 0.995 - 1 / 32


def test_recall_counts_all_text_and_freeing_only_unmarked_tiles_of_pages_that_are_rescaled() -> None:
    flags = lambda text: np.array([letter == "1" for letter in text])  # noqa: E731
    truth = TileTruth(
        printed=flags("110000"),
        handwritten=flags("001000"),
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


def test_evaluation_of_a_folder_writes_figures_and_a_card(
    trained: tuple[keras.Model, list[dict[str, float]], Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for name in ("images", "truth"):
        (data / "c" / name).mkdir(parents=True)
    page = np.full((480, 400), 235, np.uint8)
    cv2.putText(page, "Total 1234", (30, 100), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 20, 3)
    cv2.imwrite(str(data / "c" / "images" / "a.png"), page)
    (data / "c" / "truth" / "a.csv").write_text("30,70,260,70,260,105,30,105,Total 1234")
    (data / "manifest.csv").write_text("path,split,role\nc/images/a.png,test,image\nc/truth/a.csv,test,truth\n")
    metrics = evaluate_model(data, trained[2], tmp_path / "cache", "test", tmp_path / "out")
    evaluation = metrics["evaluation"]
    assert evaluation["pages"] == 1
    assert evaluation["model"]["n_printed"] == evaluation["mask"]["n_printed"] > 0
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == metrics
    text = (tmp_path / "out" / "CARD.md").read_text()
    assert text == card(metrics)
    assert "OCR mask alone" in text
    assert evaluation["weights_sha256"] in text
