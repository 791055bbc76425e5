"""Train the importance network as a Prefect flow, from scans with ground truth to a model folder with its card."""

from __future__ import annotations

from dataclasses import dataclass
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
    # Networks and pages pass from task to task in this process; they are too large to be stored as results.
    return task(name=name, cache_policy=NO_CACHE, persist_result=False)


find_scans_task = _step("read words")(find_training_scans)
load_data_task = _step("load training data")(load_training_data)
fit_task = _step("fit the network")(fit_network)
calibrate_task = _step("calibrate and export")(calibrate_and_export)
evaluate_task = _step("evaluate")(evaluate_model)


@dataclass(frozen=True)
class TrainingRequest:
    """A user's request for a training."""

    out: Path
    """Folder of the model; `checkpoints` in it holds an interrupted training and its TensorBoard log."""
    data: Path | None = None
    """Folder of scans with ground truth (default: `FOLIOPRESS_DATA`)."""
    weights: Path | None = None
    """File or folder of the ImageNet backbone (default: `FOLIOPRESS_WEIGHTS`)."""
    cache: Path = Path(".cache")
    """Folder for OCR words and drawn pages, which are kept from one training to the next."""
    seed: int = 1
    """Random seed; the same seed draws the same patches."""
    epochs: int = EPOCHS
    """Maximum number of epochs; training stops early when validation no longer improves."""
    batches_per_epoch: int = BATCHES_PER_EPOCH
    """Batches of 16 patches of 49 tiles in an epoch."""
    rendered_pages: int = RENDERED_PAGES
    """Number of pages that are drawn to train on, in addition to the scans."""


@flow(flow_run_name="train {request.out}", persist_result=False, validate_parameters=False)
def train_importance(request: TrainingRequest) -> dict[str, Any]:
    """Train the importance network on the train split, and write model, metrics and card.

    An interrupted training continues.

    Args:
        request: What to train on, and how.

    Returns:
        The content of `metrics.json`.

    Raises:
        ConfigError: If scans or weights are missing.
    """
    start = perf_counter()
    data, cache, out = request.data, request.cache, request.out
    options = TrainingOptions(weights_file(request.weights), request.seed, request.epochs, request.batches_per_epoch)
    training, validation = find_scans_task(data, cache)
    training_data = load_data_task(training, validation, cache, request.seed, request.rendered_pages)
    network, history = fit_task(
        training_data.training_pages, training_data.validation_pages, options, out / "checkpoints"
    )
    calibrated = calibrate_task(network, training_data, cache, out)
    write_metrics(out, training_data, options, history, calibrated, perf_counter() - start)
    threshold = default_threshold(calibrated["operating_points"])
    metrics: dict[str, Any] = evaluate_task(EvaluationRequest(cache, data, out, threshold=threshold), out)
    return metrics
