"""Write a PDF with smaller images in the same places; everything else stays the same."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import pikepdf

from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.pdf import image_streams, mrc_page, multi_image, pdf_reader
from foliopress.tasks.pdf.bounded_reading import pdf_errors
from foliopress.tasks.pdf.image_streams import CodedImage, Colours
from foliopress.tasks.pdf.text_layer import add_text

_JPX_VERSION = "1.5"  # first version that allows JPEG 2000 (ISO 32000-1, 7.4.9)
_GONE = ("/Decode", "/DecodeParms", "/SMaskInData", "/Alternates", "/ImageMask")
"""Keys that describe the old encoding or an alternate image."""


@dataclass(frozen=True)
class NewText:
    """The words of a page, with boxes in pixels of the upright page, and its height and width."""

    words: Sequence[Word] = field(repr=False)
    size_px: tuple[int, int]


@dataclass(frozen=True)
class NewPage:
    """Changes to a page: its scan, its text layer (words missing from its own text), or both."""

    page_index: int
    image: CodedImage | None = None
    text: NewText | None = None


def rewrite_pdf(source: bytes | BinaryIO, pages: Iterable[NewPage], largest_profile_bytes: int | None = None) -> bytes:
    """Return a document with new scans or text layers on some pages; everything else is unchanged.

    The same input gives the same bytes: the file identifier is derived from the contents.

    Args:
        source: The document, bytes or a stream that is read as needed.
        pages: The changes.
        largest_profile_bytes: If a new image's profile is larger, a small, nearly equivalent one replaces it; None
            keeps all.

    Raises:
        PageError: If the document cannot be written, or not read back.
    """
    buffer = io.BytesIO()
    with (
        pdf_reader.open_pdf(source) as document,
        pdf_reader.LetterFinder(source) as finder,
        pdf_errors("the PDF cannot be rewritten", reason="not_writable", failed=False),
    ):
        has_jpx, colours = False, Colours(document, largest_profile_bytes)
        for page in pages:
            described = pdf_reader.describe_page(document, page.page_index, as_seen=False)
            if page.image is not None:
                has_jpx = has_jpx or page.image.codec in ("jp2", "mrc")
            if page.image is not None and described.scan is None:
                multi_image.put_images(document, described.images, page.image.data, colours)
            elif page.image is not None and described.scan is not None:
                _replace(document, described.scan, page.image, colours)
            if page.text is not None and page.text.words:
                _add_text(document, described, page.page_index, page.text, finder)
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
        n_pages = pdf_reader.count_pages(document)
    data = buffer.getvalue()
    with pdf_reader.open_pdf(data) as again:  # output that cannot be read back is never stored
        if pdf_reader.count_pages(again) != n_pages:
            raise PageError("not_writable", "the rewritten PDF has other pages; it is kept whole")
    return data


def _add_text(
    document: pikepdf.Pdf,
    described: pdf_reader.PdfPage,
    page_index: int,
    text: NewText,
    finder: pdf_reader.LetterFinder,
) -> None:
    letters: pdf_reader.Letters | None = None
    if described.has_text:
        try:
            letters = finder.letters(page_index)
        except PageError:
            return  # a page whose own text cannot be read keeps it
    add_text(document, page_index, described, text.words, text.size_px, letters)


def allows_jp2(source: bytes | BinaryIO) -> bool:
    """Return whether a document may contain JPEG 2000; PDF/A-1 declares that it has none (ISO 19005-1, 6.1.10)."""
    with pdf_reader.open_pdf(source) as document:
        try:
            with pdf_errors("the metadata of the PDF cannot be read"):
                return not document.open_metadata().pdfa_status.startswith("1")
        except PageError:
            return True


def _replace(document: pikepdf.Pdf, scan: pdf_reader.PlacedImage, image: CodedImage, colours: Colours) -> None:
    stream = pdf_reader.stream_of(document, scan)
    if image.codec == "mrc":
        mrc_page.put_in_place(document, stream, image.data, colours)
        return
    space = stream.get("/ColorSpace")
    for key in _GONE:
        if key in stream:
            del stream[key]
    image_streams.write(stream, image)
    colours.keep(stream, space)
    pdf_reader.mark(stream)
