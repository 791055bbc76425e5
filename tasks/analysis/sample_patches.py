"""Sample a page by a few square patches, stacked in one image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Corner = tuple[int, int]
"""(row_px, col_px) of a patch's upper left corner."""


def evenly_spaced(corners: Sequence[Corner], n_patches: int) -> list[Corner]:
    """Return so many of the corners, evenly spaced from the first to the last.

    >>> evenly_spaced([(0, 0), (0, 8), (0, 16), (0, 24), (0, 32)], 3)
    [(0, 0), (0, 16), (0, 32)]
    """
    return [corners[at] for at in np.linspace(0, len(corners) - 1, n_patches).round().astype(int)]


def stack_patches(planes: Sequence[np.ndarray], corners: Sequence[Corner], side_px: int) -> list[np.ndarray]:
    """Return the patches of each plane in one column; patches beyond an edge are moved inwards, not padded.

    Args:
        planes: Each (height, width) or (height, width, 3), of equal height and width.
        corners: Corners of the patches.
        side_px: Side of a patch; cut if the page is smaller.
    """
    height_px, width_px = planes[0].shape[:2]
    moved = [(min(row, max(0, height_px - side_px)), min(col, max(0, width_px - side_px))) for row, col in corners]
    return [np.vstack([plane[row : row + side_px, col : col + side_px] for row, col in moved]) for plane in planes]
