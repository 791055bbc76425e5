"""Compare each page of a document with its output, both read by independent decoders."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

import cv2
import numpy as np

from foliopress.tasks.witness import image_view, pdf_view
from foliopress.tasks.witness.view_difference import Difference, difference, has_same_aspect, resampled

NO_DECODER = "unheard"
"""Value of `decoders` if no other decoder reads the format."""

_REDUCED = 0.95  # largest relative size of each side of a reduced copy
_THUMBNAIL_PX = 128  # long side at which a copy is compared with its page
_COPY_ERROR, _COPY_SHARE = 3.0, 0.65
"""Grey levels, and share of the page's own contrast, up to which a copy shows the page: on 16 pages copies reduced to
1/2 to 1/16 differed by at most 0.58 of it, other pages by 0.72 at least."""
_BLANK_STD = 4.0  # grey levels, of a margin on which nothing is drawn


@dataclass(frozen=True)
class Sighting:
    """Comparison of one page with its output.

    decoders: Their names, e.g. `pdfium` or `opencv`; `NO_DECODER` if none reads the format. error, worst_block: As in
    `Difference`; None if the two could not be compared. problem: Difference found; None if they show the same page.
    """

    decoders: str
    error: float | None = None
    worst_block: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class DocumentSighting:
    """Comparison of a document with its output.

    pages: By page index. problem: Problem of the whole document, e.g. a missing page; None if there is none.
    """

    pages: Mapping[int, Sighting] = field(default_factory=dict)
    problem: str | None = None

    @property
    def is_same_document(self) -> bool:
        """Whether every compared page is the same, and none is missing."""
        return self.problem is None and all(page.problem is None for page in self.pages.values())


@dataclass(frozen=True)
class OutputImage:
    """An output page to compare: a file, and the number of its image.

    source_dpi, dpi: Resolution of the source and of the output; None if unknown.
    """

    data: bytes = field(repr=False)
    frame: int
    source_dpi: float | None
    dpi: float | None


def compare_pdfs(source: bytes | BinaryIO, output: bytes, page_indices: Iterable[int]) -> DocumentSighting:
    """Draw pages of a PDF and of its rewritten copy, and compare them.

    Args:
        source: The PDF.
        output: The rewritten PDF.
        page_indices: Indices of the changed pages, from 0.
    """
    wanted = list(page_indices)
    try:
        with pdf_view.opened(source) as before, pdf_view.opened(output) as after:
            if before.n_pages != after.n_pages:
                return DocumentSighting(problem=_page_count(before.n_pages, after.n_pages))
            return DocumentSighting({number: _compare_drawings(before, after, number) for number in wanted})
    except pdf_view.CannotDraw as error:
        return DocumentSighting(problem=str(error))


def compare_pdf_with_images(source: bytes | BinaryIO, outputs: Iterable[OutputImage]) -> DocumentSighting:
    """Draw the pages of a PDF and compare each with its output image.

    Args:
        source: The PDF.
        outputs: An image for each page, in order.
    """
    pages: dict[int, Sighting] = {}
    try:
        with pdf_view.opened(source) as viewer:
            for number, output in enumerate(outputs):
                if number >= viewer.n_pages:
                    return DocumentSighting(pages, _page_count(viewer.n_pages, number + 1))
                pages[number] = _compare_drawing_with_image(viewer, number, output)
            if len(pages) != viewer.n_pages:
                return DocumentSighting(pages, _page_count(viewer.n_pages, len(pages)))
    except pdf_view.CannotDraw as error:
        return DocumentSighting(pages, str(error))
    return DocumentSighting(pages)


def compare_images(source: bytes, outputs: Iterable[OutputImage]) -> DocumentSighting:
    """Compare the images of a file with their outputs.

    An image of the source without an output must be a reduced copy of its neighbour, which has one.

    Args:
        source: The file.
        outputs: An image for each page, in order.
    """
    n_frames = image_view.count_frames(source)
    pages: dict[int, Sighting] = {}
    frame = 0
    last: image_view.ImageLook | None = None
    for number, output in enumerate(outputs):
        others: list[tuple[Sighting, image_view.ImageLook | None]] = []
        while True:
            if frame == n_frames:
                if not others:
                    return DocumentSighting(pages, _page_count(n_frames, number + 1))
                return DocumentSighting(pages | {number: others[0][0]})
            sighting, look = _compare_image(source, frame, output)
            frame += 1
            if sighting.problem is None:
                break
            others.append((sighting, look))  # may be a reduced copy, before its page or after it
        for other, copy in others:
            if not _is_reduced_copy(copy, last) and not _is_reduced_copy(copy, look):
                return DocumentSighting(pages | {number: other})
        pages[number], last = sighting, look
    for rest in range(frame, n_frames):
        if not _is_reduced_copy(image_view.look_at(source, rest, None), last):
            return DocumentSighting(pages, f"image {rest + 1} of the source has no output and is no copy of another")
    return DocumentSighting(pages)


def _compare_drawings(before: pdf_view.PdfViewer, after: pdf_view.PdfViewer, number: int) -> Sighting:
    source = before.look_at(number)
    output = after.look_at(number)
    if source.pixels.shape != output.pixels.shape:
        return Sighting("pdfium", problem=_other_shape(source.pixels.shape, output.pixels.shape))
    return _sighting("pdfium", difference(source.pixels, output.pixels, source.dpi, is_coarse=source.is_coarse))


def _compare_drawing_with_image(viewer: pdf_view.PdfViewer, number: int, output: OutputImage) -> Sighting:
    source = viewer.look_at(number, with_scan=True)
    look = image_view.look_at(output.data, output.frame, output.dpi)
    if look is None:
        return Sighting(NO_DECODER)
    shown = image_view.as_srgb(look.pixels, image_view.profile_of(output.data, output.frame))
    decoders = f"pdfium, {look.decoder}"
    sightings = []
    shape = round(look.height_px * image_view.pixel_aspect(output.data)), look.width_px
    for box in _boxes_shown(source):
        top, bottom, left, right = box
        if bottom - top < 1 or right - left < 1 or not has_same_aspect(*shape, (bottom - top, right - left)):
            continue
        rows, cols = slice(math.ceil(top), math.floor(bottom)), slice(math.ceil(left), math.floor(right))
        part = source.pixels[rows, cols]
        per_px = look.height_px / look.step / (bottom - top), look.width_px / look.step / (right - left)
        placed = resampled(shown, part.shape[:2], per_px, (rows.start - top, cols.start - left))
        sightings.append(_sighting(decoders, difference(part, placed, source.dpi, is_coarse=source.is_coarse)))
    if not sightings:
        return Sighting(decoders, problem=_other_shape(source.pixels.shape, look.size))
    return min(sightings, key=lambda one: (one.problem is not None, one.worst_block))


def _boxes_shown(look: pdf_view.PdfLook) -> list[tuple[float, float, float, float]]:
    """Return (top, bottom, left, right) of the page, and of its scan if the margin around it is empty."""
    height, width = look.pixels.shape[:2]
    page = (0.0, float(height), 0.0, float(width))
    if look.scan is None:
        return [page]
    top, bottom, left, right = look.scan
    if min(top, left) < -1 or bottom > height + 1 or right > width + 1:  # it is cut off
        return [page]
    scan = max(0.0, top), min(page[1], bottom), max(0.0, left), min(page[3], right)
    top, bottom, left, right = scan
    margin = np.ones((height, width), bool)
    margin[max(0, int(top) - 1) : int(bottom) + 2, max(0, int(left) - 1) : int(right) + 2] = False
    has_more = margin.any() and float(look.pixels[margin].std()) > _BLANK_STD
    if has_more or scan == page:
        return [page]
    # pdfium stretches an image over whole pixels
    stretched = float(math.floor(top)), float(math.ceil(bottom)), float(math.floor(left)), float(math.ceil(right))
    return [page, scan, stretched]


def _compare_image(source: bytes, frame: int, output: OutputImage) -> tuple[Sighting, image_view.ImageLook | None]:
    before = image_view.look_at(source, frame, output.source_dpi)
    if before is None:
        return Sighting(NO_DECODER), None
    after = image_view.look_in_raster(output.data, output.frame, before, output.dpi)
    if after is None:
        return Sighting(NO_DECODER), before
    decoders = before.decoder if before.decoder == after.decoder else f"{before.decoder}, {after.decoder}"
    if not has_same_aspect(*after.size, before.size):
        return Sighting(decoders, problem=_other_shape(before.size, after.size)), before
    if _REDUCED * after.height_px > before.height_px:  # the output of another image of the source, in fewer pixels
        return Sighting(decoders, problem=f"has {after.height_px} rows, its source {before.height_px}"), before
    looks = before.pixels, after.pixels
    profiles = image_view.profile_of(source, frame), image_view.profile_of(output.data, output.frame)
    if profiles[0] != profiles[1]:
        looks = image_view.as_srgb(looks[0], profiles[0]), image_view.as_srgb(looks[1], profiles[1])
    return _sighting(decoders, difference(*looks, before.dpi, is_coarse=before.step == 1)), before


def _is_reduced_copy(look: image_view.ImageLook | None, page: image_view.ImageLook | None) -> bool:
    """Return whether an image shows a page in fewer pixels; False if either cannot be decoded."""
    if look is None or page is None:
        return False
    is_smaller = look.height_px <= _REDUCED * page.height_px and look.width_px <= _REDUCED * page.width_px
    if not is_smaller or not has_same_aspect(*look.size, page.size):
        return False
    side_px = min(_THUMBNAIL_PX, max(look.pixels.shape[:2]))
    scale = side_px / max(page.pixels.shape[:2])
    size = max(1, round(page.pixels.shape[0] * scale)), max(1, round(page.pixels.shape[1] * scale))
    one, other = (_thumbnail(pixels, size) for pixels in (page.pixels, look.pixels))
    apart = float(np.sqrt(((one - other) ** 2).mean()))
    return apart <= max(_COPY_ERROR, _COPY_SHARE * float(one.std()))


def _thumbnail(look: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the luma of an image at (height_px, width_px), float32."""
    small = resampled(look, size, (look.shape[0] / size[0], look.shape[1] / size[1]))
    return cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)


def _sighting(decoders: str, found: Difference) -> Sighting:
    problem = None
    if not found.is_same_page:
        problem = f"differs by {found.error:.1f} grey levels, in its worst block by {found.worst_block:.2f} of contrast"
    return Sighting(decoders, found.error, found.worst_block, problem)


def _page_count(before: int, after: int) -> str:
    return f"the source shows {before} pages, the output {after}"


def _other_shape(before: Sequence[int], after: Sequence[int]) -> str:
    return (
        f"the source shows {before[1]} x {before[0]} pixels, the output has other proportions ({after[1]} x {after[0]})"
    )
