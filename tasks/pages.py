"""Read: a document's bytes become headers, then upright pages. The only door to Pillow's decoders."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageCms, ImageOps, ImageSequence, TiffImagePlugin, UnidentifiedImageError

from configs.settings import LimitSettings
from tasks.errors import PageError

# The size limit is ours (LimitSettings), checked on the header before a pixel is decoded.
Image.MAX_IMAGE_PIXELS = None

FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "AVIF", "BMP")
"""Pillow's names of the formats that are read; the bytes decide, not the file's extension."""

_REDUCED_IMAGE = 1  # TIFF tag NewSubfileType, bit 0: a smaller copy of another page (TIFF 6.0, section 8)
_PLAUSIBLE_DPI = (50.0, 2400.0)
_SCREEN_DPI = 100.0  # tags of 72 or 96 dpi are mostly a default that nobody set
_LARGEST_SCREEN_DPI_PAGE_INCH = 17.5  # the long side of A3, with some room


@dataclass(frozen=True)
class PageHeader:
    """Size and mode of a page, known before its pixels are decoded; sizes are those of the upright page."""

    page_index: int
    height_px: int
    width_px: int
    mode: str


@dataclass(frozen=True)
class DocumentHeader:
    """What a document is, known before any pixel is decoded."""

    format: str
    pages: tuple[PageHeader, ...]


@dataclass(frozen=True)
class Page:
    """One upright page.

    `pixels` is uint8, (height, width) grey or (height, width, 3) RGB. `dpi` is the file's tag, or None where there is
    none or it cannot be true. `icc` and `exif` are the file's own blocks, the orientation already applied.
    """

    pixels: np.ndarray
    is_bitonal: bool
    dpi: float | None
    icc: bytes | None
    exif: bytes | None


def read_header(data: bytes, limits: LimitSettings) -> DocumentHeader:
    """Return a document's format and the sizes of its pages, without decoding pixels.

    Raises:
        PageError: If the document cannot be opened (`failed`), or is of a kind or size that is kept whole.
    """
    with _opened(data) as image:
        if image.format != "TIFF" and getattr(image, "n_frames", 1) > 1:
            raise PageError("many_frames", f"a {image.format} of {getattr(image, 'n_frames', 0)} frames is kept whole")
        pages: list[PageHeader] = []
        for frame in _page_frames(image):
            height_px, width_px = _upright_size(frame)
            if height_px * width_px > limits.max_page_pixels:
                raise PageError(
                    "too_large",
                    f"page {len(pages) + 1} has {height_px} x {width_px} pixels; "
                    f"limits.max_page_pixels allows {limits.max_page_pixels}",
                )
            pages.append(PageHeader(len(pages), height_px, width_px, frame.mode))
            if len(pages) > limits.max_document_pages:
                raise PageError(
                    "too_many_pages", f"more than the {limits.max_document_pages} pages of limits.max_document_pages"
                )
        if not pages:
            raise PageError("damaged", "the document holds no page", failed=True)
        return DocumentHeader(str(image.format), tuple(pages))


def read_page(data: bytes, page_index: int, limits: LimitSettings) -> Page:
    """Decode one page, upright.

    Raises:
        PageError: If the page cannot be decoded (`failed`), or holds what cannot be carried over (kept whole).
    """
    with _opened(data) as image:
        frames = (frame for number, frame in enumerate(_page_frames(image)) if number == page_index)
        frame = next(frames, None)
        if frame is None:
            raise PageError("damaged", f"the document has no page {page_index + 1}", failed=True)
        height_px, width_px = _upright_size(frame)
        if height_px * width_px > limits.max_page_pixels:
            raise PageError("too_large", f"{height_px} x {width_px} pixels exceed limits.max_page_pixels")
        _refuse_deep_pixels(data, frame)
        dpi = plausible_dpi(_dpi_tag(frame), height_px, width_px)
        icc = frame.info.get("icc_profile") or None
        frame.load()
        is_bitonal = frame.mode == "1"
        pixels = _to_pixels(ImageOps.exif_transpose(frame))
        return Page(pixels, is_bitonal, dpi, icc, _exif_block(frame))


def to_srgb(page: Page) -> Page:
    """Return the page with its colours converted from its own profile to sRGB, and without a profile.

    A page without a profile, or with one that cannot be used, is returned as it is.
    """
    if page.icc is None:
        return page
    image = Image.fromarray(page.pixels)
    try:
        own = ImageCms.ImageCmsProfile(io.BytesIO(page.icc))
        converted = ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return page
    if converted is None:
        return page
    return replace(page, pixels=_grey_if_grey(np.array(converted)), icc=None)


def plausible_dpi(tagged: float | None, height_px: int, width_px: int) -> float | None:
    """Return the tag when a page of this size can have it, else None.

    >>> plausible_dpi(300.0, 3508, 2480), plausible_dpi(72.0, 3508, 2480), plausible_dpi(None, 10, 10)
    (300.0, None, None)
    """
    if tagged is None or not _PLAUSIBLE_DPI[0] <= tagged <= _PLAUSIBLE_DPI[1]:
        return None
    if tagged < _SCREEN_DPI and max(height_px, width_px) / tagged > _LARGEST_SCREEN_DPI_PAGE_INCH:
        return None
    return tagged


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open with Pillow; whatever a decoder throws at damaged bytes comes out as one PageError."""
    if not data:
        raise PageError("empty", "the file has no bytes", failed=True)
    if b"%PDF-" in data[:1024]:
        raise PageError("unsupported_format", "PDF is not compressed yet; the document is kept whole")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                yield image
    except PageError:
        raise
    except UnidentifiedImageError as error:
        readable = "JPEG, PNG, TIFF, WebP, JPEG 2000, AVIF or BMP"
        raise PageError("unreadable", f"the bytes are no {readable} that can be opened", failed=True) from error
    except MemoryError as error:
        raise PageError("too_large", "the page does not fit into this machine's memory") from error
    except Exception as error:  # decoders raise nearly anything: struct.error, KeyError, SyntaxError, OSError …
        raise PageError("damaged", f"cannot be decoded: {type(error).__name__}: {error}", failed=True) from error


def _page_frames(image: Image.Image) -> Iterator[Image.Image]:
    """Yield each frame that is a page; the reduced copies of a pyramid TIFF are not."""
    if image.format != "TIFF":
        yield image
        return
    for number, frame in enumerate(ImageSequence.Iterator(image)):
        tags = getattr(frame, "tag_v2", {})
        if number and int(tags.get(254, 0)) & _REDUCED_IMAGE:
            continue
        yield frame


def _upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height_px, width_px) after the EXIF orientation; 5 to 8 turn the page on its side."""
    width_px, height_px = image.size
    return (width_px, height_px) if image.getexif().get(0x0112, 1) in (5, 6, 7, 8) else (height_px, width_px)


def _dpi_tag(image: Image.Image) -> float | None:
    """Return the file's resolution in dots per inch, the smaller of the two axes."""
    dpi = image.info.get("dpi")
    if not dpi and "resolution" in image.info and getattr(image, "tag_v2", {}).get(296) == 1:
        return None  # TIFF ResolutionUnit 1: an aspect ratio, no length
    try:
        axes = [float(axis) for axis in dpi or _exif_dpi(image)]
    except Exception:  # a broken tag is no tag
        return None
    return min(axes) if axes and min(axes) > 0 else None


def _exif_dpi(image: Image.Image) -> list[float]:
    """Return both axes' dots per inch from the EXIF, the only place that AVIF and WebP have for them; else nothing."""
    exif = image.getexif()
    if 0x011A not in exif or 0x011B not in exif:
        return []
    per_inch = 2.54 if exif.get(0x0128) == 3 else 1.0  # unit 3: centimetres (EXIF 2.32, 4.6.4)
    return [float(exif[tag]) * per_inch for tag in (0x011A, 0x011B)]


def _exif_block(image: Image.Image) -> bytes | None:
    """Return the EXIF without the orientation, which has been applied; None where there is none that can be read."""
    if image.format == "TIFF":
        return None  # TIFF's own tags: geometry and codec of the source, no camera data
    try:
        exif = image.getexif()
        exif.pop(0x0112, None)
        return exif.tobytes() if len(exif) else None
    except Exception:  # a broken EXIF block does not make the pixels unreadable
        return None


def _refuse_deep_pixels(data: bytes, image: Image.Image) -> None:
    """Raise when samples hold more than 8 bits, which Pillow would cut off without a word."""
    bits = 8
    if image.format == "TIFF":
        bits = max(_numbers(getattr(image, "tag_v2", {}).get(TiffImagePlugin.BITSPERSAMPLE, 8)))
    elif image.format == "PNG" and len(data) > 24:
        bits = data[24]
    elif image.format == "JPEG2000":
        at = data.find(b"\xff\x51")  # SIZ marker; Ssiz of the first component stands 40 bytes on (ISO 15444-1, A.5.1)
        bits = (data[at + 40] & 0x7F) + 1 if 0 <= at < len(data) - 40 else 8
    elif image.format == "AVIF":
        at = data.find(b"pixi")  # box: version and flags (4), channels (1), bits of each (ISO 23008-12, 6.5.6)
        bits = data[at + 9] if 0 <= at < len(data) - 9 else 8
    if bits > 8:
        raise PageError("high_bit_depth", f"{bits} bits a sample; only pages of up to 8 bits are compressed")


def _numbers(value: object) -> list[int]:
    return [int(number) for number in value] if isinstance(value, tuple) else [int(str(value))]


def _to_pixels(image: Image.Image) -> np.ndarray:
    """Return uint8 (H, W) or (H, W, 3); raise where the mode cannot be shown so without loss."""
    if image.mode in ("1", "L") and "transparency" not in image.info:
        return np.array(image.convert("L"))
    if image.mode in ("La", "RGBa"):  # colours multiplied by their alpha
        image = image.convert(image.mode.upper())
    if image.mode in ("P", "PA", "LA", "RGBA") or "transparency" in image.info:
        rgba = np.array(image.convert("RGBA"))
        if (rgba[..., 3] != 255).any():
            raise PageError("transparency", "the page is partly transparent and is kept whole")
        return _grey_if_grey(rgba[..., :3])
    if image.mode == "RGB":
        return _grey_if_grey(np.array(image))
    raise PageError("unsupported_mode", f"pixels of mode {image.mode} are kept whole; grey, palette and RGB are read")


def _grey_if_grey(rgb: np.ndarray) -> np.ndarray:
    """Return (H, W) when the three channels are equal everywhere."""
    red = rgb[..., 0]
    if np.array_equal(red, rgb[..., 1]) and np.array_equal(red, rgb[..., 2]):
        return np.ascontiguousarray(red)
    return np.ascontiguousarray(rgb)
