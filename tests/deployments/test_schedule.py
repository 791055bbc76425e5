"""A schedule that fires by itself: server, worker and deployments as an operator starts them, from S3 to S3."""

from __future__ import annotations

import httpx

from tasks.statistics import live_rows
from tasks.store import Store
from tests.deployments.conftest import ScheduledRun


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
    assert {"progress", "markdown", "table"} <= {artifact["type"] for artifact in artifacts}
    assert "canary" not in str([run, artifacts]) + scheduled_run.said
