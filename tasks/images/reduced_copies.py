"""Decide whether a small image is a reduced copy of a larger one.

A reduced copy of a page has no content of its own. So each of its pixels must be between the darkest and the brightest
pixel of the page at that position, however it was reduced (averaged, subsampled, made bilevel), and the darker and
lighter parts of both must correlate.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

CLEARLY_SMALLER = 0.75
"""Both sides of a reduced copy have at most this share of the page's."""
_SAME_ASPECT = 0.02
_LARGEST_SIDE, _COARSE_SIDE = 512, 128  # pixels at which images are compared, and at which their parts are correlated
_MOST_OUTSIDE, _LEAST_OUTSIDE, _SHARE_OF_CONTRAST = 24.0, 6.0, 0.2
"""Grey levels by which a copy may exceed the page's range (mean over 1/64 of the long side): a share of the page's
contrast, within these limits. On pages of 13 collections, reduced 2 to 16 times in seven ways (JPEG at quality 30 among
them), copies reached 21, other pages of the same collection at least 37 (20 when reduced 16 times), an added stamp
31."""
_LEAST_ALIKE, _MUCH_ALIKE = 0.5, 0.9
"""Least correlation of the parts, and the correlation below which only half as much may be outside. Averaged copies
reach 0.97, those of every 8th pixel 0.63, of every 16th 0.43."""
_FLAT = 3.0  # standard deviation, in grey levels, of a blank image
_OTHER_PICTURE = 0.7
"""Correlation below which a thumbnail shows another image. Thumbnails of the page reach 0.97 and more."""
_BAR_LEVELS = 8  # a thumbnail's bars have one tone


def has_reduced_size(size_px: tuple[int, int], page_px: tuple[int, int]) -> bool:
    """Return whether (height, width) is clearly smaller than a page's, and of its aspect within 2 % or one pixel.

    >>> has_reduced_size((113, 82), (3620, 2626)), has_reduced_size((900, 700), (1000, 800))
    (True, False)
    """
    (height_px, width_px), (page_height_px, page_width_px) = size_px, page_px
    rows, cols = height_px / page_height_px, width_px / page_width_px
    if max(rows, cols) > CLEARLY_SMALLER:
        return False
    rounding_px = min(abs(height_px - page_height_px * cols), abs(width_px - page_width_px * rows))
    return rounding_px <= 1 or abs(rows - cols) <= _SAME_ASPECT * max(rows, cols)


def is_copy(small: np.ndarray, page: np.ndarray) -> bool:
    """Return whether a small image is clearly a reduced copy of a page.

    Args:
        small: (height, width) uint8 luma.
        page: Luma of the page, larger and of the same aspect.
    """
    if _has_two_tones(small) and not _has_two_tones(page):
        page = cv2.threshold(page, 0, 255, cv2.THRESH_OTSU)[1]
    side = min(_LARGEST_SIDE, max(small.shape))
    plane = _shrunk(small, side)
    darkest, brightest = (_extreme(page, plane.shape, of) for of in (cv2.erode, cv2.dilate))
    outside = np.maximum(cv2.subtract(darkest, plane), cv2.subtract(plane, brightest)).astype(np.float32)
    window = max(3, side // 64) | 1
    contrast = float(np.subtract(*np.percentile(_shrunk(page, side), (98, 2))))
    most = float(np.clip(_SHARE_OF_CONTRAST * contrast, _LEAST_OUTSIDE, _MOST_OUTSIDE))
    likeness = alike(plane, page)
    most *= 1.0 if likeness >= _MUCH_ALIKE else 0.5
    return likeness >= _LEAST_ALIKE and float(cv2.blur(outside, (window, window)).max()) <= most


def shows_another_picture(thumbnail: np.ndarray, page: np.ndarray) -> bool:
    """Return whether a thumbnail clearly shows something other than a page.

    It may be rotated by quarter turns, and may have bars around its image.

    Args:
        thumbnail: (height, width) uint8 luma.
        page: Luma of the page, of any size.
    """
    bare = _without_bars(thumbnail)
    best = max(
        alike(np.ascontiguousarray(np.rot90(image, turns)), page) for image in (thumbnail, bare) for turns in range(4)
    )
    return best < _OTHER_PICTURE


def alike(small: np.ndarray, page: np.ndarray) -> float:
    """Return the correlation of two coarse luma planes, the page resized to the small one; 1 if both are blank."""
    plane = _shrunk(small, min(_COARSE_SIDE, max(small.shape)))
    first, second = (
        cv2.GaussianBlur(cv2.resize(image, plane.shape[::-1], interpolation=cv2.INTER_AREA), (0, 0), 0.8)
        for image in (plane.astype(np.float32), page.astype(np.float32))
    )
    deviations = float(first.std()), float(second.std())
    if max(deviations) < _FLAT:
        return 1.0 if abs(float(first.mean()) - float(second.mean())) <= _MOST_OUTSIDE else 0.0
    if min(deviations) < 1e-3:
        return 0.0
    return float(((first - first.mean()) * (second - second.mean())).mean() / (deviations[0] * deviations[1]))


def _shrunk(image: np.ndarray, side: int) -> np.ndarray:
    scale = side / max(image.shape)
    if scale >= 1:
        return image
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def _extreme(page: np.ndarray, shape: tuple[int, ...], of: Callable[..., np.ndarray]) -> np.ndarray:
    """Return a page's least (cv2.erode) or greatest (cv2.dilate) values around each pixel of a smaller shape."""
    while (step := min(page.shape[0] / shape[0], page.shape[1] / shape[1])) >= 4:
        page = np.ascontiguousarray(of(page, np.ones((2, 2), np.uint8), anchor=(0, 0))[::2, ::2])
    page = of(page, np.ones((2 * int(np.ceil(step)) + 1,) * 2, np.uint8))
    return np.asarray(cv2.resize(page, shape[::-1], interpolation=cv2.INTER_NEAREST))


def _has_two_tones(image: np.ndarray) -> bool:
    return not cv2.inRange(image, int(image.min()) + 1, int(image.max()) - 1).any()


def _without_bars(image: np.ndarray) -> np.ndarray:
    """Return a thumbnail without the rows and columns of one tone at its edges."""
    spread = [np.ptp(image.astype(int), axis=axis) > _BAR_LEVELS for axis in (1, 0)]
    if not all(lines.any() for lines in spread):
        return image
    (top, bottom), (left, right) = (
        (int(np.argmax(lines)), len(lines) - int(np.argmax(lines[::-1]))) for lines in spread
    )
    return np.ascontiguousarray(image[top:bottom, left:right])
