"""Find the strokes of a page by local contrast, dark on light and light on dark."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WINDOW_INCH = 0.25
"""Side of the neighbourhood from which a stroke must differ: about one line of print with its spacing."""
LEAST_CONTRAST = 8.0
"""Least difference of ink from its surroundings, in grey levels."""
PLAIN_GRAIN = 5.0
"""Contrast of plain strokes, in standard deviations of the grain: the strokes that the check judges."""
FAINT_GRAIN = 4.0
"""Contrast of faint strokes: fainter than those the check judges, so that it judges no stroke that was not kept."""
SMOOTHING_INCH = 1 / 250
"""Sigma of the blur before the search for strokes: a little less than a stroke's width."""
_GRAIN_STEP = 3  # pixels
_ALONE = np.ones((1, 1), np.float32)  # a kernel that leaves an axis unchanged
_MOST_CONTRAST = 24.0  # strong grain must not hide plain ink


@dataclass(frozen=True)
class Ink:
    """Strokes of a page, each (height, width) bool: `plain` ones, and `faint` ones too.

    `coloured` are the coloured marks, whatever their contrast; None on a page without any.
    """

    plain: np.ndarray
    faint: np.ndarray
    coloured: np.ndarray | None = None


def find_ink(luma: np.ndarray, dpi: float) -> Ink:
    """Return the strokes that stand out from the page's own grain, including faint ones on clean paper.

    The page is first smoothed by a little less than a stroke's width, which removes the finer grain and keeps strokes.

    Args:
        luma: (height, width) uint8.
        dpi: Resolution of the page.
    """
    smooth = cv2.GaussianBlur(luma, (0, 0), max(0.5, SMOOTHING_INCH * dpi))
    difference, deviation = _local_contrast(smooth, dpi)
    one = grain(smooth, dpi)
    stands_out = difference > deviation
    plain, faint = (
        stands_out & (difference > np.float32(np.clip(factor * one, LEAST_CONTRAST, _MOST_CONTRAST)))
        for factor in (PLAIN_GRAIN, FAINT_GRAIN)
    )
    return Ink(plain, faint)


def ink_mask(luma: np.ndarray, dpi: float, least_contrast: float = LEAST_CONTRAST) -> np.ndarray:
    """Return (height, width) bool, True on strokes.

    A pixel is ink if it differs from its neighbourhood's mean by more than 0.8 of that neighbourhood's standard
    deviation (a Niblack threshold in both directions) and by more than `least_contrast` grey levels.

    Args:
        luma: (height, width) uint8.
        dpi: Resolution of `luma`, for the neighbourhood's size.
        least_contrast: Grey levels; raise it to ignore paper grain.
    """
    difference, deviation = _local_contrast(luma, dpi)
    return np.asarray(difference > np.maximum(deviation, least_contrast))


def grain(luma: np.ndarray, dpi: float) -> float:
    """Return the standard deviation of paper grain, in grey levels: a robust estimate from what a blur removes."""
    sigma_px = max(0.8, 0.02 * dpi)
    kernel = cv2.getGaussianKernel(round(8 * sigma_px) | 1, sigma_px, cv2.CV_32F)
    plane = luma.astype(np.float32)
    # every third pixel is enough; rows in between are not blurred horizontally
    down = np.ascontiguousarray(cv2.sepFilter2D(plane, cv2.CV_32F, _ALONE, kernel)[::_GRAIN_STEP])
    blurred = cv2.sepFilter2D(down, cv2.CV_32F, kernel, _ALONE)[:, ::_GRAIN_STEP]
    rest = cv2.absdiff(np.ascontiguousarray(plane[::_GRAIN_STEP, ::_GRAIN_STEP]), np.ascontiguousarray(blurred))
    return float(np.median(rest)) / 0.6745


def _local_contrast(luma: np.ndarray, dpi: float) -> tuple[np.ndarray, np.ndarray]:
    """Return each pixel's distance from the local mean, and 0.8 of the local standard deviation, float32."""
    window = int(np.clip(WINDOW_INCH * dpi, 9, 201)) | 1
    mean = cv2.boxFilter(luma, cv2.CV_32F, (window, window))
    deviation: np.ndarray = cv2.sqrBoxFilter(luma, cv2.CV_32F, (window, window))
    difference: np.ndarray = cv2.subtract(luma, mean, dtype=cv2.CV_32F)
    # in place from here on: pages are large
    deviation -= np.multiply(mean, mean, out=mean)
    cv2.sqrt(np.maximum(deviation, 0.0, out=deviation), deviation)
    np.multiply(deviation, 0.8, out=deviation)
    return np.abs(difference, out=difference), deviation
