"""Find which named ranges of keys overlap another range."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator


class KeyRanges:
    """Named ranges from a first to a last key, both included. Few of them overlap, so that a search looks at few.

    >>> ranges = KeyRanges()
    >>> ranges.add("letters", b"a", b"f")
    >>> ranges.add("maps", b"g", b"k")
    >>> list(ranges.overlapping(b"f", b"g")), list(ranges.overlapping(b"l", b"z"))
    (['maps', 'letters'], [])
    """

    def __init__(self) -> None:
        self._ranges: list[tuple[bytes, str, bytes]] = []  # first key, name, last key
        self._reach: list[bytes] = []
        """The greatest last key of a range and all before it."""

    def add(self, name: str, first: bytes, last: bytes) -> None:
        """Add a range."""
        insort(self._ranges, (first, name, last))
        place = bisect_left(self._ranges, (first, name, last))
        self._reach.insert(place, last)
        self._update_reach(place)

    def remove(self, name: str, first: bytes, last: bytes) -> None:
        """Remove a range.

        Raises:
            KeyError: If there is none like it.
        """
        place = bisect_left(self._ranges, (first, name, last))
        if place == len(self._ranges) or self._ranges[place] != (first, name, last):
            raise KeyError(name)
        del self._ranges[place], self._reach[place]
        self._update_reach(place)

    def overlapping(self, first: bytes, last: bytes) -> Iterator[str]:
        """Yield the names of the ranges that overlap the one from `first` to `last`."""
        place = bisect_right(self._ranges, last, key=lambda one: one[0]) - 1
        while place >= 0 and self._reach[place] >= first:
            if self._ranges[place][2] >= first:
                yield self._ranges[place][1]
            place -= 1

    def _update_reach(self, place: int) -> None:
        """Recompute the reach from a place on, until it no longer changes."""
        before = self._reach[place - 1] if place else b""
        for number in range(place, len(self._ranges)):
            reach = max(before, self._ranges[number][2])
            if number > place and reach == self._reach[number]:
                return
            self._reach[number] = before = reach
