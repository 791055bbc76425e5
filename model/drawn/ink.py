"""Define the ink layers of a drawn page, and the contrast from which ink is readable."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from foliopress.tasks.samples.lettering import Mask


class Layer(IntEnum):
    """Kind of ink, and the index of its plane in an ink array, (height, width, 4) float32 of grey levels."""

    PRINT = 0
    """Letters and digits of print, typescript and stamps."""
    HAND = 1
    """Anything written by hand: letters, initials, ticks, underlining."""
    PICTURE = 2
    """Photographs, drawings, ornaments, bar codes: of unknown importance."""
    RULE = 3
    """Lines of tables, forms and ruled paper."""


VISIBLE_CONTRAST = 12.0
"""Contrast with the paper in grey levels from which ink is readable: 1.5 × the least of `tasks.analysis.strokes`."""
TRACE_CONTRAST = 3.0
"""Grey levels below which ink leaves no trace."""
FADED_CONTRAST = 8.0
"""Grey levels recorded for faded ink: too few to be readable, enough to exclude its tiles from the labels."""


def weakened(ink: Mask, left: Mask) -> Mask:
    """Return the weakened ink, but never so little that the record loses it."""
    return np.asarray(np.maximum(left, np.minimum(ink, FADED_CONTRAST)), np.float32)
