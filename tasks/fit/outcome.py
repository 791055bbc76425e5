"""Outcomes: what compressing a page came to, and what every way of fitting one needs."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from foliopress.configs.settings import EncodeSettings, Settings
from foliopress.tasks.analysis import page_kinds, resolution, tiles
from foliopress.tasks.analysis.page_analysis import Findings
from foliopress.tasks.analysis.strokes import Ink
from foliopress.tasks.codecs import encode
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError


@dataclass(frozen=True)
class Outcome:
    """What compressing one page came to; `levels` are (n_rows, n_cols) int8, all 1 unless the page is written so.

    `figures` are columns of the page's row.
    """

    problem: PageError | None
    data: bytes | None = field(repr=False)
    codec: encode.Codec | None
    levels: np.ndarray = field(repr=False)
    figures: dict[str, object]


def planned_levels(found: Findings, settings: Settings) -> np.ndarray:
    """Return the levels (n_rows, n_cols) int8 that a page's tiles have at first."""
    return resolution.choose_levels(
        found.coarse_errors,
        found.ink,
        found.importance,
        found.masked,
        settings.importance,
        settings.resolution,
    )


def strengthened(levels: np.ndarray, failing: np.ndarray, ink: Ink, grid: tiles.TileGrid) -> np.ndarray:
    """Return the levels with every tile of ink near a failing box at its full resolution; bare paper stays coarse.

    Args:
        levels: (n_rows, n_cols) int8.
        failing: (n, 4) (row_px, col_px, height_px, width_px).
        ink: The page's strokes.
        grid: The page's tiles.
    """
    near = np.zeros(levels.shape, bool)
    for row_px, col_px, height_px, width_px in failing.tolist():
        rows = slice(row_px // grid.tile_px, (row_px + height_px) // grid.tile_px + 1)
        cols = slice(col_px // grid.tile_px, (col_px + width_px) // grid.tile_px + 1)
        near[rows, cols] = True
    strokes = ink.plain if ink.coloured is None else ink.plain | ink.coloured
    has_ink = tiles.masked_fraction(strokes, grid) >= resolution.LEAST_STROKE_FRACTION
    return np.where(near & has_ink, np.int8(1), levels)


def plan_figures(levels: np.ndarray) -> dict[str, object]:
    """Return the columns of a page's row that count its levels."""
    return {f"tiles_at_level_{level}": count for level, count in resolution.count_levels(levels).items()}


def pixels_to_code(found: Findings, settings: EncodeSettings) -> np.ndarray:
    """Return a page's pixels, without chroma where it has none to speak of."""
    return found.page.pixels if keeps_colour(found, settings) else luma_of(found.page.pixels)


def keeps_colour(found: Findings, settings: EncodeSettings) -> bool:
    """Return whether a page is written in colour."""
    pixels = found.page.pixels
    if pixels.ndim == 2:
        return False
    if settings.drop_colour == "never":
        red, green, blue = cv2.split(pixels)
        return not (np.array_equal(red, green) and np.array_equal(green, blue))
    if found.kind is page_kinds.PageKind.COLOUR or len(found.colour_marks):
        return True
    return found.kind is page_kinds.PageKind.BLANK and page_kinds.has_colour(pixels)  # a blank page may be red


def no_gain(form: str, size_bytes: int, most_bytes: int) -> PageError:
    """Return the problem of a page that is not small enough to be of use."""
    return PageError("no_gain", f"as {form} it would have {size_bytes} bytes, of use are less than {most_bytes}")
