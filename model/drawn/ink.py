"""Ink, as the truth of a drawn page keeps it: what it is, and how far it must stand out from the paper."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from foliopress.tasks.samples.lettering import Mask


class Layer(IntEnum):
    """What ink is, and the number of its plane in an array of ink, (height, width, 4) float32 of grey levels."""

    PRINT = 0
    """Letters and figures of print, typescript and stamps."""
    HAND = 1
    """Whatever a hand wrote: letters, initials, ticks, underlining."""
    PICTURE = 2
    """Photographs, drawings, ornaments, bar codes: nobody can say how important they are."""
    RULE = 3
    """Lines of tables, forms and ruled paper."""


VISIBLE_CONTRAST = 12.0
"""Contrast to the paper, in grey levels, from which ink can be read: 1.5 × the least of `tasks.analysis.strokes`."""
TRACE_CONTRAST = 3.0
"""Grey levels below which ink has left no trace."""
FADED_CONTRAST = 8.0
"""Grey levels that the truth keeps of ink that faded: too few to be read, enough for its tiles not to be judged."""


def weakened(ink: Mask, left: Mask) -> Mask:
    """Return what is left of the ink, but never too little for the truth to remember it."""
    return np.asarray(np.maximum(left, np.minimum(ink, FADED_CONTRAST)), np.float32)
