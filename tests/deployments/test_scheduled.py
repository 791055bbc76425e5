"""Test the flows that a server starts: reports appear in the UI, and damage makes the run fail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from prefect.artifacts import Artifact
from prefect.client.orchestration import get_client
from prefect.logging.handlers import APILogHandler

from foliopress.deployments.form import Changes
from foliopress.deployments.run_progress import show_log
from foliopress.deployments.scheduled import Damaged, PagesFailed, compress, estimate, verify
from tests.flows.conftest import archive, prefect_api
from tests.promises import NO_SECRET

__all__ = ["archive", "prefect_api"]

ONE_WORKER = Changes.model_validate({"cluster": {"workers": 1}})


@pytest.fixture(autouse=True)
def _loggers_as_they_were() -> Iterator[None]:
    logger = logging.getLogger("foliopress")
    level, handlers = logger.level, list(logger.handlers)
    yield
    logger.setLevel(level)
    logger.handlers[:] = handlers


@pytest.mark.long
def test_compressed_verified_and_estimated_archives_have_their_reports_in_the_ui(
    prefect_api: None, archive: Callable[..., Path], tmp_path: Path
) -> None:
    source, dest = archive("a.jpg", "b | c.jpg"), tmp_path / "out"
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff no more")
    compress(str(source), str(dest), changes=ONE_WORKER)
    with pytest.raises(PagesFailed, match="1 pages failed: broken.jpg"):
        compress(str(source), str(dest), changes=ONE_WORKER, fail_on_failed_pages=True)
    verify(str(dest), str(source), changes=ONE_WORKER)
    found = Artifact.get("foliopress-verification")
    assert found is not None and "nothing is damaged" in str(found.data)
    victim = next((dest / "pages").glob("b*.avif"))
    victim.write_bytes(victim.read_bytes()[:-20])
    with pytest.raises(Damaged, match="truncated|size|changed"):
        verify(str(dest), changes=ONE_WORKER)
    found = Artifact.get("foliopress-verification")
    assert found is not None and victim.name in str(found.data)
    estimate(str(source), changes=ONE_WORKER, documents=10, cores=4)
    found = Artifact.get("foliopress-estimate")
    assert found is not None and "3 documents" in str(found.data) and "on 4 cores" in str(found.data)


def test_the_log_goes_to_prefect_once_however_often_it_is_asked_for() -> None:
    for _ in range(3):
        show_log()
    assert logging.getLogger("foliopress.flows.run.run").isEnabledFor(logging.INFO)
    logger = logging.getLogger("foliopress")
    assert sum(isinstance(handler, APILogHandler) for handler in logger.handlers) == 1


@pytest.mark.promise(NO_SECRET, "a canary in a URL that was typed into a deployment's form")
@pytest.mark.parametrize("name", ["compress", "estimate", "verify"])
def test_a_url_with_a_secret_is_refused_and_stands_in_no_name_state_or_alert_of_the_run(
    name: str, prefect_api: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[object] = []
    monkeypatch.setenv("FOLIOPRESS_ALERT_URL", "http://127.0.0.1:9/alert")
    monkeypatch.setattr(
        "foliopress.deployments.alert.httpx.post", lambda _, **options: told.append(options["json"]) or answer
    )
    url, answer = "s3://key:canary@bucket/in?sig=canary", httpx.Response(200, request=httpx.Request("POST", "http://x"))
    given = {"dest": url} if name == "verify" else {"source": url}
    if name == "compress":
        given["dest"] = str(tmp_path / "out")
    state = {"compress": compress, "estimate": estimate, "verify": verify}[name](**given, return_state=True)
    assert state.is_failed() and "contains a user, a password" in str(state.message)
    with get_client(sync_client=True) as client:
        run = client.read_flow_run(state.state_details.flow_run_id)
    assert "s3://bucket/in" in run.name
    assert told and "canary" not in f"{run.name} {run.state} {told} {caplog.text}"
