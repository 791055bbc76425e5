"""Ink: where a page has strokes, by local contrast, dark on light and light on dark."""

from __future__ import annotations

import cv2
import numpy as np

WINDOW_INCH = 0.25
"""Side of the neighbourhood that a stroke must differ from: about one line of print with its spacing."""
LEAST_CONTRAST = 8.0
"""Grey levels from its surroundings below which nothing counts as ink."""


def luma_of(pixels: np.ndarray) -> np.ndarray:
    """Return (height, width) uint8 luma (ITU-R BT.601, as OpenCV computes it); a grey page is returned as it is."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels


def ink_mask(luma: np.ndarray, dpi: float, least_contrast: float = LEAST_CONTRAST) -> np.ndarray:
    """Return (height, width) bool, True on strokes.

    A pixel is ink when it differs from its neighbourhood's mean by more than 0.8 of that neighbourhood's
    standard deviation (a Niblack threshold, both ways) and by more than `least_contrast` grey levels.

    Args:
        luma: (height, width) uint8.
        dpi: Resolution of `luma`, for the neighbourhood's size.
        least_contrast: Grey levels; raise it to pass over paper grain.
    """
    window = int(np.clip(WINDOW_INCH * dpi, 9, 201)) | 1
    plane = luma.astype(np.float32)
    mean = cv2.blur(plane, (window, window))
    deviation = cv2.sqrt(np.maximum(cv2.blur(plane * plane, (window, window)) - mean * mean, 0.0))
    difference: np.ndarray = np.abs(plane - mean) > np.maximum(0.8 * deviation, least_contrast)
    return difference
