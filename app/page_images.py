"""Pictures: a page as a browser can show it, small at once, and in tiles of its full resolution for a closer look."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from foliopress.tasks.images.image_reader import Page, to_srgb

PREVIEW_PX = 1600
"""Longest side of the picture that is shown at first."""
TILE_PX = 1024

_QUALITY = 95  # with full chroma: far above what is looked for, so that no artefact is the picture's own
_AS_JPEG = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
_AS_PNG = [cv2.IMWRITE_PNG_COMPRESSION, 1]


@dataclass(frozen=True, eq=False)
class Picture:
    """A page for the browser, in sRGB.

    tiles: Row by row, each of `TILE_PX`, smaller at the right and lower edges; none where the preview is all there is.
    mimetype: Of the preview and the tiles.
    """

    height_px: int
    width_px: int
    preview: bytes = field(repr=False)
    tiles: tuple[bytes, ...] = field(repr=False)
    mimetype: str

    @property
    def n_cols(self) -> int:
        """Tiles in a row."""
        return -(-self.width_px // TILE_PX)


def picture_of(page: Page, *, is_preview: bool = False) -> Picture:
    """Return a page as a picture: JPEG, or PNG where a pixel is black or white; without tiles if it is a preview."""
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
    tiles = [_coded(pixels[row : row + TILE_PX, col : col + TILE_PX], as_png=is_two_tone) for row, col in corners]
    return Picture(
        height_px,
        width_px,
        _coded(small, as_png=is_two_tone),
        tuple(tiles),
        "image/png" if is_two_tone else "image/jpeg",
    )


def _coded(pixels: np.ndarray, *, as_png: bool) -> bytes:
    plane = np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels
    done, data = cv2.imencode(".png" if as_png else ".jpg", plane, _AS_PNG if as_png else _AS_JPEG)
    assert done, "a uint8 picture can always be coded"
    return data.tobytes()
