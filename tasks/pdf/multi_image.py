"""Composed pages: several images on one page of a PDF, each coded anew, and the page judged as it is drawn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, BinaryIO

import numpy as np
import pikepdf
from pikepdf import Dictionary

from foliopress.configs.settings import Settings
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.outcome import Outcome, no_gain, plan_figures
from foliopress.tasks.pdf import image_samples, image_streams, pdf_reader
from foliopress.tasks.pdf.bounded_reading import pdf_errors

LEAST_BYTES = 4096
"""An image of fewer is left as it is: a line, a stamp, a signature."""


@dataclass(frozen=True)
class Composed:
    """One page of a PDF by itself, and its images that may be coded anew.

    page: A PDF of this page alone. numbers: Of these images, in the order of painting. dpi: At which the page is drawn
    to be judged. rest_bytes: Of its other images.
    """

    page: bytes
    numbers: tuple[int, ...]
    dpi: float
    rest_bytes: int


def page_alone(source: bytes | BinaryIO, page_index: int, numbers: Sequence[int], dpi: float) -> Composed:
    """Take one page out of a document.

    Raises:
        PageError: If it cannot be taken out.
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
    rest = sum(image.stored_bytes for number, image in enumerate(images) if number not in numbers)
    return Composed(buffer.getvalue(), tuple(numbers), dpi, rest)


def fit_images(composed: Composed, check: Check, most_bytes: int, settings: Settings) -> Outcome:
    """Return the page's images in the least quality at which the page, drawn, passes its check; or what prevents it.

    Args:
        composed: The page.
        check: Of the page as it is drawn.
        most_bytes: Size from which its images together are of no use.
        settings: The encoder's and the check's.
    """
    whole = np.ones(check.found.importance.shape, np.int8)
    start = perf_counter()
    with (
        pdf_reader.open_pdf(composed.page) as document,
        pdf_errors("an image of the page cannot be read", reason="composed_page", failed=False),
    ):
        images = pdf_reader.describe_page(document, 0, as_seen=False).images
        decoded = [_pixels(document, images[number], settings) for number in composed.numbers]
    codec = settings.encode.codec
    quality, step = settings.encode.quality or settings.encode.least_quality, settings.encode.retry_quality_step
    spent = dict.fromkeys(("seconds_encode", "seconds_check", "seconds_reread"), 0.0)
    problem: PageError | None = None
    for attempt in range(1, settings.legibility.max_attempts + 1):
        coded = [_coded(pixels, is_bitonal, codec, quality, settings) for pixels, is_bitonal in decoded]
        size_bytes = composed.rest_bytes + sum(len(image.data) for image in coded)
        seconds = settings.limits.max_document_seconds
        drawn = pdf_reader.render_page(_with_images(composed, coded, settings), 0, composed.dpi, seconds=seconds)
        spent["seconds_encode"] += perf_counter() - start
        if size_bytes >= most_bytes:
            problem = no_gain("images anew", size_bytes, most_bytes)
            break
        figures: dict[str, object] = {"codec": codec, "quality": quality, "attempts": attempt} | plan_figures(whole)
        outcome = Outcome(None, _container(coded, composed.numbers), codec, whole, figures)
        if settings.legibility.mode == "off":
            return outcome
        judgement = check.judge(_like(drawn, check.found.page.pixels))
        spent["seconds_check"] += judgement.seconds_check
        spent["seconds_reread"] += judgement.seconds_reread
        problem = judgement.problem
        if problem is None:
            figures |= judgement.figures | spent
            return Outcome(None, outcome.data, codec, whole, figures)
        start = perf_counter()
        quality, step = min(100, quality + step), 2 * step
    return Outcome(problem, None, None, whole, {**spent})


def put_images(
    document: pikepdf.Pdf, images: Sequence[pdf_reader.PlacedImage], data: bytes, colours: image_streams.Colours
) -> None:
    """Write the images of a fitted page in the places of its old ones.

    Args:
        document: That holds the page.
        images: The page's, in the order of painting.
        data: From `fit_images`.
        colours: Of the document.
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


def _pixels(document: pikepdf.Pdf, image: pdf_reader.PlacedImage, settings: Settings) -> tuple[np.ndarray, bool]:
    """Return an image's own pixels and whether it has one bit a pixel."""
    keep_deep = not settings.encode.deep_to_eight_bits
    page = image_samples.read_image(document, image, settings.limits, keep_deep=keep_deep)
    return page.pixels, page.is_bitonal


def _coded(
    pixels: np.ndarray, is_bitonal: bool, codec: encode.Codec, quality: int, settings: Settings
) -> image_streams.CodedImage:
    if is_bitonal:
        return image_streams.CodedImage(
            encode.encode(pixels >= 128, "g4", 100, encode.CarriedMetadata(), settings.encode), "g4"
        )
    return image_streams.CodedImage(
        encode.encode(pixels, codec, quality, encode.CarriedMetadata(), settings.encode), codec
    )


def _with_images(composed: Composed, coded: Sequence[image_streams.CodedImage], settings: Settings) -> bytes:
    """Return the page by itself with other images."""
    buffer = io.BytesIO()
    with (
        pdf_reader.open_pdf(composed.page) as document,
        pdf_errors("the page cannot be written anew", reason="not_writable", failed=False),
    ):
        images, data = pdf_reader.describe_page(document, 0, as_seen=False).images, _container(coded, composed.numbers)
        put_images(document, images, data, image_streams.Colours(document, settings.encode.largest_profile_bytes))
        document.save(buffer)
    return buffer.getvalue()


def _container(coded: Sequence[image_streams.CodedImage], numbers: Sequence[int]) -> bytes:
    """Return images as a PDF, each under its number."""
    buffer = io.BytesIO()
    with pikepdf.new() as document:
        page = document.add_blank_page(page_size=(72, 72))
        held: dict[str, Any] = {
            f"/N{number}": image_streams.stream(document, image) for number, image in zip(numbers, coded, strict=True)
        }
        page.Resources = Dictionary(XObject=Dictionary(held))
        document.save(buffer, deterministic_id=True, object_stream_mode=pikepdf.ObjectStreamMode.disable)
    return buffer.getvalue()


def _like(drawn: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    """Return a drawn page with as many channels as its source."""
    return np.ascontiguousarray(drawn[..., 0]) if pixels.ndim == 2 else drawn
