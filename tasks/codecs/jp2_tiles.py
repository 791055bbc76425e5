"""Encode large pages as JPEG 2000 in strips: tiles as wide as the page, encoded separately, joined in one codestream.

OpenJPEG takes 16 bytes for each sample that it encodes at once. Its own tiling was tried: all tiles get the same
signal-to-noise ratio, so that a sparse strip has as much error as a full one, and its strokes are worse than in a page
encoded as a whole. So a sample of the page is encoded first, to measure how much less error each strip has.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from foliopress.tasks.images.isobmff import box, boxes

_BAND_PX, _FEWEST_BANDS = 32, 4
"""The sample is every fourth band of so many rows, or fewer bands with more strips. On four pages of 11 to 26
megapixels strips took 1.002 to 1.03 times the bytes of the whole page; measured on a page of half size, 1.005 to 1.035;
with equal ratios, up to 1.125."""
_MOST_DECIBELS = 20.0
"""Largest gain of a strip; without a limit an empty strip's would be infinite."""
_SOT, _EOC = b"\xff\x90", b"\xff\xd9"


class Coder(Protocol):
    """Writes a JP2 of (h, w) or (h, w, 3) pixels at a signal-to-noise ratio, with Pillow's options."""

    def __call__(self, pixels: np.ndarray, decibels: float, **options: tuple[int, int]) -> bytes:
        """Return the file."""


def coded(pixels: np.ndarray, decibels: float, n_strips: int, code: Coder) -> bytes:
    """Return a JP2 file in strips.

    Args:
        pixels: (h, w) or (h, w, 3) uint8.
        decibels: Mean peak signal-to-noise ratio of the page.
        n_strips: Most strips; at most one strip or a quarter of the page is encoded at once.
        code: Writes a strip.
    """
    height_px, width_px = pixels.shape[:2]
    strip_px = math.ceil(height_px / n_strips)
    more = _more_decibels(pixels, decibels, strip_px, code)
    return joined(
        [
            code(
                pixels[top : top + strip_px],
                decibels + gain,
                offset=(0, top),
                tile_offset=(0, top),
                tile_size=(width_px, strip_px),
            )
            for top, gain in zip(range(0, height_px, strip_px), more, strict=True)
        ]
    )


def _more_decibels(pixels: np.ndarray, decibels: float, strip_px: int, code: Coder) -> list[float]:
    """Return the decibels by which each strip exceeds the mean when all are encoded at once."""
    rows = np.arange(len(pixels))
    n_strips = int(rows[-1] // strip_px) + 1
    every = max(_FEWEST_BANDS, n_strips)
    chosen = rows[rows // _BAND_PX % every == 0]
    sample = pixels[chosen]
    with Image.open(io.BytesIO(code(sample, decibels))) as image:
        decoded = np.asarray(image)
    errors = np.array(
        [np.square(row.astype(np.float32) - as_was).mean() for row, as_was in zip(decoded, sample, strict=True)]
    )
    strips = [errors[chosen // strip_px == number] for number in range(n_strips)]
    least = errors.mean() / 10 ** (_MOST_DECIBELS / 10)
    return [
        10 * math.log10(errors.mean() / max(strip.mean(), least)) if len(strip) and least > 0 else 0.0
        for strip in strips
    ]


def joined(strips: Sequence[bytes]) -> bytes:
    """Return one JP2 file of strips, each one tile at its position on the page (ISO 15444-1, A.4.2, A.5.1, B.3).

    Args:
        strips: JP2 files from top to bottom, equal in all but their rows.
    """
    streams = [data[start:end] for data in strips for kind, start, end in boxes(data) if kind == b"jp2c"]
    bottom = streams[-1][12:16]  # Ysiz: bottom of the page
    stream = streams[0][:12] + bottom + streams[0][16 : _first_tile(streams[0])]
    for number, one in enumerate(streams):
        stream += _tile(one[_first_tile(one) : -len(_EOC)], number)
    out, first = b"", strips[0]
    for kind, start, end in boxes(first):
        content = first[start:end]
        if kind == b"jp2h":
            parts = [(inner, first[from_:to]) for inner, from_, to in boxes(first, start, end)]
            content = b"".join(box(inner, bottom + part[4:] if inner == b"ihdr" else part) for inner, part in parts)
        elif kind == b"jp2c":
            content = stream + _EOC
        out += box(kind, content)
    return out


def _first_tile(stream: bytes) -> int:
    at = 2
    while stream[at : at + 2] != _SOT:
        at += 2 + int.from_bytes(stream[at + 2 : at + 4])
    return at


def _tile(parts: bytes, number: int) -> bytes:
    """Return a tile's parts with another number: Isot, the two bytes after a part's marker and length."""
    out, at = b"", 0
    while at < len(parts):
        length = int.from_bytes(parts[at + 6 : at + 10]) or len(parts) - at  # Psot; 0 means the rest
        out += parts[at : at + 4] + number.to_bytes(2) + parts[at + 6 : at + length]
        at += length
    return out
