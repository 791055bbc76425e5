"""Encode and decode JPEG XL with imagecodecs.

imagecodecs takes and returns pixels only: `isobmff` adds EXIF and XMP, and `size_of` parses the header.
"""

from __future__ import annotations

import importlib
from types import ModuleType

import numpy as np

from foliopress.configs.errors import ConfigError
from foliopress.tasks.images.isobmff import container_metadata

START = b"\xff\x0a"
"""First bytes of a codestream (ISO 18181-1, D.1)."""

# At qualities 5 to 85 (5 crops of 1 megapixel of print, typing, a receipt) efforts 5 to 7 take 8 to 15 times as long
# and give worse strokes at equal bytes: at quality 53 SSIM 0.965 with 242 kB for 5, 0.973 with 247 kB for 3.
_EFFORT = 3
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_LARGE = (9, 13, 18, 30)


def library() -> ModuleType:
    """Return imagecodecs.

    Raises:
        ConfigError: If it is not installed.
    """
    try:
        return importlib.import_module("imagecodecs")
    except ImportError as error:
        message = "JPEG XL needs the library imagecodecs, which does not load: pip install imagecodecs, or use another"
        raise ConfigError(f"{message} encode.codec") from error


def encoded(pixels: np.ndarray, quality: int) -> bytes:
    """Return the codestream of a uint8 page, (height, width) or (height, width, 3), in sRGB.

    Args:
        pixels: The page.
        quality: 1 to 100.
    """
    data = library().jpegxl_encode(
        pixels, effort=_EFFORT, distance=distance(quality), lossless=False, usecontainer=False, numthreads=1
    )
    return bytes(data)


def decoded(data: bytes) -> np.ndarray:
    """Return the pixels of a JPEG XL file, (height, width) or (height, width, 3) uint8, upright."""
    return np.asarray(library().jpegxl_decode(data, numthreads=1))


def distance(quality: int) -> float:
    """Return libjxl's distance for a quality, as computed by JxlEncoderDistanceFromQuality; never lossless.

    >>> [round(distance(quality), 2) for quality in (100, 90, 30, 1)]
    [0.1, 1.0, 6.4, 23.87]
    """
    if quality >= 30:
        return 0.1 + (100 - quality) * 0.09
    return 53 / 3000 * quality**2 - 23 / 20 * quality + 25


def size_of(data: bytes) -> tuple[int, int]:
    """Return (height_px, width_px) from the codestream's header (ISO 18181-1, D.2), without decoding.

    Raises:
        ValueError: If there is no codestream.
    """
    at = 0 if data[:2] == START else container_metadata(data).codestream_at
    if at is None or data[at : at + 2] != START:
        raise ValueError("no JPEG XL codestream")
    bits = int.from_bytes(data[at + 2 : at + 14], "little")

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    is_small = take(1)
    height_px = (take(5) + 1) * 8 if is_small else take(_LARGE[take(2)]) + 1
    ratio = take(3)
    if ratio:
        across, down = _RATIOS[ratio - 1]
        return height_px, height_px * across // down
    return height_px, (take(5) + 1) * 8 if is_small else take(_LARGE[take(2)]) + 1
