"""Build PDFs: scans in every encoding and position, with everything else that a document may contain."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf
from PIL import Image

A4_PT = (595, 842)


@dataclass
class Sheet:
    """A page: its image stream, the image's place, and the content below and above it."""

    stream: Callable[[Pdf], Any] | None
    matrix: Sequence[float] = (A4_PT[0], 0, 0, A4_PT[1], 0, 0)
    under: str = ""
    above: str = ""
    rotate: int = 0
    more: dict[str, Any] = field(default_factory=dict)


def flate(pixels: np.ndarray, **keys: Any) -> Callable[[Pdf], Any]:
    """Return an image in the encoding that most programs use for lossless images."""
    height_px, width_px = pixels.shape[:2]
    space = Name.DeviceGray if pixels.ndim == 2 else Name.DeviceRGB
    bits, data = 8, pixels.tobytes()
    if pixels.dtype == np.bool_:
        bits, data = 1, np.packbits(pixels, axis=1).tobytes()
    usual = {"ColorSpace": space, "BitsPerComponent": bits, "Filter": Name.FlateDecode}
    return _image(zlib.compress(data), height_px, width_px, usual | keys)


def jpeg(pixels: np.ndarray, quality: int = 90, **keys: Any) -> Callable[[Pdf], Any]:
    """Return an image in the encoding that scanners use."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    space = Name.DeviceGray if pixels.ndim == 2 else Name.DeviceRGB
    usual = {"ColorSpace": space, "BitsPerComponent": 8, "Filter": Name.DCTDecode}
    return _image(buffer.getvalue(), *pixels.shape[:2], usual | keys)


def ccitt(bits: np.ndarray, **keys: Any) -> Callable[[Pdf], Any]:
    """Return a bitonal image, True is white, as one strip of CCITT G4."""
    height_px, width_px = bits.shape
    buffer = io.BytesIO()
    Image.fromarray(bits).save(buffer, "TIFF", compression="group4", tiffinfo={278: height_px})
    with Image.open(buffer) as image:
        tags: Any = image.tag_v2  # type: ignore[attr-defined]
        (start,), (size,), is_black_zero = tags[273], tags[279], tags[262] == 1
    usual = {"ColorSpace": Name.DeviceGray, "BitsPerComponent": 1, "Filter": Name.CCITTFaxDecode}
    usual["DecodeParms"] = Dictionary(K=-1, Columns=width_px, Rows=height_px, BlackIs1=is_black_zero)
    return _image(buffer.getvalue()[start : start + size], height_px, width_px, usual | keys)


def _image(data: bytes, height_px: int, width_px: int, keys: dict[str, Any]) -> Callable[[Pdf], Any]:
    def made(pdf: Pdf) -> Any:
        own = {name: value(pdf) if callable(value) else value for name, value in keys.items()}
        return pdf.make_stream(data, Type=Name.XObject, Subtype=Name.Image, Width=width_px, Height=height_px, **own)

    return made


def paper(*sheets: Sheet, finish: Callable[[Pdf], None] = lambda pdf: None, **saving: Any) -> bytes:
    """Return a document with these pages."""
    pdf = Pdf.new()
    font = pdf.make_indirect(Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica))
    for sheet in sheets:
        page = pdf.add_blank_page(page_size=A4_PT)
        page.Resources = Dictionary(Font=Dictionary(F1=font), XObject=Dictionary())
        content = sheet.under
        if sheet.stream is not None:
            page.Resources.XObject.Im0 = sheet.stream(pdf)
            content += f" q {' '.join(str(number) for number in sheet.matrix)} cm /Im0 Do Q "
        page.Contents = pdf.make_stream((content + sheet.above).encode("latin-1"))
        if sheet.rotate:
            page.Rotate = sheet.rotate
        for name, value in sheet.more.items():
            page.obj[name] = value
    finish(pdf)
    buffer = io.BytesIO()
    pdf.save(buffer, **saving)
    return buffer.getvalue()


def hidden(text: str, at: tuple[float, float] = (50, 700)) -> str:
    """Return an invisible, searchable text layer, as OCR programs write it."""
    return f" BT 3 Tr /F1 12 Tf {at[0]} {at[1]} Td ({text}) Tj ET "


def shown(text: str, at: tuple[float, float] = (50, 700)) -> str:
    """Return visible text."""
    return hidden(text, at).replace("3 Tr", "0 Tr")


def everything_else(pdf: Pdf) -> None:
    """Give a document bookmarks, labels, links, a form, an attachment and metadata."""
    with pdf.open_outline() as outline:
        outline.root.append(pikepdf.OutlineItem("Second leaf", 1))
    pdf.Root.PageLabels = Dictionary(Nums=Array([0, Dictionary(S=Name.r, St=4)]))
    link = Dictionary(Type=Name.Annot, Subtype=Name.Link, Rect=[10, 10, 90, 40], A=Dictionary(S=Name.URI, URI="x:y"))
    pdf.pages[0].Annots = Array([pdf.make_indirect(link)])
    field_ = Dictionary(FT=Name.Tx, T="name", V="A. Clerk", Type=Name.Annot, Subtype=Name.Widget, Rect=[9, 9, 99, 30])
    pdf.Root.AcroForm = Dictionary(Fields=Array([pdf.make_indirect(field_)]))
    pdf.attachments["list.csv"] = pikepdf.AttachedFileSpec(pdf, b"a,b\n", filename="list.csv")
    pdf.docinfo["/Title"] = "Minutes"
    with pdf.open_metadata() as told:
        told["dc:title"] = "Minutes"
