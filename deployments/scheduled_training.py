"""Define the training flow that a Prefect server schedules; its worker needs the extra `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from foliopress.deployments.alert import alert
from foliopress.deployments.run_progress import show_log
from foliopress.flows.train import TrainingRequest, train_importance


@flow(name="train", flow_run_name="train {out}", persist_result=False, on_failure=[alert], on_crashed=[alert])
def train(out: Path, data: Path | None = None, weights: Path | None = None, seed: int = 1) -> dict[str, Any]:
    """Train the importance network on the train split of DATA, and write the model and its card to OUT.

    Args:
        out: Folder of the model.
        data: Folder of scans with ground truth (default: the worker's `FOLIOPRESS_DATA`).
        weights: Folder of the ImageNet backbone (default: the worker's `FOLIOPRESS_WEIGHTS`).
        seed: Random seed.
    """
    show_log()
    metrics: dict[str, Any] = train_importance(TrainingRequest(out, data, weights, seed=seed))
    return metrics
