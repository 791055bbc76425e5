"""A made-up labelled page for the tests of drawing and training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from model.dataset import LabelledTiles
from model.truth import Scan

PLANE_TILES = 8


def labelled(seed: int, document: str = "c/d") -> LabelledTiles:
    """A page whose upper half is lines of marks and whose lower half is paper; the border between is not judged."""
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
