"""PDF: what a document's pages hold, and the image of a page that is one scan. The only door to pdfium.

A page is a *scan* where one image covers it, whatever else lies under or above it; *composed* where several images do,
or one that is not opaque or in other colours than grey and RGB; *digital* where none does: text and drawings of a
program.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import pikepdf
import pypdfium2

from tasks import metadata
from tasks.errors import PageError

# the size limit is ours (LimitSettings), checked before an image is decoded
pikepdf.PdfImage.MAX_IMAGE_PIXELS = None

POINTS_PER_INCH = 72.0
_COVERS = 0.9  # of the page: scanners leave a margin, and MRC programs cut one off
_MOST_NESTED = 8  # forms in forms; deeper is made to harm
_INVISIBLE = 3  # text rendering mode (ISO 32000-1, table 106): neither filled nor stroked
_MARK, _SIZE = "/Foliopress", "/FoliopressSize"  # in the dictionary of an image or form that we wrote

_PAINTS = frozenset(("f", "F", "f*", "S", "s", "B", "B*", "b", "b*", "sh"))
_SHOWS = frozenset(("Tj", "TJ", "'", '"'))
_WANTED = " ".join(("q", "Q", "cm", "Tr", "Do", "INLINE IMAGE", "BI", "EI", *_PAINTS, *_SHOWS))
_FILES = frozenset(("/DCTDecode", "/JPXDecode", "/CCITTFaxDecode"))  # codings of which there are files
_LOSSY = frozenset(("/DCTDecode", "/JPXDecode"))
_BROKEN = (pikepdf.PdfError, KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError)
"""What pikepdf raises over what is not as the standard has it."""
_NUMBERS = {"/DeviceGray": 1, "/CalGray": 1, "/DeviceRGB": 3, "/CalRGB": 3}


class PageLook(StrEnum):
    """What a page of a PDF is made of."""

    SCAN = "scan"
    COMPOSED = "composed"
    DIGITAL = "digital"


@dataclass(frozen=True)
class Placed:
    """An image as a page shows it.

    object_id: Of its stream, (number, generation). matrix: (a, b, c, d, e, f), which brings the unit square to where
    the image lies, in points. is_colour_known: Its colours are grey or RGB, of 8 bits at most. is_plain: That, and it
    is opaque. is_lossy: Its coding has lost something already. is_ours: Foliopress wrote it.
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
        """Dots per inch down and across, of the image's own rows and columns."""
        a, b, c, d, _, _ = self.matrix
        down, across = np.hypot(c, d), np.hypot(a, b)
        return _dpi(self.height_px, float(down)), _dpi(self.width_px, float(across))

    @property
    def quarter_turns(self) -> int | None:
        """By how many quarter turns clockwise the page shows it, to the nearest; None where it is mirrored."""
        a, b, c, d, _, _ = self.matrix
        if a * d - b * c <= 0:
            return None
        return (-round(float(np.degrees(np.arctan2(b, a))) / 90)) % 4


@dataclass(frozen=True)
class PdfPage:
    """What is known of a page before any image is decoded.

    box: Its visible part, (left, bottom, right, top) in points, before it is turned clockwise by `rotate` degrees.
    images: In the order of painting. scan: Of these the one that is the page, if it is a scan. is_bare: Nothing else
    can be seen. has_text: Text that can be seen, or hidden text to search for.
    """

    look: PageLook
    box: tuple[float, float, float, float]
    rotate: int
    images: tuple[Placed, ...]
    scan: Placed | None
    is_bare: bool
    has_text: bool

    @property
    def shown_pt(self) -> tuple[float, float]:
        """Height and width of the page as it is shown."""
        sides = self.box[3] - self.box[1], self.box[2] - self.box[0]
        return sides[::-1] if self.rotate % 180 else sides

    def covered(self, image: Placed) -> float:
        """Return the share of the page that the box round an image covers."""
        return _covered(image, self.box)

    @property
    def quarter_turns(self) -> int:
        """By how many quarter turns clockwise a scan is shown; 0 for other pages."""
        return ((self.scan.quarter_turns or 0) + self.rotate // 90) % 4 if self.scan else 0


def is_pdf(source: bytes | BinaryIO) -> bool:
    """Return whether a file begins as a PDF does; readers look for its mark in the first 1,024 bytes.

    Source: ISO 32000-1, annex H.3.4.1.
    """
    if isinstance(source, bytes):
        return b"%PDF-" in source[:1024]
    source.seek(0)
    start = source.read(1024)
    source.seek(0)
    return b"%PDF-" in start


def open_pdf(source: bytes | BinaryIO) -> pikepdf.Pdf:
    """Return a document; of a stream no more is read than is asked for.

    Raises:
        PageError: If it is encrypted, or cannot be opened (`failed`).
    """
    try:
        pdf = pikepdf.open(io.BytesIO(source) if isinstance(source, bytes) else source)
    except pikepdf.PasswordError as error:
        raise PageError("encrypted", "the PDF is locked by a password; it is kept whole") from error
    except _BROKEN as error:
        raise PageError("damaged", f"the PDF cannot be opened: {_told(error)}", failed=True) from error
    if pdf.is_encrypted:
        raise PageError("encrypted", "the PDF is encrypted; it is kept whole")
    return pdf


def is_signed(pdf: pikepdf.Pdf) -> bool:
    """Return whether a change would break a signature: one that is there, or rights that one gives.

    Raises:
        PageError: If its forms cannot be read (`failed`).
    """
    try:
        form = pdf.Root.get("/AcroForm")
        if "/Perms" in pdf.Root or form is None:
            return "/Perms" in pdf.Root
        is_said = bool(int(form.get("/SigFlags", 0)) & 1)
        return is_said or any(_has_signature(field, 0) for field in form.get("/Fields", ()))
    except _BROKEN as error:
        raise PageError("damaged", f"the forms of the PDF cannot be read: {_told(error)}", failed=True) from error


def _has_signature(field: Any, depth: int) -> bool:
    if depth > _MOST_NESTED:
        return False
    if str(field.get("/FT", "")) == "/Sig" and "/V" in field:
        return True
    return any(_has_signature(kid, depth + 1) for kid in field.get("/Kids", ()))


def count_pages(pdf: pikepdf.Pdf) -> int:
    """Return how many pages a document has.

    Raises:
        PageError: If it has none, or its page tree cannot be followed (`failed`).
    """
    try:
        n_pages = len(pdf.pages)
    except _BROKEN as error:
        raise PageError("damaged", f"the pages cannot be found: {_told(error)}", failed=True) from error
    if not n_pages:
        raise PageError("damaged", "the document holds no page", failed=True)
    return n_pages


def describe_page(pdf: pikepdf.Pdf, page_index: int) -> PdfPage:
    """Return what a page holds.

    Raises:
        PageError: If it is not there or its content cannot be read (`failed`).
    """
    try:
        page = pdf.pages[page_index]
        unit = float(page.obj.get("/UserUnit", 1))
        x0, y0, x1, y1 = (float(side) for side in page.cropbox)
        shown = unit * min(x0, x1), unit * min(y0, y1), unit * max(x0, x1), unit * max(y0, y1)
        rotate = int(_inherited(page.obj, "/Rotate", 0)) % 360
        resources = page.resources
        start = pikepdf.Matrix().scaled(unit, unit)
        painted = list(_painted(page.obj, resources, start, 0))
    except _BROKEN as error:
        raise PageError("damaged", f"the page cannot be read: {_told(error)}", failed=True) from error
    images = tuple(one for one in painted if isinstance(one, Placed))
    covering = [one for one in images if _covered(one, shown) >= _COVERS]
    look, scan, is_bare = PageLook.COMPOSED, None, False
    if sum(_covered(one, shown) for one in images) < _COVERS:  # strips cover a page together
        look = PageLook.DIGITAL
    elif len(covering) == 1 and covering[0].is_plain and covering[0].quarter_turns is not None:
        look, scan = PageLook.SCAN, covering[0]
        # what an opaque image covers cannot be seen
        is_bare = all(one == "hidden" for one in painted[painted.index(scan) + 1 :])
    has_text = any(one in ("text", "hidden") for one in painted)
    return PdfPage(look, shown, rotate, images, scan, is_bare, has_text)


def _inherited(node: Any, key: str, usual: object) -> Any:
    """Return a page's attribute, or that of the nearest node above it which has one."""
    for _ in range(_MOST_NESTED):
        if key in node:
            return node[key]
        if "/Parent" not in node:
            break
        node = node["/Parent"]
    return usual


def _covered(image: Placed, box: tuple[float, float, float, float]) -> float:
    """Return the share of a box, (left, bottom, right, top), that the box round an image covers."""
    a, b, c, d, e, f = image.matrix
    xs, ys = [e, e + a, e + c, e + a + c], [f, f + b, f + d, f + b + d]
    left, bottom, right, top = box
    width = max(0.0, min(right, max(xs)) - max(left, min(xs)))
    height = max(0.0, min(top, max(ys)) - max(bottom, min(ys)))
    return width * height / max(1e-9, (right - left) * (top - bottom))


def _painted(content: Any, resources: Any, start: pikepdf.Matrix, depth: int) -> Iterator[Placed | str]:
    """Yield what a content stream paints, in order: images, and `text`, `hidden` (text) or `drawing` for the rest."""
    if depth > _MOST_NESTED:
        raise ValueError("forms are nested too deeply")
    matrix, mode = start, 0
    held: list[tuple[pikepdf.Matrix, int]] = []
    for instruction in pikepdf.parse_content_stream(content, operators=_WANTED):
        operands, name = instruction.operands, str(instruction.operator)
        if name == "q":
            held.append((matrix, mode))
        elif name == "Q" and held:
            matrix, mode = held.pop()
        elif name == "cm":
            matrix = pikepdf.Matrix(*(float(value) for value in operands)) @ matrix
        elif name == "Tr":
            mode = int(operands[0])
        elif name in _SHOWS:
            yield "hidden" if mode == _INVISIBLE else "text"
        elif name in _PAINTS or name == "INLINE IMAGE":
            yield "drawing"
        elif name == "Do":
            found = resources.XObject[str(operands[0])]
            if found.Subtype == "/Image":
                yield _placed(found, matrix)
            elif found.Subtype == "/Form" and _MARK in found and _SIZE in found:
                yield _page_in_layers(found, matrix)
            elif found.Subtype == "/Form":
                inner = pikepdf.Matrix(*(float(value) for value in found.get("/Matrix", [1, 0, 0, 1, 0, 0])))
                yield from _painted(found, found.get("/Resources", resources), inner @ matrix, depth + 1)


def _placed(image: Any, matrix: pikepdf.Matrix) -> Placed:
    filters = _filters(image)
    is_opaque = not any(key in image for key in ("/SMask", "/Mask", "/SMaskInData"))
    is_colour_known = _is_grey_or_rgb(image) and image.objgen != (0, 0)
    return Placed(
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


def _page_in_layers(form: Any, matrix: pikepdf.Matrix) -> Placed:
    height_px, width_px = (int(side) for side in form[_SIZE])
    place = matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f
    return Placed(form.objgen, height_px, width_px, place, 0, is_plain=True, is_lossy=True, is_ours=True)


def is_in_layers(pdf: pikepdf.Pdf, image: Placed) -> bool:
    """Return whether what shows a page is no image but a form that was put in its place."""
    return _SIZE in pdf.get_object(image.object_id)


def _filters(image: Any) -> set[str]:
    found = image.get("/Filter", ())
    return {str(found)} if isinstance(found, pikepdf.Name) else {str(one) for one in found}


def _is_grey_or_rgb(image: Any) -> bool:
    if bool(image.get("/ImageMask", False)):
        return False
    space = image.get("/ColorSpace")
    if space is None:
        return "/JPXDecode" in _filters(image)  # which tells its colours itself
    return int(image.get("/BitsPerComponent", 8)) <= 8 and channels_of(space) in (1, 3)


def channels_of(space: Any) -> int:
    """Return how many values a colour has, that of a palette after its look-up; 0 for spaces not dealt with here."""
    if space is None:
        return 0
    family = family_of(space)
    if family == "/ICCBased":
        return int(space[1].get("/N", 0))
    if family == "/Indexed":
        return channels_of(space[1])
    return _NUMBERS.get(family, 0)


def family_of(space: Any) -> str:
    """Return which kind of colour space one is: `/DeviceRGB`, `/ICCBased`, `/Indexed`, …"""
    return str(space[0] if isinstance(space, pikepdf.Array) else space)


def _dpi(pixels: int, points: float) -> float:
    return pixels * POINTS_PER_INCH / points if points > 0 else 0.0


def _told(error: BaseException) -> str:
    """Return what an error says, without the name of the object in memory that was read."""
    text = str(error).rpartition("stream <")
    return text[2].partition(">: ")[2] or str(error)


def stored_image(pdf: pikepdf.Pdf, image: Placed) -> bytes:
    """Return an image as a file of its own, as it is stored where there is a file for that, else as a bare TIFF.

    A mask that goes with it is left out.

    Raises:
        PageError: If it is of a kind that cannot be read.
    """
    buffer = io.BytesIO()
    try:
        found = pikepdf.PdfImage(stream_of(pdf, image))
        if _filters(pdf.get_object(image.object_id)) & _FILES:
            found.extract_to(stream=buffer, apply_mask=False)
        else:
            found.as_pil_image(apply_mask=False).save(buffer, "TIFF")
    except (*_BROKEN, NotImplementedError, OSError) as error:
        raise PageError("unsupported_mode", f"an image of the PDF cannot be taken out: {_told(error)}") from error
    return buffer.getvalue()


def stream_of(pdf: pikepdf.Pdf, image: Placed) -> pikepdf.Stream:
    """Return the object that an image is stored as."""
    found = pdf.get_object(image.object_id)
    assert isinstance(found, pikepdf.Stream)
    return found


def mark(image: Any, size_px: tuple[int, int] | None = None) -> None:
    """Say in the dictionary of an image that Foliopress wrote it; of a form also its height and width as a page."""
    image[_MARK] = pikepdf.String(metadata.mark())
    if size_px is not None:
        image[_SIZE] = pikepdf.Array(size_px)


def has_jbig2(pdf: pikepdf.Pdf, image: Placed) -> bool:
    """Return whether an image is coded as JBIG2, which `stored_image` does not read."""
    return "/JBIG2Decode" in _filters(pdf.get_object(image.object_id))


def is_g4(pdf: pikepdf.Pdf, image: Placed) -> bool:
    """Return whether an image is coded as CCITT G4: K is negative (ISO 32000-1, table 11)."""
    found: Any = pdf.get_object(image.object_id)
    if _filters(found) != {"/CCITTFaxDecode"}:
        return False
    try:
        parameters = found.get("/DecodeParms", {})
        parameters = parameters[0] if isinstance(parameters, pikepdf.Array) else parameters
        return int(parameters.get("/K", 0)) < 0
    except _BROKEN:
        return False


def has_colour_space(pdf: pikepdf.Pdf, image: Placed) -> bool:
    """Return whether a document says what an image's colours are; JPEG 2000 may say so itself."""
    return "/ColorSpace" in pdf.get_object(image.object_id)


def icc_of(pdf: pikepdf.Pdf, image: Placed) -> bytes | None:
    """Return the profile that a document gives an image's colours, of a palette its base's; None without one."""
    space: Any = pdf.get_object(image.object_id).get("/ColorSpace")
    if family_of(space) == "/Indexed":
        space = space[1]
    if family_of(space) == "/ICCBased":
        return bytes(space[1].read_bytes())
    return None


def drawn_image(source: bytes | BinaryIO, page_index: int, image: Placed) -> np.ndarray:
    """Return an image's own pixels, (height, width) uint8 grey, as pdfium decodes it.

    Raises:
        PageError: If pdfium cannot open or decode it (`failed`).
    """
    try:
        with pypdfium2.PdfDocument(source) as document:
            for found in document[page_index].get_objects(filter=[pypdfium2.raw.FPDF_PAGEOBJ_IMAGE]):
                assert isinstance(found, pypdfium2.PdfImage)
                if found.get_px_size() == (image.width_px, image.height_px):
                    return np.array(found.get_bitmap(render=False).to_pil().convert("L"))
    except (pypdfium2.PdfiumError, ValueError, IndexError) as error:
        raise PageError("damaged", f"an image of the PDF cannot be decoded: {error}", failed=True) from error
    raise PageError("unsupported_mode", "an image of the PDF cannot be taken out")


def rendered(source: bytes | BinaryIO, page_index: int, dpi: float) -> np.ndarray:
    """Return a page as it is shown, (height, width, 3) uint8 RGB, by pdfium.

    Raises:
        PageError: If pdfium cannot open or draw it (`failed`).
    """
    try:
        with pypdfium2.PdfDocument(source) as document:
            bitmap = document[page_index].render(scale=dpi / POINTS_PER_INCH, rev_byteorder=True, draw_annots=False)
            return np.ascontiguousarray(bitmap.to_numpy()[..., :3])
    except (pypdfium2.PdfiumError, ValueError, IndexError) as error:
        raise PageError("damaged", f"the page cannot be drawn: {error}", failed=True) from error


@dataclass(frozen=True)
class Letters:
    """The letters and digits in a page's text, visible or hidden, as pdfium finds them.

    text: In the order of the text; as many characters as boxes. boxes: (n, 4) float64, each (left, bottom, right, top),
    in the units of the page's own space: the height of the font by the advance of the glyph, so that a glyph without
    ink has one too.
    """

    text: str
    boxes: np.ndarray


class LetterFinder:
    """Finds the letters on a document's pages; pdfium opens the document when the first page is asked for."""

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
        """
        try:
            if self._document is None:
                self._document = pypdfium2.PdfDocument(self._source)
            page = self._document[page_index]
            found = page.get_textpage()
            characters = [chr(pypdfium2.raw.FPDFText_GetUnicode(found, one)) for one in range(found.count_chars())]
            numbers = [number for number, character in enumerate(characters) if character.isalnum()]
            boxes = [found.get_charbox(number, loose=True) for number in numbers]
            found.close()
            page.close()
        except (pypdfium2.PdfiumError, ValueError, IndexError) as error:
            raise PageError("damaged", f"the text of a page cannot be read: {error}", failed=True) from error
        text = "".join(characters[number] for number in numbers)
        return Letters(text, np.array(boxes, np.float64).reshape(-1, 4))
