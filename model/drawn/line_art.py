"""Draw line art: plants, ornaments and plans, each line (n, 2) of (row, col) in millimetres."""

from __future__ import annotations

import math

import numpy as np

from foliopress.model.drawn.lines import translated
from foliopress.model.drawn.random_choice import Rng
from foliopress.tasks.samples.lettering import Points


def plant(rng: Rng, height_mm: float) -> list[Points]:
    """Return the lines of an engraved plant that grows upwards from (0, 0)."""
    t = np.linspace(0, 1, 30)
    bend = rng.normal(0, 0.15)
    stem = np.stack([-height_mm * t, height_mm * bend * np.sin(t * 2)], axis=1)
    lines = [stem]
    for number in range(int(rng.integers(6, 16))):
        foot = stem[int(rng.integers(3, 28))]
        angle = rng.uniform(0.3, 1.2) * (1 if number % 2 else -1)
        length, breadth = height_mm * rng.uniform(0.1, 0.3), rng.uniform(0.08, 0.2)
        ahead, aside = np.array([-math.cos(angle), math.sin(angle)]), np.array([math.sin(angle), math.cos(angle)])
        along = np.linspace(0, 1, 14)[:, None] * length
        for share in np.linspace(-1, 1, int(rng.integers(3, 9))):
            half = share * breadth * length * np.sin(np.linspace(0, math.pi, 14))[:, None]
            lines.append(foot + along * ahead + half * aside)
    return [*lines, *(ring + stem[-1] for ring in rosette(rng, height_mm * rng.uniform(0.05, 0.15)))]


def rosette(rng: Rng, radius_mm: float) -> list[Points]:
    """Return the rings of an ornament around (0, 0)."""
    angle = np.linspace(0, 2 * math.pi, 120)
    petals, depth = int(rng.integers(3, 9)), rng.uniform(0.1, 0.6)
    rings = []
    for share in np.linspace(0.15, 1, int(rng.integers(3, 7))):
        reach = radius_mm * share * (1 + depth * np.cos(petals * angle)) / (1 + depth)
        rings.append(np.stack([reach * np.sin(angle), reach * np.cos(angle)], axis=1))
    return rings


def machine(rng: Rng, height_mm: float, width_mm: float) -> list[Points]:
    """Return the lines of a plan from (0, 0) down and to the right: boxes, circles, hatching, dimensions."""
    angle = np.linspace(0, 2 * math.pi, 70)
    lines = []
    for _ in range(int(rng.integers(4, 12))):
        row, col = rng.uniform(0.1, 0.8) * height_mm, rng.uniform(0.1, 0.8) * width_mm
        reach = rng.uniform(0.05, 0.2) * height_mm
        if rng.random() < 0.4:
            wheel = np.stack([np.sin(angle), np.cos(angle)], axis=1) * reach
            lines += [translated(wheel, row, col), translated(wheel * rng.uniform(0.5, 0.95), row, col)]
            lines.append(np.array([[row - 1.3 * reach, col], [row + 1.3 * reach, col]]))
            lines.append(np.array([[row, col - 1.3 * reach], [row, col + 1.3 * reach]]))
            continue
        bottom, right = row + reach, col + rng.uniform(0.1, 0.35) * width_mm
        lines.append(np.array([[row, col], [row, right], [bottom, right], [bottom, col], [row, col]]))
        if rng.random() < 0.5:
            steps = np.arange(0, right - col - reach, rng.uniform(1, 2.5))
            lines += [np.array([[bottom, col + step], [row, col + step + reach]]) for step in steps]
    return lines
