"""KeyRanges: pieces of the order of keys, each with a name, and which of them meet another."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator


class KeyRanges:
    """Named spans from a first to a last key, both included. Few of them overlap, so that few are looked at.

    >>> spans = KeyRanges()
    >>> spans.add("letters", b"a", b"f")
    >>> spans.add("maps", b"g", b"k")
    >>> list(spans.overlapping(b"f", b"g")), list(spans.overlapping(b"l", b"z"))
    (['maps', 'letters'], [])
    """

    def __init__(self) -> None:
        self._spans: list[tuple[bytes, str, bytes]] = []  # first key, name, last key
        self._reach: list[bytes] = []
        """The greatest last key of a span and all before it."""

    def add(self, name: str, first: bytes, last: bytes) -> None:
        """Add a span."""
        insort(self._spans, (first, name, last))
        place = bisect_left(self._spans, (first, name, last))
        self._reach.insert(place, last)
        self._mend(place)

    def remove(self, name: str, first: bytes, last: bytes) -> None:
        """Take a span out.

        Raises:
            KeyError: If there is none like it.
        """
        place = bisect_left(self._spans, (first, name, last))
        if place == len(self._spans) or self._spans[place] != (first, name, last):
            raise KeyError(name)
        del self._spans[place], self._reach[place]
        self._mend(place)

    def overlapping(self, first: bytes, last: bytes) -> Iterator[str]:
        """Yield the names of the spans that have a key in common with one from `first` to `last`."""
        place = bisect_right(self._spans, last, key=lambda span: span[0]) - 1
        while place >= 0 and self._reach[place] >= first:
            if self._spans[place][2] >= first:
                yield self._spans[place][1]
            place -= 1

    def _mend(self, place: int) -> None:
        """Work the reach out again from a place on, until it is what it was."""
        before = self._reach[place - 1] if place else b""
        for number in range(place, len(self._spans)):
            reach = max(before, self._spans[number][2])
            if number > place and reach == self._reach[number]:
                return
            self._reach[number] = before = reach
