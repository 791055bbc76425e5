"""Read the metadata embedded in a source of any format, clean it, and prepare it for the output.

Outputs carry two blocks, for which every output format has a place: XMP, and EXIF, which also takes TIFF's descriptive
tags, IPTC, comments and PNG's texts. docs/fidelity.md lists what is carried where. Nothing here raises for a source's
metadata: a broken block is ignored.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import metadata
from typing import Any

from foliopress.tasks.images import isobmff, tiff_ifd

LARGEST_EXIF_BYTES = 64_000
"""Largest EXIF block; larger ones lose their largest tags. A JPEG segment holds 65,533 (ITU T.81, B.1.1.4)."""
LARGEST_XMP_BYTES = 1_000_000
"""Largest XMP packet; larger ones are left out."""
_LARGEST_PROFILE_BYTES = 16_000_000

_ORIENTATION, _PIXEL_WIDTH, _PIXEL_HEIGHT, _USER_COMMENT, _PROCESSING = 0x0112, 0xA002, 0xA003, 0x9286, 0x000B
_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _IPTC = 0x011A, 0x011B, 0x0128, 0x83BB
_DESCRIPTION, _PADDING = 0x010E, 0xEA1C
STRUCTURE = frozenset(
    {*range(254, 260), 262, *range(263, 267), 273, *range(277, 282), 284, *range(288, 294), 301, 317, *range(320, 326)}
    | {330, 332, 333, 334, 336, *range(338, 348), *range(512, 522), *range(529, 533)}
)
"""TIFF tags that describe the layout of the pixels (TIFF 6.0 and its supplements); useless in another file."""
_NEVER_CARRIED = STRUCTURE | {
    *(_ORIENTATION, _X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _PROCESSING),  # applied, or rewritten
    *(700, 34377, 34675, 37724, _PADDING),  # XMP, Photoshop's blocks, ICC profile, Photoshop's layers, padding
}
_DESCRIPTIVE = frozenset(
    {269, _DESCRIPTION, 271, 272, 285, 297, 305, 306, 315, 316, 33432, _IPTC}
    | {0x9003, *range(0x9C9B, 0x9CA0), 0x4746, 0x4749}  # time of the original, Windows' texts and ratings
)
"""TIFF tags that describe the page: name, description, maker, model, software, time, artist, host, rights, IPTC, …"""
_PNG_TEXTS = {"Title": 269, "Description": _DESCRIPTION, "Software": 305, "Author": 315, "Copyright": 33432}
_PNG_BLOCKS = ("Raw profile type exif", "Raw profile type APP1")  # EXIF as ImageMagick writes it
_PNG_WANTED = {"XML:com.adobe.xmp", "Comment", *_PNG_BLOCKS, *_PNG_TEXTS}
_PNG_KEPT = frozenset({b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"pHYs", b"acTL", b"fcTL", b"fdAT"})


@dataclass(frozen=True)
class EmbeddedMetadata:
    """Metadata of a page's file, as found.

    `exif` is an EXIF block, or the TIFF itself with the page's directory at `tiff_at`. `texts` are by EXIF tag. `cicp`
    are the numbers of the colour primaries and transfer (ITU-T H.273), `jp2_colours` is JPEG 2000's number of its
    colour space.
    """

    exif: bytes | None = None
    tiff_at: int | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    comment: bytes = b""
    texts: Mapping[int, bytes] = field(default_factory=dict)
    icc: bytes | None = None
    cicp: tuple[int, int] | None = None
    jp2_colours: int | None = None

    @property
    def orientation(self) -> int:
        """Stored orientation of the page, 1 to 8 (EXIF 2.32, 4.6.4): from EXIF, else from XMP, else upright."""
        try:
            found = tiff_ifd.read(self.exif or b"", self.tiff_at, lambda tag: tag == _ORIENTATION, 1_000)
            number = found.number(_ORIENTATION)
        except ValueError:
            number = None
        if number is None and (match := re.search(rb'tiff:Orientation(?:="|>)([0-9])', self.xmp or b"")):
            number = float(match[1])
        return int(number) if number is not None and number in range(1, 9) else 1

    @property
    def exif_dpi(self) -> tuple[float, float] | None:
        """Vertical and horizontal dots per inch from EXIF, the only place for them in AVIF and WebP."""
        wanted = {_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT}
        try:
            found = tiff_ifd.read(self.exif or b"", None, lambda tag: tag in wanted, 1_000)
        except ValueError:
            return None
        down, across = found.number(_Y_RESOLUTION), found.number(_X_RESOLUTION)
        per_inch = 2.54 if found.number(_RESOLUTION_UNIT) == 3 else 1.0  # unit 3: centimetres (EXIF 2.32, 4.6.4)
        return (down * per_inch, across * per_inch) if down and across and self.tiff_at is None else None


@cache
def mark() -> str:
    """Return the mark of every output, in EXIF's ProcessingSoftware: name and version of the program."""
    try:
        return f"Foliopress {metadata.version('foliopress')}"
    except metadata.PackageNotFoundError:
        return "Foliopress 0"


def is_marked(block: bytes | None) -> bool:
    """Return whether an EXIF block or a TIFF carries our mark."""
    if not block:
        return False
    try:
        return (
            tiff_ifd.read(block, None, lambda tag: tag == _PROCESSING, 1_000)
            .text(_PROCESSING)
            .startswith("Foliopress ")
        )
    except ValueError:
        return False


def read_metadata(data: bytes, form: str, tiff_at: int | None, info: Mapping[Any, Any]) -> EmbeddedMetadata:
    """Return the metadata of a page's file.

    Args:
        data: The file.
        form: Pillow's name of its format.
        tiff_at: Offset of the directory of a TIFF's page.
        info: Pillow's `Image.info` of the opened file.
    """
    if form == "PNG":
        return _png_metadata(data)
    if form in ("JPEG2000", "JXL"):
        found = isobmff.container_metadata(data)
        return EmbeddedMetadata(exif=found.exif, xmp=found.xmp, icc=found.icc, jp2_colours=found.colours)
    icc = _bytes(info.get("icc_profile"))
    if form == "TIFF":
        return EmbeddedMetadata(exif=data, tiff_at=tiff_at or 0, xmp=_tiff_xmp(data, tiff_at or 0), icc=icc)
    photoshop = info.get("photoshop")
    iptc = _bytes(photoshop.get(0x0404)) if isinstance(photoshop, dict) else None
    comment = _bytes(info.get("comment")) or b""
    cicp = isobmff.avif_cicp(data) if form == "AVIF" else None
    return EmbeddedMetadata(_bytes(info.get("exif")), None, _bytes(info.get("xmp")), iptc, comment, icc=icc, cicp=cicp)


def carried_exif(found: EmbeddedMetadata) -> bytes | None:
    """Return an EXIF block of all of a source's metadata except XMP and profile; None if there is none.

    Orientation, resolution, thumbnail and tags that describe the source's own bytes are left out. `signed` leaves out
    what an output cannot hold.
    """
    directory = tiff_ifd.Directory()
    if found.exif:
        is_page = found.tiff_at is not None
        try:
            directory = tiff_ifd.read(
                found.exif,
                found.tiff_at,
                (lambda tag: tag in _DESCRIPTIVE) if is_page else (lambda tag: tag not in _NEVER_CARRIED),
                LARGEST_EXIF_BYTES,
            )
        except ValueError:
            directory = tiff_ifd.Directory()
    for number, text in found.texts.items():
        directory.tags.setdefault(number, tiff_ifd.Tag(tiff_ifd.ASCII, text + b"\0"))
    if found.iptc:
        directory.tags.setdefault(_IPTC, tiff_ifd.Tag(tiff_ifd.UNDEFINED, found.iptc))
    if found.comment:
        code = b"ASCII\0\0\0" if found.comment.isascii() else bytes(8)  # EXIF 2.32, 4.6.5: unknown encoding
        comments = directory.inside.setdefault(tiff_ifd.EXIF, {})
        comments.setdefault(_USER_COMMENT, tiff_ifd.Tag(tiff_ifd.UNDEFINED, code + found.comment))
    directory.inside.get(tiff_ifd.EXIF, {}).pop(_PADDING, None)
    return b"Exif\0\0" + tiff_ifd.block(directory) if directory.tags or directory.inside else None


def carried_xmp(packet: bytes | None) -> bytes | None:
    """Return an XMP packet with an upright orientation and without padding; None if it is not valid."""
    if not packet or len(packet) > LARGEST_XMP_BYTES or b"rdf:RDF" not in packet:
        return None
    for pattern in (rb"""(tiff:Orientation\s*=\s*["'])\d""", rb"(<tiff:Orientation>\s*)\d"):
        packet = re.sub(pattern, rb"\g<1>1", packet)
    end = packet.rfind(b"<?xpacket end")
    return packet if end < 0 else packet[:end].rstrip() + b"\n" + packet[end:].rstrip(b"\0 \r\n\t")


def signed(exif: bytes | None, dpi: tuple[float, float] | None, size_px: tuple[int, int]) -> tiff_ifd.Directory:
    """Return an EXIF block's tags, as many as fit, with an output's resolution, size and our mark.

    Args:
        exif: The block.
        dpi: Vertical and horizontal dots per inch.
        size_px: Height and width, which replace the source's if the block has them.
    """
    directory = tiff_ifd.Directory()
    if exif:
        try:
            directory = tiff_ifd.read(exif, None, lambda tag: tag not in _NEVER_CARRIED, LARGEST_EXIF_BYTES)
        except ValueError:
            directory = tiff_ifd.Directory()
    directory.tags[_PROCESSING] = tiff_ifd.Tag(tiff_ifd.ASCII, mark().encode() + b"\0")
    details = directory.inside.get(tiff_ifd.EXIF, {})
    for number, side_px in zip((_PIXEL_HEIGHT, _PIXEL_WIDTH), size_px, strict=True):
        if number in details:
            details[number] = directory.of(tiff_ifd.LONG, side_px)
    if dpi:
        directory.tags[_Y_RESOLUTION] = directory.of(tiff_ifd.RATIONAL, round(dpi[0] * 100), 100)
        directory.tags[_X_RESOLUTION] = directory.of(tiff_ifd.RATIONAL, round(dpi[1] * 100), 100)
        directory.tags[_RESOLUTION_UNIT] = directory.of(tiff_ifd.SHORT, 2)  # inch (EXIF 2.32, 4.6.4)
    return directory


def strip_ancillary_chunks(data: bytes) -> bytes:
    """Return a PNG without the chunks that its pixels do not need; `read_metadata` reads all of them.

    Pillow interprets a text by its keyword, and rejects a whole page for one broken text.
    """
    parts, start, is_whole = [], 8, True
    for kind, from_, to in _png_chunks(data):
        is_kept = not kind[0] & 0x20 or kind == b"tRNS"
        if not is_kept and kind in _PNG_KEPT:
            is_kept = zlib.crc32(data[from_ - 4 : to]) == int.from_bytes(data[to : to + 4])
        if not is_kept:
            parts.append(data[start : from_ - 8])
            start, is_whole = to + 4, False
    return data if is_whole else data[:8] + b"".join(parts) + data[start:]


def png_kinds(data: bytes) -> list[bytes]:
    """Return the types of a PNG's chunks."""
    return [kind for kind, _, _ in _png_chunks(data)]


def bare(data: bytes) -> bytes | None:
    """Return a JPEG, TIFF or AVIF without metadata that may prevent it from opening; None for other formats."""
    try:
        if data[:2] == b"\xff\xd8":
            return _bare_jpeg(data)
        if data[:2] in (b"II", b"MM"):
            return tiff_ifd.without(data, lambda tag: tag not in STRUCTURE and tag != _ORIENTATION)
        if data[4:8] == b"ftyp":
            return isobmff.avif_without_exif(data)
    except (ValueError, IndexError, struct.error):
        return None
    return None


def _bytes(value: object) -> bytes | None:
    return value if isinstance(value, bytes) and value else None


def _tiff_xmp(data: bytes, at: int) -> bytes | None:
    try:
        found = tiff_ifd.read(data, at, lambda tag: tag == 700, LARGEST_XMP_BYTES).tags.get(700)
    except ValueError:
        return None
    return found.data if found else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the content of each chunk (PNG 1.2, 3.2)."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield kind, at + 8, at + 8 + length
        at += 12 + length


def _png_metadata(data: bytes) -> EmbeddedMetadata:
    found = EmbeddedMetadata()
    texts: dict[str, bytes] = {}
    for kind, start, end in _png_chunks(data):
        if kind in (b"tEXt", b"zTXt", b"iTXt"):
            name, _, rest = data[start:end].partition(b"\0")
            keyword = name.decode("latin-1")
            if keyword in _PNG_WANTED and keyword not in texts:
                texts[keyword] = _png_text(kind, rest)
        elif kind == b"eXIf":
            found = replace(found, exif=data[start:end])
        elif kind == b"cICP" and end - start == 4:
            found = replace(found, cicp=(data[start], data[start + 1]))
        elif kind == b"iCCP":
            _, _, rest = data[start:end].partition(b"\0")
            found = replace(found, icc=_inflated(rest[1:], _LARGEST_PROFILE_BYTES))
    block = next((_from_hex(texts[keyword]) for keyword in _PNG_BLOCKS if keyword in texts), None)
    return replace(
        found,
        exif=found.exif or block,
        xmp=texts.get("XML:com.adobe.xmp"),
        comment=texts.get("Comment", b""),
        texts={number: texts[keyword] for keyword, number in _PNG_TEXTS.items() if texts.get(keyword)},
    )


def _png_text(kind: bytes, rest: bytes) -> bytes:
    """Return a text chunk's text, given the bytes after its keyword, as UTF-8; empty if it is broken."""
    if kind == b"tEXt":
        return rest.decode("latin-1").encode()
    if kind == b"zTXt":
        return (_inflated(rest[1:], LARGEST_XMP_BYTES) or b"").decode("latin-1").encode()
    text = [*rest[2:].split(b"\0", 2), b"", b""][2]
    return (_inflated(text, LARGEST_XMP_BYTES) or b"") if rest[:1] == b"\1" else text


def _inflated(data: bytes, most_bytes: int) -> bytes | None:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, most_bytes)
    except zlib.error:
        return None
    return text if inflater.eof else None


def _from_hex(text: bytes) -> bytes | None:
    try:
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except ValueError:
        return None


def _bare_jpeg(data: bytes) -> bytes:
    """Return a JPEG with only the segments needed for its pixels and colours."""
    out, at = [data[:2]], 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4])
        segment = data[at : at + 2 + length]
        is_colours = (
            (marker == 0xE0 and segment[4:9] == b"JFIF\0" and length >= 16)
            or (marker == 0xE2 and segment[4:16] == b"ICC_PROFILE\0")
            or (marker == 0xEE and segment[4:9] == b"Adobe" and length >= 14)
        )
        if is_colours or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            out.append(segment)
        at += 2 + length
    return b"".join([*out, data[at:]])
