"""Read and replace the images of a PDF page that shows several of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pikepdf
from pikepdf import Dictionary

from foliopress.configs.settings import EncodeSettings, Settings
from foliopress.tasks.codecs import encode
from foliopress.tasks.pdf import image_samples, image_streams, pdf_reader
from foliopress.tasks.pdf.bounded_reading import pdf_errors

LEAST_BYTES = 4096
"""A smaller image is left as it is: a line, a stamp, a signature."""


@dataclass(frozen=True)
class ExtractedPage:
    """One page of a PDF by itself, and the images of it that may be re-encoded.

    pdf: A PDF of this page alone. numbers: Numbers of these images, in painting order. dpi: Resolution at which the
    page is drawn to be judged. other_bytes: Size of its other images.
    """

    pdf: bytes = field(repr=False)
    numbers: tuple[int, ...]
    dpi: float
    other_bytes: int


@dataclass(frozen=True)
class PageImage:
    """The pixels of one image of a page."""

    pixels: np.ndarray = field(repr=False)
    is_bitonal: bool

    def encoded(self, quality: int, settings: EncodeSettings) -> image_streams.CodedImage:
        """Return the image in the settings' codec, or as CCITT G4 if it has one bit a pixel."""
        if self.is_bitonal:
            data = encode.encode(self.pixels >= 128, "g4", 100, encode.CarriedMetadata(), settings)
            return image_streams.CodedImage(data, "g4")
        data = encode.encode(self.pixels, settings.codec, quality, encode.CarriedMetadata(), settings)
        return image_streams.CodedImage(data, settings.codec)


def extract_page(source: bytes | BinaryIO, page_index: int, numbers: Sequence[int], dpi: float) -> ExtractedPage:
    """Return one page of a document as a PDF of its own.

    Raises:
        PageError: If it cannot be extracted.
    """
    buffer = io.BytesIO()
    with pdf_reader.open_pdf(source) as document, pikepdf.new() as alone:
        with pdf_errors("the page cannot be taken out of its PDF", reason="composed_page", failed=False):
            alone.pages.append(document.pages[page_index])
            if "/OCProperties" in document.Root:  # which layers are shown
                held = document.make_indirect(document.Root.OCProperties)
                alone.Root.OCProperties = alone.copy_foreign(held)
            alone.save(buffer)
        images = pdf_reader.describe_page(document, page_index, as_seen=False).images
    other_bytes = sum(image.stored_bytes for number, image in enumerate(images) if number not in numbers)
    return ExtractedPage(buffer.getvalue(), tuple(numbers), dpi, other_bytes)


def read_images(page: ExtractedPage, settings: Settings) -> list[PageImage]:
    """Return the images of a page that may be re-encoded.

    Raises:
        PageError: If one of them cannot be read.
    """
    keep_deep = not settings.encode.deep_to_eight_bits
    with (
        pdf_reader.open_pdf(page.pdf) as document,
        pdf_errors("an image of the page cannot be read", reason="composed_page", failed=False),
    ):
        images = pdf_reader.describe_page(document, 0, as_seen=False).images
        found = (
            image_samples.read_image(document, images[number], settings.limits, keep_deep=keep_deep)
            for number in page.numbers
        )
        return [PageImage(image.pixels, image.is_bitonal) for image in found]


def container_of(images: Sequence[image_streams.CodedImage], numbers: Sequence[int]) -> bytes:
    """Return images as a PDF, each under its number, for `put_images`."""
    buffer = io.BytesIO()
    with pikepdf.new() as document:
        page = document.add_blank_page(page_size=(72, 72))
        held: dict[str, Any] = {
            f"/N{number}": image_streams.stream(document, image) for number, image in zip(numbers, images, strict=True)
        }
        page.Resources = Dictionary(XObject=Dictionary(held))
        document.save(buffer, deterministic_id=True, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    return buffer.getvalue()


def drawn_with(page: ExtractedPage, container: bytes, settings: Settings) -> np.ndarray:
    """Return a page as a reader draws it with new images, (height, width, 3) uint8.

    Args:
        page: The page by itself.
        container: From `container_of`.
        settings: Largest colour profile, and time to draw.

    Raises:
        PageError: If the page cannot be written or drawn.
    """
    buffer = io.BytesIO()
    with (
        pdf_reader.open_pdf(page.pdf) as document,
        pdf_errors("the page cannot be written anew", reason="not_writable", failed=False),
    ):
        images = pdf_reader.describe_page(document, 0, as_seen=False).images
        colours = image_streams.Colours(document, settings.encode.largest_profile_bytes)
        put_images(document, images, container, colours)
        document.save(buffer)
    seconds = settings.limits.max_document_seconds
    return pdf_reader.render_page(buffer.getvalue(), 0, page.dpi, seconds=seconds)


def put_images(
    document: pikepdf.Pdf, images: Sequence[pdf_reader.PlacedImage], data: bytes, colours: image_streams.Colours
) -> None:
    """Replace images of a page by those of a container.

    Args:
        document: Document with the page.
        images: Images of the page, in painting order.
        data: From `container_of`.
        colours: Colour spaces of the document.
    """
    with pikepdf.open(io.BytesIO(data)) as other:
        for name, made in other.pages[0].Resources.XObject.items():
            old = pdf_reader.stream_of(document, images[int(name.removeprefix("/N"))])
            filters = made.Filter
            parameters = made.get("/DecodeParms")
            space = old.get("/ColorSpace")
            for key in set(old.keys()) & {"/Decode", "/DecodeParms", "/Alternates"}:
                del old[key]
            kept = None if parameters is None else Dictionary(dict(parameters.items()))
            old.write(bytes(made.read_raw_bytes()), filter=pikepdf.Name(str(filters)), decode_parms=kept)
            old.Width, old.Height, old.BitsPerComponent = int(made.Width), int(made.Height), int(made.BitsPerComponent)
            old.ColorSpace = pikepdf.Name(str(made.ColorSpace))
            colours.keep(old, space)
            pdf_reader.mark(old)
