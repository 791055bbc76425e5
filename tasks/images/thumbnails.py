"""Make thumbnails of pages."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.documents import read_page
from foliopress.tasks.images.image_reader import to_srgb

_QUALITY = 82


def thumbnail(data: bytes, page_index: int, limits: LimitSettings, side_px: int = 360) -> bytes:
    """Return a page as a small JPEG in sRGB.

    Args:
        data: Its document, or its output.
        page_index: 0-based.
        limits: Limits for pages.
        side_px: Longest side at most.

    Raises:
        PageError: If the page cannot be decoded.
    """
    pixels = to_srgb(read_page(data, page_index, limits)).pixels
    height_px, width_px = pixels.shape[:2]
    scale = min(1.0, side_px / max(height_px, width_px))
    size = max(1, round(width_px * scale)), max(1, round(height_px * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    plane = np.ascontiguousarray(small[..., ::-1]) if small.ndim == 3 else small
    done, coded = cv2.imencode(".jpg", plane, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    assert done, "a uint8 image can always be encoded"
    return coded.tobytes()
