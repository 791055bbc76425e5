"""Test the lease, which lets one run write to a DEST."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import psutil
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.flows.run import lease as lease_module
from foliopress.flows.run.lease import LEASE_KEY, LENGTH_S, WORKER_CHECK_S, Lease, check_held
from foliopress.tasks.errors import LeaseLost, StoreUnavailable
from foliopress.tasks.storage import local_backend as folder_module
from foliopress.tasks.storage.store import Store
from tests.promises import ONE_RUN

pytestmark = pytest.mark.promise(
    ONE_RUN,
    "takers at once, dead and sleeping holders, late renewals",
)


class Clock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "dest"), StorageSettings())


START = 1_000_000.0


def held_by(dest: Store, **changes: object) -> dict[str, object]:
    """Put a lease into DEST as another run would have."""
    holder: dict[str, object] = {
        "run_id": "other",
        "host": lease_module._host(),
        "pid": psutil.Process().pid,
        "process_started_at": psutil.Process().create_time(),
        "renewals": 0,
    } | changes
    dest.write_bytes(LEASE_KEY, json.dumps(holder).encode())
    return holder


def renewals(dest: Store) -> int:
    return int(json.loads(dest.read_bytes(LEASE_KEY))["renewals"])


def test_a_lease_is_there_while_the_run_lasts_and_names_its_holder(dest: Store) -> None:
    with Lease(dest, "mine"):
        holder = json.loads(dest.read_bytes(LEASE_KEY))
        assert (holder["run_id"], holder["pid"]) == ("mine", psutil.Process().pid)
    assert not dest.exists(LEASE_KEY)


def test_the_lease_of_a_dead_process_of_this_host_is_taken_over_at_once(dest: Store) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    held_by(dest, pid=ended.pid, process_started_at=1.0)
    clock, said = Clock(), []
    with Lease(dest, "mine", said.append, clock, clock.sleep):
        assert json.loads(dest.read_bytes(LEASE_KEY))["run_id"] == "mine"
    assert clock.now < START + 5
    assert said == []


def test_a_process_number_that_was_given_out_again_is_not_the_holder(dest: Store) -> None:
    held_by(dest, process_started_at=psutil.Process().create_time() - 1000)
    clock = Clock()
    with Lease(dest, "mine", print, clock, clock.sleep):
        assert clock.now < START + 5


@pytest.mark.parametrize("host", [None, "another host"])
@pytest.mark.parametrize("ahead_s", [-1e6, 0.0, 1e6])
def test_a_lease_that_may_be_alive_is_watched_for_its_length_whatever_its_host_takes_for_the_time(
    dest: Store, host: str | None, ahead_s: float
) -> None:
    times = {"renewed_at": START + ahead_s, "expires_at": START + ahead_s}
    held_by(dest, **({"host": host} if host else {}), **times)
    clock, said = Clock(), []
    with Lease(dest, "mine", said.append, clock, clock.sleep) as lease:
        assert START + LENGTH_S < clock.now < START + LENGTH_S + 6
        assert lease.unfenced == ("other",)
    assert "in use by run other" in said[0]
    assert 2 <= len(said) <= 6


def test_a_lease_that_is_renewed_is_waited_for_until_its_run_ends(dest: Store) -> None:
    held_by(dest)
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now < START + 300:
            held_by(dest, renewals=int(clock.now - START) // 15)
        elif clock.now < START + 302:
            dest.delete(LEASE_KEY)

    with Lease(dest, "mine", lambda line: None, clock, sleep) as lease:
        assert START + 300 <= clock.now < START + 305
        assert lease.unfenced == ()  # it was given back


def test_who_takes_over_from_a_run_that_had_not_fenced_off_its_predecessor_has_to_fence_off_both(dest: Store) -> None:
    held_by(dest, host="another host", unfenced=["first", "other"])
    clock = Clock()
    with Lease(dest, "mine", lambda line: None, clock, clock.sleep) as lease:
        assert lease.unfenced == ("other", "first")
        assert json.loads(dest.read_bytes(LEASE_KEY))["unfenced"] == ["other", "first"]
        lease.mark_fenced()
        clock.now += LENGTH_S
        lease.check()
        assert json.loads(dest.read_bytes(LEASE_KEY))["unfenced"] == []


def test_a_lease_file_that_nobody_can_read_is_no_lease(dest: Store) -> None:
    dest.write_bytes(LEASE_KEY, b"\x00garbage")
    clock = Clock()
    with Lease(dest, "mine", print, clock, clock.sleep):
        assert json.loads(dest.read_bytes(LEASE_KEY))["run_id"] == "mine"


def test_of_many_runs_that_begin_at_once_one_at_a_time_holds_the_lease(dest: Store) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    held_by(dest, pid=ended.pid, process_started_at=1.0)
    holders, most = 0, 0
    lock = threading.Lock()

    def hold(number: int) -> None:
        nonlocal holders, most
        with Lease(dest, f"run {number}", lambda line: None):
            with lock:
                holders += 1
                most = max(most, holders)
            threading.Event().wait(0.05)
            with lock:
                holders -= 1

    threads = [threading.Thread(target=hold, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (holders, most) == (0, 1)


def test_a_run_that_lost_its_lease_is_told_and_leaves_the_new_one_alone(
    dest: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.05)
    with Lease(dest, "mine") as lease:
        lease.check()
        held_by(dest)
        lease._thread.join(10)  # it ends when the lease is lost
        with pytest.raises(LeaseLost, match="run other"):
            lease.check()
    assert json.loads(dest.read_bytes(LEASE_KEY))["run_id"] == "other"


def test_a_lease_is_renewed_long_before_it_ends(dest: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.05)
    with Lease(dest, "mine") as lease:
        first = renewals(dest)
        threading.Event().wait(0.5)
        assert renewals(dest) > first
        lease.check()
    assert lease_module.LENGTH_S >= 3 * 15


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [StoreUnavailable("no answer"), ConfigError("the session token has expired")])
def test_a_lease_is_renewed_again_after_a_store_that_would_not_have_it(
    dest: Store, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 0.05)
    refused = threading.Event()

    def refuse(key: str) -> tuple[bytes, str]:
        refused.set()
        raise error

    with Lease(dest, "mine") as lease:
        with monkeypatch.context() as patch:
            patch.setattr(dest, "read_versioned", refuse)
            assert refused.wait(10)
        before = renewals(dest)
        threading.Event().wait(0.5)
        assert renewals(dest) > before
        lease.check()


def test_a_lease_that_could_not_be_renewed_in_time_is_renewed_before_anything_is_written(dest: Store) -> None:
    clock = Clock()
    with Lease(dest, "mine", clock=clock, sleep=clock.sleep) as lease:
        lease.check()
        assert renewals(dest) == 0  # it still holds
        clock.now += LENGTH_S - 1  # others may count seconds that are a little shorter
        lease.check()
        assert renewals(dest) == 1


def test_a_run_that_slept_while_another_took_over_writes_and_deletes_nothing(dest: Store) -> None:
    clock = Clock()
    dest.write_bytes("pages/a", b"theirs")
    with Lease(dest, "mine", clock=clock, sleep=clock.sleep) as lease:
        guarded = Store(dest.url, StorageSettings(), lease.check)
        guarded.write_bytes("pages/b", b"mine")
        clock.now += LENGTH_S
        held_by(dest)
        for change in (lambda: guarded.write_bytes("pages/a", b"mine"), lambda: guarded.delete("pages/a")):
            with pytest.raises(LeaseLost, match="run other"):
                change()
    assert dest.read_bytes("pages/a") == b"theirs"
    assert json.loads(dest.read_bytes(LEASE_KEY))["run_id"] == "other"


def test_a_run_that_slept_while_its_bytes_went_to_the_disk_does_not_move_them_into_place(
    dest: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with Lease(dest, "mine", clock=clock, sleep=clock.sleep) as lease:

        def slow(handle: int) -> None:
            if clock.now < START + LENGTH_S:
                clock.now += LENGTH_S
                held_by(dest)

        monkeypatch.setattr(os, "fsync", slow)
        with pytest.raises(LeaseLost, match="run other"):
            Store(dest.url, StorageSettings(), lease.check).write_bytes("pages/a", b"mine")
    assert not dest.exists("pages/a")


def test_a_worker_of_a_run_that_lost_its_lease_writes_no_output_any_more(
    dest: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(lease_module, "seconds", clock)
    outputs = Store(dest.url, StorageSettings(), partial(check_held, dest.url, StorageSettings(), "other"))
    held_by(dest)
    outputs.write_bytes("pages/a", b"1")
    clock.now += 2 * WORKER_CHECK_S
    outputs.write_bytes("pages/a", b"2")
    held_by(dest, run_id="mine")
    clock.now += WORKER_CHECK_S
    with pytest.raises(LeaseLost, match="run mine"):
        outputs.write_bytes("pages/a", b"3")
    dest.delete(LEASE_KEY)
    with pytest.raises(LeaseLost, match="nobody"):
        outputs.write_bytes("pages/a", b"3")
    assert dest.read_bytes("pages/a") == b"2"


def test_who_finds_an_old_lease_late_does_not_delete_the_one_that_took_its_place(
    dest: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    held_by(dest, pid=ended.pid, process_started_at=1.0)
    read, reads = dest.read_versioned, []

    def slow(key: str) -> tuple[bytes, str]:
        found = read(key)
        reads.append(1)
        if len(reads) == 1:  # another run takes over between this one's look and its own take-over
            held_by(dest, run_id="quick", host="another host")
        return found

    said: list[str] = []
    monkeypatch.setattr(dest, "read_versioned", slow)
    with Lease(dest, "mine", said.append, clock, clock.sleep) as lease:
        assert json.loads(dest.read_bytes(LEASE_KEY))["run_id"] == "mine"
        assert lease.unfenced == ("quick",)
    assert "in use by run quick" in said[0]  # and was waited for
    assert clock.now > START + LENGTH_S


def test_a_run_that_is_paused_while_it_renews_its_lease_keeps_nobody_out_and_renews_it_no_more(
    dest: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "_LOCK_WAIT_S", 0.2)
    held_by(dest)
    renewal = json.dumps(held_by(dest) | {"renewals": 1})
    code = (
        "import os, sys\n"
        "from foliopress.configs.settings import StorageSettings\n"
        "from foliopress.tasks.storage import local_backend\n"
        "from foliopress.tasks.storage.store import Store\n"
        "put = local_backend.LocalBackend._put\n"
        "def pause(*arguments):\n"
        "    print('within', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    put(*arguments)\n"
        "local_backend.LocalBackend._put = staticmethod(pause)\n"
        "dest = Store(sys.argv[1], StorageSettings())\n"
        f"print(dest.replace_bytes({LEASE_KEY!r}, dest.read_versioned({LEASE_KEY!r})[1], sys.argv[2].encode()))"
    )
    paused = subprocess.Popen(
        [sys.executable, "-c", code, dest.url, renewal], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert paused.stdin is not None and paused.stdout is not None
    assert paused.stdout.readline() == "within\n"
    clock = Clock()
    with Lease(dest, "mine", lambda line: None, clock, clock.sleep):
        paused.stdin.write("go on\n")
        paused.stdin.flush()
        assert paused.stdout.readline() == "False\n"
        assert json.loads(dest.read_bytes(LEASE_KEY))["run_id"] == "mine"
    paused.wait(30)


def test_a_renewal_that_did_not_come_through_does_not_make_the_lease_hold(
    dest: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    with Lease(dest, "mine", clock=clock, sleep=clock.sleep) as lease:
        monkeypatch.setattr(dest, "replace_bytes", lambda *_: False)
        clock.now += LENGTH_S
        with pytest.raises(StoreUnavailable, match="could not be renewed"):
            lease.check()
