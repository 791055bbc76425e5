"""Test a schedule that starts a run by itself: server, worker and deployments, from S3 to S3."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.deployments.conftest import ROOT, ScheduledRun
from tests.servers import PrefectServer


@pytest.mark.long
def test_a_schedule_fires_and_its_run_completes_from_s3_to_s3(scheduled_run: ScheduledRun) -> None:
    run, url = scheduled_run.run, scheduled_run.url
    assert (run["state_type"], run["auto_scheduled"]) == ("COMPLETED", True), scheduled_run.said[-3000:]
    assert run["name"] == f"{url}/in with access"
    rows = list(live_rows(Store(f"{url}/out", scheduled_run.storage)))
    assert {(row["document_key"], row["status"]) for row in rows} == {
        ("b.png", "compressed"),
        ("letters/a.jpg", "compressed"),
    }
    artifacts = httpx.post(f"{scheduled_run.server.url}/artifacts/filter", json={}, timeout=30).json()
    assert {"progress", "markdown", "table", "image"} <= {artifact["type"] for artifact in artifacts}
    assert "canary" not in str([run, artifacts]) + scheduled_run.said


def test_a_server_takes_the_deployments_for_pools_that_start_pods(server: PrefectServer, tmp_path: Path) -> None:
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AWS"))}
    surroundings |= {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    surroundings |= {"FOLIOPRESS_SOURCE": "s3://scans", "FOLIOPRESS_DEST": "s3://out", "FOLIOPRESS_CRON": "0 22 * * *"}
    for arguments in (
        ("work-pool", "create", "foliopress-pods", "--type", "kubernetes"),
        ("deploy", "--all", "--prefect-file", "deployments/kubernetes/prefect.yaml"),
    ):
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=surroundings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    taken = httpx.post(f"{server.url}/deployments/filter", json={}, timeout=30).json()
    assert {(one["name"], one["work_pool_name"]) for one in taken} == {
        ("nightly-in-pods", "foliopress-pods"),
        ("weekly-in-pods", "foliopress-pods"),
    }
    nightly = next(one for one in taken if one["name"] == "nightly-in-pods")
    assert nightly["parameters"]["source"] == "s3://scans"
    assert nightly["schedules"][0]["schedule"]["cron"] == "0 22 * * *"
