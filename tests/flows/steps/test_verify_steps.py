"""What runs on workers: it needs no Prefect, whose settings may be anything in the folder where a worker starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "module",
    [
        "cluster.cluster",
        "cluster.dispatcher",
        "cluster.shared_places",
        "cluster.worker_facts",
        "cluster.worker_watchdog",
        "host.logs",
        "run.lease",
        "steps.steps",
        "steps.verify_steps",
    ],
)
def test_a_worker_that_takes_up_its_work_does_not_import_prefect(module: str) -> None:
    """These modules hold all functions and plugins that are sent to workers, and what travels with them."""
    seen = f"import sys, foliopress.flows.{module}; print('prefect' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", seen], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
