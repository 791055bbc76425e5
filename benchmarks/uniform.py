"""Encode every page at one quality of one codec with Pillow, as the naive baseline."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from benchmarks.arms import ArmResult, decode
from benchmarks.marked import MarkedPage

CODECS = ("avif", "webp", "jpeg")
SWEEP = (2, 8, 15, 25, 35, 45, 55, 65, 75, 85, 93, 98)
"""Qualities of the sweep: dense enough to interpolate between them."""
READ = (8, 15, 25, 45, 65, 85)
"""Qualities at which words are counted too; OCR takes most of the time."""

_OPTIONS: dict[str, dict[str, object]] = {
    "avif": {"speed": 9},
    "webp": {"method": 4},
    "jpeg": {"optimize": True, "progressive": True},
}


@dataclass(frozen=True)
class UniformArm:
    """One quality of one codec for every page."""

    codec: str
    quality: int
    reads_words: bool
    digest: str | None = None

    @property
    def name(self) -> str:
        """Codec and quality."""
        return f"{self.family} {self.quality}"

    @property
    def family(self) -> str:
        """The codec."""
        return family_of(self.codec)

    def make(self, page: MarkedPage) -> ArmResult:
        """Encode the page; only encoding is timed."""
        start = time.process_time()
        data = encode_uniform(page.pixels, self.codec, self.quality)
        seconds = time.process_time() - start
        return ArmResult(decode(data, page), len(data), seconds, {"codec": self.codec, "quality": self.quality})


def uniform_arms(codecs: Sequence[str], reads_words: bool) -> list[UniformArm]:
    """Return the arms of a sweep of each codec."""
    return [UniformArm(codec, quality, reads_words and quality in READ) for codec in codecs for quality in SWEEP]


def family_of(codec: str) -> str:
    """Return the name of a codec's uniform arms.

    >>> family_of("avif")
    'uniform AVIF'
    """
    return f"uniform {'WebP' if codec == 'webp' else codec.upper()}"


def encode_uniform(pixels: np.ndarray, codec: str, quality: int) -> bytes:
    """Encode a page at one quality.

    Args:
        pixels: uint8, (height, width) or (height, width, 3) RGB; a grey page is encoded without chroma.
        codec: One of `CODECS`.
        quality: Pillow's scale.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, codec.upper(), quality=quality, **_OPTIONS[codec])
    return buffer.getvalue()


def encode_to_bytes(pixels: np.ndarray, codec: str, size_bytes: int) -> tuple[bytes, int]:
    """Return a page at the lowest quality of at least `size_bytes`, and that quality; else at the highest."""
    lowest, highest = 1, 100
    data = {highest: encode_uniform(pixels, codec, highest)}
    while lowest < highest:
        quality = (lowest + highest) // 2
        data[quality] = encode_uniform(pixels, codec, quality)
        if len(data[quality]) >= size_bytes:
            highest = quality
        else:
            lowest = quality + 1
    return data[highest], highest
