"""Read documents, PDFs and image files alike: headers first, then upright pages."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import BinaryIO

import pikepdf

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import image_reader
from foliopress.tasks.images.image_reader import DocumentHeader, Page, PageHeader
from foliopress.tasks.pdf import image_samples, mrc_page, pdf_reader
from foliopress.tasks.pdf.bounded_reading import pdf_errors
from foliopress.tasks.pdf.multi_image import LEAST_BYTES
from foliopress.tasks.pdf.pdf_reader import PdfPage, PdfPageKind, PlacedImage
from foliopress.tasks.work_budget import WorkBudget

_DIGITAL_DPI = 150.0  # for rendering a page without a scan
_FINEST_DPI = 600.0  # for rendering a page of several images
_LEAST_COVERAGE = 0.05  # share of the page that an image must cover for its resolution to count

_STAY = {
    PdfPageKind.COMPOSED: PageError("composed_page", "the page is composed of several images; it stays as it is"),
    PdfPageKind.DIGITAL: PageError("digital_page", "the page is a program's text and drawings; it stays as it is"),
}


def read_header(data: bytes | BinaryIO, limits: LimitSettings, *, as_drawn: bool = False) -> DocumentHeader:
    """Return a document's format and the sizes of its pages, without decoding pixels.

    Args:
        data: The document, or an open file of it; of a PDF only the necessary parts are read.
        limits: Limits for documents.
        as_drawn: Describe the pages of a PDF as rendered images, not as images to be put back into it.

    Raises:
        PageError: If the document cannot be opened (`failed`), or its kind or size means that it is kept whole.
    """
    if not pdf_reader.is_pdf(data):
        return image_reader.read_header(_bytes(data), limits)
    budget = WorkBudget(limits)
    with pdf_reader.open_pdf(data) as document, pdf_errors("the PDF cannot be read"):
        if pdf_reader.is_signed(document, budget):
            raise PageError("signed", "the PDF is signed, which any change would break; it is kept whole")
        n_pages = pdf_reader.count_pages(document)
        if n_pages > limits.max_document_pages:
            message = f"more than the {limits.max_document_pages} pages of limits.max_document_pages"
            raise PageError("too_many_pages", message)
        budget.allow_for_pages(n_pages)
        found = [_described(document, number, budget, as_seen=as_drawn) for number in range(n_pages)]
        described = [page for page in found if isinstance(page, PdfPage)]
        scans = [page.scan for page in described if page.scan is not None]
        g4 = frozenset(scan.object_id for scan in scans if pdf_reader.is_g4(document, scan))
        shown = Counter(
            one for page in described for one in (*(image.object_id for image in page.images), *page.unseen)
        )
        shared = frozenset(one for one, times in shown.items() if times > 1 and not as_drawn)
        headers = tuple(_header(page, number, limits, shared, g4, as_drawn) for number, page in enumerate(found))
    return DocumentHeader("PDF", headers)


def read_page(
    data: bytes | BinaryIO, page_index: int, limits: LimitSettings, *, keep_deep: bool = False, as_drawn: bool = False
) -> Page:
    """Decode one page, upright.

    A PDF page that is a scan yields its image, without rendering; other pages are rendered. With `as_drawn`, rendering
    includes annotations and form fields, unless the scan is all that is visible.

    Args:
        data: The document, or an open file of it.
        page_index: 0-based.
        limits: Limits for pages.
        keep_deep: Refuse pages of more than 8 bits a sample, which are rounded to 8 otherwise.
        as_drawn: Render a PDF's scan too if a reader sees more than the scan, or not all of it.

    Raises:
        PageError: If the page cannot be decoded (`failed`), or its content cannot be carried over (kept whole).
    """
    if not pdf_reader.is_pdf(data):
        return image_reader.read_page(_bytes(data), page_index, limits, keep_deep=keep_deep)
    budget = WorkBudget(limits)
    with pdf_reader.open_pdf(data) as document, pdf_errors("the page cannot be read"):
        page = pdf_reader.describe_page(document, page_index, as_seen=as_drawn, budget=budget)
        height_px, width_px, dpi = _shape(page, as_drawn)
        image_reader.check_size(height_px, width_px, limits)
        if page.scan is None or (as_drawn and not page.is_bare):
            seconds = limits.max_document_seconds
            drawn = pdf_reader.render_page(data, page_index, max(dpi), with_annotations=as_drawn, seconds=seconds)
            return Page(image_reader.grey_if_grey(drawn), False, max(dpi), None, None)
        stored = _stored(document, page.scan, limits, keep_deep)
    if not as_drawn and stored.pixels.ndim == 2:
        stored = replace(stored, icc=None)  # the image goes back into its own colour space, whichever grey that has
    tag, ratio = image_reader.likely_dpi([dpi], height_px, width_px)
    found = Page(stored.pixels, stored.is_bitonal, tag, stored.icc, None, None, ratio, page.quarter_turns)
    return replace(found, pixels=found.upright(stored.pixels))


def _bytes(data: bytes | BinaryIO) -> bytes:
    return data if isinstance(data, bytes) else data.read()


def _described(document: pikepdf.Pdf, page_index: int, budget: WorkBudget, *, as_seen: bool) -> PdfPage | PageError:
    """Return a page, or its error; raise an error of the whole document."""
    budget.look_at_clock()
    try:
        budget.spend()
        return pdf_reader.describe_page(document, page_index, as_seen=as_seen, budget=budget)
    except PageError as error:
        if budget.is_spent:
            raise
        return error


def _header(
    page: PdfPage | PageError,
    page_index: int,
    limits: LimitSettings,
    shared: frozenset[tuple[int, int]],
    g4: frozenset[tuple[int, int]],
    as_drawn: bool,
) -> PageHeader:
    if isinstance(page, PageError):
        return PageHeader(page_index, 1, 1, "", problem=page)
    height_px, width_px, _ = _shape(page, as_drawn)
    scan = page.scan
    problem: PageError | None = None
    parts: tuple[int, ...] = ()
    if page.kind is PdfPageKind.COMPOSED and not (as_drawn or page.has_unclear_layers):
        parts = tuple(number for number, image in enumerate(page.images) if _may_be_part(image, shared))
    if page.kind is PdfPageKind.DIGITAL or (page.kind is PdfPageKind.COMPOSED and not (as_drawn or parts)):
        problem = _STAY[page.kind]
    elif scan and scan.is_ours:
        problem = PageError("already_compressed", "Foliopress wrote this page; it stays as it is")
    elif scan and scan.object_id in shared:
        problem = PageError("shared_image", "other pages show the same image; it stays as it is")
    else:
        try:
            image_reader.check_size(height_px, width_px, limits)
        except PageError as error:
            problem = error
    stored_bytes = sum(image.stored_bytes for image in page.images)
    is_lossy = any(image.is_lossy for image in page.images)
    is_g4 = scan is not None and scan.object_id in g4
    return PageHeader(page_index, height_px, width_px, "", is_lossy, stored_bytes, problem, parts, is_g4)


def _may_be_part(image: PlacedImage, shared: frozenset[tuple[int, int]]) -> bool:
    """Return whether one of several images on a page can be re-encoded: its colours are known, and it is not shared."""
    is_free = not image.is_ours and image.object_id not in shared
    return image.is_colour_known and is_free and image.stored_bytes >= LEAST_BYTES


def _shape(page: PdfPage, as_drawn: bool) -> tuple[int, int, tuple[float, float]]:
    """Return (height_px, width_px) of the upright page and its vertical and horizontal dots per inch."""
    if page.scan is not None and (page.is_bare or not as_drawn):
        height_px, width_px, dpi = page.scan.height_px, page.scan.width_px, page.scan.dpi
        return (width_px, height_px, dpi[::-1]) if page.quarter_turns % 2 else (height_px, width_px, dpi)
    finest = max(
        (min(image.dpi) for image in page.images if page.covered(image) > _LEAST_COVERAGE), default=_DIGITAL_DPI
    )
    finest = min(finest, _FINEST_DPI)
    height_px, width_px = (max(1, round(side * finest / pdf_reader.POINTS_PER_INCH)) for side in page.shown_pt)
    return height_px, width_px, (finest, finest)


def _stored(document: pikepdf.Pdf, scan: PlacedImage, limits: LimitSettings, keep_deep: bool) -> Page:
    """Return a scan as stored, in its own colours, with the document's profile for them."""
    if pdf_reader.is_in_layers(document, scan):
        form = pdf_reader.stream_of(document, scan)
        return Page(mrc_page.layered_image(form, (scan.height_px, scan.width_px)), False, None, None, None)
    return image_samples.read_image(document, scan, limits, keep_deep=keep_deep)
