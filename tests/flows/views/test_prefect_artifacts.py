"""Test that the artifacts are optional: an unavailable Prefect API neither stops nor delays a run."""

from __future__ import annotations

import logging
import time

import pytest

from foliopress.flows.views import prefect_artifacts as board_module
from foliopress.flows.views.prefect_artifacts import RunArtifacts


def test_an_api_that_is_gone_stops_nothing_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def gone(**_: object) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", gone)
    with caplog.at_level(logging.WARNING), RunArtifacts(lambda: 0.5):
        pass
    assert "no longer shown in Prefect: ConnectionError: nobody there" in caplog.text


def test_an_api_that_gives_no_answer_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "_LAST_WAIT_S", 0.2)
    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", lambda **_: time.sleep(5))
    begun = time.monotonic()
    with RunArtifacts(lambda: 0.5):
        pass
    assert time.monotonic() - begun < 3


def test_a_run_that_breaks_does_not_wait_for_its_artifacts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", lambda **_: time.sleep(5))
    begun = time.monotonic()
    with pytest.raises(ZeroDivisionError), RunArtifacts(lambda: 0.5):
        raise ZeroDivisionError
    assert time.monotonic() - begun < 3


def test_the_bar_moves_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "_SAMPLED_EVERY_S", 0.01)
    monkeypatch.setattr(board_module, "_SHOWN_EVERY_S", 0.01)
    shown: list[float] = []
    monkeypatch.setattr("prefect.artifacts.create_progress_artifact", lambda **_: "bar")
    monkeypatch.setattr("prefect.artifacts.update_progress_artifact", lambda bar, progress: shown.append(progress))
    steps = iter([None, 0.25, 0.25])
    with RunArtifacts(lambda: next(steps, 1.0)):
        time.sleep(0.3)
    assert shown[0] == 25.0
    assert shown[-1] == 100.0
    assert shown == sorted(set(shown))
