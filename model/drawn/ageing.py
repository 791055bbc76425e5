"""Age a leaf with defects of long use. Each returns a new leaf; covered ink is covered in the ground truth too."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from foliopress.model.drawn.ink import weakened
from foliopress.model.drawn.leaf import Leaf
from foliopress.model.drawn.lines import as_fixed_point
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.show_through import add_show_through, random_text_page
from foliopress.tasks.samples.lettering import Mask
from foliopress.tasks.samples.paper import BLACK, BLUE_BLACK, cloud


def aged(leaf: Leaf, rng: Rng) -> Leaf:
    """Return the leaf with a random selection of the defects below, each with its own probability."""
    for chance, defect in DEFECTS:
        if rng.random() < chance:
            leaf = defect(leaf, rng)
    return leaf


def _faded(leaf: Leaf, rng: Rng) -> Leaf:
    """Fade the ink, in places or all over."""
    height, width = leaf.size
    loss = np.full((height, width), rng.uniform(0.1, 0.7), np.float32)
    if rng.random() < 0.5:
        patches = cloud(height, width, max(height, width) / rng.uniform(1.5, 5), rng, octaves=3)
        loss = np.clip(patches * rng.uniform(1.2, 2.4) - rng.uniform(0.3, 0.9), 0, 1).astype(np.float32)
    paper = np.median(leaf.light[::4, ::4], axis=(0, 1)).astype(np.float32)
    cover = loss[:, :, None]
    return leaf.changed(leaf.light + cover * (paper - leaf.light), weakened(leaf.ink, leaf.ink * (1 - cover)))


def _shown_through(leaf: Leaf, rng: Rng) -> Leaf:
    """Let the back show through, with other text or the same; board and dark card are opaque."""
    back = leaf.light
    if float(np.median(back[::4, ::4])) < 0.5:
        return leaf
    if rng.random() < 0.5:
        other = cv2.resize(random_text_page(rng).light, leaf.size[::-1], interpolation=cv2.INTER_AREA)
        back = np.asarray(other, np.float32)
    return leaf.changed(add_show_through(leaf.light, back, float(rng.uniform(0.03, 0.2)), leaf.dpi))


def _folded(leaf: Leaf, rng: Rng) -> Leaf:
    """Fold the sheet sharply right across: a dark line next to a light one, and one side slightly darker."""
    height, width = leaf.size
    shade = np.ones((height, width), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        rows, cols = np.ogrid[:height, :width]
        if rng.random() < 0.6:
            away = rows - height * rng.uniform(0.1, 0.9) - cols * rng.normal(0, 0.01)
        else:
            away = cols - width * rng.uniform(0.1, 0.9) - rows * rng.normal(0, 0.01)
        away = away / (leaf.dpi * rng.uniform(0.006, 0.02))
        depth = rng.uniform(0.06, 0.4)
        shade *= 1 - depth * np.exp(-(away**2)) + 0.4 * depth * np.exp(-((away - 2) ** 2))
        shade *= 1 - rng.uniform(0, 0.05) * (away > 0)
    return leaf.changed(np.clip(leaf.light * shade[:, :, None], 0, 1))


def _creased(leaf: Leaf, rng: Rng) -> Leaf:
    """Crumple the paper: facets turned towards the light or away from it, with sharp edges between them."""
    height, width = leaf.size
    points = np.ones((height // 2 + 1, width // 2 + 1), np.uint8)
    n_facets = max(round(height * width / (leaf.dpi * rng.uniform(0.4, 1.6)) ** 2), 4)
    points[rng.integers(0, points.shape[0], n_facets), rng.integers(0, points.shape[1], n_facets)] = 0
    facet = cv2.distanceTransformWithLabels(points, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)[1]
    tone = rng.normal(0, rng.uniform(0.01, 0.03), n_facets + 1).astype(np.float32)[facet]
    tone = cv2.resize(tone, (width, height), interpolation=cv2.INTER_LINEAR)
    soft = cv2.GaussianBlur(tone, (0, 0), leaf.dpi * 0.02)
    edges = cv2.GaussianBlur(tone, (0, 0), leaf.dpi * 0.004) - soft
    where = np.clip(cloud(height, width, max(height, width) / 2, rng, octaves=2) * 3 - rng.uniform(0, 1.2), 0, 1)
    return leaf.changed(np.clip(leaf.light * (1 + where * (soft + 3 * edges))[:, :, None], 0, 1))


def _unevenly_lit(leaf: Leaf, rng: Rng) -> Leaf:
    """Light the page from one side, or cast the shadow of something next to it."""
    height, width = leaf.size
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    cols = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    slope = rng.normal(0, 0.09, 2)
    shade = 1 + slope[0] * rows + slope[1] * cols - abs(slope).sum()
    shade = shade + rng.uniform(0, 0.15) * (cloud(height, width, max(height, width), rng, octaves=2) - 0.5)
    return leaf.changed(np.clip(leaf.light * shade[:, :, None], 0, 1))


def _with_gutter_shadow(leaf: Leaf, rng: Rng) -> Leaf:
    """Cast the shadow of the binding along the left or the right edge."""
    width = leaf.size[1]
    shade = 1 - rng.uniform(0.2, 0.75) * np.exp(-np.arange(width) / (leaf.dpi * rng.uniform(0.1, 0.5)))
    return leaf.changed(leaf.light * (shade if rng.random() < 0.5 else shade[::-1])[None, :, None])


def _foxed(leaf: Leaf, rng: Rng) -> Leaf:
    """Add brown spots of mould or rust."""
    spots = np.zeros(leaf.size, np.float32)
    for _ in range(int(rng.integers(8, 150))):
        middle = int(rng.integers(0, spots.shape[1])), int(rng.integers(0, spots.shape[0]))
        cv2.circle(spots, middle, max(round(leaf.dpi * rng.gamma(1.5, 0.008)), 1), float(rng.uniform(0.1, 0.6)), -1)
    soft = cv2.GaussianBlur(spots, (0, 0), leaf.dpi * 0.008)
    return leaf.changed(leaf.light * (1 - soft[:, :, None] * np.array([0.45, 0.65, 0.9], np.float32)))


def _water_stained(leaf: Leaf, rng: Rng) -> Leaf:
    """Add a large water stain with its brown tide line."""
    height, width = leaf.size
    depth = cloud(height, width, max(height, width) / 1.5, rng, octaves=3) - rng.uniform(0.45, 0.65)
    wet = 1 / (1 + np.exp(-depth * 120))
    tide = np.exp(-((depth / 0.015) ** 2))
    cover = rng.uniform(0.03, 0.12) * wet + rng.uniform(0.03, 0.18) * tide
    return leaf.changed(leaf.light * (1 - cover[:, :, None] * np.array([0.6, 0.9, 1.5], np.float32)).clip(0.2, 1))


def _with_hairs(leaf: Leaf, rng: Rng) -> Leaf:
    """Add hairs, fibres and scratches."""
    light = leaf.light.copy()
    for _ in range(int(rng.integers(2, 14))):
        turns = np.cumsum(rng.normal(0, rng.uniform(0.02, 0.25), 24)) + rng.uniform(0, 2 * math.pi)
        step = leaf.dpi / 25.4 * rng.uniform(0.05, 0.4)
        way = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1) * step, axis=0)
        way += rng.uniform(0, 1, 2) * light.shape[1::-1]
        shade = float(rng.uniform(0.3, 0.8) if rng.random() < 0.75 else rng.uniform(0.9, 1))
        cv2.polylines(light, [as_fixed_point(way)], False, (shade, shade, shade * 0.95), 1, cv2.LINE_AA, 3)
    return leaf.changed(light)


def _taped(leaf: Leaf, rng: Rng) -> Leaf:
    """Add strips of yellowed adhesive tape."""
    light = leaf.light.copy()
    for _ in range(int(rng.integers(1, 4))):
        middle = rng.uniform(0, 1, 2) * light.shape[1::-1]
        size = np.array([rng.uniform(25, 90), rng.uniform(12, 22)]) / 25.4 * leaf.dpi
        turn = float(rng.choice([0, 90]) + rng.normal(0, 4))
        strip = np.zeros(light.shape[:2], np.float32)
        corners = cv2.boxPoints(((float(middle[0]), float(middle[1])), (float(size[0]), float(size[1])), turn))
        cv2.fillPoly(strip, [np.round(corners).astype(np.int32)], 1.0, cv2.LINE_AA)
        light *= 1 - strip[:, :, None] * np.array([0.06, 0.13, 0.36], np.float32) * np.float32(rng.uniform(0.3, 1.2))
    return leaf.changed(light)


def _punched(leaf: Leaf, rng: Rng) -> Leaf:
    """Punch holes along one edge, through which the backing shows."""
    holes = np.zeros(leaf.size, np.float32)
    height = leaf.size[0]
    radius, inset = leaf.dpi / 25.4 * rng.uniform(2.2, 3.6), leaf.dpi / 25.4 * rng.uniform(7, 13)
    for share in pick(rng, ((0.36, 0.64), (0.12, 0.5, 0.88), (0.1, 0.36, 0.64, 0.9))):
        middle = round(inset), round(height * share)
        cv2.circle(holes, middle, round(radius), 1.0, -1, cv2.LINE_AA)
    if rng.random() < 0.3:
        holes = np.ascontiguousarray(holes[:, ::-1])
    return _covered(leaf, holes)


def _torn(leaf: Leaf, rng: Rng) -> Leaf:
    """Tear off a corner."""
    height, width = leaf.size
    reach = leaf.dpi / 25.4 * rng.uniform(6, 40, 2)
    edge = cloud(height, width, leaf.dpi / 4, rng, octaves=4) - 0.5
    rows, cols = np.ogrid[:height, :width]
    gone = ((rows / reach[0] + cols / reach[1] + edge * 0.25) < 1).astype(np.float32)
    turn = (slice(None, None, pick(rng, (1, -1))), slice(None, None, pick(rng, (1, -1))))
    return _covered(leaf, gone[turn])


def _blotted(leaf: Leaf, rng: Rng) -> Leaf:
    """Add blots and smears of ink or dirt."""
    blots = np.zeros(leaf.size, np.float32)
    for _ in range(int(rng.integers(1, 6))):
        middle = int(rng.integers(0, blots.shape[1])), int(rng.integers(0, blots.shape[0]))
        axes = max(round(leaf.dpi * rng.gamma(2, 0.03)), 2), max(round(leaf.dpi * rng.gamma(2, 0.03)), 2)
        cv2.ellipse(blots, middle, axes, float(rng.uniform(0, 180)), 0, 360, float(rng.uniform(0.2, 0.8)), -1)
    shape = np.clip((cv2.GaussianBlur(blots, (0, 0), leaf.dpi * 0.02) - 0.1) * 2.5, 0, 0.85)
    colour = np.array(pick(rng, (BLUE_BLACK, BLACK, (0.45, 0.32, 0.2))), np.float32)
    light = leaf.light * (1 - shape[:, :, None] * (1 - colour))
    return leaf.changed(light, weakened(leaf.ink, leaf.ink * (1 - shape)[:, :, None]))


def _covered(leaf: Leaf, mask: Mask) -> Leaf:
    """Return the leaf with its backing in place of the masked area."""
    cover = mask[:, :, None]
    return leaf.changed(leaf.light + cover * (np.array(leaf.backing, np.float32) - leaf.light), leaf.ink * (1 - cover))


DEFECTS: tuple[tuple[float, Callable[[Leaf, Rng], Leaf]], ...] = (
    (0.3, _faded),
    (0.35, _shown_through),
    (0.2, _folded),
    (0.12, _creased),
    (0.35, _unevenly_lit),
    (0.15, _with_gutter_shadow),
    (0.12, _foxed),
    (0.08, _water_stained),
    (0.25, _with_hairs),
    (0.06, _taped),
    (0.05, _blotted),
    (0.12, _punched),
    (0.1, _torn),
)
"""Each defect with its probability."""
