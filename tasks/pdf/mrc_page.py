"""Write a page in layers as a PDF of one page, and replace a scan in another PDF by it, as a form."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pikepdf
from pikepdf import Array, Dictionary, Name

from foliopress.configs.settings import EncodeSettings
from foliopress.tasks.codecs import encode
from foliopress.tasks.images import image_reader
from foliopress.tasks.pdf import image_streams, pdf_reader
from foliopress.tasks.pdf.bounded_reading import decoded_stream
from foliopress.tasks.pdf.mrc import Layers

LARGEST_SIDE_PX = 14_400
"""Longest side of a PDF page that every reader opens, at 1/72 inch a pixel (ISO 32000-1, annex C.2)."""

_FOREGROUND_QUALITY = 70  # its colours hardly change; a higher quality costs bytes without visible gain


def encode_layers(layers: Layers, codec: encode.Codec, quality: int, settings: EncodeSettings) -> bytes:
    """Return a PDF of one page that shows the layers at 1/72 inch a pixel.

    Args:
        layers: Layers of a page of at most `LARGEST_SIDE_PX` a side.
        codec: Codec of the two smooth layers, `jpeg` or `jp2`; the mask is CCITT G4.
        quality: Quality of the background.
        settings: Settings of the encoder.
    """
    height_px, width_px = layers.mask.shape

    def coded(pixels: np.ndarray, quality: int) -> image_streams.CodedImage:
        return image_streams.CodedImage(
            encode.encode(pixels, codec, quality, encode.CarriedMetadata(), settings), codec
        )

    buffer = io.BytesIO()
    with pikepdf.new() as document:
        shown = Dictionary(Back=image_streams.stream(document, coded(layers.background, quality), Interpolate=True))
        content = b"/Back Do"
        if layers.mask.any():
            bits = encode.encode(~layers.mask, "g4", 100, encode.CarriedMetadata(), settings)
            mask = image_streams.stream(document, image_streams.CodedImage(bits, "g4"), ImageMask=True)
            front = coded(layers.foreground, _FOREGROUND_QUALITY)
            shown.Front = image_streams.stream(document, front, Interpolate=True, Mask=mask)
            content += b" /Front Do"
        form = document.make_stream(content, Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, 1, 1])
        form.Resources = Dictionary(XObject=shown)
        _show(document, form, height_px, width_px)
        document.save(buffer, deterministic_id=True, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    return buffer.getvalue()


def decode_layers(data: bytes) -> np.ndarray:
    """Return the page of such a PDF, drawn by pdfium: uint8, (height, width) grey or (height, width, 3) RGB.

    Raises:
        PageError: If it cannot be drawn.
    """
    return image_reader.grey_if_grey(pdf_reader.render_page(data, 0, pdf_reader.POINTS_PER_INCH))


def put_in_place(document: pikepdf.Pdf, image: Any, data: bytes, colours: image_streams.Colours) -> None:
    """Turn an image's object into the form of a page in layers, which is then shown wherever the image was.

    Args:
        document: Document with the image.
        image: Object of the image.
        data: From `encode_layers`.
        colours: Colour spaces of the document.
    """
    space = image.get("/ColorSpace")
    with pdf_reader.open_pdf(data) as other:
        form = other.pages[0].Resources.XObject.Page
        box = other.pages[0].mediabox
        resources = document.copy_foreign(other.make_indirect(form.Resources))
        content = decoded_stream(form)
    image.write(content)
    for key in set(image.keys()) - {"/Length", "/OC"}:
        del image[key]
    image.Type, image.Subtype, image.BBox = Name.XObject, Name.Form, Array([0, 0, 1, 1])
    image.Resources = resources
    for layer in (resources.XObject.get("/Back"), resources.XObject.get("/Front")):
        if layer is not None:
            colours.keep(layer, space)
    pdf_reader.mark(image, (int(box[3]), int(box[2])))


def layered_image(form: Any, size_px: tuple[int, int]) -> np.ndarray:
    """Return the page that such a form shows, of (height, width) pixels, as `decode_layers` does."""
    buffer = io.BytesIO()
    with pikepdf.new() as other:
        _show(other, other.copy_foreign(form), *size_px)
        other.save(buffer)
    return decode_layers(buffer.getvalue())


def _show(document: pikepdf.Pdf, form: Any, height_px: int, width_px: int) -> None:
    page = document.add_blank_page(page_size=(width_px, height_px))
    page.Resources = Dictionary(XObject=Dictionary(Page=form))
    page.Contents = document.make_stream(b"q %d 0 0 %d 0 0 cm /Page Do Q" % (width_px, height_px))
