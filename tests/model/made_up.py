"""Build synthetic pages for tests: a labelled one to sample patches from, and scored ones of a few tiles."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foliopress.model.dataset import LabelledTiles
from foliopress.model.metrics import ScoredPage
from foliopress.model.tile_truth import TileTruth
from foliopress.model.truth import Scan
from foliopress.tasks.analysis.page_kinds import PageKind
from foliopress.tasks.analysis.tiles import TileGrid

PLANE_TILES = 8


def labelled(seed: int, document: str = "c/d") -> LabelledTiles:
    """Return a page with lines of marks in the upper half and paper in the lower half; the border has weight 0."""
    rng = np.random.default_rng(seed)
    side = PLANE_TILES * 32
    luma = rng.normal(230, 4, (side, side))
    for row in range(4, side // 2, 16):
        for col in range(4, side - 8, 9):
            luma[row : row + 9, col : col + int(rng.integers(2, 6))] = rng.uniform(0, 80)
    plane = np.zeros((side, side, 4), np.uint8)
    plane[..., :3] = np.clip(luma, 0, 255).astype(np.uint8)[..., np.newaxis]
    plane[: side // 2, :, 3] = 255
    label = np.zeros((PLANE_TILES, PLANE_TILES), np.float32)
    label[: PLANE_TILES // 2] = 1
    weight = np.ones_like(label)
    weight[PLANE_TILES // 2] = 0
    scan = Scan("c/a.jpg", Path("a.jpg"), "train", "c", document, Path("a.xml"))
    hand = (np.arange(label.size) % 5 == 0) & (label.ravel() == 1)
    return LabelledTiles(scan, plane, label.ravel(), weight.ravel(), hand, (label.ravel() > 0).astype(np.float32))


def flags(text: str) -> np.ndarray:
    """Return a bool array, True for each 1."""
    return np.array([letter == "1" for letter in text])


def truth_of(kinds: str) -> TileTruth:
    """Return ground truth by letter: p print, t typewriting, h handwriting, g picture, i ink, l little ink, b blank."""
    letters = np.array(list(kinds))
    return TileTruth(
        printed=np.isin(letters, ["p", "t"]),
        handwritten=letters == "h",
        typewritten=letters == "t",
        graphic=letters == "g",
        marked=np.isin(letters, ["p", "t", "h"]),
        blank=letters == "b",
        little_ink=np.isin(letters, ["l", "b"]),
    )


def scored(
    kinds: str,
    scores: list[float],
    mask: str = "",
    page_kind: PageKind = PageKind.GREY,
    key: str = "c/a",
) -> ScoredPage:
    """Return a page with one row of tiles; 1 in `mask` marks tiles with an OCR word."""
    n_tiles = len(kinds)
    return ScoredPage(
        key=key,
        page_kind=page_kind,
        grid=TileGrid(32, 32 * n_tiles, 32),
        picture=np.zeros((13, 13 * n_tiles), np.uint8),
        scores=np.array(scores, np.float32),
        by_mask=flags(mask or "0" * n_tiles),
        truth=truth_of(kinds),
    )
