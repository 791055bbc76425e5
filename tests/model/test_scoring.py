"""Test that the shipped model's scores do not depend on other pages, and agree in LiteRT and Keras."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.model import scoring
from foliopress.model.scoring import (
    KERAS_FILE,
    LITERT_FILE,
    PATCHES_AT_ONCE,
    SHIPPED,
    compiled_network,
    in_batches,
    load_scorer,
    score_planes,
)
from foliopress.tasks.analysis.tiles import PATCH_PX, PATCH_TILES, TileGrid, cut_patches, tile_grid, work_plane


def page_like(height_px: int, width_px: int, seed: int) -> np.ndarray:
    """Return paper with grain and rows of dark marks."""
    rng = np.random.default_rng(seed)
    page = rng.normal(235, 3, (height_px, width_px))
    for row in range(10, height_px // 2, 22):
        page[row : row + 9, 12 : width_px - 12 : 5] = rng.uniform(10, 90)
    return np.clip(page, 0, 255).astype(np.uint8)


def planes(sizes: list[tuple[int, int]]) -> list:
    found = []
    for seed, (height_px, width_px) in enumerate(sizes):
        grid = tile_grid(height_px, width_px, 150)
        pixels = page_like(height_px, width_px, seed)
        found.append((work_plane(pixels, np.zeros(pixels.shape, bool), grid), grid))
    return found


def test_a_patchs_scores_do_not_depend_on_the_batch_it_is_in() -> None:
    scorer = load_scorer(kind="litert-cpu")
    patches = cut_patches(planes([(1400, 700)])[0][0])
    assert len(patches) == 6
    together = scorer.score(patches)
    assert together.shape == (6, PATCH_TILES, PATCH_TILES)
    assert together.dtype == np.float32
    assert np.array_equal(scorer.score(patches[::-1])[::-1], together)
    parts = [scorer.score(patches[:1]), scorer.score(patches[1:4]), scorer.score(patches[4:])]
    assert np.array_equal(np.concatenate(parts), together)


def test_pages_are_scored_together_as_they_are_alone() -> None:
    scorer = load_scorer(kind="litert-cpu")
    pages = planes([(64, 64), (700, 330), (31, 200), (32 * 8, 32 * 8)])
    together = score_planes(scorer, pages)
    assert [len(scores) for scores in together] == [grid.n_tiles for _, grid in pages]
    for page, scores in zip(pages, together, strict=True):
        assert np.array_equal(scores, score_planes(scorer, [page])[0])
    assert score_planes(scorer, []) == []


def test_a_tiles_score_hardly_depends_on_the_patch_that_it_falls_into() -> None:
    pixels = page_like(1200, 500, 9)
    scorer = load_scorer(kind="litert-cpu")

    def scored(page: np.ndarray) -> np.ndarray:
        grid = tile_grid(*page.shape, 150)
        plane = work_plane(page, np.zeros(page.shape, bool), grid)
        return score_planes(scorer, [(plane, grid)])[0].reshape(grid.n_rows, grid.n_cols)

    whole, lower = (
        scored(pixels),
        scored(pixels[5 * 32 :]),
    )  # tile row 20 is the first of a patch, or a middle one
    apart = np.abs(whole[8:] - lower[3:])
    assert np.median(apart) < 0.01
    assert ((whole[8:] >= 0.5) == (lower[3:] >= 0.5)).mean() > 0.97


def test_the_scorer_is_handed_full_batches_across_pages() -> None:
    class Counting:
        name, digest = "litert-cpu", ""

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def score(self, patches: np.ndarray) -> np.ndarray:
            self.sizes.append(len(patches))
            return np.zeros((len(patches), PATCH_TILES, PATCH_TILES), np.float32)

    counting = Counting()
    score_planes(counting, planes([(32 * 40, 32 * 40), (32 * 40, 32 * 17), (32 * 2, 32)]))  # type: ignore[arg-type]
    assert counting.sizes == [PATCHES_AT_ONCE, 14 - PATCHES_AT_ONCE]  # 4, 2 and 1, upright and rotated by 180 degrees


def test_a_batch_that_is_not_full_is_filled_up_and_cut_off_again() -> None:
    seen = []

    def call(batch: np.ndarray) -> np.ndarray:
        seen.append(batch.shape[0])
        return batch[:, :PATCH_TILES, :PATCH_TILES, :1] / np.float32(255)

    patches = np.zeros((5, PATCH_PX, PATCH_PX, 4), np.uint8)
    patches += np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * 51
    assert np.allclose(in_batches(patches, 2, call)[:, 0, 0], [0, 0.2, 0.4, 0.6, 0.8])
    assert seen == [2, 2, 2]


def test_a_page_upside_down_has_its_scores_upside_down() -> None:
    (plane, grid), scorer = planes([(700, 330)])[0], load_scorer(kind="litert-cpu")
    upright = score_planes(scorer, [(plane, grid)])[0]
    turned = score_planes(scorer, [(np.ascontiguousarray(plane[::-1, ::-1]), grid)])[0]
    assert np.allclose(turned[::-1], upright, atol=1e-6)


def test_a_tiles_score_is_the_mean_of_what_is_said_of_it_upright_and_upside_down() -> None:
    class Light:
        """Scores 0.9 for a tile whose first pixel is light, else 0.1."""

        name, digest = "litert-cpu", ""

        def score(self, patches: np.ndarray) -> np.ndarray:
            first = patches[:, 48:-48:32, 48:-48:32, 0]
            return np.where(first > 127, np.float32(0.9), np.float32(0.1))

    plane = np.zeros((32, 96, 4), np.uint8)
    plane[0, 0] = plane[-1, 63] = 255  # first pixel of tile 0, last pixel of tile 1
    plane[0, 64] = plane[-1, 95] = 255  # both of tile 2
    scores = score_planes(Light(), [(plane, TileGrid(32, 96, 32))])[0]  # type: ignore[arg-type]
    assert scores.tolist() == pytest.approx([0.5, 0.5, 0.9])


def test_litert_and_keras_agree_whatever_the_batch() -> None:
    patches = cut_patches(planes([(1100, 700)])[0][0])
    patches[::2, ..., 3] = 255
    scores = load_scorer(kind="litert-cpu").score(patches)
    for size in (1, 4):
        predict = compiled_network(SHIPPED / KERAS_FILE, size)
        by_keras = in_batches(patches, size, lambda batch, predict=predict: np.asarray(predict(batch)))
        assert np.abs(scores - by_keras).max() < 1e-3


@pytest.mark.skipif(not scoring._has_gpu(), reason="TensorFlow finds no GPU on this machine")
def test_a_gpu_and_the_cpu_agree() -> None:
    patches = cut_patches(planes([(1100, 700), (2300, 1700)])[1][0])
    by_gpu, by_cpu = (load_scorer(kind=kind).score(patches) for kind in ("tf-gpu", "litert-cpu"))
    assert np.abs(by_gpu - by_cpu).max() < 1e-3


def test_no_patches_are_no_scores_and_other_arrays_are_refused() -> None:
    scorer = load_scorer(kind="litert-cpu")
    assert scorer.score(np.zeros((0, PATCH_PX, PATCH_PX, 4), np.uint8)).shape == (0, PATCH_TILES, PATCH_TILES)
    with pytest.raises(ValueError, match="float32"):
        scorer.score(np.zeros((1, PATCH_PX, PATCH_PX, 4), np.float32))
    with pytest.raises(ValueError, match=r"\(1, 96, 96, 3\)"):
        scorer.score(np.zeros((1, 96, 96, 3), np.uint8))


def test_text_is_more_important_than_paper() -> None:
    plane, grid = planes([(640, 640)])[0]
    scores = score_planes(load_scorer(kind="litert-cpu"), [(plane, grid)])[0].reshape(grid.n_rows, grid.n_cols)
    assert (scores[2:8, 2:-2] >= 0.05).mean() > 0.95
    assert (scores[12:-1, 1:-1] < 0.05).mean() > 0.95


def test_the_scorer_is_loaded_once_and_says_which_weights_it_has() -> None:
    scorer = load_scorer(kind="litert-cpu")
    assert load_scorer(str(SHIPPED), "litert-cpu") is scorer
    assert scorer.name == "litert-cpu"
    assert scorer.digest == hashlib.sha256((SHIPPED / LITERT_FILE).read_bytes()).hexdigest()


def test_the_shipped_files_are_small() -> None:
    assert sum((SHIPPED / name).stat().st_size for name in (KERAS_FILE, LITERT_FILE)) <= 6_000_000


def test_a_missing_or_damaged_model_is_a_settings_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.tflite"):
        load_scorer(str(tmp_path), "litert-cpu")
    (tmp_path / LITERT_FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(ConfigError, match="LiteRT"):
        load_scorer(str(tmp_path), "litert-cpu")


def test_scoring_on_the_cpu_does_not_import_tensorflow() -> None:
    code = (
        "import sys, numpy as np; from foliopress.model.scoring import load_scorer; "
        "load_scorer(kind='litert-cpu').score(np.zeros((1, 736, 736, 4), np.uint8)); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SHIPPED.parents[1])
