"""The lease: one running job per DEST, known by an object that is renewed while the job lives.

No clock of another host is trusted. A waiting run takes over when the object has not changed for `LENGTH_S` while it
watched; the holder stops writing when its own last renewal is nearly as old. Both count seconds of their own.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import ConfigError, LeaseLost, StoreUnavailable
from foliopress.tasks.storage.store import Store

LEASE_KEY = "runs/lease.json"
RENEW_S = 15.0
LENGTH_S = 60.0
WORKER_CHECK_S = 2.0
"""A worker that has seen its run hold the lease does not look again for so long."""

_SETTLE_S = 0.3  # two runs that both found an old lease: the later writer is the one that reads itself afterwards
_SAFE_SHARE = 0.9  # of LENGTH_S: the holder stops writing before anyone may take over

log = logging.getLogger(__name__)


def seconds() -> float:
    """Return seconds from some fixed moment; those that the machine is asleep count too, where it can tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Lease:
    """Holds a DEST for one run, as a context manager; a thread of its own renews it.

    A lease whose holder is a dead process of this host is taken over at once; any other when it has not been renewed
    for `LENGTH_S`, and `say` tells so.

    Args:
        dest: Where the lease object lies.
        run_id: Of the run that wants to write there.
        say: Called with one line when there is something to wait for.
        clock, sleep: Seconds from some fixed moment, and how to wait; tests bring their own.
    """

    def __init__(
        self,
        dest: Store,
        run_id: str,
        say: Callable[[str], None] = log.info,
        clock: Callable[[], float] = seconds,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dest, self._run_id, self._say, self._clock, self._sleep = dest, run_id, say, clock, sleep
        self._ended = threading.Event()
        self._lost: str | None = None
        self._safe_until = float("-inf")
        self._renewals = 0
        self._unfenced: tuple[str, ...] = ()
        self._renewing = threading.Lock()
        self._thread = threading.Thread(target=self._keep_renewing, name="lease", daemon=True)

    def __enter__(self) -> Self:
        self._acquire()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(timeout=RENEW_S)
        with suppress(StoreUnavailable, ConfigError, OSError):  # an abandoned lease is taken over
            if self._is_ours(_read_holder(self._dest)[0]) and self._clock() < self._safe_until:
                self._dest.delete(LEASE_KEY)

    @property
    def unfenced(self) -> tuple[str, ...]:
        """Return the runs that held the lease before and did not give it back: they may still wake up and write."""
        return self._unfenced

    def mark_fenced(self) -> None:
        """Note that nothing counts any more of what those runs may yet write."""
        self._unfenced = ()

    def check(self) -> None:
        """Make sure that the lease is held at this moment; one that was not renewed in time is renewed first.

        Cheap while the last renewal is young: nothing is read.

        Raises:
            LeaseLost: If another run has taken over.
            StoreUnavailable: If DEST does not say.
        """
        if self._lost is None and self._clock() >= self._safe_until:
            self._renew()
        if self._lost is not None:
            raise LeaseLost(self._lost)

    def _acquire(self) -> None:
        seen: dict[str, object] | None = None
        since = said = 0.0
        write: Callable[[bytes], bool] = functools.partial(self._dest.create_bytes, LEASE_KEY)
        while True:
            begun = self._clock()
            if write(self._content()):
                self._sleep(_SETTLE_S)
            holder, version = _read_holder(self._dest)
            if self._is_ours(holder):
                self._safe_until = begun + _SAFE_SHARE * LENGTH_S
                break
            write = functools.partial(self._dest.create_bytes, LEASE_KEY)
            self._unfenced = ()
            if holder is None:
                continue
            if holder != seen:
                seen, since = holder, self._clock()
            if self._clock() - since >= LENGTH_S or self._is_dead(holder):
                write = functools.partial(self._dest.replace_bytes, LEASE_KEY, version)
                self._unfenced = _writers_of(holder)
                continue
            if not said or self._clock() - said >= RENEW_S:
                said = self._clock()
                left_s = max(0, round(LENGTH_S - (said - since)))
                self._say(
                    f"{self._dest.url} is in use by run {holder.get('run_id')} (process {holder.get('pid')} on "
                    f"{holder.get('host')}); waiting: its lease is taken over in {left_s} s unless it is renewed"
                )
            self._sleep(min(1.0, LENGTH_S / 10))
        if self._unfenced:
            log.info("the lease was taken over from %s", ", ".join(self._unfenced))
            self._sleep(1.5 * WORKER_CHECK_S)  # until their workers have looked and stopped

    def _is_dead(self, holder: dict[str, object]) -> bool:
        if holder.get("host") == _host() and not _is_alive(holder):
            log.info("the lease's holder, run %s, is dead; taken over", holder.get("run_id"))
            return True
        return False

    def _keep_renewing(self) -> None:
        while not self._ended.wait(RENEW_S):
            try:
                self._renew()
            except (StoreUnavailable, ConfigError, OSError) as error:  # credentials may have run out
                log.warning("the lease could not be renewed, trying again: %s", error)
            if self._lost is not None:
                return

    def _renew(self) -> None:
        with self._renewing:
            begun = self._clock()
            holder, version = _read_holder(self._dest)
            self._renewals += 1
            renewed = self._is_ours(holder) and self._dest.replace_bytes(LEASE_KEY, version, self._content())
            if not renewed:  # a try that seemed to have failed may have come through
                holder, _ = _read_holder(self._dest)
                renewed = self._is_ours(holder) and (holder or {}).get("renewals") == self._renewals
            if renewed:
                self._safe_until = begun + _SAFE_SHARE * LENGTH_S
                return
            if self._is_ours(holder):
                raise StoreUnavailable(f"the lease on {self._dest.url} could not be renewed")
            self._lost = _lost_to(holder, self._dest.url)

    def _content(self) -> bytes:
        """Return what the lease object says from now on; no two of a run's are the same."""
        holder = {
            "run_id": self._run_id,
            "host": _host(),
            "pid": os.getpid(),
            "process_started_at": psutil.Process().create_time(),
            "renewals": self._renewals,
            "renewed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "unfenced": self._unfenced,
        }
        return json.dumps(holder, indent=1).encode()

    def _is_ours(self, holder: dict[str, object] | None) -> bool:
        return holder is not None and holder.get("run_id") == self._run_id


_seen_held: dict[tuple[str, str], float] = {}
"""When this process last saw a run hold the lease of a DEST."""


def check_held(url: str, storage: StorageSettings, run_id: str) -> None:
    """Run on a worker: make sure that a run holds the lease of a DEST, as of `WORKER_CHECK_S` ago at most.

    Raises:
        LeaseLost: If another run, or nobody, holds it.
        StoreUnavailable: If DEST does not say.
    """
    now = seconds()
    if now - _seen_held.get((url, run_id), float("-inf")) < WORKER_CHECK_S:
        return
    holder, _ = _read_holder(Store(url, storage))
    if holder is None or holder.get("run_id") != run_id:
        raise LeaseLost(_lost_to(holder, url))
    _seen_held[url, run_id] = now


def _lost_to(holder: dict[str, object] | None, url: str) -> str:
    taker = "nobody" if holder is None else f"run {holder.get('run_id')}"
    return f"the lease on {url} was lost to {taker}"


def _read_holder(dest: Store) -> tuple[dict[str, object] | None, str]:
    """Return who holds the lease, None if nobody does, and what its object is known by."""
    try:
        content, version = dest.read_versioned(LEASE_KEY)
    except FileNotFoundError:
        return None, ""
    try:
        holder = json.loads(content)
    except ValueError:
        holder = {}  # no lease of ours can look so; it will not be renewed either
    return (holder if isinstance(holder, dict) else {}), version


def _writers_of(holder: dict[str, object]) -> tuple[str, ...]:
    """Return the holder of a lease, and those before it that it had not fenced off yet."""
    before = holder.get("unfenced")
    names = [holder.get("run_id"), *(before if isinstance(before, list) else [])]
    return tuple(dict.fromkeys(name for name in names if isinstance(name, str)))


def _host() -> str:
    """Return a name for this host and its process numbers; two containers with one name differ in it."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # not Linux
        return socket.gethostname()
    return f"{socket.gethostname()} {boot} {namespace}"


def _is_alive(holder: dict[str, object]) -> bool:
    try:
        process = psutil.Process(int(str(holder.get("pid", -1))))
        started = float(str(holder.get("process_started_at", 0)))
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 2
    except (psutil.Error, ValueError):
        return False
