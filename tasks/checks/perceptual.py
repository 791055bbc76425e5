"""Score the perceptual quality of a decoded page, of the whole page and of its text alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.tasks.analysis.sample_patches import evenly_spaced, stack_patches
from foliopress.tasks.checks import ssimulacra2
from foliopress.tasks.ocr.recognition import Word, bounding_box, by_line

PATCH_PX = 512
"""Side of a patch: the measure uses scales down to 1/32."""
SAMPLED_SHARE = 0.25
"""Share of a page in its sample; on 18 scans at quality 76 the sample's score was within 4 of the page's."""
_LINE_SPACING_INCH = 0.09  # a line of text extends this far from its strokes
_LEAST_PATCHES = 4


@dataclass(frozen=True)
class PerceptualScores:
    """SSIMULACRA 2 scores of a page (100 is its source), and of the source with only the text taken from the page."""

    page: float
    text: float


@dataclass(frozen=True)
class PerceptualPatches:
    """Patches of a page stacked in one image: `source` and `rescaled` uint8, `text` (height, width) bool."""

    source: np.ndarray
    rescaled: np.ndarray
    text: np.ndarray


def text_area(words: Sequence[Word], ink: np.ndarray, sure: np.ndarray, dpi: float) -> np.ndarray:
    """Return (height, width) bool, True on lines of text: those that OCR read, and writing that it missed.

    Args:
        words: Words from OCR.
        ink: (height, width) bool, the page's strokes.
        sure: (height, width) bool, areas that are certainly important.
        dpi: Resolution of the page.
    """
    reach = 2 * max(1, round(_LINE_SPACING_INCH * dpi)) + 1
    near = cv2.dilate((ink & sure).view(np.uint8), np.ones((reach, reach), np.uint8))
    area: np.ndarray = (near > 0) & sure
    for line in by_line(words):
        top, bottom, left, right = bounding_box(line)
        area[top:bottom, left:right] = True
    return area


def measure(source: np.ndarray, decoded: np.ndarray, text: np.ndarray) -> PerceptualScores | None:
    """Score a page against its source; return None for a page too small to be measured.

    Args:
        source: uint8, (height, width) or (height, width, 3) sRGB.
        decoded: The same page after encoding and decoding, of the same height and width.
        text: (height, width) bool, areas of text.
    """
    if min(source.shape[:2]) < ssimulacra2.LEAST_SIDE_PX:
        return None
    if source.ndim != decoded.ndim:
        source, decoded = _as_rgb(source), _as_rgb(decoded)
    only_text = np.where(text if source.ndim == 2 else text[..., np.newaxis], decoded, source)
    return PerceptualScores(*ssimulacra2.scores(source, [decoded, only_text]))


def take_patches(source: np.ndarray, rescaled: np.ndarray, text: np.ndarray) -> PerceptualPatches:
    """Return a quarter of a page, in patches of 512 pixels evenly spaced over it; all of a small page.

    Args:
        source: uint8, (height, width) or (height, width, 3).
        rescaled: The page to be encoded, of the same shape.
        text: (height, width) bool, areas of text.
    """
    side = PATCH_PX
    height_px, width_px = text.shape
    corners = [(row, col) for row in range(0, height_px, side) for col in range(0, width_px, side)]
    if min(height_px, width_px) < side or len(corners) <= _LEAST_PATCHES:
        return PerceptualPatches(source, rescaled, text)
    n_patches = max(_LEAST_PATCHES, round(SAMPLED_SHARE * len(corners)))
    chosen = evenly_spaced(corners, n_patches)
    return PerceptualPatches(*stack_patches((source, rescaled, text), chosen, side))


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., np.newaxis], 3, axis=2)
