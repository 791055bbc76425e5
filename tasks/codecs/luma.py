"""Convert pixels to luma."""

from __future__ import annotations

import cv2
import numpy as np


def luma_of(pixels: np.ndarray) -> np.ndarray:
    """Return (height, width) uint8 luma (ITU-R BT.601, as OpenCV computes it); a grey page is returned as it is."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
