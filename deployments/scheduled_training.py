"""The training as a Prefect server knows it; its worker needs the extra `train`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from foliopress.deployments.alert import alert
from foliopress.deployments.run_progress import show_log
from foliopress.flows.train import train_importance


@flow(name="train", flow_run_name="train {out}", persist_result=False, on_failure=[alert], on_crashed=[alert])
def train(out: Path, data: Path | None = None, weights: Path | None = None, seed: int = 1) -> dict[str, Any]:
    """Train the importance network on the train split of DATA, and write it with its card to OUT.

    Args:
        out: Folder of the model.
        data: Folder of scans with ground truth; `FOLIOPRESS_DATA` of the worker without it.
        weights: Folder of the ImageNet start; `FOLIOPRESS_WEIGHTS` of the worker without it.
        seed: Of everything random.
    """
    show_log()
    metrics: dict[str, Any] = train_importance(out, data, weights, seed=seed)
    return metrics
