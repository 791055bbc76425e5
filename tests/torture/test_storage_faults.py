"""Test all faults between Foliopress and its object store: a stored object is complete or absent."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.storage import store as store_module
from foliopress.tasks.storage.store import Store
from tests.promises import RERUN_COMPLETES, WHOLE_OR_NOT
from tests.reliability import Tally
from tests.servers import CREDENTIALS, S3Server
from tests.torture.outcome import Outcome, outcome_of
from tests.torture.peace import IS_TORTURE, Undisturbed
from tests.torture.proxy import (
    CLIENT_TIMEOUT_S,
    PASSING,
    Fault,
    FaultProxy,
    fault_proxy,
    from_request,
    no_faults,
    some_faults,
)
from tests.torture.runs import SMALL_SHARDS, Ended, Run, compress

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

SPOIL_READING: tuple[Fault, ...] = (
    *("slow down", "internal error", "reset", "answer lost", "body reset", "truncated", "stall", "body stall"),
)
SPOIL_WRITING: tuple[Fault, ...] = ("slow down", "internal error", "reset", "upload cut", "answer lost", "stall")


@pytest.fixture
def proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    with fault_proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
def store(proxy: FaultProxy, s3_url: str) -> Store:
    return Store(f"{s3_url}/some/where", through(proxy))


def through(proxy: FaultProxy, **more: object) -> StorageSettings:
    return StorageSettings(endpoint_url=proxy.endpoint_url, timeout_s=CLIENT_TIMEOUT_S, region="us-east-1", **more)


@pytest.mark.promise(WHOLE_OR_NOT, "one request of each kind meets each fault once")
@pytest.mark.parametrize("fault", PASSING)
def test_a_fault_that_passes_changes_nothing(
    fault: Fault, store: Store, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, tally: Tally
) -> None:
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.01)
    data = bytes(range(256)) * 300
    calls = {
        "write": lambda: store.write_bytes("a", data),
        "read": lambda: store.read_bytes("a") == data,
        "list": lambda: [(found.key, found.size_bytes) for found in store.list_objects()] == [("a", len(data))],
        "create": lambda: store.create_bytes("new", data) in (True, False),  # a lost response to our own write
        "created": lambda: store.read_bytes("new") == data,
        "refuse": lambda: not store.create_bytes("new", b"other"),
        "replace": lambda: store.replace_bytes("new", store.read_versioned("new")[1], b"newer") in (True, False),
        "replaced": lambda: store.read_bytes("new") == b"newer",
        "exists": lambda: store.exists("new"),
        "delete": lambda: store.delete("new"),
        "deleted": lambda: not store.exists("new"),
    }
    for name, call in calls.items():
        first = proxy.requests
        proxy.plan = lambda number, *_, first=first: fault if number == first else None
        found = call()
        tally.add([] if found in (None, True) else [f"{name} gave {found}"], f"{fault}: {name}")
    assert tally.lost == 0
    assert proxy.met[fault] == len(calls)


@pytest.mark.promise(WHOLE_OR_NOT, "a fault that stays: tries and time are bounded, then it is said")
@pytest.mark.parametrize("fault", sorted({*SPOIL_READING, *SPOIL_WRITING}))
def test_a_fault_that_stays_is_told_in_bounded_time(
    fault: Fault, s3_url: str, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_FIRST_PAUSE_S", 0.01)
    plain = Store(s3_url, through(proxy))
    plain.write_bytes("there", b"old" * 1000)
    proxy.plan = from_request(0, fault)
    store = Store(s3_url, through(proxy, retries=2))
    hasty = Store(s3_url, through(proxy, retries=20, give_up_after_s=0.0))
    if fault in SPOIL_READING:
        with pytest.raises(StoreUnavailable, match=r"cannot read 'there' in s3://.*tried 3 times"):
            store.read_bytes("there")
        with pytest.raises(StoreUnavailable, match="tried 1 times"):
            hasty.read_bytes("there")
    if fault in SPOIL_WRITING:
        with pytest.raises(StoreUnavailable, match="cannot write 'there'.*tried 3 times"):
            store.write_bytes("there", b"new" * 1000)
    proxy.plan = no_faults
    assert plain.read_bytes("there") in (b"old" * 1000, b"new" * 1000)  # one or the other, complete


class Bucket:
    """SOURCE and DEST in one bucket, accessed through the proxy by a command in its own process."""

    def __init__(self, server: S3Server, proxy: FaultProxy, undisturbed: Undisturbed, folder: Path) -> None:
        self._server, self._proxy, self._undisturbed, self._folder = server, proxy, undisturbed, folder
        self.url = server.new_bucket()
        client = server.client()
        for path in sorted(undisturbed.source.glob("**/*")):
            if path.is_file():
                key = f"in/{path.relative_to(undisturbed.source)}"
                client.put_object(Bucket=self.url.removeprefix("s3://"), Key=key, Body=path.read_bytes())

    def compress(self, *more: str, **environment: str) -> Ended:
        return compress(
            f"{self.url}/in",
            f"{self.url}/out",
            *SMALL_SHARDS,
            *("--set", f"storage.endpoint_url={self._proxy.endpoint_url}"),
            *("--set", f"storage.timeout_s={CLIENT_TIMEOUT_S}"),
            *more,
            folder=self._folder,
            **{**CREDENTIALS, "AWS_DEFAULT_REGION": "us-east-1", **environment},
        )

    @property
    def outcome(self) -> Outcome:
        """Return the contents of DEST, read without the proxy; document versions are ETags there."""
        found = outcome_of(f"{self.url}/out", StorageSettings(endpoint_url=self._server.endpoint_url))
        return without_versions(found)

    def half_written(self) -> list[str]:
        """Return the outputs that differ from those of an undisturbed run."""
        whole = self._undisturbed.outcome.objects
        return [key for key, digest in self.outcome.objects.items() if whole.get(key) != digest]

    def losses(self) -> list[str]:
        expected = without_versions(self._undisturbed.outcome)
        return expected.differences(self.outcome)


def without_versions(outcome: Outcome) -> Outcome:
    """Remove values that depend on the scans' location: versions, and the shard ids derived from them."""
    rows = {
        table: [
            {name: value for name, value in row.items() if name not in ("document_version", "shard_id")} for row in rows
        ]
        for table, rows in outcome.rows.items()
    }
    return Outcome(outcome.objects, frozenset(), rows)


@pytest.mark.promise(WHOLE_OR_NOT, "a share of a run's requests meets a fault, of ten kinds by chance")
def test_a_run_over_a_bad_network(
    undisturbed: Undisturbed, s3_server: S3Server, proxy: FaultProxy, tmp_path: Path, tally: Tally
) -> None:
    for seed in range(10 if IS_TORTURE else 1):
        bucket = Bucket(s3_server, proxy, undisturbed, tmp_path)
        proxy.plan = some_faults(seed, 0.08 + 0.02 * (seed % 5))
        proxy.met.clear()
        ended = bucket.compress()
        proxy.plan = no_faults
        losses = [f"half-written: {key}" for key in bucket.half_written()]
        if ended.returncode != undisturbed.exit_code:
            losses += [] if "the same command" in ended.told else [f"not said: {ended.told}"]
            ended = bucket.compress()
            tally.reruns += 1
        assert ended.returncode == undisturbed.exit_code, ended.told
        losses += bucket.losses()
        faults = sum(proxy.met.values())
        tally.tried += faults
        tally.survived += faults if not losses else 0
        tally.lost += len(losses)
        assert losses == []
        assert faults > 2


@pytest.mark.promise(RERUN_COMPLETES, "from some request on the store answers every one with an error")
@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        pytest.param("slow down", 1, "SlowDown", marks=pytest.mark.slow),
        ("expired", 2, "the session token has expired"),
        pytest.param("wrong secret", 2, "the secret key is wrong", marks=pytest.mark.slow),
    ],
)
def test_a_store_that_fails_for_good_in_the_middle_of_a_run(
    fault: Fault,
    code: int,
    said: str,
    undisturbed: Undisturbed,
    s3_server: S3Server,
    proxy: FaultProxy,
    tmp_path: Path,
    tally: Tally,
) -> None:
    bucket = Bucket(s3_server, proxy, undisturbed, tmp_path)
    n_met = 0
    for first in (30, 60, 100, 160, 300) if IS_TORTURE else (60,):
        proxy.plan = from_request(proxy.requests + first, fault)
        proxy.met.clear()
        ended = bucket.compress("--set", "storage.retries=1")
        proxy.plan = no_faults
        if not proxy.met:  # earlier runs got so far that this one had fewer requests
            break
        n_met += 1
        assert (ended.returncode, "Traceback" in ended.told) == (code, False), ended.told
        assert said in ended.told or (code == 2 and "access is denied (403" in ended.told)  # HEAD has no body
        tally.add([f"half-written: {key}" for key in bucket.half_written()], f"{fault} from request {first}")
    assert n_met >= (3 if IS_TORTURE else 1)
    ended = bucket.compress()
    tally.reruns += 1
    assert ended.returncode == undisturbed.exit_code, ended.told
    losses = bucket.losses()
    tally.lost += len(losses)
    assert losses == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 400 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs the rights to mount")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def remount(disk: Path, option: str) -> None:
    assert remounted(disk, option)


def remounted(disk: Path, option: str) -> bool:
    """Change a mount's options; read-only only while no file is being written there."""
    mounting = ["mount", "-o", f"remount,{option}", str(disk)]
    return subprocess.run(mounting, capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.promise(RERUN_COMPLETES, "the disk of DEST is full")
def test_a_disk_that_is_full(undisturbed: Undisturbed, small_disk: Path, tmp_path: Path, tally: Tally) -> None:
    whole = sum(path.stat().st_size for path in undisturbed.source.glob("**/*") if path.is_file())
    for size_kb in (60, 120, 200, 300, 400) if IS_TORTURE else (100,):
        remount(small_disk, f"size={size_kb}k")
        ended = compress(undisturbed.source, small_disk / "out", *SMALL_SHARDS, folder=tmp_path)
        assert (ended.returncode, "Traceback" in ended.told) == (1, False), ended.told
        assert "No space left on device" in ended.told or "shards failed" in ended.told
        expected = undisturbed.outcome.objects
        found = outcome_of(str(small_disk / "out")).objects if (small_disk / "out" / "stats").exists() else {}
        tally.add([key for key in found if found[key] != expected.get(key)], f"{size_kb} kB")
    remount(small_disk, f"size={whole // 1000 + 4000}k")
    ended = compress(undisturbed.source, small_disk / "out", *SMALL_SHARDS, folder=tmp_path)
    tally.reruns += 1
    assert ended.returncode == undisturbed.exit_code, ended.told
    losses = undisturbed.outcome.differences(outcome_of(str(small_disk / "out")))
    tally.lost += len(losses)
    assert losses == []


@pytest.mark.slow
@pytest.mark.promise(RERUN_COMPLETES, "the disk of DEST becomes read-only in the middle of a run")
def test_a_disk_that_becomes_read_only(
    undisturbed: Undisturbed, small_disk: Path, tmp_path: Path, tally: Tally
) -> None:
    remount(small_disk, "size=20m")
    dest = small_disk / "out"
    run = Run(undisturbed.source, dest, *SMALL_SHARDS, folder=tmp_path)
    while run.is_running:
        if len(list(dest.glob("stats/pages/*.parquet"))) >= 2 and remounted(small_disk, "ro"):
            break
        time.sleep(0.01)
    ended = run.wait()
    assert ended.returncode in (1, 2)
    assert "Read-only file system" in ended.told
    assert "Traceback" not in ended.told
    found = outcome_of(str(dest)).objects
    tally.add([key for key in found if found[key] != undisturbed.outcome.objects.get(key)], "read-only")
    remount(small_disk, "rw")
    ended = compress(undisturbed.source, dest, *SMALL_SHARDS, folder=tmp_path)
    tally.reruns += 1
    assert ended.returncode == undisturbed.exit_code, ended.told
    losses = undisturbed.outcome.differences(outcome_of(str(dest)))
    tally.lost += len(losses)
    assert losses == []


@pytest.mark.promise(RERUN_COMPLETES, "DEST cannot be written")
def test_a_dest_that_cannot_be_written(undisturbed: Undisturbed, small_disk: Path, tmp_path: Path) -> None:
    remount(small_disk, "ro")
    ended = compress(undisturbed.source, small_disk / "out", *SMALL_SHARDS, folder=tmp_path)
    assert ended.returncode == 2
    assert "cannot be written" in ended.told or "Read-only file system" in ended.told
    assert "Traceback" not in ended.told


@pytest.mark.promise(RERUN_COMPLETES, "bucket missing, credentials missing or unknown")
def test_a_bucket_that_is_not_there_and_credentials_that_are_not(
    undisturbed: Undisturbed, s3_server: S3Server, tmp_path: Path
) -> None:
    environment = {"AWS_ENDPOINT_URL": s3_server.endpoint_url, "HOME": str(tmp_path), "AWS_DEFAULT_REGION": "us-east-1"}
    ended = compress(undisturbed.source, "s3://no-such-bucket-1/out", folder=tmp_path, **environment, **CREDENTIALS)
    assert (ended.returncode, "the bucket does not exist" in ended.told) == (2, True)
    no_metadata = {"AWS_EC2_METADATA_DISABLED": "true"}
    ended = compress(undisturbed.source, f"{s3_server.new_bucket()}/out", folder=tmp_path, **environment, **no_metadata)
    assert (ended.returncode, "no S3 credentials" in ended.told) == (2, True)
    assert "Traceback" not in ended.told


def test_a_fault_that_only_this_object_has_is_a_setting_nowhere(store: Store, proxy: FaultProxy) -> None:
    proxy.plan = from_request(0, "expired")
    with pytest.raises(ConfigError, match="expired"):
        store.write_bytes("a", b"1")
