"""The run's own Prefect API: a process with a database that both end with the run, however the run ends.

Prefect's own temporary server outlives a run that is killed, and waits for its port by trying; this one is given a port that
is already open, so that a first request simply waits until it is answered.
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_START_TIMEOUT_S = 120.0

log = logging.getLogger(__name__)


class ApiUnavailable(Exception):
    """The run's own Prefect API did not start."""


@contextmanager
def prefect_api(log_file: Path) -> Iterator[str]:
    """Yield the address of the Prefect API that is configured, or of one that lives as long as this block.

    Args:
        log_file: Where the temporary API's process writes what it has to say.

    Raises:
        ApiUnavailable: If it does not answer within two minutes.
    """
    from prefect.settings import PREFECT_API_URL

    if configured := PREFECT_API_URL.value():
        yield configured
        return
    with _temporary_api(log_file) as url:
        yield url


@contextmanager
def _temporary_api(log_file: Path) -> Iterator[str]:
    home = tempfile.mkdtemp(prefix="foliopress-prefect-")
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener, log_file.open("ab") as output:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/api"
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.temporary_api", str(listener.fileno()), home],
            stdin=subprocess.PIPE,  # its end tells the process that this one is gone
            stdout=output,
            stderr=output,
            pass_fds=[listener.fileno()],
            env={**os.environ, **_server_settings(home), "PYTHONPATH": _import_path()},
            start_new_session=True,  # Ctrl-C is for the run; it then ends the API itself
        )
    try:
        with _client_settings(url, home):
            _wait_until_healthy(url, process)
            yield url
    finally:
        process.kill()  # nothing in its database is needed any more
        process.wait()
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def _client_settings(url: str, home: str) -> Iterator[None]:
    from prefect import settings as prefect_settings

    with prefect_settings.temporary_settings(
        {
            prefect_settings.PREFECT_API_URL: url,
            prefect_settings.PREFECT_HOME: Path(home),
            prefect_settings.PREFECT_LOGGING_TO_API_ENABLED: False,
            prefect_settings.PREFECT_LOGGING_LEVEL: "WARNING",
        }
    ):
        yield


def _server_settings(home: str) -> dict[str, str]:
    return {
        "PREFECT_HOME": home,
        "PREFECT_PROFILE": "ephemeral",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_UI_ENABLED": "false",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def _import_path() -> str:
    here = str(Path(__file__).resolve().parents[1])
    return os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    import time

    import httpx

    deadline = time.monotonic() + _START_TIMEOUT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise ApiUnavailable(f"the run's own Prefect API did not start (exit code {process.poll()})")


def _serve(listener: socket.socket) -> None:
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="on")
    uvicorn.Server(config).run(sockets=[listener])


def _end_with_parent(home: str) -> None:
    sys.stdin.buffer.read()
    shutil.rmtree(home, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(sys.argv[2],), daemon=True).start()
    _serve(socket.socket(fileno=int(sys.argv[1])))
