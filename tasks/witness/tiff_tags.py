"""Walk the directories of a TIFF, and read their single-integer tags (TIFF 6.0, section 2; BigTIFF too)."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Literal

_SIZES = {1: 1, 3: 2, 4: 4}  # bytes of BYTE, SHORT and LONG


def is_tiff(data: bytes) -> bool:
    """Return whether a file begins as a TIFF does."""
    return data[:2] in (b"II", b"MM")


def directory_starts(data: bytes) -> Iterator[int]:
    """Yield the offset of each directory in the main chain; stop at a directory that was visited before."""
    count_bytes, entry_bytes, offset_bytes = _layout(data)
    at, seen = _number(data, 8 if offset_bytes == 8 else 4, offset_bytes), set[int]()
    while at and at not in seen and at + count_bytes <= len(data):
        seen.add(at)
        yield at
        at = _number(data, at + count_bytes + entry_bytes * _number(data, at, count_bytes), offset_bytes)


def tags_of(data: bytes, frame: int) -> dict[int, int]:
    """Return the values of a directory's single-integer tags; empty if the directory does not exist.

    Args:
        data: The TIFF.
        frame: 0-based number of the directory in the main chain.
    """
    count_bytes, entry_bytes, offset_bytes = _layout(data)
    at = next(islice(directory_starts(data), frame, None), None)
    if at is None:
        return {}
    first = at + count_bytes
    starts = range(first, min(first + entry_bytes * _number(data, at, count_bytes), len(data)), entry_bytes)
    return {
        _number(data, start, 2): _number(data, start + 4 + offset_bytes, size)
        for start in starts
        if (size := _SIZES.get(_number(data, start + 2, 2))) and _number(data, start + 4, offset_bytes) == 1
    }


def _layout(data: bytes) -> tuple[int, int, int]:
    """Return the bytes of a count of entries, of an entry and of an offset."""
    return (8, 20, 8) if _number(data, 2, 2) == 43 else (2, 12, 4)


def _number(data: bytes, at: int, size: int) -> int:
    order: Literal["little", "big"] = "little" if data[:2] == b"II" else "big"
    return int.from_bytes(data[at : at + size], order)
