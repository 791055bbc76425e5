"""Encode a page's pixels in a standard format, with its source's metadata."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import cv2
import numpy as np
from PIL import Image

from foliopress.configs.settings import EncodeSettings
from foliopress.tasks.codecs import icc_profiles, jp2_tiles, jpeg_entropy, jpeg_quantise, jxl
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.images import isobmff, tiff_ifd
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.images.metadata import signed

Codec = Literal["avif", "webp", "jpeg", "jp2", "jxl", "tiff", "g4", "mrc"]
"""`tiff` is JPEG in a TIFF, `g4` is CCITT Group 4 in a TIFF, `mrc` is a page in layers (`tasks.pdf.mrc_page`)."""

# libaom's defaults for stills are tuned to photographs. They quantise smooth blocks more finely than busy ones, which
# on a page spends bytes on paper, not on strokes; relax rate-distortion decisions to preserve texture; and quantise
# the fine detail of a stroke more coarsely than its bulk. At equal SSIM of strokes each costs bytes: 16, 2 and 1 %.
_AVIF_OPTIONS = {"deltaq-mode": "0", "sharpness": "0", "enable-qm": "1", "qm-min": "8", "qm-max": "15"}

_BUSY_BLOCK_PX, _BUSY_VARIANCE = 16, 60.0  # a block with strokes, not with paper grain alone
_USUALLY_BUSY, _LEAST_BUSY = 0.4, 0.05  # shares of a page's blocks; a page with almost none has nothing to lose

_MOST_JP2_SAMPLES = 30_000_000
"""Samples that OpenJPEG encodes at once, at 16 bytes a sample; larger pages are encoded in strips."""

_TIFF_STRIP_PIXELS = 4_000_000
"""TIFF 6.0 asks for strips that a reader can buffer; these cost less than 1 % of the bytes."""

LARGEST_JPEG_XMP_BYTES = 65_502
"""Capacity of one segment after its name (XMP specification, part 3, 1.1.3); longer packets are left out of JPEG."""


@dataclass(frozen=True)
class CarriedMetadata:
    """Metadata of an encoded page.

    `dpi` is that of the coarser axis; `pixel_aspect` is horizontal by vertical dots per inch.
    """

    dpi: float | None = None
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    pixel_aspect: float = 1.0

    @property
    def dpi_axes(self) -> tuple[float, float] | None:
        """Vertical and horizontal dots per inch."""
        if self.dpi is None:
            return None
        return self.dpi / min(1.0, self.pixel_aspect), self.dpi * max(1.0, self.pixel_aspect)


def carried_metadata(page: Page) -> CarriedMetadata:
    """Return the metadata of a page's output."""
    return CarriedMetadata(page.dpi, page.icc, page.exif, page.xmp, page.pixel_aspect)


@dataclass(frozen=True)
class _Job:
    """One page to encode; `exif` is a TIFF block without a prefix, and is never empty."""

    pixels: np.ndarray
    quality: int
    carried: CarriedMetadata
    exif: bytes
    settings: EncodeSettings


@dataclass(frozen=True)
class CodecTraits:
    """Capabilities of a format, and the function that writes it."""

    extension: str
    largest_side_px: int
    """Longest side that the format allows."""
    profile_spaces: frozenset[str]
    """Colour spaces whose profiles the format can hold; a format without `GRAY` has no grey pages at all."""
    takes_tables: bool
    """Whether a profile may have tables in addition to a matrix and curves."""
    write: Callable[[_Job], bytes]

    def can_carry(self, icc: bytes) -> bool:
        """Return whether the format can hold a profile."""
        return icc_profiles.space_of(icc) in self.profile_spaces and (
            self.takes_tables or not icc_profiles.is_table(icc)
        )


def encode(pixels: np.ndarray, codec: Codec, quality: int, carried: CarriedMetadata, settings: EncodeSettings) -> bytes:
    """Return one encoded page with our mark. Encoders run on one thread: the same page gives the same bytes.

    A grey page with an RGB profile is written as RGB, since it is grey in that space.

    Args:
        pixels: uint8 (height, width) grey or (height, width, 3) RGB; bool (height, width), True is white, for `g4`.
        codec: Format; `g4` is a CCITT Group 4 TIFF.
        quality: 1 to 100; not used by `g4`.
        carried: Resolution, colour profile, EXIF and XMP.
        settings: The encoder's speed.

    Raises:
        ValueError: If the page is longer than the format allows, a `g4` page is not bool, or the format cannot hold the
            profile (call `image_reader.with_profile_for` first).
        ConfigError: If the codec's library is not installed.
    """
    traits = CODECS[codec]
    if max(pixels.shape[:2]) > traits.largest_side_px:
        raise ValueError(f"{codec} allows at most {traits.largest_side_px} pixels a side, the page has {pixels.shape}")
    if (pixels.dtype == np.bool_) != (codec == "g4"):
        raise ValueError(f"{codec} cannot hold pixels of {pixels.dtype}")
    if carried.icc and codec != "g4":  # black and white are the same in every profile
        if not traits.can_carry(carried.icc):
            raise ValueError(f"{codec} cannot hold this colour profile")
        if pixels.ndim == 2 and icc_profiles.space_of(carried.icc) == "RGB":
            pixels = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    exif = tiff_ifd.block(signed(carried.exif, carried.dpi_axes, (pixels.shape[0], pixels.shape[1])))
    return traits.write(_Job(pixels, quality, carried, exif, settings))


def require(codec: Codec) -> None:
    """Raise ConfigError if a codec's library is not installed."""
    if codec == "jxl":
        jxl.library()


def _saved(job: _Job, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(job.pixels).save(buffer, form, **options)
    return buffer.getvalue()


def _common(job: _Job) -> dict[str, Any]:
    """Return Pillow's options for quality and metadata, as AVIF, WebP and JPEG take them."""
    options: dict[str, Any] = {"quality": job.quality, "exif": b"Exif\0\0" + job.exif}
    if job.carried.icc:
        options["icc_profile"] = job.carried.icc
    if job.carried.xmp:
        options["xmp"] = job.carried.xmp
    return options


def _as_avif(job: _Job) -> bytes:
    return _saved(
        job,
        "AVIF",
        speed=job.settings.speed,
        subsampling="4:0:0" if job.pixels.ndim == 2 else job.settings.avif_chroma,
        max_threads=1,
        autotiling=False,
        advanced=_AVIF_OPTIONS,
        **_common(job),
    )


def _as_webp(job: _Job) -> bytes:
    return _saved(job, "WEBP", method=4, **_common(job))


def _as_jpeg(job: _Job) -> bytes:
    options = _common(job)
    if len(options.get("xmp", b"")) > LARGEST_JPEG_XMP_BYTES:
        del options["xmp"]
    if job.carried.dpi_axes:
        down, across = job.carried.dpi_axes
        options["dpi"] = across, down
    del options["quality"]
    return jpeg_quantise.encode_jpeg(job.pixels, job.quality, options)


def _as_jp2(job: _Job) -> bytes:
    """Encode to a target peak signal-to-noise ratio, which OpenJPEG takes as a mean over the whole page."""
    n_strips = math.ceil(job.pixels.size / _MOST_JP2_SAMPLES)
    smallest_px = 32  # side of the coarsest resolution level: with fewer OpenJPEG misjudges the error of the colours
    halvings = (min(job.pixels.shape[0] // n_strips, job.pixels.shape[1]) // smallest_px).bit_length()

    def code(pixels: np.ndarray, decibels: float, **place: tuple[int, int]) -> bytes:
        return _saved(
            replace(job, pixels=pixels),
            "JPEG2000",
            quality_mode="dB",
            quality_layers=[decibels],
            irreversible=True,
            mct=int(pixels.ndim == 3),
            num_resolutions=min(6, max(1, halvings)),
            **place,
        )

    decibels = jp2_decibels(job.quality) + _decibels_for_bare_paper(job.pixels)
    is_large = n_strips > 1
    data = jp2_tiles.coded(job.pixels, decibels, n_strips, code) if is_large else code(job.pixels, decibels)
    return isobmff.jp2_with_metadata(data, job.carried.dpi_axes, job.carried.icc, job.exif, job.carried.xmp)


def jp2_decibels(quality: int) -> float:
    """Return the peak signal-to-noise ratio (dB) for a quality of 1 to 100.

    Fitted so that a quality means about the same as for AVIF: on 7 crops of 1 megapixel (print, typing, handwriting,
    a receipt), strokes reached the SSIM of AVIF at qualities 10, 30, 53, 70, 85, 95 with 28, 31, 35, 40, 43, 47 dB.

    >>> [round(jp2_decibels(quality)) for quality in (10, 30, 53, 70, 85, 95)]
    [28, 31, 35, 39, 43, 46]
    """
    return 27.0 + 0.1 * quality + 0.0011 * quality**2


def _decibels_for_bare_paper(pixels: np.ndarray) -> float:
    """Return the increase (dB) of a page's mean ratio that makes up for paper having less error than strokes.

    0 if two fifths of the page are busy, as on the crops that `jp2_decibels` is fitted to. If paper had no error at
    all, the increase would be 10 dB for a tenth of the strokes; 7 dB give strokes the SSIM of their sample (8 scans).
    """
    luma = luma_of(pixels).astype(np.float32)
    size = max(1, luma.shape[1] // _BUSY_BLOCK_PX), max(1, luma.shape[0] // _BUSY_BLOCK_PX)
    mean, mean_square = (cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in (luma, luma * luma))
    busy = float((mean_square - mean * mean > _BUSY_VARIANCE).mean())
    return 7 * math.log10(_USUALLY_BUSY / max(busy, _LEAST_BUSY))


def _as_tiff(job: _Job) -> bytes:
    """Write JPEGs as the strips of a TIFF (TIFF Technical Note 2); the directory is ours, as for `_as_g4`.

    tifffile 2026.3.3 was tried: it writes the same strips with as many bytes, but leaves out the tag that points to the
    EXIF directory ("not writing extratag 34665").
    """
    height_px, width_px = job.pixels.shape[:2]
    rows = max(16, _TIFF_STRIP_PIXELS // width_px // 16 * 16)
    pieces = [job.pixels[top : top + rows] for top in range(0, height_px, rows)]
    strips = [jpeg_quantise.encode_jpeg(piece, job.quality, process="baseline") for piece in pieces]
    page = tiff_ifd.read(job.exif, None, lambda _: True, 2 * len(job.exif))
    is_grey = job.pixels.ndim == 2
    starts = [8 + sum(map(len, strips[:number])) for number in range(len(strips))]
    lists = {273: starts, 279: [len(strip) for strip in strips]}
    numbers = {256: [width_px], 257: [height_px], 278: [rows], **lists}
    page.tags.update({tag: page.of(tiff_ifd.LONG, *values) for tag, values in numbers.items()})
    small = {258: [8] * (1 if is_grey else 3), 259: [7], 262: [1 if is_grey else 6], 277: [1 if is_grey else 3]}
    page.tags.update({tag: page.of(tiff_ifd.SHORT, *values) for tag, values in small.items()})
    if not is_grey:
        page.tags[530] = page.of(tiff_ifd.SHORT, 2, 2)  # chroma at half size in both directions
        page.tags[532] = page.of(tiff_ifd.RATIONAL, 0, 1, 255, 1, 128, 1, 255, 1, 128, 1, 255, 1)
    if job.carried.icc:
        page.tags[34675] = tiff_ifd.Tag(tiff_ifd.UNDEFINED, job.carried.icc)
    if job.carried.xmp:
        page.tags[700] = tiff_ifd.Tag(tiff_ifd.BYTE, job.carried.xmp)
    return tiff_ifd.block(page, before=b"".join(strips))


def _as_jxl(job: _Job) -> bytes:
    return isobmff.jxl_container(jxl.encoded(job.pixels, job.quality), job.exif, job.carried.xmp)


def _as_g4(job: _Job) -> bytes:
    """Write one bit per pixel as a TIFF of one strip, with the EXIF's tags as its own.

    libtiff encodes the strip; the directory is ours, since Pillow's accepts neither all tags nor their exact bytes, and
    tifffile leaves out the EXIF directory.
    Fax coding spends fewest bits on white, which is 0 there (TIFF tag 262): so the bits are inverted.
    """
    height_px, width_px = job.pixels.shape
    buffer = io.BytesIO()
    Image.fromarray(~job.pixels).save(buffer, "TIFF", compression="group4", strip_size=2**31 - 1)
    coded = buffer.getvalue()
    theirs = tiff_ifd.read(coded, None, lambda tag: tag in (273, 279), 1_000)
    start, size = theirs.number(273), theirs.number(279)
    assert start is not None and size is not None
    strip = coded[int(start) : int(start + size)]
    page = tiff_ifd.read(job.exif, None, lambda _: True, 2 * len(job.exif))
    numbers = {256: width_px, 257: height_px, 258: 1, 259: 4, 262: 0, 273: 8, 277: 1, 278: height_px, 279: len(strip)}
    page.tags.update(
        {tag: page.of(tiff_ifd.LONG if value > 65_535 else tiff_ifd.SHORT, value) for tag, value in numbers.items()}
    )
    if job.carried.xmp:
        page.tags[700] = tiff_ifd.Tag(tiff_ifd.BYTE, job.carried.xmp)
    return tiff_ifd.block(page, before=strip)


_ANY, _ONLY_RGB, _NONE = frozenset({"RGB", "GRAY"}), frozenset({"RGB"}), frozenset[str]()

CODECS: dict[str, CodecTraits] = {
    # sides: libavif; RFC 9649, 2.5; libjpeg; OpenJPEG and libtiff allow more than memory does; ISO 18181-1, level 5.
    # A JP2 may hold only profiles of matrix and curves (ISO 15444-1, I.5.3.3); imagecodecs takes none for JPEG XL.
    "avif": CodecTraits("avif", 65_535, _ANY, True, _as_avif),
    "webp": CodecTraits("webp", 16_383, _ONLY_RGB, True, _as_webp),
    "jpeg": CodecTraits("jpg", jpeg_entropy.LONGEST_SIDE_PX, _ANY, True, _as_jpeg),
    "jp2": CodecTraits("jp2", 1_000_000, _ANY, False, _as_jp2),
    "jxl": CodecTraits("jxl", 262_144, _NONE, False, _as_jxl),
    "tiff": CodecTraits("tif", jpeg_entropy.LONGEST_SIDE_PX, _ANY, True, _as_tiff),
    "g4": CodecTraits("tif", 1_000_000, _NONE, False, _as_g4),
}
"""Formats by their names in settings and rows."""

EXTENSIONS: dict[str, str] = {name: traits.extension for name, traits in CODECS.items()}
LARGEST_SIDE_PX: dict[str, int] = {name: traits.largest_side_px for name, traits in CODECS.items()}
