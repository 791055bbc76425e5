"""Write a multi-page TIFF by concatenating the pages of several files without re-encoding them.

tifffile was looked at: it takes encoded strips and raw tags too, but would be a further dependency for these few lines,
since `tiff_ifd` is needed to read tags byte for byte anyway.
"""

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
_LARGEST_BYTES = 2**32 - 2**20  # offsets have 32 bits


def joined(files: Iterable[bytes], n_pages: int, limits: LimitSettings) -> bytes:
    """Return one TIFF with the pages of several.

    Args:
        files: Single-page TIFFs in strips, as `tasks.codecs.encode` writes them, in either byte order.
        n_pages: Number of files.
        limits: Limits for documents, used to verify that the result can be read.

    Raises:
        PageError: If it would be larger than a TIFF can be (`too_large`), or cannot be read back (`not_writable`).
    """
    buffer = io.BytesIO()
    buffer.write(struct.pack("<2sHI", b"II", 42, 0))
    link = 4  # position of the next directory's offset
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
    """Raise PageError (`not_writable`) if not all pages can be read back."""
    try:
        n_found = len(read_header(data, limits).pages)
    except PageError as error:
        message = f"the combined TIFF cannot be read ({error}); it is kept whole"
        raise PageError("not_writable", message) from error
    if n_found != n_pages:
        raise PageError("not_writable", "the combined TIFF has a different number of pages; it is kept whole")
