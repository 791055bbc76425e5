"""Choose the coarsest chroma that a page may be stored with, and reduce a page's chroma."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.tasks.analysis.colour_marks import NO_MARKS, ColourMarks, mean_over_marks
from foliopress.tasks.analysis.resolution import reduced, restored

CHROMA_LEVELS = (8, 4)
"""Levels of chroma subsampling beyond the codec's own 4:2:0, coarsest first: one pixel for 8 x 8 or 4 x 4 of luma."""

_BLOCK_PX = 8  # a coloured stroke is visible if it fills part of a block of this side
_MARK_SHARE = 0.5  # share of a mark's allowed error: the codec adds its own
_WORST_BLOCK = 3.0  # budgets that the worst block may lose: a lone coloured mark on a large page is in very few


def coarsest_chroma(
    pixels: np.ndarray, budget: float, marks: ColourMarks = NO_MARKS, allowed: np.ndarray | None = None
) -> int:
    """Return the coarsest chroma level at which no block of the page loses more colour than the budget; 1 for none.

    Args:
        pixels: uint8 (height, width, 3) RGB.
        budget: Largest root mean square error of Cb and Cr over a block of 8 x 8 pixels, in grey levels, for 999 of
            1,000 blocks, and three times as much for every block; 0 leaves chroma to the codec.
        marks: The coloured marks of the page; a level at which one of them would lose too much is skipped.
        allowed: (n,) largest chroma error of each mark in the output, in grey levels.
    """
    if not budget:  # a flat colour would pass, and so would a coloured mark in fewer blocks
        return 1
    # the codec's own 4:2:0 keeps nothing finer than half size
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
    """Return a page with its chroma reduced to a level; its luma is the source's except for rounding.

    Luma changes more only where RGB cannot represent the new colour, as on white next to saturated ink.

    Args:
        pixels: uint8, (height, width) grey, returned unchanged, or (height, width, 3) RGB.
        level: 1 (unchanged), 2, 4 or 8.
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
