"""Describe and render the pages of a PDF, and find the image of a page that is one scan. Only this module uses pdfium.

A page is a *scan* if one image covers it, whatever else is below or above it; *composed* if several images cover it, or
one that is not opaque or has colours other than grey and RGB; *digital* if no image does: born-digital text and
drawings.
"""

from __future__ import annotations

import ctypes
import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from time import thread_time
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pikepdf
import pypdfium2
from pypdfium2 import raw

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.host_errors import raise_if_host_error
from foliopress.tasks.images import metadata
from foliopress.tasks.pdf import content_stream
from foliopress.tasks.pdf.bounded_reading import decoded_stream, filters_of, pdf_errors
from foliopress.tasks.pdf.content_stream import MOST_NESTED, Box, Mark
from foliopress.tasks.pdf.optional_content import Layers
from foliopress.tasks.watchdog import out_of_time
from foliopress.tasks.work_budget import WorkBudget

# the size limit is ours (LimitSettings), checked before an image is decoded
pikepdf.PdfImage.MAX_IMAGE_PIXELS = None

POINTS_PER_INCH = 72.0
_COVERS = 0.9  # of the page: scanners leave a margin, and MRC programs crop one
_MARK, _SIZE = "/Foliopress", "/FoliopressSize"  # in the dictionary of an image or form written by Foliopress

_LOSSY = frozenset(("/DCTDecode", "/JPXDecode"))
_SAME_PT = 1.0  # tolerance for the offset or skew between an image and its page
_UNSEEN_ANNOTATIONS = frozenset(("/Link", "/Popup"))  # unless they have their own appearance stream
_HIDDEN_FLAGS = 2 | 32  # Hidden, NoView (ISO 32000-1, table 165)
_NUMBERS = {"/DeviceGray": 1, "/CalGray": 1, "/DeviceRGB": 3, "/CalRGB": 3}


class PdfPageKind(StrEnum):
    """Kind of content of a PDF page."""

    SCAN = "scan"
    COMPOSED = "composed"
    DIGITAL = "digital"


@dataclass(frozen=True)
class PlacedImage:
    """An image as placed on a page.

    object_id: (number, generation) of its stream. matrix: (a, b, c, d, e, f), which maps the unit square to the image's
    place, in points. is_colour_known: Its colours are grey or RGB, with at most 8 bits. is_plain: Also opaque.
    is_lossy: Its codec is lossy. is_ours: Written by Foliopress.
    """

    object_id: tuple[int, int]
    height_px: int
    width_px: int
    matrix: tuple[float, float, float, float, float, float]
    stored_bytes: int
    is_plain: bool
    is_lossy: bool
    is_ours: bool
    is_colour_known: bool = True

    @property
    def dpi(self) -> tuple[float, float]:
        """Dots per inch vertically and horizontally, along the image's own rows and columns."""
        a, b, c, d, _, _ = self.matrix
        down, across = np.hypot(c, d), np.hypot(a, b)
        return _dpi(self.height_px, float(down)), _dpi(self.width_px, float(across))

    @property
    def quarter_turns(self) -> int | None:
        """Number of clockwise quarter turns on the page, to the nearest; None if mirrored."""
        a, b, c, d, _, _ = self.matrix
        if a * d - b * c <= 0:
            return None
        return (-round(float(np.degrees(np.arctan2(b, a))) / 90)) % 4


@dataclass(frozen=True)
class PdfPage:
    """Description of a page before any image is decoded.

    box: Visible part, (left, bottom, right, top) in points, before rotation clockwise by `rotate` degrees. images:
    Images shown when the document is opened, in painting order. scan: The image that is the page, if it is a scan.
    is_bare: A
    reader sees the whole scan and nothing else: no annotation, no other mark, no clip or crop, no transparency; False
    if not requested. has_text: Whether the page has visible or hidden text. unseen: Images in hidden layers.
    has_unclear_layers: Whether the visibility of some layers is unknown.
    """

    kind: PdfPageKind
    box: Box
    rotate: int
    images: tuple[PlacedImage, ...]
    scan: PlacedImage | None
    is_bare: bool
    has_text: bool
    unseen: tuple[tuple[int, int], ...] = ()
    has_unclear_layers: bool = False

    @property
    def shown_pt(self) -> tuple[float, float]:
        """Height and width of the page as displayed."""
        sides = self.box[3] - self.box[1], self.box[2] - self.box[0]
        return sides[::-1] if self.rotate % 180 else sides

    def covered(self, image: PlacedImage) -> float:
        """Return the share of the page inside an image's bounding box."""
        return _covered(image, self.box)

    @property
    def quarter_turns(self) -> int:
        """Number of clockwise quarter turns of a scan; 0 for other pages."""
        return ((self.scan.quarter_turns or 0) + self.rotate // 90) % 4 if self.scan else 0


def is_pdf(source: bytes | BinaryIO) -> bool:
    """Return whether a file begins like a PDF; readers look for the header in the first 1,024 bytes.

    Source: ISO 32000-1, annex H.3.4.1.
    """
    if isinstance(source, bytes):
        return b"%PDF-" in source[:1024]
    source.seek(0)
    start = source.read(1024)
    source.seek(0)
    return b"%PDF-" in start


def open_pdf(source: bytes | BinaryIO) -> pikepdf.Pdf:
    """Open a document; a stream is read only as needed.

    Raises:
        PageError: If it is encrypted, or cannot be opened (`failed`).
    """
    with pdf_errors("the PDF cannot be opened"):
        try:
            pdf = pikepdf.open(io.BytesIO(source) if isinstance(source, bytes) else source)
        except pikepdf.PasswordError as error:
            raise PageError("encrypted", "the PDF is protected by a password; it is kept whole") from error
        is_encrypted = pdf.is_encrypted
    if is_encrypted:
        raise PageError("encrypted", "the PDF is encrypted; it is kept whole")
    return pdf


def is_signed(pdf: pikepdf.Pdf, budget: WorkBudget | None = None) -> bool:
    """Return whether a change would invalidate a signature, or usage rights granted by one.

    Args:
        pdf: The document.
        budget: Work budget of the document.

    Raises:
        PageError: If its forms cannot be read (`failed`), or have more fields than the limit.
    """
    with pdf_errors("the forms of the PDF cannot be read"):
        form = pdf.Root.get("/AcroForm")
        if "/Perms" in pdf.Root or form is None:
            return "/Perms" in pdf.Root
        is_said = bool(int(form.get("/SigFlags", 0)) & 1)
        return is_said or any(map(_is_signature, _fields(form, budget or WorkBudget(LimitSettings()))))


def _fields(form: Any, budget: WorkBudget) -> Iterator[Any]:
    """Yield the fields of a form and their descendants, each once, even if they refer to one another."""
    waiting, seen = [form.get("/Fields", ())], set[tuple[int, int]]()
    while waiting:
        for field in waiting.pop():
            budget.spend()
            if field.objgen in seen:
                continue
            if field.objgen != (0, 0):
                seen.add(field.objgen)
            yield field
            if (kids := field.get("/Kids")) is not None:
                waiting.append(kids)


def _is_signature(field: Any) -> bool:
    return str(field.get("/FT", "")) == "/Sig" and "/V" in field


def count_pages(pdf: pikepdf.Pdf) -> int:
    """Return the number of pages of a document.

    Raises:
        PageError: If it has none, or its page tree is invalid (`failed`).
    """
    with pdf_errors("the pages cannot be found"):
        n_pages = len(pdf.pages)
    if not n_pages:
        raise PageError("damaged", "the document has no pages", failed=True)
    return n_pages


def describe_page(
    pdf: pikepdf.Pdf, page_index: int, *, as_seen: bool = True, budget: WorkBudget | None = None
) -> PdfPage:
    """Return the description of a page.

    Args:
        pdf: Its document.
        page_index: 0-based.
        as_seen: Also find out whether a scan is bare, which takes a second pass over the content.
        budget: Work budget of the document; without it the page gets its own.

    Raises:
        PageError: If the page is missing or unreadable (`failed`), or too long (kept).
    """
    budget = budget or WorkBudget(LimitSettings())
    with pdf_errors("the page cannot be read"):
        page = pdf.pages[page_index]
        unit = float(page.obj.get("/UserUnit", 1))
        box = _visible_box(page, unit)
        rotate = int(_inherited(page.obj, "/Rotate", 0)) % 360
        marks = list(_marks(pdf, page, unit, budget, with_state=False))
        images = tuple(_placed_image(one) for one in marks if one.kind == "image" and one.is_shown is not False)
        covering = [image for image in images if _covered(image, box) >= _COVERS]
        kind, scan, is_bare = PdfPageKind.COMPOSED, None, False
        is_unclear = any(one.is_shown is None for one in marks)
        if sum(_covered(one, box) for one in images) < _COVERS:  # strips may cover a page together
            kind = PdfPageKind.DIGITAL
        elif len(covering) == 1 and covering[0].is_plain and covering[0].quarter_turns is not None and not is_unclear:
            kind, scan = PdfPageKind.SCAN, covering[0]
            if as_seen and not _has_visible_annotation(page.obj, budget):
                is_bare = _is_bare(list(_marks(pdf, page, unit, budget, with_state=True)), scan, box)
        unseen = tuple(one.xobject.objgen for one in marks if one.kind == "image" and one.is_shown is False)
    has_text = any(one.kind in ("text", "hidden") and one.is_shown is not False for one in marks)
    return PdfPage(kind, box, rotate, images, scan, is_bare, has_text, unseen, is_unclear)


def _visible_box(page: pikepdf.Page, unit: float) -> Box:
    """Return the visible part of a page: its CropBox clipped to its MediaBox."""
    boxes = []
    for x0, y0, x1, y1 in ([float(side) for side in box] for box in (page.mediabox, page.cropbox)):
        boxes.append((unit * min(x0, x1), unit * min(y0, y1), unit * max(x0, x1), unit * max(y0, y1)))
    media, crop = boxes
    both = max(media[0], crop[0]), max(media[1], crop[1]), min(media[2], crop[2]), min(media[3], crop[3])
    return both if both[0] < both[2] and both[1] < both[3] else media


def _marks(
    pdf: pikepdf.Pdf, page: pikepdf.Page, unit: float, budget: WorkBudget, *, with_state: bool
) -> Iterator[Mark]:
    start = pikepdf.Matrix().scaled(unit, unit)
    layers = Layers(pdf.Root, budget)
    content = content_stream.PageContent(page.obj, page.resources, start, layers)
    return content_stream.marks(content, _is_page_in_layers, budget, with_state=with_state)


def _is_page_in_layers(form: Any) -> bool:
    return _MARK in form and _SIZE in form


def _placed_image(mark: Mark) -> PlacedImage:
    is_form = str(mark.xobject.Subtype) == "/Form"
    return _page_in_layers(mark.xobject, mark.matrix) if is_form else _placed(mark.xobject, mark.matrix)


def _has_visible_annotation(page: Any, budget: WorkBudget) -> bool:
    """Return whether a page has visible notes, stamps or form fields."""
    held = page.get("/Annots", ())
    for annotation in held if isinstance(held, pikepdf.Array) else ():
        budget.spend()
        if not isinstance(annotation, pikepdf.Dictionary):
            continue
        is_link = str(annotation.get("/Subtype", "")) in _UNSEEN_ANNOTATIONS and "/AP" not in annotation
        if not is_link and not int(annotation.get("/F", 0)) & _HIDDEN_FLAGS:
            return True
    return False


def _is_bare(marks: Sequence[Mark], scan: PlacedImage, box: Box) -> bool:
    """Return whether a reader sees a whole scan and nothing else; marks must include clips and states."""
    shown = [one for one in marks if one.is_shown]
    (at,) = (n for n, one in enumerate(shown) if one.kind == "image" and _placed_image(one) == scan)
    mark, (left, bottom, right, top) = shown[at], _bounding_box(scan)
    if mark.is_altered or mark.clip is None or not _is_upright(scan):
        return False
    clip = mark.clip
    if max(clip[0] - left, clip[1] - bottom, right - clip[2], top - clip[3]) > _SAME_PT:
        return False
    if max(box[0] - left, box[1] - bottom, right - box[2], top - box[3]) > _SAME_PT:
        return False  # only a part is visible
    # marks below an opaque image are invisible
    is_covering = max(left - box[0], bottom - box[1], box[2] - right, box[3] - top) <= _SAME_PT
    others = shown[at + 1 :] if is_covering else shown[:at] + shown[at + 1 :]
    return all(one.kind == "hidden" for one in others)


def _is_upright(image: PlacedImage) -> bool:
    """Return whether an image is parallel to the page's sides."""
    a, b, c, d, _, _ = image.matrix
    return max(abs(b), abs(c)) <= _SAME_PT or max(abs(a), abs(d)) <= _SAME_PT


def _inherited(node: Any, key: str, usual: object) -> Any:
    """Return a page's attribute, or the nearest ancestor's."""
    for _ in range(MOST_NESTED):
        if key in node:
            return node[key]
        if "/Parent" not in node:
            break
        node = node["/Parent"]
    return usual


def _bounding_box(image: PlacedImage) -> Box:
    """Return an image's bounding box, (left, bottom, right, top) in points."""
    a, b, c, d, e, f = image.matrix
    xs, ys = [e, e + a, e + c, e + a + c], [f, f + b, f + d, f + b + d]
    return min(xs), min(ys), max(xs), max(ys)


def _covered(image: PlacedImage, box: Box) -> float:
    """Return the share of a box, (left, bottom, right, top), inside an image's bounding box."""
    inner, (left, bottom, right, top) = _bounding_box(image), box
    width = max(0.0, min(right, inner[2]) - max(left, inner[0]))
    height = max(0.0, min(top, inner[3]) - max(bottom, inner[1]))
    return width * height / max(1e-9, (right - left) * (top - bottom))


def _placed(image: Any, matrix: pikepdf.Matrix) -> PlacedImage:
    filters = set(filters_of(image))
    is_in_data = int(image.get("/SMaskInData", 0)) != 0
    is_opaque = not is_in_data and not any(key in image for key in ("/SMask", "/Mask"))
    is_colour_known = _is_grey_or_rgb(image) and image.objgen != (0, 0) and not is_in_data
    if is_colour_known and "/SMask" in image and "/Matte" in image.SMask:
        is_colour_known = False  # a mask multiplies its colours
    return PlacedImage(
        object_id=image.objgen,
        height_px=int(image.Height),
        width_px=int(image.Width),
        matrix=(matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f),
        stored_bytes=int(image.get("/Length", 0)),
        is_plain=is_opaque and is_colour_known,
        is_lossy=bool(filters & _LOSSY),
        is_ours=_MARK in image,
        is_colour_known=is_colour_known and not isinstance(image.get("/Mask"), pikepdf.Array),
    )


def _page_in_layers(form: Any, matrix: pikepdf.Matrix) -> PlacedImage:
    height_px, width_px = (int(side) for side in form[_SIZE])
    place = matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f
    return PlacedImage(form.objgen, height_px, width_px, place, 0, is_plain=True, is_lossy=True, is_ours=True)


def is_in_layers(pdf: pikepdf.Pdf, image: PlacedImage) -> bool:
    """Return whether a page consists of a form that replaced its image."""
    with pdf_errors("the page cannot be read"):
        return _SIZE in pdf.get_object(image.object_id)


def _is_grey_or_rgb(image: Any) -> bool:
    if bool(image.get("/ImageMask", False)):
        return False
    space = image.get("/ColorSpace")
    if space is None:
        return "/JPXDecode" in filters_of(image)  # which defines its own colours
    return channels_of(space) in (1, 3)


def channels_of(space: Any) -> int:
    """Return the number of channels of a colour, after palette look-up; 0 for unsupported spaces."""
    if space is None:
        return 0
    family = family_of(space)
    if family == "/ICCBased":
        return int(space[1].get("/N", 0))
    if family == "/Indexed":
        return channels_of(space[1])
    return _NUMBERS.get(family, 0)


def family_of(space: Any) -> str:
    """Return the family of a colour space: `/DeviceRGB`, `/ICCBased`, `/Indexed`, …"""
    return str(space[0] if isinstance(space, pikepdf.Array) else space)


def _dpi(pixels: int, points: float) -> float:
    return pixels * POINTS_PER_INCH / points if points > 0 else 0.0


def stream_of(pdf: pikepdf.Pdf, image: PlacedImage) -> pikepdf.Stream:
    """Return the stream object of an image.

    Raises:
        PageError: If it is not a stream (`failed`).
    """
    found = pdf.get_object(image.object_id)
    if not isinstance(found, pikepdf.Stream):
        raise PageError("damaged", "an image of the PDF is not a stream", failed=True)
    return found


def mark(image: Any, size_px: tuple[int, int] | None = None) -> None:
    """Mark an image or form as written by Foliopress; for a form, also store its page height and width."""
    image[_MARK] = pikepdf.String(metadata.mark())
    if size_px is not None:
        image[_SIZE] = pikepdf.Array(size_px)


def is_g4(pdf: pikepdf.Pdf, image: PlacedImage) -> bool:
    """Return whether an image is CCITT G4: K is negative (ISO 32000-1, table 11)."""
    try:
        with pdf_errors("an image of the PDF cannot be read"):
            found: Any = pdf.get_object(image.object_id)
            if filters_of(found) != ["/CCITTFaxDecode"]:
                return False
            parameters = found.get("/DecodeParms", {})
            parameters = parameters[0] if isinstance(parameters, pikepdf.Array) else parameters
            return int(parameters.get("/K", 0)) < 0
    except PageError:
        return False  # reading the image reports it


def icc_of(pdf: pikepdf.Pdf, image: PlacedImage) -> bytes | None:
    """Return the ICC profile of an image's colours or of its palette's base, or None."""
    space: Any = pdf.get_object(image.object_id).get("/ColorSpace")
    if family_of(space) == "/Indexed":
        space = space[1]
    if family_of(space) == "/ICCBased":
        return decoded_stream(space[1])
    return None


def decode_with_pdfium(source: bytes) -> np.ndarray:
    """Return the pixels of the first image on the first page of a document, (height, width) uint8 grey.

    Raises:
        PageError: If pdfium cannot open or decode it.
    """
    with (
        _pdfium_errors("an image of the PDF cannot be decoded", failed=False),
        pypdfium2.PdfDocument(source) as document,
    ):
        for found in document[0].get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE]):
            assert isinstance(found, pypdfium2.PdfImage)
            return np.ascontiguousarray(_grey_of(found.get_bitmap(render=False).to_numpy()))
    raise PageError("unsupported_mode", "an image of the PDF cannot be extracted")


def render_page(
    source: bytes | BinaryIO,
    page_index: int,
    dpi: float,
    *,
    with_annotations: bool = False,
    seconds: float = LimitSettings().max_document_seconds,
) -> np.ndarray:
    """Render a page with pdfium: (height, width, 3) uint8 RGB.

    Args:
        source: The document.
        page_index: 0-based.
        dpi: Dots per inch.
        with_annotations: Also draw notes, stamps and form fields.
        seconds: Limit of processor time.

    Raises:
        PageError: If pdfium cannot open or render it, or not in time (`out_of_time`).
    """
    latest = thread_time() + seconds
    with _pdfium_errors("the page cannot be rendered", failed=True), pypdfium2.PdfDocument(source) as document:
        if with_annotations:
            document.init_forms()  # before any page is loaded, as pdfium requires
        page = document[page_index]
        scale = dpi / POINTS_PER_INCH
        width_px, height_px = (math.ceil(side * scale) for side in page.get_size())
        bitmap = pypdfium2.PdfBitmap.new_native(width_px, height_px, raw.FPDFBitmap_BGR, rev_byteorder=True)
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, width_px, height_px)
        flags = raw.FPDF_REVERSE_BYTE_ORDER | (raw.FPDF_ANNOT if with_annotations else 0)
        place = (0, 0, width_px, height_px, 0, flags)
        is_late = raw.IFSDK_PAUSE(version=1)
        asked: Any = type(is_late.NeedToPauseNow)
        is_late.NeedToPauseNow = asked(lambda _: int(thread_time() > latest))
        status = raw.FPDF_RenderPageBitmap_Start(bitmap, page, *place, ctypes.byref(is_late))
        raw.FPDF_RenderPage_Close(page)
        if status == raw.FPDF_RENDER_TOBECONTINUED:
            raise out_of_time(seconds)
        if status != raw.FPDF_RENDER_DONE:
            raise ValueError("pdfium failed")
        if with_annotations and document.formenv is not None:
            raw.FPDF_FFLDraw(document.formenv, bitmap, page, *place)
        return np.ascontiguousarray(bitmap.to_numpy()[..., :3])


def _grey_of(bitmap: np.ndarray) -> np.ndarray:
    return bitmap if bitmap.ndim == 2 else bitmap[..., 0]


@contextmanager
def _pdfium_errors(what_fails: str, *, failed: bool) -> Iterator[None]:
    """Convert exceptions of pdfium and its binding to an error of one page, or of this machine."""
    try:
        yield
    except MemoryError as error:
        raise_if_host_error(error, "rendering a page of a PDF")
        raise PageError("too_large", f"{what_fails}: it does not fit into this machine's memory") from error
    except (pypdfium2.PdfiumError, ValueError, IndexError, OSError, RuntimeError, AssertionError) as error:
        raise_if_host_error(error, "rendering a page of a PDF")
        raise PageError("damaged", f"{what_fails}: {error}", failed=failed) from error


@dataclass(frozen=True)
class Letters:
    """Letters and digits in a page's text, visible or hidden, as found by pdfium.

    text: In text order; as many characters as boxes. boxes: (n, 4) float64, each (left, bottom, right, top), in the
    page's own units: font height by glyph advance, so that a glyph without ink has one too.
    """

    text: str
    boxes: np.ndarray


class LetterFinder:
    """Finds the letters on a document's pages; pdfium opens the document for the first page requested."""

    def __init__(self, source: bytes | BinaryIO) -> None:
        self._source = source
        self._document: pypdfium2.PdfDocument | None = None

    def __enter__(self) -> LetterFinder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._document is not None:
            self._document.close()

    def letters(self, page_index: int) -> Letters:
        """Return the letters of a page (0-based).

        Raises:
            PageError: If pdfium cannot open the page (`failed`).
            HostError: If this machine lacks resources.
        """
        with _pdfium_errors("the text of a page cannot be read", failed=True):
            if self._document is None:
                self._document = pypdfium2.PdfDocument(self._source)
            page = self._document[page_index]
            found = page.get_textpage()
            characters = [chr(raw.FPDFText_GetUnicode(found, one)) for one in range(found.count_chars())]
            numbers = [number for number, character in enumerate(characters) if character.isalnum()]
            boxes = [found.get_charbox(number, loose=True) for number in numbers]
            found.close()
            page.close()
        text = "".join(characters[number] for number in numbers)
        return Letters(text, np.array(boxes, np.float64).reshape(-1, 4))
