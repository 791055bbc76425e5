"""Look for secrets, planted wherever a user can type one, in everything that a command prints, writes and starts."""

from __future__ import annotations

import gzip
import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import hide, keep_secret
from foliopress.configs.settings import StorageSettings
from foliopress.flows.host.logs import log_to_file
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.storage.store import Store
from tests.promises import NO_SECRET
from tests.servers import S3Server, free_port

ROOT = Path(__file__).resolve().parents[2]
Archive = Callable[..., Path]

REFUSED = {
    "compress SOURCE": ("compress", "s3://key:canary@bucket/in", "out"),
    "compress DEST": ("compress", "SOURCE", "s3://bucket/out?X-Amz-Signature=canary"),
    "compress DEST with a fragment": ("compress", "SOURCE", "gs://bucket/out#token=canary"),
    "compress --keys": ("compress", "SOURCE", "out", "--keys", "https://host/keys.txt?sig=canary"),
    "compress --scheduler": ("compress", "SOURCE", "out", "--scheduler", "tcp://me:canary@127.0.0.1:1"),
    "compress --profile": ("compress", "SOURCE", "out", "--profile", "https://me:canary@host/profile.yaml"),
    "compress with one argument too many": ("compress", "SOURCE", "out", "--set", "storage.region=eu", "canary"),
    "compress with an option that there is not": ("compress", "SOURCE", "out", "--secret=canary"),
    "an endpoint": ("compress", "SOURCE", "out", "--set", "storage.endpoint_url=http://me:canary@127.0.0.1:1"),
    "a setting that is misspelt": ("compress", "SOURCE", "out", "--set", "storage.secret_key=canary"),
    "a model": ("compress", "SOURCE", "out", "--set", "importance.model=https://me:canary@host/m?token=canary"),
    "verify DEST": ("verify", "az://out?sv=1&sig=canary"),
    "verify --source": ("verify", "out", "--source", "webdav://me:canary@host/in"),
    "estimate SOURCE": ("estimate", "s3://bucket/in?token=canary"),
    "report DEST": ("report", "s3://key:canary@bucket/out"),
    "bag DEST": ("bag", "filecache::s3://key:canary@bucket/data"),
    "app --host-name": ("app", "--host-name", "http://me:canary@host"),
}


def environment(folder: Path, **more: str) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AWS"))}
    home = {"PREFECT_HOME": str(folder / "no-prefect"), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
    return {**clean, **home, **more}


def written(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Yield the bytes of each file, and of what is packed in it."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield from ((path, data) for data in unpacked(path.name, path.read_bytes()))


def unpacked(name: str, data: bytes) -> Iterator[bytes]:
    yield data
    if name.endswith(".parquet"):
        table = pq.read_table(io.BytesIO(data))
        yield f"{table.to_pylist()} {table.schema.metadata}".encode()
    if data[:2] == b"\x1f\x8b":
        yield gzip.decompress(data)


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What became of each command line, by its name; all are tried in one process, as its start takes the time."""
    folder = tmp_path_factory.mktemp("refused")
    (folder / "SOURCE").mkdir()
    (folder / "SOURCE" / "a.jpg").write_bytes(b"no page is read")
    (folder / "all.json").write_text(json.dumps(REFUSED))
    trying = (
        "import json, tempfile; from typer.testing import CliRunner; from foliopress.flows.cli import app; told = {}\n"
        "for name, arguments in json.load(open('all.json')).items():\n"
        "    ended = CliRunner().invoke(app, arguments)\n"
        "    told[name] = {'code': ended.exit_code, 'said': ended.output}\n"
        "json.dump(told, open('told.json', 'w'))\n"
    )
    subprocess.run([sys.executable, "-c", trying], env=environment(folder), cwd=folder, check=True, timeout=200)
    told: dict[str, dict[str, object]] = json.loads((folder / "told.json").read_text())
    (folder / "all.json").unlink()
    (folder / "told.json").unlink()
    logged = [path for path, data in written(folder) if b"canary" in data]
    return {name: {**one, "logged": logged} for name, one in told.items()}


@pytest.mark.promise(NO_SECRET, "a canary in a URL, an option or a setting of each command, refused")
@pytest.mark.parametrize("name", REFUSED)
def test_a_secret_in_what_was_typed_is_refused_and_neither_said_nor_logged(
    name: str, refused: dict[str, dict[str, object]]
) -> None:
    ended = refused[name]
    assert ended["code"] == 2, ended["said"]
    assert ended["said"] and "canary" not in str(ended["said"])
    assert not ended["logged"]


@pytest.mark.promise(NO_SECRET, "canaries in settings, environment and proxy, to the end and into a store that is gone")
@pytest.mark.parametrize("is_reached", [True, False], ids=["to its end", "into an error"])
def test_a_run_says_and_writes_no_secret_and_starts_nothing_with_one(
    is_reached: bool, archive: Archive, s3_server: S3Server, tmp_path: Path
) -> None:
    bucket, endpoint = s3_server.new_bucket(), s3_server.endpoint_url
    nowhere = f"http://127.0.0.1:{free_port()}"
    given = {
        "AWS_ACCESS_KEY_ID": "AKIACANARY0KEY",
        "AWS_SECRET_ACCESS_KEY": "canary/secret+0",
        "AWS_SESSION_TOKEN": "canary-token-0",
        "AWS_ENDPOINT_URL": endpoint if is_reached else nowhere,
        "AWS_DEFAULT_REGION": "us-east-1",
        "HTTPS_PROXY": f"http://me:canary-proxy@127.0.0.1:{free_port()}",
        "SOME_SERVICE_TOKEN": "canary-service",
    }
    settings = ("storage.access_key_id=AKIACANARY0SET", "storage.secret_access_key=canary/set+0", "storage.retries=1")
    profile = tmp_path / "profile.yaml"
    profile.write_text("storage: {session_token: canary-profile}\n")
    command = [
        sys.executable,
        "-m",
        "foliopress.flows.cli",
        "compress",
        archive("a.jpg"),
        f"{bucket}/out",
        "--workers",
        "1",
    ]
    command += ["--profile", profile, *(part for one in settings for part in ("--set", one))]
    with (tmp_path / "said.txt").open("wb") as said:
        running = subprocess.Popen(
            command,
            env=environment(tmp_path, **given),
            stdout=said,
            stderr=said,
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )
        started: set[str] = set()
        while running.poll() is None:
            with suppress(psutil.Error):
                started |= {" ".join(child.cmdline()) for child in psutil.Process(running.pid).children(recursive=True)}
            time.sleep(0.1)
    assert running.returncode == (0 if is_reached else 2), (tmp_path / "said.txt").read_text()
    started.discard(" ".join(map(str, command)))  # a child that has forked and not yet run its own program
    profile.unlink()
    store = Store(bucket, StorageSettings(endpoint_url=endpoint, region="us-east-1"))
    told = [(found.key, store.read_bytes(found.key)) for found in store.list_objects()]
    told = [(key, part) for key, data in told for part in unpacked(key, data)]
    told += [(str(path), data) for path, data in written(tmp_path)]
    assert len(told) > (15 if is_reached else 1)
    assert not [name for name, data in told if b"canary" in data.lower()]
    assert not [one for one in started if "canary" in one.lower()]
    assert not is_reached or len(started) >= 2  # the API and a worker


@pytest.mark.parametrize("kind", [ConfigError, StoreUnavailable])
def test_an_error_of_ours_holds_no_secret_that_a_library_put_into_its_words(kind: type[Exception]) -> None:
    library = (
        "Could not connect to the endpoint URL: \"http://me:canary@host/b?X-Amz-Credential=canary\" (token='canary')"
    )
    assert "canary" not in str(kind(f"DEST cannot be written: {library}"))
    assert "Could not connect to the endpoint URL" in str(kind(library)) and "//host/b" in str(kind(library))


def test_the_log_holds_no_secret_not_even_in_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setenv("SOME_API_KEY", "canary-from-environment")
    keep_secret("canary/from+settings")
    try:
        log_to_file(tmp_path / "run.log")
        try:
            raise OSError("407 from http://me:canary@proxy:3128/ for key canary/from+settings")
        except OSError:
            logging.getLogger("distributed.worker").exception("Compute failed: args: %s", "canary-from-environment")
        logging.getLogger("x").warning("as in a URL: canary%2Ffrom%2Bsettings, Authorization: Bearer canary")
    finally:
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = before
        root.setLevel(level)
        logging.captureWarnings(False)
    text = (tmp_path / "run.log").read_text()
    assert "canary" not in text
    assert "Traceback" in text and "407 from http://proxy:3128/" in text and "Compute failed" in text


@pytest.mark.parametrize(
    "text",
    [
        *("shards_passed_over=3", "storage.secret_access_key: the given value is not valid", "design=4, author: me"),
        *(
            "the key 'scans/token: 5.jpg' is no document",
            "cannot read 'a=b' in s3://bucket/scans",
            "tcp://10.0.0.1:8786",
        ),
        *("file:///scans/a?b=c", "http://[::1]:4200/api", "the secret key is wrong (SignatureDoesNotMatch)"),
    ],
)
def test_what_is_no_secret_stays_in_a_text(text: str) -> None:
    assert hide(text) == text


@pytest.mark.parametrize("part", ["auth.", "a:", "token", "x=", "s3://a@", "'", "a::b://", "key_"])
def test_a_text_made_to_take_long_takes_no_longer_than_others(part: str) -> None:
    begun = time.process_time()
    hide(part * 20_000)
    assert time.process_time() - begun < 5
