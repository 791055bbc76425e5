"""The lease: one running job per DEST, known by an object that is renewed while the job lives."""

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
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from tasks.errors import ConfigError, StoreUnavailable
from tasks.store import Store

LEASE_KEY = "runs/lease.json"
RENEW_S = 15.0
LENGTH_S = 60.0

_SETTLE_S = 0.3  # two runs that both found an old lease: the later writer is the one that reads itself afterwards

log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another run took the lease over, so this one must not write any more."""


class Lease:
    """Holds a DEST for one run, as a context manager; a thread of its own renews it.

    A lease whose holder is a dead process of this host is taken over at once; any other is waited for until it has
    expired, and `say` tells so.

    Args:
        dest: Where the lease object lies.
        run_id: Of the run that wants to write there.
        say: Called with one line when there is something to wait for.
        clock, sleep: Seconds since the epoch, and how to wait; tests bring their own.
    """

    def __init__(
        self,
        dest: Store,
        run_id: str,
        say: Callable[[str], None] = log.info,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._dest, self._run_id, self._say, self._clock, self._sleep = dest, run_id, say, clock, sleep
        self._ended = threading.Event()
        self._lost: str | None = None
        self._expires_at = 0.0
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
        with suppress(StoreUnavailable, ConfigError, OSError):  # an abandoned lease expires by itself
            if self._is_ours(self._read()[0]):
                self._dest.delete(LEASE_KEY)

    def check(self) -> None:
        """Raise LeaseLost if another run has taken over."""
        if self._lost is not None:
            raise LeaseLost(self._lost)

    def confirm(self) -> None:
        """Make sure that the lease is held at this moment; one that could not be renewed in time is renewed first.

        Raises:
            LeaseLost: If another run has taken over.
            StoreUnavailable: If DEST does not say.
        """
        if self._clock() >= self._expires_at:
            self._renew()
        self.check()

    def _acquire(self) -> None:
        said: float | None = None
        write: Callable[[bytes], bool] = functools.partial(self._dest.create_bytes, LEASE_KEY)
        while True:
            content, expires_at = self._content()
            if write(content):
                self._sleep(_SETTLE_S)
            holder, version = self._read()
            if self._is_ours(holder):
                self._expires_at = expires_at
                return
            write = functools.partial(self._dest.create_bytes, LEASE_KEY)
            if holder is None:
                continue
            if self._is_free(holder):
                write = functools.partial(self._dest.replace_bytes, LEASE_KEY, version)
                continue
            if said is None or self._clock() - said >= RENEW_S:
                said = self._clock()
                left_s = max(0, round(float(str(holder.get("expires_at", 0))) - said))
                self._say(
                    f"{self._dest.url} is in use by run {holder.get('run_id')} (process {holder.get('pid')} on "
                    f"{holder.get('host')}); waiting: its lease expires in {left_s} s unless it is renewed"
                )
            self._sleep(1.0)

    def _is_free(self, holder: dict[str, object]) -> bool:
        if holder.get("host") == _host() and not _is_alive(holder):
            log.info("the lease's holder, run %s, is dead; taken over", holder.get("run_id"))
            return True
        return float(str(holder.get("expires_at", 0))) < self._clock()

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
            holder, version = self._read()
            content, expires_at = self._content()
            if self._is_ours(holder) and self._dest.replace_bytes(LEASE_KEY, version, content):
                self._expires_at = expires_at
                return
            holder, _ = self._read()
            if self._is_ours(holder):  # a try that seemed to have failed had come through
                self._expires_at = expires_at
                return
            taker = "nobody" if holder is None else f"run {holder.get('run_id')}"
            self._lost = f"the lease on {self._dest.url} was lost to {taker}"

    def _content(self) -> tuple[bytes, float]:
        """Return what the lease object says from now on, and until when it holds."""
        expires_at = self._clock() + LENGTH_S
        holder = {
            "run_id": self._run_id,
            "host": _host(),
            "pid": os.getpid(),
            "process_started_at": psutil.Process().create_time(),
            "expires_at": expires_at,
        }
        return json.dumps(holder, indent=1).encode(), expires_at

    def _read(self) -> tuple[dict[str, object] | None, str]:
        """Return who holds the lease, None if nobody does, and what its object is known by."""
        try:
            content, version = self._dest.read_versioned(LEASE_KEY)
        except FileNotFoundError:
            return None, ""
        try:
            holder = json.loads(content)
        except ValueError:
            holder = {}  # no lease of ours can look so; without an expiry it counts as expired
        return (holder if isinstance(holder, dict) else {}), version

    def _is_ours(self, holder: dict[str, object] | None) -> bool:
        return holder is not None and holder.get("run_id") == self._run_id


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
