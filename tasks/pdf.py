"""PDF: what the pages of a document hold, and the image of a page that is one scan. The only door to pikepdf and pdfium.

A page is a *scan* where one image covers it and nothing can be seen above it; *composed* where images cover most of it
with more beside or above them; *digital* where they do not: text and drawings of a program.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pikepdf
import pypdfium2

from tasks.errors import PageError

_POINTS_PER_INCH = 72.0
_COVERS = 0.9  # of the page: scanners leave a margin, and MRC programs cut one off
_MOST_NESTED = 8  # forms in forms; deeper is made to harm
_INVISIBLE = 3  # text rendering mode (ISO 32000-1, table 106): neither filled nor stroked

_PAINTS = frozenset(("f", "F", "f*", "S", "s", "B", "B*", "b", "b*", "sh"))
_SHOWS = frozenset(("Tj", "TJ", "'", '"'))


class PageLook(StrEnum):
    """What a page of a PDF is made of."""

    SCAN = "scan"
    COMPOSED = "composed"
    DIGITAL = "digital"


@dataclass(frozen=True)
class Placed:
    """An image as a page shows it.

    object_id: Of its stream, (number, generation). matrix: (a, b, c, d, e, f), which brings the unit square to where
    the image lies, in points. is_plain: It has no mask, is none, and has no values turned round.
    """

    object_id: tuple[int, int]
    height_px: int
    width_px: int
    matrix: tuple[float, float, float, float, float, float]
    is_plain: bool

    @property
    def dpi(self) -> tuple[float, float]:
        """Dots per inch down and across, of the image's own rows and columns."""
        a, b, c, d, _, _ = self.matrix
        down, across = np.hypot(c, d), np.hypot(a, b)
        return _dpi(self.height_px, float(down)), _dpi(self.width_px, float(across))

    @property
    def quarter_turns(self) -> int | None:
        """By how many quarter turns clockwise the page shows it; None where it lies askew or mirrored."""
        a, b, c, d, _, _ = self.matrix
        if a * d - b * c <= 0:
            return None
        turned = round(float(np.degrees(np.arctan2(b, a))) / 90) % 4
        longest = max(abs(a), abs(b), abs(c), abs(d))
        is_straight = min(abs(a), abs(b)) < 1e-3 * longest and min(abs(c), abs(d)) < 1e-3 * longest
        return (-turned) % 4 if is_straight else None


@dataclass(frozen=True)
class PdfPage:
    """What is known of a page before any image is decoded.

    height_pt, width_pt: Of its visible box, before it is turned by `rotate` degrees. images: In the order of painting.
    has_text: Text that can be seen, or hidden text to search for.
    """

    look: PageLook
    height_pt: float
    width_pt: float
    rotate: int
    images: tuple[Placed, ...]
    has_text: bool


def open_pdf(data: bytes) -> pikepdf.Pdf:
    """Return a document.

    Raises:
        PageError: If it is encrypted (`encrypted`), or cannot be opened (`failed`).
    """
    try:
        pdf = pikepdf.open(io.BytesIO(data))
    except pikepdf.PasswordError as error:
        raise PageError("encrypted", "the PDF is locked by a password; it is kept whole") from error
    except (pikepdf.PdfError, ValueError, RuntimeError) as error:
        raise PageError("damaged", f"the PDF cannot be opened: {error}", failed=True) from error
    if pdf.is_encrypted:
        raise PageError("encrypted", "the PDF is encrypted; it is kept whole")
    return pdf


def describe_page(page: pikepdf.Page) -> PdfPage:
    """Return what a page holds.

    Raises:
        PageError: If its content cannot be read (`failed`).
    """
    try:
        box = [float(side) for side in page.cropbox]
        left, right, bottom, top = min(box[0], box[2]), max(box[0], box[2]), min(box[1], box[3]), max(box[1], box[3])
        rotate = int(page.obj.get("/Rotate", 0)) % 360
        painted = list(_painted(page.obj, page.resources, pikepdf.Matrix(), 0))
    except (pikepdf.PdfError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise PageError("damaged", f"the page cannot be read: {error}", failed=True) from error
    images = tuple(one for one in painted if isinstance(one, Placed))
    look = _look_of(painted, (left, bottom, right, top))
    return PdfPage(look, top - bottom, right - left, rotate, images, any(one in ("text", "hidden") for one in painted))


def _look_of(painted: Sequence[Placed | str], box: tuple[float, float, float, float]) -> PageLook:
    images = [one for one in painted if isinstance(one, Placed)]
    if not images or max(_covered(one, box) for one in images) < _COVERS:
        return PageLook.DIGITAL
    last = max(number for number, one in enumerate(painted) if isinstance(one, Placed))
    is_bare = all(one == "hidden" for one in painted[last + 1 :])  # what an opaque image covers cannot be seen
    if len(images) == 1 and images[0].is_plain and images[0].quarter_turns is not None and is_bare:
        return PageLook.SCAN
    return PageLook.COMPOSED


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
    for operands, operator in pikepdf.parse_content_stream(content):
        name = str(operator)
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
            elif found.Subtype == "/Form":
                inner = pikepdf.Matrix(*(float(value) for value in found.get("/Matrix", [1, 0, 0, 1, 0, 0])))
                yield from _painted(found, found.get("/Resources", resources), inner @ matrix, depth + 1)


def _placed(image: Any, matrix: pikepdf.Matrix) -> Placed:
    is_mask = bool(image.get("/ImageMask", False))
    bits = int(image.get("/BitsPerComponent", 8))
    usual = [0.0, 1.0]
    decode = [float(value) for value in image.get("/Decode", usual)]
    is_turned_round = decode != usual * (len(decode) // 2)
    return Placed(
        object_id=image.objgen,
        height_px=int(image.Height),
        width_px=int(image.Width),
        matrix=(matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f),
        is_plain=not is_mask and "/SMask" not in image and "/Mask" not in image and not is_turned_round and bits <= 8,
    )


def _dpi(pixels: int, points: float) -> float:
    return pixels * _POINTS_PER_INCH / points if points > 0 else 0.0


def stored_image(pdf: pikepdf.Pdf, image: Placed) -> bytes:
    """Return an image as a file of its own, as it is stored wherever there is a file for that, else as PNG or TIFF.

    Raises:
        PageError: If it is of a kind that cannot be read.
    """
    buffer = io.BytesIO()
    try:
        pikepdf.PdfImage(pdf.get_object(image.object_id)).extract_to(stream=buffer)
    except (pikepdf.PdfError, NotImplementedError, ValueError, TypeError, AttributeError, OSError) as error:
        raise PageError("unsupported_mode", f"an image of the PDF cannot be taken out: {error}") from error
    return buffer.getvalue()


def rendered(data: bytes, page_index: int, dpi: float) -> np.ndarray:
    """Return a page as it is shown, (height, width, 3) uint8 RGB, by pdfium.

    Raises:
        PageError: If pdfium cannot open or draw it (`failed`).
    """
    try:
        with pypdfium2.PdfDocument(data) as document:
            bitmap = document[page_index].render(scale=dpi / _POINTS_PER_INCH, rev_byteorder=True, draw_annots=False)
            return np.ascontiguousarray(bitmap.to_numpy()[..., :3])
    except (pypdfium2.PdfiumError, ValueError, IndexError) as error:
        raise PageError("damaged", f"the page cannot be drawn: {error}", failed=True) from error
