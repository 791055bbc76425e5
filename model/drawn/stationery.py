"""Provide empty sheets of common sizes and papers, ruled paper, and cover cloth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.lines import draw_lines
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.tasks.samples.paper import CREAM_PAPER, OLD_PAPER, RED, WHITE_PAPER, Colour, cloud

MOST_PIXELS = 4_500_000
"""A sheet's resolution is limited to this many pixels: larger ones take longer and teach no more."""
_DPIS = (100, 120, 150, 150, 200, 200, 200, 240, 300, 300, 400)

PAPERS: tuple[Colour, ...] = (
    WHITE_PAPER,
    WHITE_PAPER,
    CREAM_PAPER,
    CREAM_PAPER,
    OLD_PAPER,
    OLD_PAPER,
    (0.8, 0.72, 0.56),
    (0.95, 0.87, 0.42),
    (0.74, 0.84, 0.9),
    (0.72, 0.7, 0.66),
)
CLOTHS: tuple[Colour, ...] = (
    (0.13, 0.22, 0.19),
    (0.33, 0.12, 0.13),
    (0.15, 0.17, 0.3),
    (0.4, 0.3, 0.2),
    (0.75, 0.4, 0.45),
)
BIG = ((297.0, 210.0), (279.0, 216.0), (254.0, 203.0))
MIDDLE = ((210.0, 148.0), (200.0, 130.0), (230.0, 155.0), (180.0, 115.0), (150.0, 220.0))
SMALL = ((105.0, 148.0), (76.0, 127.0), (75.0, 125.0), (148.0, 105.0), (90.0, 140.0))
"""Sizes of sheets, (height, width) in millimetres: letters and forms; books; cards."""


def empty_sheet(rng: Rng, sizes_mm: Sequence[tuple[float, float]], paper: Colour | None = None) -> TracedSheet:
    """Return an empty sheet of one of the sizes, sometimes on its side, at a resolution that is fast to draw."""
    height_mm, width_mm = pick(rng, sizes_mm)
    area_inch = height_mm * width_mm / 25.4**2
    dpi = pick(rng, [dpi for dpi in _DPIS if dpi * dpi * area_inch <= MOST_PIXELS])
    tone = np.array(paper or pick(rng, PAPERS)) + rng.normal(0, 0.015)
    red, green, blue = (float(share) for share in np.clip(tone, 0.02, 1))
    return TracedSheet(height_mm, width_mm, dpi, (red, green, blue))


def rule_paper(sheet: TracedSheet, rng: Rng, step_mm: float, top_mm: float, *, is_graph: bool = False) -> None:
    """Draw the lines of writing paper or graph paper."""
    height, width = sheet.height_mm, sheet.width_mm
    rows = np.arange(top_mm, height - 3, step_mm)
    lines = [np.array([[row, 0], [row, width]], np.float64) for row in rows]
    if is_graph:
        lines += [np.array([[0, col], [height, col]], np.float64) for col in np.arange(3, width, step_mm)]
    colour = pick(rng, ((0.45, 0.6, 0.8), (0.5, 0.55, 0.6), (0.75, 0.5, 0.5), (0.4, 0.65, 0.55)))
    with sheet.layer(Layer.RULE):
        draw_lines(sheet, lines, rng.uniform(0.12, 0.3), colour, rng.uniform(0.35, 1.0))
        if rng.random() < 0.4:
            draw_lines(sheet, [np.array([[0, 22.0], [height, 22.0]])], 0.25, RED, 0.7)


def add_weave(sheet: TracedSheet, rng: Rng) -> TracedSheet:
    """Give a sheet a cloth or leather surface, and return it."""
    height, width = sheet.light.shape[:2]
    surface: npt.NDArray[np.floating]
    if rng.random() < 0.5:
        rows, cols = np.ogrid[:height, :width]
        surface = np.sin(rows * rng.uniform(0.6, 1.6)) * np.sin(cols * rng.uniform(0.6, 1.6)) * rng.uniform(0.03, 0.15)
    else:
        surface = (cloud(height, width, sheet.dpi * rng.uniform(0.02, 0.1), rng, 2) - 0.5) * rng.uniform(0.1, 0.5)
    sheet.light = np.asarray(np.clip(sheet.light * (1 + surface[:, :, None]), 0, 1), np.float32)
    return sheet
