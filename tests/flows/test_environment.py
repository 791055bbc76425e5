"""Test the command where the environment is meant for something else: proxies, another Prefect or Dask, odd systems."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.servers import free_port, prefect_server_process

ROOT = Path(__file__).resolve().parents[2]
Archive = Callable[..., Path]

_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class DeadProxy:
    """A port of loopback that takes connections, counts them and says nothing."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port, self.connections = self._listener.getsockname()[1], 0
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            connection.close()

    def close(self) -> None:
        self._listener.close()


@contextmanager
def dead_proxy() -> Iterator[DeadProxy]:
    proxy = DeadProxy()
    try:
        yield proxy
    finally:
        proxy.close()


def foliopress(*arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in `folder`, which is its home too."""
    kept = {name: value for name, value in os.environ.items() if not re.match("PREFECT|AWS|DASK|FOLIO|LC_|LANG", name)}
    given = {"HOME": str(folder), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "XDG_CACHE_HOME": ""} | environment
    return subprocess.run(
        [sys.executable, "-m", "foliopress.flows.cli", *map(str, arguments)],
        cwd=folder,
        env=kept | given,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def rows(dest: Path) -> dict[str, str]:
    found = [row for path in (dest / "stats" / "pages").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
    return {row["document_key"]: row["status"] for row in found}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("scheme", "spelling"),
    [
        ("http", "upper"),
        pytest.param("socks5", "lower", marks=pytest.mark.long),
        pytest.param("junk", "upper", marks=pytest.mark.long),
    ],
)
def test_what_a_run_asks_itself_goes_through_no_proxy(
    scheme: str, spelling: str, archive: Archive, home: Path, tmp_path: Path
) -> None:
    with dead_proxy() as proxy:
        names = [name.lower() if spelling == "lower" else name for name in _PROXIES]
        proxies = dict.fromkeys(names, f"{scheme}://127.0.0.1:{proxy.port}")
        ended = foliopress("compress", archive("a.jpg"), tmp_path / "out", "--workers", 1, folder=home, **proxies)
        assert ended.returncode == 0, ended.stderr
        assert proxy.connections == 0
    assert rows(tmp_path / "out") == {"a.jpg": "compressed"}


def database_of(folder: Path, name: str) -> Path:
    """A SQLite database that is somebody's, e.g. that of an older Prefect."""
    path = folder / name
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE flow (id CHAR(36) NOT NULL, name VARCHAR NOT NULL)")
        database.execute("INSERT INTO flow VALUES ('1', 'mine')")
    database.close()
    return path


def settings_of_another_prefect(folder: Path) -> dict[str, str]:
    """Whatever can be set for another Prefect, in each place where Prefect looks; return the variables."""
    url = f"sqlite+aiosqlite:///{folder}"
    (folder / ".prefect").mkdir()
    (folder / ".prefect" / "profiles.toml").write_text(
        'active = "old"\n[profiles.old]\nPREFECT_API_KEY = "pnu_old"\nPREFECT_SERVER_API_BASE_PATH = "/old"\n'
        f'PREFECT_SERVER_DATABASE_CONNECTION_URL = "{url}/profile.db"\nPREFECT_LOGGING_LEVEL = "DEBUG"\n'
    )
    (folder / ".env").write_text(
        f"PREFECT_API_URL=http://127.0.0.1:9/env/api\nPREFECT_SERVER_DATABASE_CONNECTION_URL={url}/env.db\n"
        "PREFECT_CLIENT_MAX_RETRIES=junk\n"
    )
    (folder / "prefect.toml").write_text(
        f'[api]\nkey = "pnu_toml"\nurl = "http://127.0.0.1:9/toml/api"\n'
        f'[server.database]\nconnection_url = "{url}/toml.db"\n'
    )
    (folder / "pyproject.toml").write_text(
        f'[tool.prefect.server.database]\nconnection_url = "{url}/pyproject.db"\n[tool.prefect.client]\nmetrics = "x"\n'
    )
    return {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"{url}/server.db",
        "PREFECT_API_DATABASE_CONNECTION_URL": f"{url}/api.db",
        "PREFECT_API_DATABASE_TIMEOUT": "junk",
        "PREFECT_SERVER_API_BASE_PATH": "/elsewhere",
        "PREFECT_SERVER_API_AUTH_STRING": "admin:theirs",
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_PORT": "junk",
        "PREFECT_API_AUTH_STRING": "admin:mine",
        "PREFECT_API_KEY": "pnu_mine",
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY": "maybe",
        "PREFECT_API_SSL_CERT_FILE": "/nowhere.pem",
        "PREFECT_API_REQUEST_TIMEOUT": "0.0001",
        "PREFECT_CLIENT_CUSTOM_HEADERS": "no json",
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "false",
        "prefect_logging_level": "junk",
        "PREFECT_PROFILE": "gone",
        "PREFECT_TEST_MODE": "1",
        "PREFECT_PLUGINS_ENABLED": "true",
        "PREFECT_RESULTS_DEFAULT_SERIALIZER": "gone/gone",
    }


_DATABASES = ("server.db", "api.db", "profile.db", "env.db", "toml.db", "pyproject.db")


@pytest.mark.long
def test_the_runs_own_api_takes_nothing_that_is_meant_for_another_prefect(
    archive: Archive, home: Path, tmp_path: Path
) -> None:
    databases = [database_of(home, name) for name in _DATABASES]
    before = [path.read_bytes() for path in databases]
    others = settings_of_another_prefect(home)
    ended = foliopress("compress", archive("a.jpg"), tmp_path / "out", "--workers", 1, folder=home, **others)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    assert rows(tmp_path / "out") == {"a.jpg": "compressed"}
    assert [path.read_bytes() for path in databases] == before
    assert sorted(path.name for path in home.glob("*.db*")) == sorted(_DATABASES)
    assert [path.name for path in (home / ".prefect").iterdir()] == ["profiles.toml"]


@pytest.mark.long
def test_files_that_prefect_cannot_read_do_not_matter_to_its_own_api(
    archive: Archive, home: Path, tmp_path: Path
) -> None:
    for name in ("prefect.toml", "pyproject.toml", ".env"):
        (home / name).write_text("[[[ no toml")
    (home / ".prefect").mkdir()
    (home / ".prefect" / "profiles.toml").write_text("[[[ no toml")
    source, dest = archive("a.jpg"), tmp_path / "out"
    ended = foliopress("compress", source, dest, "--workers", 1, folder=home)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    ended = foliopress("verify", dest, "--source", source, "--look", "--workers", 1, folder=home)
    assert (ended.returncode, "nothing is damaged" in ended.stdout) == (0, True), ended.stderr


@pytest.mark.parametrize(("command", "place"), [("compress", "variable"), ("estimate", "profile")])
def test_a_server_of_the_users_that_gives_no_answer_is_named_and_nothing_is_begun(
    command: str, place: str, archive: Archive, home: Path, tmp_path: Path
) -> None:
    url, environment = f"http://127.0.0.1:{free_port()}/api", {}
    if place == "variable":
        environment = {"PREFECT_API_URL": url}
    else:
        (home / ".prefect").mkdir()
        (home / ".prefect" / "profiles.toml").write_text(f'active = "a"\n[profiles.a]\nPREFECT_API_URL = "{url}"\n')
    places = [archive("a.jpg"), tmp_path / "out"][: 2 if command == "compress" else 1]
    ended = foliopress(command, *places, folder=home, **environment)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
    assert f"the Prefect API at {url} does not answer" in ended.stderr
    assert rows(tmp_path / "out") == {}


@pytest.mark.long
def test_a_server_of_the_users_is_used_with_its_password_and_without_it_told_to_refuse(
    archive: Archive, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_SERVER_API_AUTH_STRING", "admin:right")
    source, dest = archive("a.jpg"), tmp_path / "out"
    with prefect_server_process(tmp_path) as server:
        for password, code in (("admin:wrong", 2), ("admin:right", 0)):
            given = {"PREFECT_API_URL": server.url, "PREFECT_API_AUTH_STRING": password}
            ended = foliopress("compress", source, dest, "--workers", 1, folder=home, **given)
            assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
            assert (f"the Prefect API at {server.url} refuses this user (401)" in ended.stderr) == (code == 2)
        nowhere = server.url.removesuffix("/api") + "/elsewhere"
        given |= {"PREFECT_API_URL": nowhere}
        ended = foliopress("compress", source, dest, "--workers", 1, folder=home, **given)
        assert (ended.returncode, f"no Prefect API at {nowhere}" in ended.stderr) == (2, True), ended.stderr


_ANOTHER_DASK = {
    "DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "True",
    "DASK_DISTRIBUTED__COMM__DEFAULT_SCHEME": "tls",
    "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "1ms",
    "DASK_DISTRIBUTED__SCHEDULER__IDLE_TIMEOUT": "1s",
    "DASK_DISTRIBUTED__SCHEDULER__PRELOAD": "['there_is_no_such_module']",
    "DASK_DISTRIBUTED__WORKER__PRELOAD": "['there_is_no_such_module']",
    "DASK_DISTRIBUTED__NANNY__PRELOAD": "['there_is_no_such_module']",
    "DASK_DISTRIBUTED__WORKER__LIFETIME__DURATION": "2s",
    "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE": "0.001",
    "DASK_DISTRIBUTED__WORKER__RESOURCES__GPU": "1",
    "DASK_DISTRIBUTED__WORKER__MULTIPROCESSING_METHOD": "forkserver",
    "DASK_SCHEDULER_ADDRESS": "tcp://127.0.0.1:9",
    "DASK_LOGGING__DISTRIBUTED": "debug",
}


@pytest.mark.long
def test_settings_for_another_dask_do_not_reach_the_runs_own_cluster(
    archive: Archive, home: Path, tmp_path: Path
) -> None:
    (home / ".config" / "dask").mkdir(parents=True)
    (home / ".config" / "dask" / "mine.yaml").write_text(
        "distributed:\n  worker:\n    memory:\n      pause: 0.001\n  comm:\n    timeouts:\n      connect: 1ms\n"
        "  nanny:\n    environ:\n      OMP_THREAD_LIMIT: junk\n"
    )
    ended = foliopress("compress", archive("a.jpg"), tmp_path / "out", "--workers", 1, folder=home, **_ANOTHER_DASK)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    assert rows(tmp_path / "out") == {"a.jpg": "compressed"}


@pytest.mark.long
def test_a_file_of_dasks_settings_that_it_cannot_read_is_named(archive: Archive, home: Path, tmp_path: Path) -> None:
    (home / ".config" / "dask").mkdir(parents=True)
    (home / ".config" / "dask" / "mine.yaml").write_text("distributed: [")
    ended = foliopress("compress", archive("a.jpg"), tmp_path / "out", "--workers", 1, folder=home)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
    assert "mine.yaml" in ended.stderr


_ODD_SYSTEMS = {
    "no locale, no UTF-8": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "Asia/Kathmandu"},
    "junk": {
        "LC_ALL": "xx_YY.junk",
        "TZ": "junk/junk",
        "PYTHONPATH": os.pathsep.join([str(ROOT), "/nowhere", "relative", "", __file__]),
        "OMP_NUM_THREADS": "junk",
        "OMP_THREAD_LIMIT": "0",
        "MALLOC_ARENA_MAX": "junk",
        "COLUMNS": "0",
        "TERM": "junk",
    },
    "safe path, relative TMPDIR": {"PYTHONSAFEPATH": "1", "TMPDIR": "temporary", "PYTHONDONTWRITEBYTECODE": "1"},
}


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "mask"),
    [("no locale, no UTF-8", 0o022), ("safe path, relative TMPDIR", 0o077), ("junk", 0o000)],
)
def test_documents_go_through_whatever_the_system_is_set_to_and_the_runs_own_files_are_its_users_alone(
    kind: str, mask: int, archive: Archive, home: Path, tmp_path: Path
) -> None:
    (home / "temporary").mkdir()
    source, dest = archive("Brief Größe 書.jpg"), tmp_path / "out"
    before = os.umask(mask)
    try:
        ended = foliopress("compress", source, dest, "--json", "--workers", 1, folder=home, **_ODD_SYSTEMS[kind])
    finally:
        os.umask(before)
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False), ended.stderr
    assert json.loads(ended.stdout)["dest_totals"]["pages"] == 1
    assert rows(dest) == {"Brief Größe 書.jpg": "compressed"}
    [output] = (dest / "pages").iterdir()
    assert output.name == "Brief Größe 書.jpg.avif"
    assert output.stat().st_mode & 0o777 == 0o666 & ~mask
    for folder in [*home.glob("**/foliopress-*"), home / ".cache" / "foliopress"]:
        assert folder.stat().st_mode & 0o077 == 0, folder
