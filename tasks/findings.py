"""Findings: all that was found out about a page before it is compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tasks import kinds, ocr, pages, tiles


@dataclass(frozen=True)
class Findings:
    """What is known of a page.

    `masked` is (n_rows, n_cols) bool, the tiles in which OCR read a word; `importance` (n_rows, n_cols) float32 in
    [0, 1]; `dpi` what the page is judged at, whatever its tag says.
    """

    page: pages.Page
    kind: kinds.PageKind
    dpi: float
    words: Sequence[ocr.Word]
    grid: tiles.TileGrid
    masked: np.ndarray
    importance: np.ndarray
