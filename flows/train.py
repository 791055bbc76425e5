"""The training as a Prefect flow: marked scans in, a model folder with its card out."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from foliopress.model.evaluation import EvaluationRequest, evaluate_model
from foliopress.model.network import weights_file
from foliopress.model.operating_points import default_threshold
from foliopress.model.recipe import (
    RENDERED_PAGES,
    calibrate_and_export,
    find_training_scans,
    load_training_data,
    write_metrics,
)
from foliopress.model.training import BATCHES_PER_EPOCH, EPOCHS, TrainingOptions, fit_network


def _step(name: str) -> Any:
    # Networks and pages go from task to task in this process; they are too large to be stored as results.
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)


find_scans_task = _step("read words")(find_training_scans)
load_data_task = _step("load training data")(load_training_data)
fit_task = _step("fit the network")(fit_network)
calibrate_task = _step("calibrate and export")(calibrate_and_export)
evaluate_task = _step("evaluate")(evaluate_model)


@flow(flow_run_name="train {out}", persist_result=False, validate_parameters=False)
def train_importance(
    out: Path,
    data: Path | None = None,
    weights: Path | None = None,
    cache: Path = Path(".cache"),
    seed: int = 1,
    epochs: int = EPOCHS,
    batches_per_epoch: int = BATCHES_PER_EPOCH,
    rendered: int = RENDERED_PAGES,
) -> dict[str, Any]:
    """Train the importance network on the train split and write model, figures and card; a stopped training goes on.

    Args:
        out: Folder of the model; `checkpoints` in it holds a stopped training and its TensorBoard log.
        data: Folder of scans; by `FOLIOPRESS_DATA` without it.
        weights: File or folder of the ImageNet start; by `FOLIOPRESS_WEIGHTS` without it.
        cache: Folder where OCR words and drawn pages are kept from one training to the next.
        seed: Of all chance; the same seed draws the same patches.
        epochs: Most epochs; it stops early when validation no longer improves.
        batches_per_epoch: Batches of 16 patches of 49 tiles.
        rendered: Pages that are drawn to train on.

    Returns:
        What `metrics.json` holds.

    Raises:
        ConfigError: If scans or weights are missing.
    """
    start = perf_counter()
    options = TrainingOptions(weights_file(weights), seed, epochs, batches_per_epoch)
    training, validation = find_scans_task(data, cache)
    training_data = load_data_task(training, validation, cache, seed, rendered)
    network, history = fit_task(
        training_data.training_pages, training_data.validation_pages, options, out / "checkpoints"
    )
    calibrated = calibrate_task(network, training_data, cache, out)
    write_metrics(out, training_data, options, history, calibrated, perf_counter() - start)
    threshold = default_threshold(calibrated["operating_points"])
    metrics: dict[str, Any] = evaluate_task(EvaluationRequest(cache, data, out, threshold=threshold), out)
    return metrics
