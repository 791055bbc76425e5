"""Tell errors of the machine from errors of a page: a rerun may cure the former, so no page's row records them."""

from __future__ import annotations

import errno
import mmap
import os
import re
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from foliopress.tasks.errors import ConfigError, HostError, StoreUnavailable

_SHORT_BYTES = 2**29
"""A machine that cannot allocate this much is short of memory; on any other the request was too large."""

_NO_MEMORY = re.compile("out.of.memory|insufficient memory|cannot allocate|bad_alloc", re.IGNORECASE)
"""Messages of libraries that have their own error for it: OpenCV, Pillow, libavif, qpdf."""

_ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or raise the quota",
    errno.EROFS: "set TMPDIR to a writable folder",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the machine's limit of open files",
    errno.ENOMEM: "give it more memory, or use fewer workers",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or use fewer workers",
}


def host_error_of(error: BaseException) -> HostError | None:
    """Return the HostError for an error caused by the machine; None for other errors.

    The machine causes missing libraries, full disks, and running out of files, processes or memory.
    """
    if isinstance(error, HostError):
        return error
    if isinstance(error, OSError) and error.errno in _ADVICE:
        return HostError(f"a worker's machine: {_told(error)}; {_ADVICE[error.errno]}")
    if isinstance(error, MemoryError):
        return HostError(f"a worker's machine is out of memory ({error}); {_ADVICE[errno.ENOMEM]}")
    if isinstance(error, ImportError):
        return HostError(f"a worker lacks a package: {error}; install the same Foliopress on all workers")
    return None


@contextmanager
def as_host_error(doing: str) -> Iterator[None]:
    """Raise system errors in this block as HostError.

    For work on our own files and processes, which no document influences.

    Args:
        doing: Activity for the message, e.g. `writing a page for Tesseract`.

    Raises:
        HostError: In place of OSError and MemoryError.
    """
    try:
        yield
    except (ConfigError, StoreUnavailable):
        raise
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "check its folder for temporary files")
        raise HostError(f"{place()}: {doing}: {_told(error)}; {advice}") from error
    except MemoryError as error:
        raise _out_of_memory(doing) from error


def raise_if_host_error(error: Exception, doing: str) -> None:
    """Raise HostError if an error raised while reading a document was caused by the machine, not the document.

    A failed allocation is the machine's error if it has no memory left; else the document asked for too much.

    Args:
        error: The error.
        doing: Activity for the message, e.g. `decoding a page`.
    """
    if isinstance(error, HostError):
        raise error
    trouble = host_error_of(error)
    if trouble is not None and not isinstance(error, MemoryError):
        raise trouble from error
    if isinstance(error, MemoryError) or _NO_MEMORY.search(str(error)):
        try:
            mmap.mmap(-1, _SHORT_BYTES).close()
        except (OSError, MemoryError, ValueError):
            raise _out_of_memory(doing) from error


def place() -> str:
    """Return this machine and its folder for temporary files, as named in an error."""
    try:
        folder = tempfile.gettempdir()
    except OSError:
        folder = "none"
    return f"host {socket.gethostname()} (temporary files in {folder})"


def _out_of_memory(doing: str) -> HostError:
    return HostError(f"{place()}: {doing}: out of memory; {_ADVICE[errno.ENOMEM]}")


def _told(error: OSError) -> str:
    words = os.strerror(error.errno) if error.errno else str(error)
    return f"{words}: {error.filename}" if error.filename else words
