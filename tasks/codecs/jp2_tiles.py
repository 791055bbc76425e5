"""JPEG 2000 of large pages in strips: tiles as wide as the page, each coded by itself, put into one codestream.

OpenJPEG takes 16 bytes for each sample that it codes at once. It can cut a page into tiles by itself, but then all
get the same ratio of signal to noise, and a strip with little on it errs as much as a full one: strokes there are worse
than in a page that is coded whole. So a sample of the page is coded at first, and says how much less each strip errs.
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
"""The sample is every fourth band of so many rows, or fewer where strips are more. On four pages of 11 to 26 megapixels
strips took 1.002 to 1.03 times the bytes of the whole; by a page of half size 1.005 to 1.035; all alike, to 1.125."""
_MOST_DECIBELS = 20.0
"""A strip with nothing on it could be any number of them better."""
_SOT, _EOC = b"\xff\x90", b"\xff\xd9"


class Coder(Protocol):
    """Writes a JP2 of (h, w) or (h, w, 3) pixels at a ratio of signal to noise, with Pillow's options."""

    def __call__(self, pixels: np.ndarray, decibels: float, **options: tuple[int, int]) -> bytes:
        """Return the file."""


def coded(pixels: np.ndarray, decibels: float, n_strips: int, code: Coder) -> bytes:
    """Return a JP2 file in strips.

    Args:
        pixels: (h, w) or (h, w, 3) uint8.
        decibels: Peak signal-to-noise ratio, a mean over the page.
        n_strips: How many at most; no more pixels are coded at once than there are in one, or in a quarter of the page.
        code: What writes a strip.
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
    """Return by how much each strip is better than the mean where all are coded at once."""
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
    """Return one JP2 file of strips, each one tile, coded where it lies on the page (ISO 15444-1, A.4.2, A.5.1, B.3).

    Args:
        strips: JP2 files from the top downwards, alike in all but the rows.
    """
    streams = [data[start:end] for data in strips for kind, start, end in boxes(data) if kind == b"jp2c"]
    bottom = streams[-1][12:16]  # Ysiz: where the page ends
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
    """Return a tile's parts with another number: Isot, the two bytes behind a part's marker and length."""
    out, at = b"", 0
    while at < len(parts):
        length = int.from_bytes(parts[at + 6 : at + 10]) or len(parts) - at  # Psot; 0 is all that is left
        out += parts[at : at + 4] + number.to_bytes(2) + parts[at + 6 : at + length]
        at += length
    return out
