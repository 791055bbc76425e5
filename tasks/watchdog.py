"""End a worker's process that a document occupies for too long, whatever code it is running.

A decoder in C checks no Python clock and may hold the interpreter's lock, so the kernel ends the process with SIGPROF
once it has used its processor time. Before it ends, it leaves a mark with its traceback in the temporary folder; the
next attempt at the document on this machine finds the mark and reports the time-out.
"""

from __future__ import annotations

import contextlib
import faulthandler
import hashlib
import os
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from foliopress.tasks.errors import PageError

_ROOM_S = 10.0
"""Margin beyond twice the time that a document may take by its own clock."""
_KEPT_S = 86_400.0  # age at which a mark expires

_armed = False
_patience_s = 0.0  # processor time of the watched block; 0 outside


def arm() -> None:
    """Allow this process to be ended; for workers that are restarted. By default no process is."""
    global _armed
    _armed = hasattr(signal, "SIGPROF")
    folder = _folder()
    if folder is None:
        return
    for mark in folder.iterdir():
        with contextlib.suppress(OSError):
            if time.time() - mark.stat().st_mtime > _KEPT_S:
                mark.unlink()


def disarm() -> None:
    """Never end this process."""
    global _armed
    _armed = False


@contextmanager
def watched(name: str, seconds: float) -> Iterator[None]:
    """End this process, if allowed, when the block takes far more processor time than its limit.

    One block at a time in a process.

    Args:
        name: Name of the document and of the run, so that a later run tries it again.
        seconds: Limit of the block by its own clock; the process ends after twice this time and ten seconds more,
            counted from the block's last look at that clock.

    Raises:
        PageError: If a process on this machine was ended over the same name before (`out_of_time`, `failed`).
    """
    global _patience_s
    if not _armed:
        yield
        return
    begin = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:32]
    folder = _folder()
    if folder is not None and _is_marked(folder, begin):
        raise out_of_time(seconds)
    mark = None if folder is None else _opened(folder / f"{begin}-{os.getpid()}")
    try:
        if mark is not None:
            faulthandler.register(signal.SIGPROF, mark, all_threads=True, chain=True)
        _patience_s = 2 * seconds + _ROOM_S
        restart()
        yield
    finally:
        _patience_s = 0.0
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)
        if mark is not None and folder is not None:
            os.close(mark)
            (folder / f"{begin}-{os.getpid()}").unlink(missing_ok=True)


def restart() -> None:
    """Restart the count: the watched block has just checked its own clock."""
    if _patience_s:
        signal.setitimer(signal.ITIMER_PROF, _patience_s)


def out_of_time(seconds: float) -> PageError:
    """Return the error of a document that occupies a worker for too long."""
    message = f"not read in the {seconds:g} s of limits.max_document_seconds; --retry-failed tries it again"
    return PageError("out_of_time", message, failed=True)


def _is_marked(folder: Path, begin: str) -> bool:
    with contextlib.suppress(OSError):
        return any(mark.stat().st_size for mark in folder.glob(f"{begin}-*"))
    return False


def _folder() -> Path | None:
    """Return the folder of the marks, owned by this user; None if it cannot be made."""
    folder = Path(tempfile.gettempdir()) / f"foliopress-out-of-time-{os.getuid() if hasattr(os, 'getuid') else ''}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    return folder if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() else None


def _opened(path: Path) -> int | None:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None  # a full disk; the process is ended all the same
