"""Write a many-page TIFF: the pages of several files one after another, none of them coded again."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import tiff_ifd
from foliopress.tasks.images.image_reader import read_header

_PAGE, _PAGE_NUMBER, _SUBFILE = 2, 297, 254  # TIFF 6.0: NewSubfileType bit 1, PageNumber
_STRIP_OFFSETS, _STRIP_SIZES = 273, 279
_LARGEST_BYTES = 2**32 - 2**20  # places are numbers of 32 bits


def joined(files: Iterable[bytes], n_pages: int, limits: LimitSettings) -> bytes:
    """Return one TIFF with the pages of several.

    Args:
        files: TIFFs of one page in strips, as `tasks.codecs.encode` writes them, in either byte order.
        n_pages: How many they are.
        limits: What a document may be: whatever cannot be read again is never stored.

    Raises:
        PageError: If it would be larger than a TIFF can be (`too_large`), or cannot be read again (`not_writable`).
    """
    buffer = io.BytesIO()
    buffer.write(struct.pack("<2sHI", b"II", 42, 0))
    link = 4  # where the place of the next directory goes
    for number, data in enumerate(files):
        page = tiff_ifd.in_order(tiff_ifd.read(data, None, lambda _: True, len(data)), "<")
        starts = []
        for start, size in zip(page.numbers(_STRIP_OFFSETS), page.numbers(_STRIP_SIZES), strict=True):
            starts.append(buffer.tell())
            buffer.write(data[start : start + size])
        buffer.write(bytes(buffer.tell() % 2))
        at = buffer.tell()
        if at > _LARGEST_BYTES:
            raise PageError("too_large", "as one TIFF the document would have more than 4 GB; it is kept whole")
        page.tags[_STRIP_OFFSETS] = page.of(tiff_ifd.LONG, *starts)
        page.tags[_SUBFILE] = page.of(tiff_ifd.LONG, _PAGE)
        page.tags[_PAGE_NUMBER] = page.of(tiff_ifd.SHORT, min(number, 65_535), min(n_pages, 65_535))
        directory = tiff_ifd.laid_out(page, at)
        buffer.write(directory)
        buffer.seek(link)
        buffer.write(struct.pack("<I", at))
        buffer.seek(0, io.SEEK_END)
        link = at + 2 + 12 * int.from_bytes(directory[:2], "little")
    whole = buffer.getvalue()
    _check(whole, n_pages, limits)
    return whole


def _check(data: bytes, n_pages: int, limits: LimitSettings) -> None:
    """Raise PageError (`not_writable`) if not all pages are found again."""
    try:
        n_found = len(read_header(data, limits).pages)
    except PageError as error:
        message = f"the TIFF put together cannot be read ({error}); it is kept whole"
        raise PageError("not_writable", message) from error
    if n_found != n_pages:
        raise PageError("not_writable", "the TIFF put together has other pages; it is kept whole")
