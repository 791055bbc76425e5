"""Streams: what is said goes out for as long as somebody takes it; the work goes on whether or not.

A reader that has left (`| head`), a terminal that was closed, a full disk or a stream that was never open end the
saying, and nothing else.
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
    """Make stdin, stdout and stderr ones that are open, and the latter two ones that never fail; to be called first."""
    for number in (0, _STDOUT, _STDERR):
        try:
            os.fstat(number)
        except OSError:  # closed by the caller: the next file that is opened would take its place, and all its lines
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _unfailing(_STDOUT, sys.stdout)
    sys.stderr = _unfailing(_STDERR, sys.stderr)


def is_encodable(text: str) -> bool:
    """Return whether stdout's encoding has all letters of a text."""
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


class _Outlet(io.RawIOBase):
    """The raw end of a stream that takes everything, and lets go of what nobody wants any more."""

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
            except BlockingIOError:  # whoever shares the stream has set it so
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
    """Return a text stream to a descriptor, in the encoding of the one that Python made of it."""
    outlet = _Outlet(number)
    return io.TextIOWrapper(
        io.BufferedWriter(outlet),
        encoding=stream.encoding if stream is not None else "utf-8",
        errors="backslashreplace",
        line_buffering=number == _STDERR or outlet.isatty(),
    )
