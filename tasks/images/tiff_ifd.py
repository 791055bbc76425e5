"""Read and write the tag directories (IFDs) of TIFF files and EXIF blocks, tag by tag and byte for byte.

Pillow was tried: it decodes every value and writes it back with the type that it assumes. Here a tag keeps its type and
its bytes, and a broken tag affects no other. The layout is that of TIFF 6.0, section 2; BigTIFF is read too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

Order = Literal["<", ">"]

BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
"""Bytes of one value of each type (TIFF 6.0, section 2)."""
_NUMBERS = _SIZES | {5: 4, 10: 4}
"""Bytes of each number in a value: a fraction has two."""
_OFFSETS = {4: "I", 13: "I", 16: "Q", 18: "Q"}
"""Types of offsets, including BigTIFF's, and their `struct` formats."""

_INTEGERS = _OFFSETS | {1: "B", 3: "H"}
"""Types of unsigned integers, and their `struct` formats."""

EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_PARENTS = {EXIF: 0, GPS: 0, INTEROPERABILITY: EXIF}
"""Tag that points to each sub-directory, and the directory that has the tag; 0 is the page's own."""
_MOST_TAGS = 1_000


@dataclass(frozen=True)
class Tag:
    """One tag's TIFF type, and its value's bytes in the byte order of its directory."""

    kind: int
    data: bytes


Tags = dict[int, Tag]


@dataclass(frozen=True)
class Directory:
    """A page's tags and those of its sub-directories (`EXIF`, `GPS`, `INTEROPERABILITY`)."""

    order: Order = "<"
    tags: Tags = field(default_factory=dict)
    inside: dict[int, Tags] = field(default_factory=dict)

    def text(self, tag: int) -> str:
        """Return the text of a tag; empty without it."""
        found = self.tags.get(tag)
        return readable(found.data.split(b"\0", 1)[0]) if found and found.kind in (BYTE, ASCII, UNDEFINED) else ""

    def number(self, tag: int) -> float | None:
        """Return the first value of a tag of SHORTs, LONGs or RATIONALs; None without one."""
        found = self.tags.get(tag)
        shape = {SHORT: "H", LONG: "I", RATIONAL: "II"}.get(found.kind) if found else None
        if found is None or shape is None or len(found.data) < struct.calcsize(shape):
            return None
        value, *divisor = struct.unpack_from(self.order + shape, found.data)
        return None if divisor == [0] else value / (divisor[0] if divisor else 1)

    def numbers(self, tag: int) -> tuple[int, ...]:
        """Return all values of a tag of SHORTs or LONGs; empty without such a tag."""
        found = self.tags.get(tag)
        shape = {SHORT: "H", LONG: "I"}.get(found.kind) if found else None
        if found is None or shape is None:
            return ()
        count = len(found.data) // struct.calcsize(shape)
        return struct.unpack_from(f"{self.order}{count}{shape}", found.data)

    def of(self, kind: int, *values: int) -> Tag:
        """Return a tag of SHORTs, LONGs or RATIONALs (numerator, denominator, …) in this directory's byte order."""
        return Tag(kind, struct.pack(f"{self.order}{len(values)}{'H' if kind == SHORT else 'I'}", *values))


def in_order(directory: Directory, order: Order) -> Directory:
    """Return a directory with its numbers in a byte order; values of unknown type are unchanged."""
    if directory.order == order:
        return directory
    inside = {key: _turned(tags) for key, tags in directory.inside.items()}
    return Directory(order, _turned(directory.tags), inside)


def _turned(tags: Tags) -> Tags:
    def turned(tag: Tag) -> bytes:
        size = _NUMBERS.get(tag.kind, 1)
        if size == 1:
            return tag.data
        return b"".join(tag.data[at : at + size][::-1] for at in range(0, len(tag.data), size))

    return {number: Tag(tag.kind, turned(tag)) for number, tag in tags.items()}


def readable(data: bytes) -> str:
    """Return text of unknown encoding: as UTF-8 if valid, else as Latin-1."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def starts(data: bytes) -> Iterator[int]:
    """Yield the offset of each directory in a TIFF's main chain; stop where the chain breaks or repeats."""
    try:
        layout, at = _header(data)
        seen: set[int] = set()
        while at not in seen and layout.count(data, at):
            seen.add(at)
            yield at
            at = layout.next_directory(data, at)
    except ValueError:
        return


def count_tags(data: bytes, at: int) -> int:
    """Return the number of tags in the directory at `at`, as far as they are read."""
    try:
        return _header(data)[0].count(data, at)
    except ValueError:
        return 0


def integers(data: bytes, at: int, tag: int) -> tuple[int, ...]:
    """Return the unsigned integers of a tag in the directory at `at`, including offsets and BigTIFF's types.

    A tag that is missing, has another type or extends past the data has none.
    """
    try:
        layout, _ = _header(data)
    except ValueError:
        return ()
    kind, start, size = layout.entries(data, at).get(tag, (0, 0, 0))
    shape = _INTEGERS.get(kind)
    return (
        ()
        if shape is None
        else struct.unpack_from(f"{layout.order}{size // struct.calcsize(shape)}{shape}", data, start)
    )


def next_start(data: bytes, at: int) -> int:
    """Return the offset of the directory that follows the one at `at`, 0 for none."""
    try:
        return _header(data)[0].next_directory(data, at)
    except ValueError:
        return 0


def starting_at(data: bytes, at: int) -> bytes:
    """Return a TIFF whose first directory is the one at `at`.

    Raises:
        ValueError: If the data is no TIFF.
    """
    layout, _ = _header(data)
    place = 8 if layout.inline == 8 else 4
    return data[:place] + struct.pack(layout.order + layout.shape, at) + data[place + layout.inline :]


def with_short(data: bytes, at: int, tag: int, value: int) -> bytes:
    """Return a TIFF with another value for a tag of one SHORT in the directory at `at`.

    Raises:
        ValueError: If the data is no TIFF.
    """
    layout, _ = _header(data)
    kind, start, size = layout.entries(data, at).get(tag, (0, 0, 0))
    if kind != SHORT or size != 2:
        return data
    return data[:start] + struct.pack(layout.order + "H", value) + data[start + 2 :]


def read(data: bytes, at: int | None, wanted: Callable[[int], bool], most_bytes: int) -> Directory:
    """Return the wanted tags of one directory of a TIFF or of an EXIF block.

    Tags that extend past the data or have an unknown type are skipped. If all values together are too large, the
    largest are left out, so that one tag with a wrong length does not cost the others.

    Args:
        data: A TIFF file or an EXIF block, with or without `Exif` and two zero bytes before it.
        at: Offset of the directory (`starts`); None for the first.
        wanted: Selects tags of the page's own directory; sub-directories are returned whole.
        most_bytes: Most bytes of all values together.

    Raises:
        ValueError: If the data is no TIFF, or has no directory there.
    """
    data = data.removeprefix(b"Exif\0\0")
    layout, first = _header(data)
    own = layout.entries(data, first if at is None else at)
    if not own:
        raise ValueError("there is no directory")
    found = {(0, tag): where for tag, where in own.items()}
    for child, parent in _PARENTS.items():
        start = layout.offset(data, found.get((parent, child)))
        found |= {(child, tag): where for tag, where in layout.entries(data, start).items()}
    sizes = {
        (parent, tag): size
        for (parent, tag), (kind, _, size) in found.items()
        if tag not in _PARENTS and kind in _SIZES and (parent or wanted(tag))
    }
    directory = Directory(layout.order)
    for parent, tag in sorted(_smallest(sizes, most_bytes)):
        kind, start, size = found[parent, tag]
        tags = directory.inside.setdefault(parent, {}) if parent else directory.tags
        tags[tag] = Tag(kind, data[start : start + size])
    return directory


def block(directory: Directory, before: bytes = b"") -> bytes:
    """Return a directory as a TIFF of its own: 8 bytes of header, the bytes `before`, then the directory."""
    before += bytes(len(before) % 2)
    head = struct.pack(directory.order + "2sHI", b"II" if directory.order == "<" else b"MM", 42, 8 + len(before))
    return head + before + laid_out(directory, 8 + len(before))


def laid_out(directory: Directory, at: int, following: int = 0) -> bytes:
    """Return a directory that starts at `at`, an even offset in a TIFF, followed by its sub-directories.

    `following` is the offset of the next page's directory, 0 for none.
    """
    inside = {key: dict(tags) for key, tags in directory.inside.items() if tags}
    if INTEROPERABILITY in inside:
        inside.setdefault(EXIF, {})
    whole = {0: dict(directory.tags)} | {key: inside[key] for key in _PARENTS if key in inside}
    for child in list(whole)[1:]:
        whole[_PARENTS[child]][child] = directory.of(LONG, 0)
    starts = {}
    for key, tags in whole.items():
        starts[key] = at
        at += _length(tags)
    for child in list(whole)[1:]:
        whole[_PARENTS[child]][child] = directory.of(LONG, starts[child])
    return b"".join(
        _laid_out(tags, starts[key], directory.order, following if key == 0 else 0) for key, tags in whole.items()
    )


def without(data: bytes, unwanted: Callable[[int], bool]) -> bytes:
    """Return a TIFF with the type of unwanted tags, of all pages, set to one that readers do not know and skip.

    Raises:
        ValueError: If the data is no TIFF.
    """
    blanked = bytearray(data)
    layout, _ = _header(data)
    for at in starts(data):
        for number in range(layout.count(data, at)):
            place = at + layout.head + layout.entry * number
            if place + layout.entry <= len(data) and unwanted(layout.unpack("H", data, place)):
                blanked[place + 2 : place + 4] = b"\0\0"
    return bytes(blanked)


@dataclass(frozen=True)
class _Layout:
    """The byte order of a TIFF and the sizes of its parts: (bytes of the count, of an entry, of an offset)."""

    order: Order
    head: int
    entry: int
    inline: int

    def unpack(self, shape: str, data: bytes, at: int) -> int:
        return int(struct.unpack_from(self.order + shape, data, at)[0])

    @property
    def shape(self) -> str:
        return "Q" if self.inline == 8 else "I"

    def count(self, data: bytes, at: int) -> int:
        if not 0 < at <= len(data) - self.head:
            return 0
        return min(_MOST_TAGS, self.unpack("Q" if self.head == 8 else "H", data, at))

    def next_directory(self, data: bytes, at: int) -> int:
        place = at + self.head + self.entry * self.count(data, at)
        if not at or place > len(data) - self.inline:
            raise ValueError("the chain of directories ends")
        return self.unpack(self.shape, data, place)

    def entries(self, data: bytes, at: int) -> dict[int, tuple[int, int, int]]:
        """Return type, start and size of each tag in the directory at `at` whose value is within the data."""
        found = {}
        for number in range(self.count(data, at)):
            place = at + self.head + self.entry * number
            if place + self.entry > len(data):
                break
            tag, kind, count = struct.unpack_from(self.order + "HH" + self.shape, data, place)
            size = count * (_SIZES.get(kind) or struct.calcsize(_OFFSETS.get(kind, "")))
            start = place + self.entry - self.inline
            if size > self.inline:
                start = self.unpack(self.shape, data, start)
            if size and start + size <= len(data):
                found[tag] = (kind, start, size)
        return found

    def offset(self, data: bytes, where: tuple[int, int, int] | None) -> int:
        """Return the offset in a tag, or 0 if it has none."""
        kind, start, size = where or (0, 0, 0)
        shape = _OFFSETS.get(kind)
        return self.unpack(shape, data, start) if shape and size == struct.calcsize(shape) else 0


def _smallest(sizes: Mapping[tuple[int, int], int], most_bytes: int) -> set[tuple[int, int]]:
    """Return the keys of as many of the smallest values as fit, counting each value's entry and pad byte."""
    kept = set()
    for key, size in sorted(sizes.items(), key=lambda item: (item[1], item[0])):
        most_bytes -= size + size % 2 + 12
        if most_bytes < 0:
            break
        kept.add(key)
    return kept


def _header(data: bytes) -> tuple[_Layout, int]:
    """Return the layout of a TIFF and the offset of its first directory."""
    order: Order = "<" if data[:2] == b"II" else ">"
    version = struct.unpack_from(order + "H", data, 2)[0] if len(data) >= 8 else 0
    if data[:2] in (b"II", b"MM") and version == 42:
        return _Layout(order, 2, 12, 4), int(struct.unpack_from(order + "I", data, 4)[0])
    if data[:2] in (b"II", b"MM") and version == 43 and len(data) >= 16:
        return _Layout(order, 8, 20, 8), int(struct.unpack_from(order + "Q", data, 8)[0])
    raise ValueError("no TIFF header")


def _length(tags: Mapping[int, Tag]) -> int:
    return 2 + 12 * len(tags) + 4 + sum(len(tag.data) + len(tag.data) % 2 for tag in tags.values() if len(tag.data) > 4)


def _laid_out(tags: Mapping[int, Tag], at: int, order: Order, following: int) -> bytes:
    """Return a directory that starts at `at`: its entries in ascending order, then values longer than four bytes."""
    entries, values = b"", b""
    values_at = at + 2 + 12 * len(tags) + 4
    for number, tag in sorted(tags.items()):
        entries += struct.pack(order + "HHI", number, tag.kind, len(tag.data) // _SIZES[tag.kind])
        if len(tag.data) <= 4:
            entries += tag.data.ljust(4, b"\0")
        else:
            entries += struct.pack(order + "I", values_at + len(values))
            values += tag.data + bytes(len(tag.data) % 2)
    return struct.pack(order + "H", len(tags)) + entries + struct.pack(order + "I", following) + values
