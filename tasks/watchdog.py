"""Watchdog: a worker's process that a document occupies for too long is ended, whatever code it is in.

A decoder in C asks no Python clock and may hold the interpreter's lock, so it is the kernel that ends the process, with
SIGPROF, once it has spent so much processor time. Before it ends it leaves a mark in the temporary folder, that shows
where it was; whoever takes the document up again on this machine finds it and says what happened.
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
"""Beyond twice the time that a document may take by its own clock."""
_KEPT_S = 86_400.0  # after which a mark says nothing any more

_armed = False
_patience_s = 0.0  # of the block that is being watched; 0 outside


def arm() -> None:
    """Allow this process to be ended; for workers that are started again. Elsewhere nothing is."""
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
    """End this process, if that is allowed, when the block takes far more processor time than it may.

    One block at a time in a process.

    Args:
        name: Of what is worked on, and of the run, so that a later run tries it again.
        seconds: That the block may take by its own clock; the end comes after twice as many and ten more, counted from
            the last time that it looked at that clock.

    Raises:
        PageError: If a process was ended over the same name on this machine before (`out_of_time`, `failed`).
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
    """Begin to count anew: the block that is watched has just looked at its own clock."""
    if _patience_s:
        signal.setitimer(signal.ITIMER_PROF, _patience_s)


def out_of_time(seconds: float) -> PageError:
    """Return the problem of a document that occupies a worker for too long."""
    message = f"not read in the {seconds:g} s of limits.max_document_seconds; --retry-failed tries it again"
    return PageError("out_of_time", message, failed=True)


def _is_marked(folder: Path, begin: str) -> bool:
    with contextlib.suppress(OSError):
        return any(mark.stat().st_size for mark in folder.glob(f"{begin}-*"))
    return False


def _folder() -> Path | None:
    """Return the folder of the marks, which is this user's own; None where there can be none."""
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
