"""Test the alert: it reports a failed run, and contains no secret."""

from __future__ import annotations

import http.server
import json
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from foliopress.deployments.alert import WEBHOOK, alert

RUN = SimpleNamespace(id="0123", name="scans with access")
STATE = SimpleNamespace(name="Failed", message="2 of 9 shards failed")


@pytest.fixture
def webhook() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A service that takes alerts, and those it took."""
    taken: list[dict[str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(503 if self.path.startswith("/down") else 200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}", taken
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_failed_run_is_told_by_its_name_and_with_its_message(webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    url, taken = webhook
    monkeypatch.setenv(WEBHOOK, url)
    alert(None, RUN, STATE)
    text = "Foliopress: scans with access: Failed: 2 of 9 shards failed"
    assert taken == [{"text": text, "flow_run_id": "0123"}]


def test_a_service_that_is_down_is_no_second_trouble_and_its_url_stays_secret(
    webhook, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(WEBHOOK, f"{webhook[0]}/down?token=hush")
    with caplog.at_level(logging.ERROR):
        alert(None, RUN, STATE)
    assert "could not be posted" in caplog.text
    assert "hush" not in caplog.text


def test_without_a_service_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(WEBHOOK, raising=False)
    alert(None, RUN, STATE)
