"""Label the tiles of a drawn page from the exact record of its ink."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from foliopress.model.dataset import LabelledTiles
from foliopress.model.drawn.ink import TRACE_CONTRAST, VISIBLE_CONTRAST, Layer
from foliopress.model.drawn.scanning import DrawnPage
from foliopress.model.tile_truth import TEXT_FRACTION, tile_sums
from foliopress.model.truth import Scan
from foliopress.tasks.analysis import tiles
from foliopress.tasks.analysis.strokes import grain
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.ocr import recognition
from foliopress.tasks.samples.lettering import Mask

GRAIN_FACTOR = 1.5
"""Ink is readable if it stands out by this many standard deviations of the page's grain."""
REACH_PX = 2
"""Margin around a stroke that counts as its neighbourhood, at `WORK_DPI`: 0.3 mm, half of a small letter's counter."""
LEAST_STROKE_PX = 6
"""Pixels of readable ink from which a tile counts as writing, at `WORK_DPI`; about the size of a full stop."""


def label_page(page: DrawnPage, words: Sequence[recognition.Word], scan: Scan) -> LabelledTiles:
    """Cut a page into tiles as the pipeline does, and label them from the ink record.

    The page's own dpi is used: `tasks.ocr.recognition.estimate_dpi` would take sideways words for large print.
    """
    height_px, width_px = page.pixels.shape[:2]
    grid = tiles.tile_grid(height_px, width_px, page.dpi)
    mask = recognition.text_mask(words, height_px, width_px)
    plane = tiles.work_plane(page.pixels, mask, grid)
    least = max(VISIBLE_CONTRAST, GRAIN_FACTOR * grain(luma_of(plane[..., :3]), tiles.WORK_DPI))
    label, weight, handwritten = judge_ink(work_ink(page.ink, grid), least)
    return LabelledTiles(
        scan=scan,
        plane=plane,
        label=label,
        weight=weight,
        handwritten=handwritten,
        masked=tiles.masked_fraction(mask, grid).ravel(),
    )


def work_ink(ink: Mask, grid: tiles.TileGrid) -> Mask:
    """Return a page's ink at `WORK_DPI`, (n_rows * 32, n_cols * 32, 4) float32; zero outside the page."""
    bottom = grid.n_rows * grid.tile_px - grid.height_px
    right = grid.n_cols * grid.tile_px - grid.width_px
    padded = cv2.copyMakeBorder(ink, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=0)
    size = grid.n_cols * tiles.CORE_PX, grid.n_rows * tiles.CORE_PX
    how = cv2.INTER_AREA if grid.tile_px >= tiles.CORE_PX else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(padded, size, interpolation=how), np.float32)


def judge_ink(
    ink: Mask, least_contrast: float = VISIBLE_CONTRAST
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Return for each tile, row by row, whether it is important, how sure that is, and whether it holds handwriting.

    Important: at least 6 pixels of readable strokes which, with their neighbourhood, cover 4 % of the tile. Weight 0: a
    trace of writing (strokes that graze the tile or have faded), pictures, and rules in or next to a tile with writing.
    Everything else is unimportant, whatever dirt it holds.

    Args:
        ink: (n_rows * 32, n_cols * 32, 4) float32, from `work_ink`.
        least_contrast: Grey levels from which ink is readable.

    Returns:
        label (n_tiles,) float32, weight (n_tiles,) float32, handwritten (n_tiles,) bool.
    """
    grid = tiles.TileGrid(ink.shape[0], ink.shape[1], tiles.CORE_PX)
    by_hand = ink[..., Layer.HAND]
    writing = np.maximum(ink[..., Layer.PRINT], by_hand)
    holds = _holds_strokes(writing, least_contrast, grid)
    traced = tile_sums(writing >= TRACE_CONTRAST, grid) > 0
    pictured = tile_sums(ink[..., Layer.PICTURE] >= TRACE_CONTRAST, grid) > 0
    ruled = tile_sums(ink[..., Layer.RULE] >= least_contrast, grid) > 0
    near_trace = cv2.dilate(traced.reshape(grid.n_rows, grid.n_cols).astype(np.uint8), np.ones((3, 3), np.uint8))
    is_near = near_trace.ravel() > 0
    unknown = ~holds & (traced | pictured | (ruled & is_near))
    handwritten = holds & _holds_strokes(by_hand, least_contrast, grid)
    return holds.astype(np.float32), (~unknown).astype(np.float32), handwritten


def _holds_strokes(plane: Mask, least_contrast: float, grid: tiles.TileGrid) -> npt.NDArray[np.bool_]:
    """Return (n_tiles,) bool, True for tiles with enough strokes."""
    strokes = plane >= least_contrast
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH_PX + 1, 2 * REACH_PX + 1))
    near = cv2.dilate(strokes.astype(np.uint8), kernel) > 0
    is_covered = tile_sums(near, grid) >= TEXT_FRACTION * tiles.CORE_PX**2
    return np.asarray(is_covered & (tile_sums(strokes, grid) >= LEAST_STROKE_PX))
