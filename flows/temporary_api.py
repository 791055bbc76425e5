"""The run's own Prefect API: a process with a database that both end with the run, however the run ends.

Prefect's own temporary server outlives a run that is killed, and waits for its port by trying; this one is given a port
that is already open, so that a first request simply waits until it is answered. The run holds that port too: where the
process dies (an out-of-memory killer likes it), another takes its place, with the same database.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

_START_TIMEOUT_S = 120.0
_MOST_DEATHS = 50
_MOST_DEATHS_AT_START = 3
_PAUSE_S = 0.5

log = logging.getLogger(__name__)


class ApiUnavailable(Exception):
    """The run's own Prefect API did not start."""


class PrefectApi:
    """The Prefect API that is configured, or one that lives as long as this block.

    It begins to start when the block is entered; `connected` waits for it, so that much can be imported meanwhile.

    Args:
        log_file: Where the temporary API's process writes what it has to say.
    """

    def __init__(self, log_file: Path) -> None:
        self._log_file = log_file
        self._home = ""
        self._url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self._deaths: list[int] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        if not _is_configured():
            self._home = tempfile.mkdtemp(prefix="foliopress-prefect-")
            self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
            self._url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api"
            self._process = self._started(self._listener)
            threading.Thread(target=self._keep_alive, args=(self._listener,), name="api", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._ended.set()
            process = self._process
        if process is not None and self._listener is not None:
            process.kill()  # nothing in its database is needed any more
            process.wait()
            self._listener.close()
            shutil.rmtree(self._home, ignore_errors=True)

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Have Prefect use this API within the block.

        Raises:
            ApiUnavailable: If it does not answer within two minutes.
        """
        if self._process is None:
            yield
            return
        with _client_settings(self._url, self._home):
            _wait_until_healthy(self._url, self._deaths)
            yield

    def _keep_alive(self, listener: socket.socket) -> None:
        """Start the process again wherever it ends before the run does; what it was asked meanwhile it then answers."""
        while len(self._deaths) < _MOST_DEATHS:
            process = self._process
            assert process is not None
            code = process.wait()
            if self._ended.wait(_PAUSE_S):
                return
            log.warning("the run's own Prefect API ended with %d; started again", code)
            self._deaths.append(code)
            with self._lock:
                if self._ended.is_set():
                    return
                self._process = self._started(listener)

    def _started(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        with self._log_file.open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "flows.temporary_api", str(listener.fileno()), self._home],
                stdin=subprocess.PIPE,  # its end tells the process that this one is gone
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
                env={**os.environ, **_server_settings(self._home), "PYTHONPATH": _import_path()},
                start_new_session=True,  # Ctrl-C is for the run; it then ends the API itself
            )


def _is_configured() -> bool:
    """Return whether Prefect was told of an API; Prefect is asked only where it may have been."""
    home = Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()
    if "prefect" not in sys.modules and "PREFECT_API_URL" not in os.environ and not (home / "profiles.toml").exists():
        return False
    from prefect.settings import PREFECT_API_URL

    return bool(PREFECT_API_URL.value())


@contextmanager
def _client_settings(url: str, home: str) -> Iterator[None]:
    from prefect import settings as prefect_settings
    from prefect.events.clients import NullEventsClient
    from prefect.events.worker import EventsWorker

    with prefect_settings.temporary_settings(
        {
            prefect_settings.PREFECT_API_URL: url,
            prefect_settings.PREFECT_HOME: Path(home),
            prefect_settings.PREFECT_LOGGING_TO_API_ENABLED: False,
            prefect_settings.PREFECT_LOGGING_LEVEL: "WARNING",
        }
    ):
        EventsWorker.set_client_override(NullEventsClient)  # what looks after events is no part of this API
        try:
            yield
        finally:
            EventsWorker.set_client_override(None)


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


def _wait_until_healthy(url: str, deaths: Sequence[int]) -> None:
    import httpx

    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline and len(deaths) < _MOST_DEATHS_AT_START:
        try:
            if httpx.get(f"{url}/health", timeout=5, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise ApiUnavailable(f"the run's own Prefect API did not start (it ended with {list(deaths)})")


def _serve(listener: socket.socket, home: Path) -> None:
    if not (home / "prefect.db").exists():
        _bring_database(home / "prefect.db")
    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(create_app, factory=True, log_level="error", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])


def _bring_database(database: Path) -> None:
    """Copy an empty database that an earlier run made with this Prefect, or make it: half of the start-up time."""
    kept = _cache_folder() / f"prefect-{version('prefect')}.db"
    with suppress(OSError):
        shutil.copyfile(kept, database.with_suffix(".part")).replace(database)  # whoever finds it finds it whole
        return
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        temporary = kept.with_suffix(f".{os.getpid()}")
        with closing(sqlite3.connect(database)) as made, closing(sqlite3.connect(temporary)) as copy:
            made.backup(copy)
        temporary.replace(kept)


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foliopress"


def _end_with_parent(home: str) -> None:
    while os.read(0, 1):
        pass
    shutil.rmtree(home, ignore_errors=True)
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, args=(sys.argv[2],), daemon=True).start()
    _serve(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
