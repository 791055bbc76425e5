"""Write a PDF: the same document with smaller images in the same places."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import BinaryIO

import pikepdf

from configs.settings import LimitSettings
from tasks import ifd, pages, pdf
from tasks.encode import Codec
from tasks.errors import PageError

_FILTERS: dict[str, str] = {"jpeg": "/DCTDecode", "jp2": "/JPXDecode", "g4": "/CCITTFaxDecode"}
_JPX_VERSION = "1.5"  # from which on a PDF may hold JPEG 2000 (ISO 32000-1, 7.4.9)
_GONE = ("/Decode", "/DecodeParms", "/SMaskInData", "/Alternates", "/ImageMask")
"""What spoke of the old coding, or is another copy of the old image."""


@dataclass(frozen=True)
class NewImage:
    """What takes the place of a page's scan, as it lies in the document.

    data: A file of one image: JPEG, JPEG 2000, or TIFF of one strip of CCITT G4.
    """

    data: bytes = field(repr=False)
    codec: Codec


def rewritten(source: bytes | BinaryIO, images: Iterable[tuple[int, NewImage]]) -> bytes:
    """Return a document in which the scans of some pages are others; all the rest is as it was.

    The same input gives the same bytes: the file's identifier is made of what is in it.

    Args:
        source: The document, bytes or a stream that is read as needed.
        images: The new scans, each with its page (0-based).

    Raises:
        PageError: If a page is no scan, or the document cannot be written or read again.
    """
    buffer = io.BytesIO()
    with pdf.open_pdf(source) as document:
        has_jpx = False
        for page_index, image in images:
            has_jpx = has_jpx or image.codec == "jp2"
            scan = pdf.describe_page(document, page_index).scan
            if scan is None:
                raise PageError("digital_page", f"page {page_index + 1} of the PDF is no scan")
            _replace(document, scan, image)
        try:
            document.save(
                buffer,
                deterministic_id=True,
                compress_streams=False,  # streams stay as they are
                stream_decode_level=pikepdf.StreamDecodeLevel.none,
                object_stream_mode=pikepdf.ObjectStreamMode.preserve,
                linearize=document.is_linearized,
                min_version=_JPX_VERSION if has_jpx else "",
                fix_metadata_version=False,
            )
        except (pikepdf.PdfError, RuntimeError, ValueError) as error:
            raise PageError("not_writable", f"the PDF cannot be written anew ({error}); it is kept whole") from error
        n_pages = pdf.count_pages(document)
    data = buffer.getvalue()
    with pdf.open_pdf(data) as again:  # whatever cannot be read again is never stored
        if pdf.count_pages(again) != n_pages:
            raise PageError("not_writable", "the PDF written anew has other pages; it is kept whole")
    return data


def takes_jp2(source: bytes | BinaryIO) -> bool:
    """Return whether a document may hold JPEG 2000; PDF/A-1 says that it has none (ISO 19005-1, 6.1.10)."""
    with pdf.open_pdf(source) as document:
        try:
            return not document.open_metadata().pdfa_status.startswith("1")
        except (pikepdf.PdfError, ValueError, KeyError, AttributeError):
            return True


def _replace(document: pikepdf.Pdf, scan: pdf.Placed, image: NewImage) -> None:
    stream = pdf.stream_of(document, scan)
    header = pages.read_header(image.data, LimitSettings()).pages[0]
    is_grey = header.mode in ("1", "L")
    data, parameters = image.data, None
    if image.codec == "g4":
        data = _strip(image.data)
        parameters = pikepdf.Dictionary(K=-1, Columns=header.width_px, Rows=header.height_px)
    for key in _GONE:
        if key in stream:
            del stream[key]
    if pdf.channels_of(stream.get("/ColorSpace")) != (1 if is_grey else 3):
        stream.ColorSpace = pikepdf.Name.DeviceGray if is_grey else pikepdf.Name.DeviceRGB
    elif str(stream.ColorSpace[0] if isinstance(stream.ColorSpace, pikepdf.Array) else "") == "/Indexed":
        stream.ColorSpace = stream.ColorSpace[1]
    if image.codec == "g4":
        stream.ColorSpace = pikepdf.Name.DeviceGray
    stream.write(data, filter=pikepdf.Name(_FILTERS[image.codec]), decode_parms=parameters)
    stream.Width, stream.Height = header.width_px, header.height_px
    stream.BitsPerComponent = 1 if image.codec == "g4" else 8
    pdf.mark(stream)


def _strip(tiff: bytes) -> bytes:
    """Return the one strip of a TIFF; where its pixels are white, the runs of its code are (tag 262 is 0)."""
    found = ifd.read(tiff, None, lambda tag: tag in (262, 273, 279), 1_000)
    start, size = found.number(273), found.number(279)
    assert start is not None and size is not None and found.number(262) == 0
    return tiff[int(start) : int(start + size)]
