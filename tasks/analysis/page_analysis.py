"""Findings: all that was found out about a page before it is compressed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from foliopress.tasks.analysis import page_kinds, resolution, tiles
from foliopress.tasks.analysis.colour_marks import ColourMarks, find_colour_marks
from foliopress.tasks.analysis.strokes import Ink, find_ink
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import recognition


@dataclass(frozen=True)
class Findings:
    """What is known of a page.

    `masked` is (n_rows, n_cols) bool, the tiles in which OCR read a word; `importance` (n_rows, n_cols) float32 in
    [0, 1]; `dpi` what the page is judged at, whatever its tag says.
    """

    page: image_reader.Page
    kind: page_kinds.PageKind
    dpi: float
    words: Sequence[recognition.Word]
    grid: tiles.TileGrid
    masked: np.ndarray
    importance: np.ndarray

    @cached_property
    def luma(self) -> np.ndarray:
        """(height, width) uint8: the page's."""
        return luma_of(self.page.pixels)

    @cached_property
    def ink(self) -> Ink:
        """The page's strokes, those that only their colour parts from the paper among the faint ones."""
        ink, marks = find_ink(self.luma, self.dpi), self.colour_marks
        if not len(marks):
            return ink
        height_px, width_px = self.luma.shape
        strokes = marks.strokes(height_px, width_px, self.dpi)
        return Ink(ink.plain, ink.faint | strokes, marks.area(height_px, width_px))

    @cached_property
    def colour_marks(self) -> ColourMarks:
        """The page's strokes in a colour of their own."""
        return find_colour_marks(self.page.pixels, self.dpi)

    @cached_property
    def coarse_errors(self) -> resolution.CoarseErrors:
        """What each tile would lose at each level; worked out when asked for, once."""
        return resolution.CoarseErrors(self.luma, self.grid, self.dpi)
