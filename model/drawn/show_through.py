"""Let the text on the back of a leaf show through to the front."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.model.drawn.account_pages import table
from foliopress.model.drawn.office_pages import typescript
from foliopress.model.drawn.printed_pages import book_page
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.written_pages import handwritten_letter
from foliopress.tasks.samples.paper import Light


def random_text_page(rng: Rng) -> TracedSheet:
    """Return a text page of a random kind."""
    return pick(rng, (book_page, typescript, handwritten_letter, table))(rng)


def add_show_through(front: Light, back: Light, strength: float, dpi: float) -> Light:
    """Return the front of a leaf with its back, mirrored and slightly blurred, showing through.

    Args:
        front: (height, width, 3) float32, 0 to 1.
        back: Same size as the front.
        strength: 0 to 1; darkening of the front where the back is black.
        dpi: Resolution of both.
    """
    ghost = cv2.GaussianBlur(back[:, ::-1], (0, 0), 0.006 * dpi)
    return np.asarray(front * (1 - strength * (1 - ghost / ghost.max())), np.float32)
