"""Test that the scoring benchmark runs every engine in its own process and that all agree. Speed is not asserted."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import keras
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import foliopress.model.metrics
import foliopress.model.scoring
from benchmarks import comparison, recall, worker
from benchmarks.comparison import Measured, measure_engines, rows_of
from benchmarks.drawn import A4_PX, drawn_planes
from benchmarks.engines import ENGINES, Lacking
from benchmarks.planes import Plane, load_planes, save_planes
from benchmarks.scoring import absences, app, disagreements, measure, show
from foliopress.configs.settings import ImportanceSettings
from foliopress.model.export import export_network
from foliopress.model.scoring import GPU_BATCH
from foliopress.tasks.analysis.tiles import PATCH_TILES, tile_grid, work_plane
from foliopress.tasks.ocr import recognition

ON_CPU = ["litert", "tf-function", "predict", "litert-float16", "litert-dynamic-int8", "litert-full-int8"]
ON_GPU = ["tf-function-gpu", "keras-torch-gpu", "keras-jax-gpu"]


def page_like(height_px: int, width_px: int, seed: int) -> Plane:
    """Return paper that darkens from left to right, with a mask over its upper half."""
    rng = np.random.default_rng(seed)
    pixels = np.clip(np.linspace(250, 20, width_px) + rng.normal(0, 4, (height_px, width_px)), 0, 255).astype(np.uint8)
    mask = np.zeros((height_px, width_px), bool)
    mask[: height_px // 2] = True
    grid = tile_grid(height_px, width_px, 150)
    return work_plane(pixels, mask, grid), grid


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a network with the shipped one's shapes that only averages: dark or masked tiles are important."""
    folder = tmp_path_factory.mktemp("tiny")
    patches = keras.Input((None, None, 4), dtype="uint8")
    means = keras.layers.AveragePooling2D(32)(keras.layers.Rescaling(1 / 255)(patches))
    head = keras.layers.Conv2D(1, 1, activation="sigmoid")
    network = keras.Model(patches, head(keras.layers.Cropping2D(((1, 2), (1, 2)))(means)))
    head.set_weights([np.array([-3, -3, -3, 2], np.float32).reshape(1, 1, 4, 1), np.array([2], np.float32)])
    export_network(network, folder)
    return folder


@pytest.fixture(scope="module")
def report(tiny: Path) -> dict[str, Any]:
    """Return one repeat of every engine on two small pages, with the machine's GPU hidden."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        return measure(tiny, [page_like(96, 160, 1), page_like(64, 64, 2)], [page_like(96, 96, 3)], repeats=1)


@pytest.mark.long
def test_every_engine_of_the_cpu_is_measured(report: dict[str, Any]) -> None:
    assert [row["engine"] for row in report["engines"]] == ON_CPU
    assert report["failed"] == []
    assert (report["pages"], report["tiles"], report["tiles_with_padding"]) == (2, 3 * 5 + 2 * 2, 2 * PATCH_TILES**2)
    for row in report["engines"]:
        assert row["tiles_per_s"]["median"] == pytest.approx(row["pages_per_s"]["median"] * 19 / 2, rel=1e-3)
        assert row["ready_s"]["min"] > 0
        assert row["file_bytes"] > 0
        assert row["page_s"]["min"] <= row["page_s"]["median"] <= row["page_s"]["max"]


@pytest.mark.long
def test_float_engines_agree_within_a_thousandth_and_smaller_numbers_nearly(report: dict[str, Any]) -> None:
    differences = {row["engine"]: row["largest_difference"] for row in report["engines"]}
    assert {row["reference"] for row in report["engines"]} == {"tf-function"}
    assert all(differences[name] < 1e-3 for name in ("litert", "tf-function", "predict", "litert-float16"))
    assert max(differences.values()) < 0.05
    assert report["engines"][0]["decisions_changed"] == 0


@pytest.mark.long
def test_each_engine_has_a_process_of_its_own(report: dict[str, Any]) -> None:
    peaks = {row["engine"]: row["peak_bytes"]["median"] for row in report["engines"]}
    assert peaks["litert"] < peaks["tf-function"] / 2  # no TensorFlow in it


@pytest.mark.long
def test_where_there_is_no_gpu_one_line_says_what_one_would_run(report: dict[str, Any]) -> None:
    lines = absences(report)
    assert len(lines) == 1
    assert all(name in lines[0] for name in ON_GPU)
    assert f"batches of {GPU_BATCH}" in lines[0] and "tensorflow finds no GPU" in lines[0]


def test_only_the_engines_that_are_named_are_measured_and_compared(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "scoring.json"
    options = ["--model", str(tiny), "--pages", "1", "--repeats", "1", "--most-difference", "0.001", "--out", str(out)]
    result = CliRunner().invoke(app, [*options, "--engine", "litert"])
    assert result.exit_code == 0, result.output
    assert [row["engine"] for row in json.loads(out.read_text(encoding="utf-8"))["engines"]] == ["litert"]
    assert CliRunner().invoke(app, [*options, "--engine", "abacus"]).exit_code == 2


def test_an_engine_that_differs_or_is_not_measured_is_named() -> None:
    rows = [
        {"engine": "litert", "reference": "litert", "largest_difference": 0.0},
        {"engine": "tf-function-gpu", "reference": "litert", "largest_difference": 0.004},
    ]
    names = ["litert", "tf-function-gpu", "keras-jax-gpu"]
    assert disagreements({"engines": rows}, names, 0.001) == [
        "keras-jax-gpu was not measured",
        "tf-function-gpu differs from litert by 4.0e-03; 0.001 is allowed",
    ]
    assert disagreements({"engines": rows}, names[:2], 0.01) == []


@pytest.mark.long
def test_the_report_is_plain_json_and_prints_every_engine(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report)) == report
    printed = io.StringIO()
    show(report, Console(width=160, file=printed))
    starts = [line.split()[1] for line in printed.getvalue().splitlines() if line.startswith("│")]
    assert starts == ON_CPU * 2
    assert "…" not in printed.getvalue()


@pytest.fixture
def call_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the batch sizes that engines request, on a simulated GPU machine."""
    sizes: list[int] = []
    in_batches = foliopress.model.scoring.in_batches

    def watched(patches: np.ndarray, size: int, call: Any) -> np.ndarray:
        sizes.append(size)
        return in_batches(patches, size, call)

    monkeypatch.setattr(worker, "gpu_name", lambda backend: "a GPU")
    monkeypatch.setattr(foliopress.model.scoring, "_has_gpu", lambda: True)
    monkeypatch.setattr(foliopress.model.scoring, "in_batches", watched)
    monkeypatch.setattr("benchmarks.engines.in_batches", watched)
    return sizes


@pytest.mark.parametrize("name", ON_GPU)
def test_a_gpu_is_given_full_batches_and_scores_as_the_cpu_does(
    name: str, tiny: Path, call_sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both libraries are simulated: Keras uses TensorFlow here, whatever the engine assumes.
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(no_grad=contextlib.nullcontext))
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(jit=lambda function: function))
    planes = [page_like(96, 160, 1), page_like(64, 64, 2)]
    figures, scores = worker.measure(ENGINES[name], tiny, planes)
    assert figures["gpu"] == "a GPU"
    assert set(call_sizes) == {GPU_BATCH}
    _, expected = worker.measure(ENGINES["litert"], tiny, planes)
    assert scores.shape == (19,)
    assert np.abs(scores - expected).max() < 1e-3


def test_an_engine_without_its_library_or_gpu_says_so(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(Lacking, match="torch is not installed"):
        worker.measure(ENGINES["keras-torch-gpu"], tiny, [])
    monkeypatch.setitem(sys.modules, "jax", SimpleNamespace(devices=lambda: [SimpleNamespace(platform="cpu")]))
    with pytest.raises(Lacking, match="jax finds no GPU"):
        worker.measure(ENGINES["keras-jax-gpu"], tiny, [])


def figures(pages_s: float) -> dict[str, Any]:
    parts = {"import_s": 0.5, "load_s": 0.25, "first_call_s": 0.25, "engine_s": 1.0, "core_s": 3.0}
    return {**parts, "page_s": [1.0, 2.0], "pages_s": pages_s, "peak_bytes": 100, "gpu": None}


def test_rows_are_worked_out_from_all_repeats(tmp_path: Path) -> None:
    for name in ("model.tflite", "model.keras"):
        (tmp_path / name).write_bytes(b"12345")
    measured = Measured(
        runs={"litert": [figures(4.0), figures(1.0), figures(2.0)], "tf-function": [figures(4.0)]},
        scores={"litert": np.array([0.1, 0.04, 0.5]), "tf-function": np.array([0.1, 0.06, 0.4])},
    )
    planes = [page_like(32, 64, 0), page_like(32, 32, 0)]
    shipped, reference = rows_of(measured, dict.fromkeys(ENGINES, tmp_path), planes, 0.05)
    assert shipped["tiles_per_s"] == {"min": 0.75, "median": 1.5, "max": 3.0}
    assert shipped["pages_per_s"] == {"min": 0.5, "median": 1.0, "max": 2.0}
    assert shipped["page_s"] == {"min": 1.0, "median": 1.5, "max": 2.0}
    assert shipped["core_s_per_page"]["median"] == 1.5
    assert shipped["ready_s"]["max"] == 1.0
    assert shipped["file_bytes"] == 5
    assert (shipped["times_shipped"], reference["times_shipped"]) == (1.0, 0.5)
    assert shipped["largest_difference"] == pytest.approx(0.1)
    assert shipped["decisions_changed"] == pytest.approx(1 / 3)


def test_an_engine_that_breaks_costs_no_other_its_figures(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planes = [page_like(64, 64, 1)]
    monkeypatch.setattr(comparison, "ENGINES", {name: ENGINES[name] for name in ("litert", "litert-full-int8")})
    monkeypatch.setattr(comparison, "_write_variants", lambda *_: None)  # so the second has no file to load
    measured = measure_engines(tiny, planes, planes, 2, tmp_path)
    assert len(measured.runs["litert"]) == 2
    assert measured.failed == ["litert-full-int8"]
    assert "model.tflite cannot be read" in measured.not_measured["litert-full-int8"]


def test_every_litert_file_is_held_against_the_marked_scans(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("images", "truth"):
        (tmp_path / "c" / name).mkdir(parents=True)
    page = np.tile(np.linspace(150, 235, 320).astype(np.uint8), (192, 1))
    page[32:64, 32:160:2] = 20
    cv2.imwrite(str(tmp_path / "c" / "images" / "a.png"), page)
    (tmp_path / "c" / "truth" / "a.csv").write_text("32,32,159,32,159,63,32,63,Total 1234")
    (tmp_path / "manifest.csv").write_text("path,split,role\nc/images/a.png,test,image\nc/truth/a.csv,test,truth\n")
    monkeypatch.setattr(recall, "read_words_cached", lambda *_: None)  # it would start processes
    monkeypatch.setattr(recognition, "read_words", lambda *_: ())
    monkeypatch.setattr(recognition, "estimate_dpi", lambda *_: 150.0)
    monkeypatch.setattr(foliopress.model.metrics, "ImportanceSettings", partial(ImportanceSettings, sure=0.0))
    for threshold, share in ((0.0, 1.0), (1.0, 0.0)):
        found = recall.recall_figures({"one": tiny, "other": tiny}, tmp_path / "cache", threshold, tmp_path)
        assert found["one"] == found["other"]
        assert (found["one"]["model"]["n_printed"], found["one"]["model"]["recall_printed"]) == (4, share)
        assert found["one"]["model_or_mask"]["freed_other"] == 1 - share


def test_planes_come_back_as_they_were_saved(tmp_path: Path) -> None:
    saved = [page_like(96, 160, 1), page_like(64, 64, 2)]
    save_planes(tmp_path / "planes.npz", saved)
    for (plane, grid), (before, grid_before) in zip(load_planes(tmp_path / "planes.npz"), saved, strict=True):
        assert grid == grid_before
        assert np.array_equal(plane, before)


def test_a_drawn_page_is_a4_with_words_masked_in_its_upper_half() -> None:
    ((plane, grid),) = drawn_planes(1, 1)
    assert (grid.height_px, grid.width_px) == A4_PX
    assert grid.n_tiles == 2145
    upper, lower = np.split(plane[..., 3] > 0, [plane.shape[0] // 2])
    assert 0.05 < upper.mean() < 0.6
    assert lower[1:].mean() < 0.01


def test_a_folder_without_a_model_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["--model", str(tmp_path)])
    assert result.exit_code == 2
    assert "model.tflite" in result.output


def test_a_recall_without_scans_is_refused_before_anything_is_measured(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOLIOPRESS_DATA", str(tmp_path))
    result = CliRunner().invoke(app, ["--model", str(tiny), "--recall"])
    assert result.exit_code == 2
    assert "no scans" in result.output
