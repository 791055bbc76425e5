"""Encode a page for the browser: a small preview, and full-resolution tiles for zooming."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from foliopress.tasks.images.image_reader import Page, to_srgb

PREVIEW_PX = 1600
"""Longest side of the preview."""
TILE_PX = 1024

_QUALITY = 95  # with full chroma: high enough that every visible artefact is the page's own
_AS_JPEG = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
_AS_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True, eq=False)
class Picture:
    """A page for the browser, in sRGB.

    tiles: Row by row, each of `TILE_PX`, smaller at the right and lower edges; empty if the preview has full
    resolution. mimetype: Type of the preview and the tiles.
    """

    height_px: int
    width_px: int
    preview: bytes = field(repr=False)
    tiles: tuple[bytes, ...] = field(repr=False)
    mimetype: str

    @property
    def n_cols(self) -> int:
        """Number of tiles per row."""
        return -(-self.width_px // TILE_PX)


def picture_of(page: Page, *, is_preview: bool = False) -> Picture:
    """Return a page as JPEG, or as PNG if it is bitonal; a preview has no tiles."""
    pixels = to_srgb(page).pixels
    height_px, width_px = pixels.shape[:2]
    scale = min(1.0, PREVIEW_PX / max(height_px, width_px))
    is_two_tone = page.is_bitonal
    small = pixels
    if scale < 1.0:
        size = max(1, round(width_px * scale)), max(1, round(height_px * scale))
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    rows, cols = range(0, height_px, TILE_PX), range(0, width_px, TILE_PX)
    corners = [] if is_preview or scale == 1.0 else [(row, col) for row in rows for col in cols]
    tiles = [_encoded(pixels[row : row + TILE_PX, col : col + TILE_PX], as_png=is_two_tone) for row, col in corners]
    return Picture(
        height_px,
        width_px,
        _encoded(small, as_png=is_two_tone),
        tuple(tiles),
        "image/png" if is_two_tone else "image/jpeg",
    )


def _encoded(pixels: np.ndarray, *, as_png: bool) -> bytes:
    plane = np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(".png" if as_png else ".jpg", plane, _AS_PNG if as_png else _AS_JPEG)
    assert done, "a uint8 image can always be encoded"
    return data.tobytes()
