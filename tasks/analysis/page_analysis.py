"""Hold the analysis of a page: everything that is known of it before it is compressed."""

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
class PageAnalysis:
    """Pixels, kind, words and tile scores of a page; strokes and marks are derived on first use.

    `dpi` is the resolution at which the page is judged, whatever its tag says; `word_tiles` is (n_rows, n_cols) bool,
    the tiles in which OCR read a word; `importance` (n_rows, n_cols) float32 in [0, 1].
    """

    page: image_reader.Page
    kind: page_kinds.PageKind
    dpi: float
    words: Sequence[recognition.Word]
    grid: tiles.TileGrid
    word_tiles: np.ndarray
    importance: np.ndarray

    @cached_property
    def luma(self) -> np.ndarray:
        """Luma of the page, (height, width) uint8."""
        return luma_of(self.page.pixels)

    @cached_property
    def ink(self) -> Ink:
        """Strokes of the page; those that differ from the paper by colour alone are among the faint ones."""
        ink, marks = find_ink(self.luma, self.dpi), self.colour_marks
        if not len(marks):
            return ink
        height_px, width_px = self.luma.shape
        strokes = marks.strokes(height_px, width_px, self.dpi)
        return Ink(ink.plain, ink.faint | strokes, marks.area(height_px, width_px))

    @cached_property
    def colour_marks(self) -> ColourMarks:
        """Strokes in a colour of their own."""
        return find_colour_marks(self.page.pixels, self.dpi)

    @cached_property
    def coarse_errors(self) -> resolution.CoarseErrors:
        """Error of each tile at each level."""
        return resolution.CoarseErrors(self.luma, self.grid, self.dpi)
