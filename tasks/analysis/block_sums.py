"""Sum a plane over blocks."""

from __future__ import annotations

import cv2
import numpy as np


def block_sums(plane: np.ndarray, height_px: int, width_px: int) -> np.ndarray:
    """Return (n_rows, n_cols) sums over blocks, int64 for a bool plane and float32 for another.

    The blocks of the last row and column may be smaller. `np.add.reduceat` along both axes would take 66 ms for a page
    of 8.7 megapixels, this takes 4.

    Args:
        plane: (height, width) bool or float32.
        height_px: Height of a block.
        width_px: Width of a block.

    >>> block_sums(np.array([[True, True, False], [False, True, True]]), 2, 2).tolist()
    [[3, 1]]
    """
    is_bool = plane.dtype == np.bool_
    source, depth = (plane.view(np.uint8), cv2.CV_32S) if is_bool else (plane, cv2.CV_32F)
    tops = range(0, plane.shape[0], height_px)
    rows = [cv2.reduce(source[top : top + height_px], 0, cv2.REDUCE_SUM, dtype=depth) for top in tops]
    return np.add.reduceat(np.concatenate(rows), np.arange(0, plane.shape[1], width_px), axis=1)


def block_areas(shape: tuple[int, ...], height_px: int, width_px: int) -> np.ndarray:
    """Return (n_rows, n_cols) int64: the number of pixels in each block of a plane.

    >>> block_areas((3, 5), 2, 4).tolist()
    [[8, 2], [4, 1]]
    """
    heights, widths = (
        np.minimum(step, side - np.arange(0, side, step))
        for side, step in zip(shape[:2], (height_px, width_px), strict=True)
    )
    return np.outer(heights, widths)
