"""Share a Prefect server, a worker and a scheduled run among the tests of deployments."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.storage.store import Store
from tests.servers import PrefectServer, S3Server, prefect_server_process

ROOT = Path(__file__).resolve().parents[2]
LONGEST_WAIT_S = 200.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PrefectServer]:
    with prefect_server_process(tmp_path) as running:
        yield running


@pytest.fixture
def start_worker(server: PrefectServer, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start `scripts/prefect.sh worker`, as `make worker` does."""
    started = []

    def start(**environment: str) -> subprocess.Popen[bytes]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AWS"))}
        clean |= {"PREFECT_API_URL": server.url, "PREFECT_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
        with (tmp_path / "worker.txt").open("ab") as output:
            worker = subprocess.Popen(
                ["bash", "scripts/prefect.sh", "worker"],
                cwd=ROOT,
                env=clean | {"BIN": str(Path(sys.executable).parent)} | environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        started.append(worker)
        return worker

    yield start
    for worker in started:
        os.killpg(worker.pid, signal.SIGTERM)
        try:
            worker.wait(5)  # it would wait for a run that has begun meanwhile
        except subprocess.TimeoutExpired:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(10)


def flow_runs(server: PrefectServer) -> list[dict[str, object]]:
    """Return the runs of the nightly deployment that have begun or ended."""
    states = ["RUNNING", "COMPLETED", "FAILED", "CRASHED"]
    wanted = {
        "deployments": {"name": {"any_": ["nightly"]}},
        "flow_runs": {"state": {"type": {"any_": states}}},
    }
    answer = httpx.post(f"{server.url}/flow_runs/filter", json=wanted, timeout=30)
    answer.raise_for_status()
    found: list[dict[str, object]] = answer.json()
    return found


@dataclass(frozen=True)
class ScheduledRun:
    """A run that a schedule started and that has ended, from S3 to S3, and what its worker said."""

    server: PrefectServer
    url: str
    storage: StorageSettings
    run: dict[str, object]
    said: str


@pytest.fixture
def scheduled_run(
    server: PrefectServer,
    start_worker: Callable[..., subprocess.Popen[bytes]],
    s3_process: S3Server,
    draw_page: Callable[[str], Image.Image],
    tmp_path: Path,
) -> ScheduledRun:
    """Start a worker with a schedule for each minute over a small archive, and wait for what comes of it."""
    url = s3_process.new_bucket()
    storage = StorageSettings(endpoint_url=s3_process.endpoint_url, access_key_id="k", secret_access_key="s")
    source = Store(f"{url}/in", storage)
    for name in ("letters/a.jpg", "b.png"):
        draw_page(f"Page {name}").save(tmp_path / "page.png", dpi=(100, 100))
        source.write_bytes(name, (tmp_path / "page.png").read_bytes())
    environment = {**s3_process.environment, "AWS_SECRET_ACCESS_KEY": "canary-secret"}
    worker = start_worker(SOURCE=f"{url}/in", DEST=f"{url}/out", CRON="* * * * *", **environment)
    latest = time.monotonic() + LONGEST_WAIT_S
    while not (runs := [run for run in flow_runs(server) if run["state_type"] != "RUNNING"]):
        assert worker.poll() is None, (tmp_path / "worker.txt").read_text()[-3000:]
        assert time.monotonic() < latest, (tmp_path / "worker.txt").read_text()[-3000:]
        time.sleep(1)
    return ScheduledRun(server, url, storage, runs[0], (tmp_path / "worker.txt").read_text())
