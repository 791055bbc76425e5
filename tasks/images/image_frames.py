"""Find further images in an image file besides the one that Pillow decodes.

These are items of an AVIF, codestreams of a JPEG 2000, frames of a PNG, images after a JPEG (CIPA DC-007) and EXIF's
thumbnail.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from foliopress.tasks.images import isobmff, metadata, tiff_ifd

_IMAGES = frozenset(
    {
        b"av01",
        b"avc1",
        b"hvc1",
        b"lhv1",
        b"vvc1",
        b"evc1",
        b"jpeg",
        b"j2k1",
        b"unci",
        b"grid",
        b"iovl",
        b"iden",
        b"tmap",
    }
)
"""Types of items that are images, coded or derived from others (ISO 23008-12 and its amendments)."""
_ALPHA = (b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha", b"urn:mpeg:hevc:2015:auxid:1")
_COUNT_OF_IMAGES, _ENTRIES, _ENTRY_BYTES = 0xB001, 0xB002, 16  # CIPA DC-007, 5.2.3
_THUMBNAIL_AT, _THUMBNAIL_BYTES = 0x0201, 0x0202  # EXIF 2.32, 4.5.5
_LARGEST_INDEX_BYTES = 65_536


@dataclass(frozen=True)
class OtherImages:
    """Further images in a file: `others` are independent images; `left_out` are copies of the main one, masks etc."""

    others: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def find_other_images(data: bytes, form: str) -> OtherImages:
    """Return the further images in a file, except the thumbnail in its EXIF.

    Args:
        data: The file.
        form: Pillow's name of its format.
    """
    if form == "AVIF":
        return _in_avif(data)
    if form == "JPEG2000":
        kinds = [kind for kind, _, _ in isobmff.boxes(data, is_cut_off_too=True)]
        several = kinds.count(b"jp2c") > 1 or kinds.count(b"jpch") > 1
        return OtherImages(("another codestream",)) if several or b"ftbl" in kinds else OtherImages()
    if form == "PNG":
        return (
            OtherImages(("frames of an animation",)) if metadata.png_kinds(data).count(b"fcTL") > 1 else OtherImages()
        )
    return _behind_jpeg(data) if form == "JPEG" else OtherImages()


def exif_thumbnail(exif: bytes | None) -> bytes | None:
    """Return the JPEG in the second directory of an EXIF block: None without a thumbnail, empty if it is not a JPEG."""
    block = (exif or b"").removeprefix(b"Exif\0\0")
    second = next((at for number, at in enumerate(tiff_ifd.starts(block)) if number == 1), None)
    if second is None:
        return None
    start, size = (next(iter(tiff_ifd.integers(block, second, tag)), 0) for tag in (_THUMBNAIL_AT, _THUMBNAIL_BYTES))
    found = block[start : start + size] if start else b""
    return found if found.startswith(b"\xff\xd8") else b""


class _Item(NamedTuple):
    kind: bytes
    is_hidden: bool


@dataclass
class _Items:
    """The items of a file's `meta` box and their references (ISO 14496-12, 8.11)."""

    primary: int = 0
    items: dict[int, _Item] = field(default_factory=dict)
    references: list[tuple[bytes, int, int]] = field(default_factory=list)  # kind, from, to
    alphas: set[int] = field(default_factory=set)

    def of_kind(self, kind: bytes) -> dict[int, int]:
        """Return the target of each item's reference of one kind."""
        return {from_: to for name, from_, to in self.references if name == kind}


def _in_avif(data: bytes) -> OtherImages:
    found = _Items()
    is_sequence = False
    for kind, start, end in isobmff.boxes(data):
        is_sequence = is_sequence or kind == b"moov"
        if kind == b"meta":
            _read_items(data, start + 4, end, found)
    others, left_out = ["an image sequence"] if is_sequence else [], []
    thumbnails, auxiliaries = found.of_kind(b"thmb"), found.of_kind(b"auxl")
    parts = {to for kind, _, to in found.references if kind == b"dimg"}
    tone_maps = {from_ for kind, from_, to in found.references if kind == b"dimg" and to == found.primary}
    for number, item in found.items.items():
        if item.kind not in _IMAGES or number == found.primary or number in found.alphas:
            continue
        if number in thumbnails:
            left_out.append(f"item {number}: a thumbnail")
        elif number in auxiliaries:
            left_out.append(f"item {number}: an auxiliary image")
        elif item.kind == b"tmap" and number in tone_maps:
            left_out.append(f"item {number}: the same picture for brighter screens")
        elif number not in parts and not item.is_hidden:
            others.append(f"item {number}")
    return OtherImages(tuple(others), tuple(left_out))


def _read_items(data: bytes, start: int, end: int, found: _Items) -> None:
    for kind, at, stop in isobmff.boxes(data, start, end):
        version, body = data[at], at + 4
        wide = "I" if version else "H"
        try:
            if kind == b"pitm":
                found.primary = _number(data, body, wide)
            elif kind == b"iinf":
                for inner, from_, to in isobmff.boxes(data, body + (4 if version else 2), stop):
                    if inner == b"infe" and to - from_ >= 12 and data[from_] in (2, 3):
                        number = _number(data, from_ + 4, "H" if data[from_] == 2 else "I")
                        place = from_ + (8 if data[from_] == 2 else 10)
                        found.items[number] = _Item(data[place : place + 4], bool(data[from_ + 3] & 1))
            elif kind == b"iref":
                for inner, from_, _ in isobmff.boxes(data, body, stop):
                    size = struct.calcsize(wide)
                    one, n_others = _number(data, from_, wide), _number(data, from_ + size, "H")
                    numbers = struct.unpack_from(f">{n_others}{wide}", data, from_ + size + 2)
                    found.references += [(inner, one, other) for other in numbers]
            elif kind == b"iprp":
                found.alphas |= _alphas(data, at, stop)
        except struct.error:
            continue  # a box with a wrong length


def _alphas(data: bytes, start: int, end: int) -> set[int]:
    """Return the items marked as alpha planes."""
    alphas: set[int] = set()
    properties: list[bool] = [False]
    for kind, at, stop in isobmff.boxes(data, start, end):
        if kind == b"ipco":
            for inner, from_, to in isobmff.boxes(data, at, stop):
                properties.append(inner == b"auxC" and data[from_ + 4 : to].split(b"\0", 1)[0] in _ALPHA)
        elif kind == b"ipma":
            item, index = "H" if data[at] == 0 else "I", "H" if data[at + 3] & 1 else "B"
            place = at + 8
            for _ in range(_number(data, at + 4, "I")):
                number, n_links = struct.unpack_from(f">{item}B", data, place)
                place += struct.calcsize(f">{item}B")
                links = struct.unpack_from(f">{n_links}{index}", data, place)
                place += struct.calcsize(f">{n_links}{index}")
                most = 0x7FFF if index == "H" else 0x7F
                if any(properties[link & most] for link in links if link & most < len(properties)):
                    alphas.add(number)
    return alphas


def _number(data: bytes, at: int, shape: str) -> int:
    return int(struct.unpack_from(f">{shape}", data, at)[0])


def _behind_jpeg(data: bytes) -> OtherImages:
    """Return the images listed after the first in a JPEG's multi-picture index."""
    for index in _indices(data):
        try:
            found = tiff_ifd.read(index, None, lambda tag: tag in (_COUNT_OF_IMAGES, _ENTRIES), _LARGEST_INDEX_BYTES)
        except ValueError:
            found = tiff_ifd.Directory()
        entries = found.tags.get(_ENTRIES)
        n_images = int(found.number(_COUNT_OF_IMAGES) or 0)
        n_images = max(n_images, len(entries.data) // _ENTRY_BYTES if entries else 0)
        if n_images == 0 and b"\xff\xd9\xff\xd8\xff" in data:  # an unreadable index, and an image after it
            return OtherImages(("an image after the first",))
        if n_images == 2 and b"hdrgm:Version" in data[: data.find(b"\xff\xda") + 1]:
            return OtherImages(left_out=("a gain map for brighter screens",))
        if n_images > 1:
            return OtherImages(tuple(f"image {number}" for number in range(2, n_images + 1)))
    return OtherImages()


def _indices(data: bytes) -> Iterator[bytes]:
    """Yield a JPEG's multi-picture indices (`MPF`)."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4])
        if data[at + 1] == 0xE2 and data[at + 4 : at + 8] == b"MPF\0":
            yield data[at + 8 : at + 2 + length]
        at += 2 + max(2, length)
