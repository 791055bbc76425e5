"""Keep standard streams writable: a lost reader must not end a run.

If a reader has left (`| head`), a terminal was closed, the disk is full or a stream was never open, the output is
dropped and the work continues.
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from typing_extensions import Buffer

_STDOUT, _STDERR = 1, 2


def open_streams() -> None:
    """Open stdin, stdout and stderr if they are closed, and make writes to the latter two never fail; call it first."""
    for number in (0, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:  # closed by the caller: the next opened file would get this number and all of its output
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _unfailing(_STDOUT, sys.stdout)
    sys.stderr = _unfailing(_STDERR, sys.stderr)


def is_encodable(text: str) -> bool:
    """Return whether stdout's encoding can represent a text."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


class _Outlet(io.RawIOBase):
    """A raw stream that accepts all data, and drops it once the reader is gone."""

    def __init__(self, number: int) -> None:
        self._number = number

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: Buffer, /) -> int:
        while True:
            try:
                return os.write(self._number, data)
            except BlockingIOError:  # another process that shares the stream has made it non-blocking
                select.select([], [self._number], [])
            except OSError as error:
                self._give_up(error)
                return memoryview(data).nbytes

    def _give_up(self, error: OSError) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._number)
        os.close(nowhere)
        if self._number == _STDOUT and error.errno != errno.EPIPE:
            print(f"foliopress: stdout cannot be written: {error.strerror}", file=sys.stderr, flush=True)


def _unfailing(number: int, stream: TextIO | None) -> TextIO:
    """Return a text stream for a descriptor, in the encoding of Python's own stream."""
    outlet = _Outlet(number)
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=number == _STDERR or outlet.isatty(),
    )
