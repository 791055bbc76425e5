"""Test how Prefect's client behaves while it uses a run's own API."""

from __future__ import annotations

from pathlib import Path

from prefect.events import emit_event
from prefect.events.worker import EventsWorker

from foliopress.flows.prefect_api import _client_settings


def test_events_are_made_for_no_api_that_has_no_use_for_them(tmp_path: Path) -> None:
    with _client_settings("http://127.0.0.1:9/api", str(tmp_path)):
        assert emit_event("test", resource={"prefect.resource.id": "test"}) is None
    assert EventsWorker._client_override is None  # an API of the user's own gets them
