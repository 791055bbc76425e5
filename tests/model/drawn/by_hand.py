"""Draw small sheets with known ink for the tests of drawn pages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foliopress.model.drawn.scanning import DrawnPage
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.truth import Scan
from foliopress.tasks.samples.paper import BLACK, WHITE_PAPER

SCAN = Scan("rendered/0000", Path("rendered/0000"), "train", "rendered", "rendered/0000", None)
MM = 25.4 / 150
"""One pixel of a 150 dpi sheet, in millimetres."""


def sheet(n_rows: int, n_cols: int) -> TracedSheet:
    """Return white paper of this many tiles."""
    return TracedSheet(n_rows * 32 * MM, n_cols * 32 * MM, 150, WHITE_PAPER)


def bar(height_px: int, width_px: int) -> np.ndarray:
    return np.ones((height_px, width_px), np.float32)


def lay(drawn: TracedSheet, row_px: int, col_px: int, mask: np.ndarray, strength: float = 1.0) -> None:
    drawn.lay(mask, row_px * MM, col_px * MM, BLACK, strength)


def page_of(drawn: TracedSheet) -> DrawnPage:
    return DrawnPage(np.asarray(drawn.light * 255, np.uint8), drawn.ink, drawn.dpi)
