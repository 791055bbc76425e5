"""Search for the lowest quality at which a sample of a page's strokes is as sharp as wanted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foliopress.tasks.analysis.block_sums import block_sums
from foliopress.tasks.analysis.sample_patches import evenly_spaced, stack_patches
from foliopress.tasks.checks.legibility import at_reading_size, ssim_map
from foliopress.tasks.codecs.luma import luma_of

Coder = Callable[[np.ndarray, int], np.ndarray]
"""Encodes pixels at a quality and decodes them again."""

PATCH_PX = 256
MOST_PATCHES = 12
PROBED_QUALITIES = (22, 34, 46, 60, 76, 92)
"""Qualities tried on the sample; the result is interpolated between two of them."""

_FIRST = 2  # most pages need about this quality
_LEAST_INK_FRACTION = 0.01  # of a patch: less says little where other patches have more
_SPECK_FRACTION = 0.0005  # of a patch: less is a speck, even on a page that has nothing else
_INKED = 0.4  # share of ink from which a pixel at reading size belongs to a stroke


@dataclass(frozen=True)
class Sample:
    """Patches of a page side by side: `source` and `blended` uint8 of one shape, `ink` (height, width) bool."""

    source: np.ndarray
    blended: np.ndarray
    ink: np.ndarray


def take_sample(source: np.ndarray, blended: np.ndarray, ink: np.ndarray) -> Sample | None:
    """Return up to 12 patches of 256 pixels side by side, spread evenly over those with ink; None without ink.

    On a page of few words, where no patch has much ink, patches with half of the fullest one's ink count.

    Args:
        source: uint8, (height, width) or (height, width, 3).
        blended: The page as it is to be encoded, of the same shape.
        ink: (height, width) bool, the strokes to keep.
    """
    side = PATCH_PX
    share = block_sums(ink, side, side) / side**2
    least = max(_SPECK_FRACTION, min(_LEAST_INK_FRACTION, float(share.max()) / 2))
    places = np.argwhere(share >= least)
    if not len(places):
        return None
    corners = evenly_spaced([(int(row) * side, int(col) * side) for row, col in places], min(MOST_PATCHES, len(places)))
    return Sample(*stack_patches((source, blended, ink), corners, side))


def find_quality(sample: Sample, code: Coder, dpi: float, target_ssim: float, target_full_ssim: float) -> int:
    """Return the lowest quality, 22 to 92, at which the sample's strokes reach both targets.

    It depends on the two probed qualities on either side of it alone, not on the order of probing, so a higher target
    never gives a lower quality where the codec's SSIM rises with its quality.

    Args:
        sample: From `take_sample`.
        code: Encodes and decodes.
        dpi: Resolution of the page.
        target_ssim: Mean luma SSIM at reading size.
        target_full_ssim: The same at the page's own resolution.
    """
    targets = np.array([target_ssim, target_full_ssim])
    return least_quality(lambda quality: sharpness(sample, code, quality, dpi), targets)


def least_quality(measure: Callable[[int], np.ndarray], targets: np.ndarray, first: int = _FIRST) -> int:
    """Return the lowest quality, 22 to 92, at which all of (n,) measurements reach their targets; 92 if none does.

    Args:
        measure: Returns the measurements at a quality.
        targets: Targets of the measurements.
        first: Number of the probed quality to start with; affects how many are tried, not the result.
    """
    at = first
    here = measure(PROBED_QUALITIES[at])
    if (here >= targets).all():
        while at > 0:
            below = measure(PROBED_QUALITIES[at - 1])
            if (below < targets).any():
                return _between(at - 1, below, here, targets)
            at, here = at - 1, below
        return PROBED_QUALITIES[0]
    while at + 1 < len(PROBED_QUALITIES):
        above = measure(PROBED_QUALITIES[at + 1])
        if (above >= targets).all():
            return _between(at, here, above, targets)
        at, here = at + 1, above
    return PROBED_QUALITIES[-1]


def sharpness(sample: Sample, code: Coder, quality: int, dpi: float) -> np.ndarray:
    """Return the mean SSIM of the strokes at reading size and at full size, (2,) float."""
    luma, decoded = luma_of(sample.source), luma_of(code(sample.blended, quality))
    at_full_size = float(ssim_map(luma, decoded)[sample.ink].mean())
    small_ink = at_reading_size(sample.ink.astype(np.float32), dpi) > _INKED
    if not small_ink.any():
        return np.array([at_full_size, at_full_size])
    small = ssim_map(at_reading_size(luma, dpi), at_reading_size(decoded, dpi))
    return np.array([float(small[small_ink].mean()), at_full_size])


def _between(at: int, below: np.ndarray, above: np.ndarray, targets: np.ndarray) -> int:
    """Return the lowest quality between two probed ones at which both targets are reached, by linear interpolation."""
    low, high = PROBED_QUALITIES[at], PROBED_QUALITIES[at + 1]
    share = np.clip((targets - below) / np.maximum(above - below, 1e-9), 0.0, 1.0)
    return math.ceil(low + (high - low) * float(share.max()))
