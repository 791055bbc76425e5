"""Place a leaf under the scanner, with or without visible surroundings."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.model.drawn.leaf import Leaf
from foliopress.model.drawn.random_choice import Rng
from foliopress.tasks.samples.paper import Colour, cloud

BACKINGS: tuple[Colour, ...] = (
    (0.03, 0.03, 0.03),
    (0.06, 0.06, 0.07),
    (0.16, 0.15, 0.15),
    (0.28, 0.2, 0.14),
    (0.45, 0.45, 0.46),
    (0.93, 0.93, 0.92),
    (1.0, 1.0, 1.0),
)
"""Colours of the backing, from black to white."""


def mounted(leaf: Leaf, rng: Rng) -> Leaf:
    """Return the leaf as placed under the scanner: often on a larger backing, sometimes bent or cropped."""
    height, width = leaf.size
    if rng.random() < 0.2:
        leaf = _bent(leaf, rng)
    chance = rng.random()
    if chance < 0.08:
        top, left = (int(size * rng.uniform(0, 0.12)) for size in (height, width))
        return leaf.changed(leaf.light[top:, left:].copy(), leaf.ink[top:, left:].copy())
    if chance < 0.55:
        return leaf
    sides = [
        round(rng.uniform(1, 14) / 25.4 * leaf.dpi) if rng.random() < 0.6 else 0
        for _ in ("top", "bottom", "left", "right")
    ]
    top, bottom, left, right = sides
    light = np.empty((height + top + bottom, width + left + right, 3), np.float32)
    light[:] = leaf.backing
    if rng.random() < 0.5:  # the sheet's shadow on the backing
        raised = np.zeros(light.shape[:2], np.float32)
        raised[top : top + height, left : left + width] = 1
        light *= 1 - 0.6 * cv2.GaussianBlur(raised, (0, 0), 0.04 * leaf.dpi)[:, :, None]
    if rng.random() < 0.3:  # the edges of the leaves below
        edges = cloud(1, light.shape[1], leaf.dpi * rng.uniform(0.02, 0.06), rng, octaves=2)
        light[top : top + height] *= (1 + rng.uniform(0.1, 0.5) * (edges - np.float32(0.5)))[:, :, None]
    light[top : top + height, left : left + width] = leaf.light
    ink = cv2.copyMakeBorder(leaf.ink, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return leaf.changed(np.clip(light, 0, 1), np.asarray(ink, np.float32))


def _bent(leaf: Leaf, rng: Rng) -> Leaf:
    """Return the leaf curved as in an open book, seen at a slight angle; the size does not change."""
    height, width = leaf.size
    cols, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    reach = width * rng.uniform(0.1, 0.4)
    from_gutter = cols if rng.random() < 0.5 else width - cols
    lift = rng.normal(0, 0.12) * np.exp(-from_gutter / reach)
    tilt = rng.normal(0, 0.03, 2)
    from_rows = rows + (rows - height / 2) * (lift + tilt[0] * (cols / width - 0.5)) + lift * height * 0.2
    from_cols = cols + (cols - width / 2) * tilt[1] * (rows / height - 0.5)
    maps = from_cols.astype(np.float32), from_rows.astype(np.float32)
    light = cv2.remap(leaf.light, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    ink = cv2.remap(leaf.ink, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return leaf.changed(np.clip(light, 0, 1), np.asarray(ink, np.float32))
