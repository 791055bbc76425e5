"""Host trouble: tells what a machine lacks from what a page is, so that no page's row says what a rerun would mend."""

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
"""A machine that cannot give so much is short of memory; on any other what asked for too much is to blame."""

_NO_MEMORY = re.compile("out.of.memory|insufficient memory|cannot allocate|bad_alloc", re.IGNORECASE)
"""What libraries say that have a kind of error of their own for it: OpenCV, Pillow, libavif, qpdf."""

_ADVICE = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there, or raise the quota",
    errno.EROFS: "name a folder that can be written with TMPDIR",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "raise the machine's limit of open files",
    errno.ENOMEM: "give it more memory, or have fewer workers",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or have fewer workers",
}


def host_error_of(error: BaseException) -> HostError | None:
    """Return what an error says of the machine that it came from; None where it is not the machine's.

    A library that is missing, a disk that is full, files, processes or memory that run out are the machine's.
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
    """Say of whatever the system refuses in this block that it is this machine's trouble.

    To be put round work on files and processes of our own, which no document has a say in.

    Args:
        doing: What is done, e.g. `writing a page for Tesseract`.

    Raises:
        HostError: In place of OSError and MemoryError.
    """
    try:
        yield
    except (ConfigError, StoreUnavailable):
        raise
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "look after its folder for temporary files")
        raise HostError(f"{place()}: {doing}: {_told(error)}; {advice}") from error
    except MemoryError as error:
        raise _out_of_memory(doing) from error


def raise_if_host_error(error: Exception, doing: str) -> None:
    """Raise HostError if an error that came while a document was read is the machine's, not the document's.

    Of memory that was not given the machine is to blame if it has none left; else whoever asked for so much.

    Args:
        error: What came.
        doing: What was done, e.g. `decoding a page`.
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
    """Return how this machine and its folder for temporary files are called in an error."""
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
