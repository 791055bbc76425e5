"""Test the gate with raw requests, as a page of another site could make a browser send them."""

from __future__ import annotations

import base64
import http.client
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from foliopress.app.request_gate import Gate, refuse
from foliopress.configs.errors import ConfigError
from foliopress.flows.streamlit_options import hosts, streamlit_options
from tests.servers import free_port, wait_for_port

_ROOT = Path(__file__).resolve().parents[2]
_PATHS = (
    *("/", "/run?dest=/etc", "/_stcore/health", "/_stcore/host-config", "/media/0.png", "/_stcore/upload_file/a/b"),
    *("/static/js/index.js", "/component/x/index.html", "/_stcore/bidi-components/x/y.js", "/_stcore/metrics"),
)
_WEAKENED = {  # what a user's own configuration of Streamlit may say
    "STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false",
    "STREAMLIT_SERVER_ENABLE_CORS": "false",
    "STREAMLIT_SERVER_ALLOWED_HOSTS": "*",
    "STREAMLIT_SERVER_ENABLE_STATIC_SERVING": "true",
}


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of the window, started by `foliopress app` for use behind a proxy."""
    port, folder = free_port(), tmp_path_factory.mktemp("window")
    command = [sys.executable, "-m", "foliopress.flows.cli", "app", "--port", str(port), "--no-browser"]
    with (folder / "output.txt").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--host-name", "scans.example.org"],
            env={**os.environ, **_WEAKENED, "PYTHONPATH": str(_ROOT)},
            cwd=folder,
            stdout=log,
            stderr=log,
        )
    try:
        wait_for_port(port, server)
        yield port
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0, (folder / "output.txt").read_text()


def answer(port: int, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    """Send a request with exactly these headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    found = connection.getresponse()
    found.read()
    connection.close()
    return found


def run(port: int, **headers: str) -> int:
    """Request the websocket that the window uses for everything, and return the status."""
    key = base64.b64encode(b"0123456789abcdef").decode()
    asked = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key}
    lines = ["GET /_stcore/stream HTTP/1.1", *(f"{name}: {value}" for name, value in {**asked, **headers}.items())]
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return int(connection.recv(4096).split()[1])


@pytest.mark.parametrize("path", _PATHS)
def test_under_a_name_that_resolves_here_by_somebody_else_s_doing_nothing_is_answered(window: int, path: str) -> None:
    for name in (
        "evil.example",
        f"evil.example:{window}",
        "127.0.0.1.evil.example",
        "169.254.169.254",
        "x@127.0.0.1",
        "",
    ):
        assert answer(window, path, Host=name).status == 421
    assert answer(window, path).status in (400, 421)  # HTTP/1.1 without a host


@pytest.mark.parametrize("path", _PATHS)
def test_a_page_of_another_site_is_not_answered(window: int, path: str) -> None:
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{window + 1}", f"https://127.0.0.1:{window + 1}"):
        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            assert answer(window, path, method, Host=f"127.0.0.1:{window}", Origin=origin).status == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]", "scans.example.org", "localhost."])
def test_its_own_names_are_answered_with_headers_that_forbid_framing_and_calls_elsewhere(
    window: int, name: str
) -> None:
    found = answer(window, "/", Host=f"{name}:{window}")
    assert found.status == 200
    assert found.headers.get_all("X-Frame-Options") == ["DENY"]
    (policy,) = found.headers.get_all("Content-Security-Policy") or [""]
    assert "frame-ancestors 'none'" in policy and "default-src 'self'" in policy and "http" not in policy
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert found.headers["Access-Control-Allow-Origin"] is None


def test_every_answer_forbids_framing(window: int) -> None:
    for path in _PATHS:
        for host in (f"127.0.0.1:{window}", "evil.example"):
            assert answer(window, path, Host=host).headers["X-Frame-Options"] == "DENY", path


def test_the_websocket_opens_for_the_window_s_own_page_alone(window: int) -> None:
    here, proxied = f"127.0.0.1:{window}", "scans.example.org"
    assert run(window, Host=here, Origin=f"http://{here}") == 101
    assert run(window, Host=proxied, Origin=f"https://{proxied}") == 101
    assert run(window, Host=f"{proxied}:8443", Origin=f"https://{proxied}:8443") == 101
    for host, origin in (
        (here, "http://evil.example"),
        (here, "null"),
        (here, f"http://localhost:{window + 1}"),
        (here, f"http://{proxied}"),
        ("evil.example", "http://evil.example"),
        (f"evil.example:{window}", f"http://evil.example:{window}"),
        ("evil.example", f"http://{here}"),
    ):
        assert run(window, Host=host, Origin=origin) == 403, (host, origin)


def test_an_upload_without_the_page_s_token_is_refused_whatever_the_user_s_configuration_says(window: int) -> None:
    here = f"127.0.0.1:{window}"
    found = answer(window, "/_stcore/upload_file/a/b", "PUT", Host=here, Origin=f"http://{here}", Content_Length="0")
    assert found.status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"host", b"localhost:1")], None),
        ([(b"Host", b"localhost")], None),
        ([(b"host", b"localhost"), (b"host", b"localhost")], 421),
        ([(b"host", b"localhost:x")], 421),
        ([(b"host", b"localhost:99999")], 421),
        ([(b"host", b"localhost/evil")], 421),
        ([(b"host", b"local\xe9host")], 421),
        ([(b"host", b"[::1")], 421),
        ([], 421),
        ([(b"host", b"localhost"), (b"origin", b"http://localhost")], None),
        ([(b"host", b"localhost:80"), (b"origin", b"http://localhost")], None),
        ([(b"host", b"localhost"), (b"origin", b"http://localhost:81")], 403),
        ([(b"host", b"localhost"), (b"origin", b"chrome-extension://localhost")], 403),
        ([(b"host", b"localhost"), (b"origin", b"http://localhost"), (b"origin", b"http://evil.example")], 403),
        ([(b"host", b"localhost"), (b"origin", b"")], 403),
        ([(b"host", b"localhost"), (b"origin", b"http://localhost@evil.example")], 403),
        ([(b"host", b"localhost"), (b"origin", b"http://[")], 403),
    ],
)
def test_what_passes_the_gate(headers: list[tuple[bytes, bytes]], status: int | None) -> None:
    found = refuse(headers, ["localhost"])
    assert (found and found[0]) == status


def test_a_window_on_all_addresses_answers_under_each_of_them_and_under_no_name_that_was_not_given() -> None:
    found = hosts("0.0.0.0", ["scans.example.org"])
    assert {"127.0.0.1", "localhost", "scans.example.org"} <= set(found)
    assert "0.0.0.0" not in found and "*" not in found
    assert hosts("192.168.7.7")[-1] == "192.168.7.7" and hosts("::")[:3] == hosts("127.0.0.1")


@pytest.mark.parametrize("name", ["*", "*.example.org", "http://a.org", "a.org:80", "a b", "", "-a", "a/b"])
def test_a_name_that_no_browser_sends_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--host-name"):
        streamlit_options("127.0.0.1", 8501, [name], browser=False)


def test_without_its_gate_the_window_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "is_active", False)
    page = AppTest.from_file(str(_ROOT / "app" / "main.py"), default_timeout=60).run()
    assert not page.exception and not page.title and not page.file_uploader
    assert "start it with `foliopress app`" in page.error[0].value
