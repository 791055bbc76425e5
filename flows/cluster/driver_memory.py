"""The driver's memory: one heap for all its threads, so that what one has freed another uses."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

_M_TRIM_THRESHOLD, _M_ARENA_MAX = -1, -8
"""Of mallopt(3), in glibc's malloc.h."""
_FREE_AT_THE_TOP = 2**20
"""Bytes. Unless it is told, glibc keeps up to 64 MB there, and takes ever larger buffers from below."""
_POOL = "ARROW_DEFAULT_MEMORY_POOL"
"""Arrow reads it once, at its first import."""


def use_one_heap() -> None:
    """Have threads that come from now on, and Arrow's tables, take their memory from the heap that is there.

    A driver has dozens of threads. With heaps for them, and one of Arrow's own, it came to 525 MB where statistics of a
    hundred thousand pages were rewritten, with one for the threads to 447 MB, to 40 MB less where glibc gives back what
    is free at its top, and to some 340 MB where Arrow had the same from its import on. Where the C library knows no
    such thing nothing happens; processes that are started from here have what they had.
    """
    with suppress(AttributeError, OSError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_TRIM_THRESHOLD, _FREE_AT_THE_TOP)
    use_system_heap_for_arrow()


def use_system_heap_for_arrow() -> None:
    """Have Arrow take its memory from the C library's heap; all of it only if nothing has imported Arrow before.

    What Parquet files are read and written with it settles once, at its import: 50 MB where they are put together.
    """
    before = os.environ.get(_POOL)
    os.environ[_POOL] = "system"
    try:
        import pyarrow as pa

        pa.set_memory_pool(pa.system_memory_pool())  # if it was imported before
    finally:
        if before is None:
            del os.environ[_POOL]
        else:
            os.environ[_POOL] = before
