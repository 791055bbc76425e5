"""Draw A4 pages of the sample archive with a substitute OCR mask, so that neither scans nor OCR are needed."""

from __future__ import annotations

import cv2
import numpy as np

from benchmarks.planes import Plane
from foliopress.configs.settings import LimitSettings
from foliopress.tasks.analysis.strokes import ink_mask
from foliopress.tasks.analysis.tiles import tile_grid, work_plane
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.images.image_reader import read_page
from foliopress.tasks.samples.sample_archive import sample_document

A4_PX = (3508, 2480)
"""Height and width of an A4 page at `DPI`."""
DPI = 300.0

_DOCUMENTS = (
    "letters/1934/customs-stamped.jpg",
    "letters/pryce-to-harding.png",
    "newspapers/observer-p1.jpg",
    "forms/mooring-118.webp",
    "ledgers/dues-1903.png",
    "typescripts/breakwater-copy.jpg",
    "letters/1931/board-to-whitlock.jpg",
)
_MASK_CONTRAST = 24.0  # grey levels: plain ink, no grain
_MASK_REACH_PX = 15  # 1/20 inch: joins the strokes of a word


def drawn_planes(count: int, seed: int) -> list[Plane]:
    """Return A4 pages at 300 dpi: letters, newspaper, form, ledger, typescript in turn.

    The ink of the upper half stands in for the OCR mask; the lower half has no mask, like text that OCR cannot read.
    Scores are meaningful on both, since networks are trained with and without masks.

    Args:
        count: Number of pages.
        seed: The same seed gives the same pages with the same library versions.
    """
    kinds = len(_DOCUMENTS)
    return [_drawn_plane(_DOCUMENTS[number % kinds], seed + number // kinds) for number in range(count)]


def _drawn_plane(key: str, seed: int) -> Plane:
    height_px, width_px = A4_PX
    small = read_page(sample_document(key, seed), 0, LimitSettings()).pixels
    pixels = cv2.resize(small, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
    reach = np.ones((_MASK_REACH_PX, _MASK_REACH_PX), np.uint8)
    ink = ink_mask(luma_of(pixels), DPI, _MASK_CONTRAST).astype(np.uint8)
    mask = cv2.dilate(ink, reach) > 0
    mask[height_px // 2 :] = False
    grid = tile_grid(height_px, width_px, DPI)
    return work_plane(pixels, mask, grid), grid
