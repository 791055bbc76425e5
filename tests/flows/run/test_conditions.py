"""Test a DEST whose store has no conditional writes: the run warns before it takes the lease, and continues."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from foliopress.configs.settings import Settings
from foliopress.flows.run import run
from foliopress.flows.run.run_request import RunRequest
from tests.scripted_s3 import BUCKET, ScriptedS3, scripted_s3


@pytest.fixture
def s3() -> Iterator[ScriptedS3]:
    with scripted_s3() as running:
        yield running


class AtTheLease(Exception):
    """The run has come to its lease."""


@pytest.mark.parametrize(("conditions", "times"), [("kept", 0), ("ignored", 1), ("unknown", 1)])
def test_a_run_says_once_that_its_store_cannot_keep_two_apart(
    s3: ScriptedS3,
    conditions: str,
    times: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def stop(*_: object) -> None:
        raise AtTheLease

    monkeypatch.setattr(run, "Lease", stop)
    monkeypatch.setattr(run, "use_one_heap", lambda: None)
    s3.conditions = conditions  # type: ignore[assignment]
    (tmp_path / "a.jpg").write_bytes(b"1")
    settings = Settings(storage=s3.storage())
    request = RunRequest(str(tmp_path), f"{s3.url}/out", settings)
    with caplog.at_level(logging.INFO), pytest.raises(AtTheLease):
        with run.open_run(request):
            pass
    warning = f"DEST s3://{BUCKET}/out has no conditional writes: do not start a run into it while another"
    assert capsys.readouterr().err.count(warning) == times
    assert caplog.text.count(warning) == times
    assert s3.objects == {}
