"""Derive the ground truth of each tile from a page's marked lines and regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.model.truth import TruthLine, TruthRegion
from foliopress.tasks.analysis import tiles

INK_STD = 8.0
"""Luma standard deviation above which a patch holds ink."""
LITTLE_INK_STD = 16.0
"""Luma standard deviation below which a patch holds little ink: grain, show-through, the edge of a stroke."""
TEXT_FRACTION = 0.04
"""Share of a tile that text must cover for it to count as a text tile."""


@dataclass(frozen=True, eq=False)
class TileTruth:
    """Ground truth of each tile of a page, row by row; every array is (n_tiles,) bool.

    printed, handwritten: at least 4 % of the tile lies in such lines, with ink in that part.
    typewritten: printed, and at least 4 % of the tile lies in typewritten lines with ink in that part.
    graphic: no text, but at least 4 % of the tile lies in picture or stamp regions, with more than little ink.
    marked: at least one pixel of the tile lies in a line.
    blank, little_ink: no ink, or little ink, in the whole tile (marked or not).
    """

    printed: np.ndarray
    handwritten: np.ndarray
    typewritten: np.ndarray
    graphic: np.ndarray
    marked: np.ndarray
    blank: np.ndarray
    little_ink: np.ndarray


def tile_truth(
    luma: np.ndarray, lines: Sequence[TruthLine], grid: tiles.TileGrid, regions: Sequence[TruthRegion] = ()
) -> TileTruth:
    """Return the ground truth of each tile: marked text or a picture, with ink in the page's own pixels.

    Args:
        luma: (height, width) uint8.
        lines: Marked lines of the page.
        grid: The page's tiles; edge tiles count only the part on the page.
        regions: Marked regions of the page; only picture regions count here.
    """
    whole = np.ones(luma.shape, bool)
    area = tile_sums(whole, grid)

    def covered(polygons: Sequence[np.ndarray], least_std: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (tiles with enough of the polygons and ink in that part, tiles that touch any polygon)."""
        if not polygons:
            return np.zeros(grid.n_tiles, bool), np.zeros(grid.n_tiles, bool)
        inside = fill_polygons(polygons, luma.shape)
        share = tile_sums(inside, grid) / area
        return (share >= TEXT_FRACTION) & (tile_std(luma, inside, grid) > least_std), share > 0

    printed, near_print = covered([line.polygon for line in lines if line.kind == "printed"], INK_STD)
    handwritten, near_hand = covered([line.polygon for line in lines if line.kind == "handwritten"], INK_STD)
    typewritten, _ = covered([line.polygon for line in lines if line.is_typewritten], INK_STD)
    pictures, _ = covered([region.polygon for region in regions if region.kind == "graphic"], LITTLE_INK_STD)
    std = tile_std(luma, whole, grid)
    return TileTruth(
        printed=printed,
        handwritten=handwritten,
        typewritten=typewritten & printed,
        graphic=pictures & ~(printed | handwritten),
        marked=near_print | near_hand,
        blank=std < INK_STD,
        little_ink=std < LITTLE_INK_STD,
    )


def fill_polygons(polygons: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return (height, width) bool, True inside the polygons, each (n, 2) of (row_px, col_px)."""
    inside = np.zeros(shape[:2], np.uint8)
    for polygon in polygons:
        cv2.fillPoly(inside, [np.round(polygon[:, ::-1]).astype(np.int32)], 1)
    return inside > 0


def tile_sums(values: np.ndarray, grid: tiles.TileGrid) -> np.ndarray:
    """Return (n_tiles,) float64: the sum of a (height, width) plane over each tile."""
    starts = np.arange(max(grid.n_rows, grid.n_cols)) * grid.tile_px
    rows = np.add.reduceat(values, starts[: grid.n_rows], axis=0, dtype=np.float64)
    sums: np.ndarray = np.add.reduceat(rows, starts[: grid.n_cols], axis=1)
    return sums.ravel()


def tile_std(luma: np.ndarray, region: np.ndarray, grid: tiles.TileGrid) -> np.ndarray:
    """Return (n_tiles,) float64: the luma standard deviation of each tile's part of `region`; 0 if it is empty."""
    count = np.maximum(tile_sums(region, grid), 1)
    plane = np.where(region, luma, 0).astype(np.float64)
    mean = tile_sums(plane, grid) / count
    std: np.ndarray = np.sqrt(np.maximum(tile_sums(plane * plane, grid) / count - mean * mean, 0))
    return std
