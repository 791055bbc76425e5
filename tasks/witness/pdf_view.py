"""Render PDF pages with pdfium as a viewer does: with annotations and form fields, cropped to the CropBox."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import process_time
from typing import Any, BinaryIO

import numpy as np
import pypdfium2
from pypdfium2 import raw

POINTS_PER_INCH = 72.0
LOOK_DPI = 60.0
"""Resolution at which pages are rendered."""
_LONGEST_SIDE_PX = 2_000  # of a rendered page: 33 inches at `LOOK_DPI`; larger ones are rendered more coarsely
_FINER = 256  # pdfium gives positions in whole pixels
_SECONDS_A_PAGE = 20.0
"""Processor seconds after which rendering a page is aborted: malicious drawings may never end."""


class CannotDraw(Exception):
    """A document or page that pdfium cannot open, or cannot render in time."""


@dataclass(frozen=True)
class PdfLook:
    """A rendered page.

    pixels: uint8 (height, width, 3) RGB. dpi: Their resolution. scan: (top, bottom, left, right) of the largest image
    on the page, in fractional pixels, possibly beyond the page's edges; None without an image.
    is_coarse: Whether its largest image has less than twice the resolution of the rendering.
    """

    pixels: np.ndarray
    dpi: float
    scan: tuple[float, float, float, float] | None
    is_coarse: bool


class PdfViewer:
    """An open document; use `opened` in a `with` block to get one."""

    def __init__(self, document: pypdfium2.PdfDocument) -> None:
        self._document = document

    @property
    def n_pages(self) -> int:
        """Return the number of pages."""
        return len(self._document)

    def look_at(self, page_index: int, *, with_scan: bool = False) -> PdfLook:
        """Render a page.

        Args:
            page_index: 0-based.
            with_scan: Find the position of the largest image.

        Raises:
            CannotDraw: If pdfium cannot, or not in time.
        """
        try:
            page = self._document[page_index]
            width_pt, height_pt = page.get_size()
            dpi = min(LOOK_DPI, _LONGEST_SIDE_PX * POINTS_PER_INCH / max(width_pt, height_pt, 1.0))
            is_coarse = _image_dpi(page) < 2 * dpi
            pixels = _drawn(self._document, page, dpi / POINTS_PER_INCH)
            scan = _largest_image(page, pixels.shape[:2]) if with_scan else None
            page.close()
        except (pypdfium2.PdfiumError, ValueError, IndexError) as error:
            raise CannotDraw(f"pdfium cannot draw page {page_index + 1}: {error}") from error
        return PdfLook(pixels, dpi, scan, is_coarse)


@contextmanager
def opened(source: bytes | BinaryIO) -> Iterator[PdfViewer]:
    """Open a document.

    Raises:
        CannotDraw: If pdfium cannot open it.
    """
    try:
        document = pypdfium2.PdfDocument(source)
    except (pypdfium2.PdfiumError, ValueError) as error:
        raise CannotDraw(f"pdfium cannot open the document: {error}") from error
    try:
        if document.get_formtype() != raw.FORMTYPE_NONE:
            document.init_forms()
        yield PdfViewer(document)
    finally:
        document.close()


def _drawn(document: pypdfium2.PdfDocument, page: pypdfium2.PdfPage, scale: float) -> np.ndarray:
    """Return a page rendered on white, uint8 (height, width, 3) RGB.

    Raises:
        CannotDraw: If it takes more than `_SECONDS_A_PAGE`.
    """
    width_pt, height_pt = page.get_size()
    width_px, height_px = max(1, round(width_pt * scale)), max(1, round(height_pt * scale))
    bitmap = pypdfium2.PdfBitmap.new_native(width_px, height_px, raw.FPDFBitmap_BGRx, rev_byteorder=True)
    bitmap.fill_rect((255, 255, 255, 255), 0, 0, width_px, height_px)
    flags = raw.FPDF_ANNOT | raw.FPDF_REVERSE_BYTE_ORDER
    place = (0, 0, width_px, height_px, 0, flags)
    latest = process_time() + _SECONDS_A_PAGE
    is_late = raw.IFSDK_PAUSE(version=1)
    asked: Any = type(is_late.NeedToPauseNow)
    is_late.NeedToPauseNow = asked(lambda _: int(process_time() > latest))
    status = raw.FPDF_RenderPageBitmap_Start(bitmap, page, *place, ctypes.byref(is_late))
    raw.FPDF_RenderPage_Close(page)
    if status == raw.FPDF_RENDER_TOBECONTINUED:
        raise CannotDraw(f"pdfium has not drawn the page in {_SECONDS_A_PAGE:g} s")
    if status != raw.FPDF_RENDER_DONE:
        raise CannotDraw("pdfium cannot draw the page")
    if document.formenv is not None:
        raw.FPDF_FFLDraw(document.formenv, bitmap, page, *place)
    return np.ascontiguousarray(bitmap.to_numpy()[..., :3])


def _largest_image(page: pypdfium2.PdfPage, size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    """Return (top, bottom, left, right) of the largest image on a page rendered at (height_px, width_px)."""
    boxes = [_on_bitmap(page, found.get_bounds(), size) for found in page.get_objects([raw.FPDF_PAGEOBJ_IMAGE])]
    return max(boxes, key=lambda box: (box[1] - box[0]) * (box[3] - box[2]), default=None)


def _image_dpi(page: pypdfium2.PdfPage) -> float:
    """Return the resolution of the largest image on a page, of its coarser axis; infinite without an image."""
    found = [(one.get_bounds(), one.get_px_size()) for one in page.get_objects([raw.FPDF_PAGEOBJ_IMAGE])]
    if not found:
        return math.inf
    (left, bottom, right, top), size = max(found, key=lambda one: (one[0][2] - one[0][0]) * (one[0][3] - one[0][1]))
    sides_pt = sorted((right - left, top - bottom))
    if sides_pt[0] <= 0:
        return math.inf
    return float(min(POINTS_PER_INCH * px / points for px, points in zip(sorted(size), sides_pt, strict=True)))


def _on_bitmap(
    page: pypdfium2.PdfPage, bounds: tuple[float, float, float, float], size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Return (top, bottom, left, right) px on the rendering for (left, bottom, right, top) in page units."""
    left, bottom, right, top = bounds
    rows, cols = [], []
    for x, y in ((left, bottom), (right, top)):
        col, row = ctypes.c_int(), ctypes.c_int()
        raw.FPDF_PageToDevice(page, 0, 0, _FINER * size[1], _FINER * size[0], 0, x, y, col, row)
        rows.append(row.value / _FINER)
        cols.append(col.value / _FINER)
    return min(rows), max(rows), min(cols), max(cols)
