"""Colour: how much coarser than its luma a page's chroma may be stored, and the page with such chroma."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.tasks.analysis.colour_marks import NO_MARKS, ColourMarks, mean_over_marks
from foliopress.tasks.analysis.resolution import reduced, restored

CHROMA_LEVELS = (8, 4)
"""Levels of chroma beyond the codec's own 4:2:0, coarsest first: a pixel of chroma for 8 x 8 or 4 x 4 of luma."""

_BLOCK_PX = 8  # a coloured stroke is seen where it fills some of a block of this side
_MARK_SHARE = 0.5  # of the error that a mark may have: the codec adds its own
_WORST_BLOCK = 3.0  # budgets that the worst block may lose: a lone coloured mark on a large page is in very few


def coarsest_chroma(
    pixels: np.ndarray, budget: float, marks: ColourMarks = NO_MARKS, allowed: np.ndarray | None = None
) -> int:
    """Return the coarsest level of chroma at which no block of the page loses more colour than the budget; 1 for none.

    Args:
        pixels: uint8 (height, width, 3) RGB.
        budget: Root mean square of the error of Cb and Cr over a block of 8 x 8 pixels, in grey levels, that 999 of
            1,000 blocks must stay below, and three times as much for every one; with 0 chroma is left to the codec.
        marks: The coloured marks of the page; a level at which one of them would lose too much is passed over.
        allowed: (n,) chroma error, in grey levels, that each mark may have in the end.
    """
    if not budget:  # a flat colour would pass, and so would a coloured mark in fewer blocks
        return 1
    # finer than half the codec's own 4:2:0 does not keep it either
    planes = cv2.split(cv2.cvtColor(reduced(pixels, 2), cv2.COLOR_RGB2YCrCb))[1:]
    for level in CHROMA_LEVELS:
        size = max(1, pixels.shape[1] // _BLOCK_PX), max(1, pixels.shape[0] // _BLOCK_PX)
        errors = [cv2.subtract(_coarser(plane, level // 2), plane, dtype=cv2.CV_32F) for plane in planes]
        if allowed is not None and len(marks):
            lost = np.hypot(*(mean_over_marks(error, marks) for error in errors))
            if (lost > _MARK_SHARE * allowed).any():
                continue
        blocks = np.maximum(*(cv2.resize(error * error, size, interpolation=cv2.INTER_AREA) for error in errors))
        worst = float(blocks.max()) / _WORST_BLOCK**2
        if max(worst, float(np.percentile(blocks, 99.9))) <= budget * budget:
            return level
    return 1


def with_coarse_chroma(pixels: np.ndarray, level: int) -> np.ndarray:
    """Return a page whose chroma is stored at a level, its luma being the source's but for rounding.

    Only where RGB does not hold the new colour, as on white beside saturated ink, luma changes by more.

    Args:
        pixels: uint8, (height, width) grey, returned as it is, or (height, width, 3) RGB.
        level: 1 (untouched), 2, 4 or 8.
    """
    if pixels.ndim == 2 or level == 1:
        return pixels
    luma, *chroma = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_RGB2YCrCb))
    coarse = cv2.merge([luma, *(_coarser(plane, level) for plane in chroma)])
    rgb: np.ndarray = cv2.cvtColor(coarse, cv2.COLOR_YCrCb2RGB)
    return rgb


def _coarser(plane: np.ndarray, level: int) -> np.ndarray:
    """Return a (height, width) plane, averaged over squares of `level` pixels and linearly interpolated back."""
    height_px, width_px = plane.shape
    coarse = restored(reduced(plane, level), level, height_px, width_px, interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(coarse)
