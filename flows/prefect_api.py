"""Start a Prefect API for one run: a process with a database, both of which end with the run, however it ends.

Prefect's own temporary server outlives a run that is killed, and polls for its port. This process gets a port that is
already open, so that a first request simply waits for its answer. The run holds that port too: if the process dies (it
is a favourite of out-of-memory killers), another replaces it, with the same database.
"""

from __future__ import annotations

import asyncio
import functools
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
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import chdir, closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from foliopress.configs.secrets import without_password
from foliopress.flows.prefect_server import check_answers, check_settings
from foliopress.tasks import child_processes

_START_TIMEOUT_S = 120.0
_MOST_DEATHS = 50
_MOST_DEATHS_AT_START = 3
_PAUSE_S = 0.5

log = logging.getLogger(__name__)


class ApiUnavailable(Exception):
    """The run's own Prefect API did not start."""


class PrefectApi:
    """The configured Prefect API, or a temporary one that lives as long as this block.

    It begins to start when the block is entered; `wait` waits for it, so that modules can be imported meanwhile.

    Args:
        log_file: Log of the temporary API's process.
    """

    def __init__(self, log_file: Path) -> None:
        self._log_file = log_file
        self._theirs: str | None = None
        self._home = ""
        self._url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self._deaths: list[int] = []
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        self._theirs = _configured_url()
        if self._theirs is None:
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
    def chosen(self) -> Iterator[None]:
        """Make Prefect use this API within the block; Prefect must not have been imported before.

        Raises:
            ConfigError: If the settings of the configured API cannot be read.
        """
        if self._theirs is None:
            with _client_settings(self._url, self._home):
                yield
            return
        check_settings()
        yield

    def wait(self) -> None:
        """Wait until the API answers.

        Raises:
            ApiUnavailable: If the temporary API does not answer within two minutes.
            ConfigError: If the configured API does not answer, or refuses.
        """
        if self._theirs is None:
            _wait_until_healthy(self._url, self._deaths)
        else:
            check_answers(without_password(self._theirs))

    def _keep_alive(self, listener: socket.socket) -> None:
        """Restart the process if it ends before the run does; the new one answers the requests that wait."""
        while len(self._deaths) < _MOST_DEATHS:
            process = self._process
            assert process is not None
            code = process.wait()
            if self._ended.wait(_PAUSE_S):
                return
            log.warning("the run's own Prefect API ended with %d; restarting it", code)
            self._deaths.append(code)
            with self._lock:
                if self._ended.is_set():
                    return
                self._process = self._started(listener)

    def _started(self, listener: socket.socket) -> subprocess.Popen[bytes]:
        with self._log_file.open("ab") as output:
            return subprocess.Popen(
                child_processes.command("flows.prefect_api", str(listener.fileno()), self._home),
                stdin=subprocess.PIPE,  # closes when this process is gone
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
                env=_server_environment(self._home),
                cwd=self._home,  # away from settings files and modules in the user's folder
                start_new_session=True,  # Ctrl-C goes to the run, which then ends the API
            )


def _configured_url() -> str | None:
    """Return the URL of the user's Prefect server, from a variable or the active profile; None without either.

    The files `.env`, `prefect.toml` and `pyproject.toml` do not count: they belong to the folder the command runs in.
    """
    if "prefect" in sys.modules:
        from prefect.settings import PREFECT_API_URL

        return PREFECT_API_URL.value() or None
    given = {name.upper(): value for name, value in os.environ.items()}  # as Prefect reads them
    return given["PREFECT_API_URL"] or None if "PREFECT_API_URL" in given else _url_of_profile(given)


def _url_of_profile(given: Mapping[str, str]) -> str | None:
    home = given.get("PREFECT_HOME") or "~/.prefect"
    try:
        file = Path(given.get("PREFECT_PROFILES_PATH") or f"{home}/profiles.toml").expanduser()
        profiles = tomllib.loads(file.read_text("utf-8"))
        active = given.get("PREFECT_PROFILE") or profiles.get("active")
        return profiles["profiles"][active].get("PREFECT_API_URL") or None
    except (OSError, RuntimeError, ValueError, LookupError, TypeError, AttributeError):
        return None  # no such file or profile, no home, or nothing that Prefect could read


@contextmanager
def _client_settings(url: str, home: str) -> Iterator[None]:
    """Make Prefect in this process and its children use this API alone, and ignore all settings files and variables."""
    others = {name: value for name, value in os.environ.items() if _is_of_prefect(name)}
    ours = {
        **_common_settings(home),
        "PREFECT_API_URL": url,
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }
    for name in others:
        del os.environ[name]
    os.environ.update(ours)
    try:
        with chdir(home):  # where there is no `.env`, `prefect.toml` or `pyproject.toml`
            from prefect.client.base import PrefectHttpxAsyncClient, PrefectHttpxSyncClient
            from prefect.context import SettingsContext
            from prefect.events.clients import NullEventsClient
            from prefect.events.worker import EventsWorker
            from prefect.settings import Profile, Settings

            context = SettingsContext(profile=Profile(name="foliopress"), settings=Settings())
        EventsWorker.set_client_override(NullEventsClient)  # this API has no events service
        try:
            with context, _no_proxy(PrefectHttpxAsyncClient), _no_proxy(PrefectHttpxSyncClient):
                yield
        finally:
            EventsWorker.set_client_override(None)
    finally:
        for name in ours:
            os.environ.pop(name, None)
        os.environ.update(others)


@contextmanager
def _no_proxy(client: type[Any]) -> Iterator[None]:
    """Make the clients of a class ignore the proxies of the environment, which still apply to everything else."""
    made = client.__init__
    client.__init__ = functools.partialmethod(made, trust_env=False)
    try:
        yield
    finally:
        client.__init__ = made


def _is_of_prefect(name: str) -> bool:
    return name.upper().startswith("PREFECT_")


def _common_settings(home: str) -> dict[str, str]:
    return {
        "PREFECT_HOME": home,
        "PREFECT_PROFILES_PATH": str(Path(home) / "profiles.toml"),  # which is not there
        "PREFECT_PROFILE": "ephemeral",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": "WARNING",
    }


def _server_environment(home: str) -> dict[str, str]:
    """Return the environment of the API's process: no settings for another Prefect, and no proxies."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not _is_of_prefect(name) and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        **_common_settings(home),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home}/prefect.db",
        "PREFECT_UI_ENABLED": "false",
        "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT__SERVER_FINAL": "1",
        "PYTHONPATH": child_processes.search_path(),
        "TMPDIR": tempfile.gettempdir(),
    }


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
    """Copy an empty database that an earlier run made with this Prefect, or make one, which takes half of the start."""
    kept = _cache_folder() / f"prefect-{version('prefect')}.db"
    with suppress(OSError):
        shutil.copyfile(kept, database.with_suffix(".part")).replace(database)  # atomic
        return
    from prefect.server.database import provide_database_interface

    asyncio.run(provide_database_interface().create_db())
    with suppress(OSError):
        kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
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
