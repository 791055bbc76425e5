"""Hold the lease on a DEST, which lets one run at a time write there: an object that the run renews while it lives.

No clock of another host is trusted. A waiting run takes over when the object has not changed for `LENGTH_S` while it
watched; the holder stops writing when its own last renewal is nearly as old. Each measures time by its own clock.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import LeaseLost, StoreUnavailable
from foliopress.tasks.storage.store import Store

LEASE_KEY = "runs/lease.json"
RENEW_S = 15.0
LENGTH_S = 60.0
WORKER_CHECK_S = 2.0
"""A worker that has seen its run hold the lease does not check again for so long."""

_SETTLE_S = 0.3  # if two runs found the same old lease, the later writer is the one that reads its own afterwards
_SAFE_SHARE = 0.9  # of LENGTH_S: the holder stops writing before anyone may take over

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LeaseHolder:
    """The content of the lease object. One that is not a lease has no run id, and nobody renews it."""

    run_id: str | None = None
    host: str | None = None
    pid: int = -1
    process_started_at: float = 0.0
    renewals: int = 0
    renewed_at: str | None = None
    """Time of the last renewal by the holder's clock, ISO 8601; for people to read."""
    unfenced: tuple[str, ...] = ()
    """Runs that held the lease before and may still wake up and write."""

    @classmethod
    def parse(cls, content: bytes) -> LeaseHolder:
        """Read the content of a lease object; fields that are missing or invalid have their defaults.

        >>> LeaseHolder.parse(b'{"run_id": "r1", "pid": "x"}') == LeaseHolder(run_id="r1")
        True
        >>> LeaseHolder.parse(b"no JSON") == LeaseHolder.parse(b"[]") == LeaseHolder()
        True
        """
        try:
            values = json.loads(content)
        except ValueError:
            return cls()
        if not isinstance(values, dict):
            return cls()
        unfenced = values.get("unfenced")
        return cls(
            run_id=_as_text(values.get("run_id")),
            host=_as_text(values.get("host")),
            pid=int(_as_number(values.get("pid"), -1)),
            process_started_at=_as_number(values.get("process_started_at"), 0),
            renewals=int(_as_number(values.get("renewals"), 0)),
            renewed_at=_as_text(values.get("renewed_at")),
            unfenced=tuple(one for one in unfenced if isinstance(one, str)) if isinstance(unfenced, list) else (),
        )

    def as_json(self) -> bytes:
        """Return the content of the lease object."""
        return json.dumps(asdict(self), indent=1).encode()

    @property
    def writers(self) -> tuple[str, ...]:
        """The holder, and the runs before it that it had not fenced off yet."""
        names = (self.run_id, *self.unfenced)
        return tuple(dict.fromkeys(name for name in names if name is not None))

    @property
    def is_alive(self) -> bool:
        """True if the holder's process runs on this host."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.process_started_at) < 2
            return is_same and bool(process.status() != psutil.STATUS_ZOMBIE)
        except (psutil.Error, ValueError, OverflowError):
            return False


def seconds() -> float:
    """Return seconds since a fixed moment, including time asleep where the system can tell."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Lease:
    """Holds a DEST for one run, as a context manager; a thread renews it.

    A lease whose holder is a dead process of this host is taken over at once, any other when it has not been renewed
    for `LENGTH_S`.

    Args:
        dest: Where the lease object lies.
        run_id: Run that wants to write there.
        say: Called with a line for the user while another run holds the lease.
        clock, sleep: Seconds since a fixed moment, and how to wait; tests bring their own.
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
        with suppress(StoreUnavailable, ConfigError, OSError):  # the next run takes an abandoned lease over
            if self._is_ours(_read_holder(self._dest)[0]) and self._clock() < self._safe_until:
                self._dest.delete(LEASE_KEY)

    @property
    def unfenced(self) -> tuple[str, ...]:
        """The runs that held the lease before and did not release it: they may still wake up and write."""
        return self._unfenced

    def mark_fenced(self) -> None:
        """Note that the `unfenced` runs are fenced off: nothing counts that they may still write."""
        self._unfenced = ()

    def check(self) -> None:
        """Check that the lease is held now; renew it first if the last renewal is too old.

        Reads nothing while the last renewal is recent.

        Raises:
            LeaseLost: If another run has taken over.
            StoreUnavailable: If DEST does not answer.
        """
        if self._lost is None and self._clock() >= self._safe_until:
            self._renew()
        if self._lost is not None:
            raise LeaseLost(self._lost)

    def _acquire(self) -> None:
        seen: LeaseHolder | None = None
        since = said_at = 0.0
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
                self._unfenced = holder.writers
                continue
            if not said_at or self._clock() - said_at >= RENEW_S:
                said_at = self._clock()
                left_s = max(0, round(LENGTH_S - (said_at - since)))
                self._say(
                    f"{self._dest.url} is in use by run {holder.run_id} (process {holder.pid} on {holder.host}); "
                    f"waiting: its lease is taken over in {left_s} s unless it is renewed"
                )
            self._sleep(min(1.0, LENGTH_S / 10))
        if self._unfenced:
            log.info("the lease was taken over from %s", ", ".join(self._unfenced))
            self._sleep(1.5 * WORKER_CHECK_S)  # until their workers have checked and stopped

    def _is_dead(self, holder: LeaseHolder) -> bool:
        if holder.host == _host() and not holder.is_alive:
            log.info("taking the lease over from run %s, whose process is dead", holder.run_id)
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
            if not renewed:  # a write that seemed to fail may have succeeded
                holder, _ = _read_holder(self._dest)
                renewed = self._is_ours(holder) and holder is not None and holder.renewals == self._renewals
            if renewed:
                self._safe_until = begun + _SAFE_SHARE * LENGTH_S
                return
            if self._is_ours(holder):
                raise StoreUnavailable(f"the lease on {self._dest.url} could not be renewed")
            self._lost = _lost_to(holder, self._dest.url)

    def _content(self) -> bytes:
        """Return the content of the lease object from now on; each one of a run differs."""
        return LeaseHolder(
            run_id=self._run_id,
            host=_host(),
            pid=os.getpid(),
            process_started_at=psutil.Process().create_time(),
            renewals=self._renewals,
            renewed_at=datetime.now(UTC).isoformat(timespec="seconds"),
            unfenced=self._unfenced,
        ).as_json()

    def _is_ours(self, holder: LeaseHolder | None) -> bool:
        return holder is not None and holder.run_id == self._run_id


_seen_held: dict[tuple[str, str], float] = {}
"""When this process last saw a run hold the lease on a DEST."""


def check_held(url: str, storage: StorageSettings, run_id: str) -> None:
    """Run on a worker: check that a run holds the lease on a DEST, or held it at most `WORKER_CHECK_S` ago.

    Raises:
        LeaseLost: If another run, or none, holds it.
        StoreUnavailable: If DEST does not answer.
    """
    now = seconds()
    if now - _seen_held.get((url, run_id), float("-inf")) < WORKER_CHECK_S:
        return
    holder, _ = _read_holder(Store(url, storage))
    if holder is None or holder.run_id != run_id:
        raise LeaseLost(_lost_to(holder, url))
    _seen_held[url, run_id] = now


def _lost_to(holder: LeaseHolder | None, url: str) -> str:
    return f"the lease on {url} was lost to {'nobody' if holder is None else f'run {holder.run_id}'}"


def _read_holder(dest: Store) -> tuple[LeaseHolder | None, str]:
    """Return the holder of the lease, None if there is none, and the version of its object."""
    try:
        content, version = dest.read_versioned(LEASE_KEY)
    except FileNotFoundError:
        return None, ""
    return LeaseHolder.parse(content), version


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


def _as_number(value: object, default: float) -> float:
    try:
        number = float(str(value))
    except ValueError:
        return default
    return number if math.isfinite(number) else default


def _host() -> str:
    """Return a name for this host and its process ids; two containers with the same host name differ in it."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:  # not Linux
        return socket.gethostname()
    return f"{socket.gethostname()} {boot} {namespace}"
