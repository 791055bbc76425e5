"""Encode: a page's pixels become bytes in a standard format, with its dpi, profile and EXIF."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image

from configs.settings import EncodeSettings

Codec = Literal["avif", "webp", "jpeg", "g4"]

EXTENSIONS: dict[str, str] = {"avif": "avif", "webp": "webp", "jpeg": "jpg", "g4": "tif"}

LARGEST_SIDE_PX: dict[str, int] = {"avif": 65_535, "webp": 16_383, "jpeg": 65_500, "g4": 1_000_000}
"""Longest side that the format holds (libavif, RFC 9649, libjpeg, libtiff)."""

# libaom would give smooth blocks a finer quantiser than busy ones: on a page that is bytes for paper, not for strokes.
_AVIF_OPTIONS = {"deltaq-mode": "0"}

_X_RESOLUTION, _Y_RESOLUTION, _RESOLUTION_UNIT, _ORIENTATION = 0x011A, 0x011B, 0x0128, 0x0112


@dataclass(frozen=True)
class Carried:
    """What an encoded page carries beside its pixels."""

    dpi: float | None = None
    icc: bytes | None = None
    exif: bytes | None = None


def encode(pixels: np.ndarray, codec: Codec, quality: int, carried: Carried, settings: EncodeSettings) -> bytes:
    """Return one encoded page. Encoders run on one thread, so that the same page gives the same bytes.

    Args:
        pixels: uint8 (height, width) grey or (height, width, 3) RGB; bool (height, width), True is white, for `g4`.
        codec: Format; `g4` is a CCITT Group 4 TIFF.
        quality: Pillow's quality, 1 to 100; not used by `g4`.
        carried: Resolution, colour profile and EXIF to go with it.
        settings: The encoder's speed.

    Raises:
        ValueError: If the page is longer than the format allows, or a `g4` page is not bool.
    """
    if max(pixels.shape[:2]) > LARGEST_SIDE_PX[codec]:
        raise ValueError(f"{codec} holds at most {LARGEST_SIDE_PX[codec]} pixels a side, the page has {pixels.shape}")
    if (pixels.dtype == np.bool_) != (codec == "g4"):
        raise ValueError(f"{codec} does not hold pixels of {pixels.dtype}")
    image = Image.fromarray(pixels)
    buffer = io.BytesIO()
    resolution = {"dpi": (carried.dpi, carried.dpi)} if carried.dpi else {}
    profile = {"icc_profile": carried.icc} if carried.icc else {}
    if codec == "g4":
        # WhiteIsZero (TIFF tag 262 = 0): fax coding spends least on white paper.
        image.save(buffer, "TIFF", compression="group4", tiffinfo={262: 0}, **resolution)
        return buffer.getvalue()
    exif = _exif(carried)
    options: dict[str, object] = {"quality": quality, **profile, **({"exif": exif} if exif else {})}
    if codec == "avif":
        subsampling = "4:0:0" if pixels.ndim == 2 else "4:2:0"
        options |= {"speed": settings.speed, "subsampling": subsampling, "max_threads": 1, "autotiling": False}
        image.save(buffer, "AVIF", advanced=_AVIF_OPTIONS, **options)
    elif codec == "webp":
        image.save(buffer, "WEBP", method=4, **options)
    else:
        image.save(buffer, "JPEG", optimize=True, progressive=True, **resolution, **options)
    return buffer.getvalue()


def _exif(carried: Carried) -> bytes | None:
    """Return the source's EXIF with the resolution written in, which AVIF and WebP have no other place for."""
    exif = Image.Exif()
    if carried.exif:
        exif.load(carried.exif)
        exif.pop(_ORIENTATION, None)
    if carried.dpi:
        exif[_X_RESOLUTION] = exif[_Y_RESOLUTION] = round(carried.dpi, 2)
        exif[_RESOLUTION_UNIT] = 2  # inch (EXIF 2.32, 4.6.4)
    return exif.tobytes() if len(exif) else None
