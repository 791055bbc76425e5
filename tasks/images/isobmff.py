"""Read and write the boxes of JPEG 2000, JPEG XL and AVIF files, and the metadata in them.

A box is 4 bytes of length, 4 of type, then its content (ISO 15444-1, annex I; ISO 18181-2; ISO 14496-12, 4.2). No
library was tried: only these few boxes are needed.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
JXL_START = b"\0\0\0\x0cJXL \r\n\x87\n"
_UUID_EXIF = b"JpgTiffExif->JP2"  # as ExifTool and Kakadu's users write it; no standard names one
_UUID_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")  # XMP specification, part 3, 1.1.4
_MOST_BOXES = 1_000
_SRGB, _GREY, _SYCC, _CMYK = 16, 17, 18, 12
PLAIN_COLOURS = frozenset({_SRGB, _GREY, _SYCC, _CMYK})
"""Enumerated colour spaces of JPEG 2000 that are decoded correctly (ISO 15444-1, I.5.3.3; 15444-2, M.11.7.3)."""


@dataclass(frozen=True)
class ContainerMetadata:
    """Metadata in a file of boxes; `colours` is JPEG 2000's number of its colour space."""

    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    colours: int | None = None
    codestream_at: int | None = None


def boxes(
    data: bytes, start: int = 0, end: int | None = None, *, is_cut_off_too: bool = False
) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each box; stop before a box that extends past the data.

    With `is_cut_off_too`, yield that box as well, cut at the end of the data.
    """
    end = len(data) if end is None else end
    for _ in range(_MOST_BOXES):
        if start + 8 > end:
            return
        size, kind = struct.unpack_from(">I4s", data, start)
        head = 8
        if size == 1 and start + 16 <= end:
            size, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        stop = end if size == 0 else start + size
        if is_cut_off_too:
            stop = min(stop, end)
        if stop > end or stop < start + head:
            return
        yield kind, start + head, stop
        start = stop


def box(kind: bytes, content: bytes) -> bytes:
    r"""Return one box.

    >>> box(b"xml ", b"<a/>")
    b'\x00\x00\x00\x0cxml <a/>'
    """
    return struct.pack(">I4s", 8 + len(content), kind) + content


def container_metadata(data: bytes) -> ContainerMetadata:
    """Return the metadata of a JPEG 2000 or JPEG XL file; a bare codestream has none."""
    icc = exif = xmp = colours = at = None
    for kind, start, end in boxes(data):
        if kind == b"jp2h":
            for inner, from_, to in boxes(data, start, end):
                if inner == b"colr" and to - from_ >= 3 and icc is None and colours is None:
                    method = data[from_]
                    if method == 1 and to - from_ >= 7:
                        colours = int.from_bytes(data[from_ + 3 : from_ + 7])
                    elif method in (2, 3):
                        icc = data[from_ + 3 : to]
        elif kind == b"uuid" and data[start : start + 16] == _UUID_EXIF:
            exif = data[start + 16 : end]
        elif kind == b"uuid" and data[start : start + 16] == _UUID_XMP:
            xmp = data[start + 16 : end]
        elif kind == b"Exif":  # its first four bytes are the offset of the TIFF header
            exif = data[start + 4 + int.from_bytes(data[start : start + 4]) : end]
        elif kind == b"xml ":
            xmp = data[start:end]
        elif kind in (b"jp2c", b"jxlc") and at is None:
            at = start
    return ContainerMetadata(icc, exif, xmp, colours, at)


def jp2_with_metadata(
    data: bytes, dpi: tuple[float, float] | None, icc: bytes | None, exif: bytes, xmp: bytes | None
) -> bytes:
    """Return a JP2 file with metadata added.

    Args:
        data: A JP2 file as Pillow writes it.
        dpi: Vertical and horizontal dots per inch (ISO 15444-1, I.5.3.7.1).
        icc: A profile of matrix and curves, or of grey: the restricted kind, which alone a JP2 may hold (I.5.3.3).
        exif: A TIFF block.
        xmp: An XMP packet.
    """
    out = b""
    for kind, start, end in boxes(data):
        content = data[start:end]
        if kind == b"jp2h":
            parts = [(inner, data[from_:to]) for inner, from_, to in boxes(data, start, end)]
            if icc:
                parts = [(inner, b"\2\0\0" + icc if inner == b"colr" else part) for inner, part in parts]
            content = b"".join(box(inner, part) for inner, part in parts) + (_resolution(dpi) if dpi else b"")
        elif kind == b"jp2c":
            out += box(b"uuid", _UUID_EXIF + exif) + (box(b"uuid", _UUID_XMP + xmp) if xmp else b"")
        out += box(kind, content)
    return out


def jxl_container(codestream: bytes, exif: bytes, xmp: bytes | None) -> bytes:
    """Return a JPEG XL file of one codestream, with EXIF and XMP (ISO 18181-2, 3 to 9)."""
    out = JXL_START + box(b"ftyp", b"jxl \0\0\0\0jxl ") + box(b"Exif", bytes(4) + exif)
    return out + (box(b"xml ", xmp) if xmp else b"") + box(b"jxlc", codestream)


@dataclass(frozen=True)
class Component:
    """Sample format of one component of a JPEG 2000 codestream."""

    bits: int
    is_signed: bool


def jp2_components(data: bytes) -> tuple[Component, ...]:
    """Return the components in marker SIZ of a JPEG 2000 (ISO 15444-1, A.5.1); none without a codestream."""
    at = _codestream_at(data)
    if at is None:
        return ()
    n_components = int.from_bytes(data[at + 40 : at + 42])
    depths = data[at + 42 : at + 42 + 3 * n_components : 3]
    return tuple(Component((depth & 0x7F) + 1, bool(depth & 0x80)) for depth in depths)


def jp2_codestream(data: bytes) -> tuple[int, bool] | None:
    """Return a JPEG 2000's most bits per sample and whether its transform is reversible; None without a codestream.

    The markers are SIZ and COD of ISO 15444-1, A.5.1 and A.6.1.
    """
    at = _codestream_at(data)
    if at is None:
        return None
    bits = max((component.bits for component in jp2_components(data)), default=8)
    place = at + 2
    for _ in range(_MOST_BOXES):
        marker, length = data[place : place + 2], int.from_bytes(data[place + 2 : place + 4])
        if marker == b"\xff\x52":
            return bits, data[place + 13 : place + 14] == b"\1"
        if marker in (b"\xff\x90", b"") or length < 2:
            break
        place += 2 + length
    return bits, False


def jp2_palette_colours(data: bytes) -> int | None:
    """Return the number of colours in a JPEG 2000's palette (ISO 15444-1, I.5.3.4); None without a palette."""
    for kind, start, end in boxes(data):
        if kind == b"jp2h":
            palettes = (from_ for inner, from_, _ in boxes(data, start, end) if inner == b"pclr")
            return next((int.from_bytes(data[from_ : from_ + 2]) for from_ in palettes), None)
    return None


def _codestream_at(data: bytes) -> int | None:
    """Return the offset of a JPEG 2000's first codestream; None if its first marker is missing or incomplete."""
    at = 0 if data[:4] == b"\xff\x4f\xff\x51" else container_metadata(data).codestream_at
    return None if at is None or data[at : at + 4] != b"\xff\x4f\xff\x51" or at + 42 > len(data) else at


def avif_cicp(data: bytes) -> tuple[int, int] | None:
    """Return an AVIF's numbers of colour primaries and transfer (ISO 14496-12, 12.1.5); None without them."""
    for kind, start, end in boxes(data):
        at = data.find(b"colrnclx", start, end) if kind == b"meta" else -1
        if at >= 0 and at + 12 <= end:
            return int.from_bytes(data[at + 8 : at + 10]), int.from_bytes(data[at + 10 : at + 12])
    return None


def avif_without_exif(data: bytes) -> bytes:
    """Return an AVIF with its EXIF item renamed to a type that no reader knows."""
    out = bytearray(data)
    for kind, start, end in boxes(data):
        if kind == b"meta":
            out[start:end] = data[start:end].replace(b"Exif", b"exif")
    return bytes(out)


def _resolution(dpi: tuple[float, float]) -> bytes:
    """Return the resolution box: dots per metre as numerator, denominator and power of ten, vertical axis first."""
    power = 2 if max(dpi) < 655 else 3
    down, across = (round(axis * 10 ** (4 - power)) for axis in dpi)
    return box(b"res ", box(b"resc", struct.pack(">HHHHBB", down, 254, across, 254, power, power)))
