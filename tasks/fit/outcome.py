"""Define the outcome of compressing a page, and the functions that every way of fitting one shares."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from foliopress.configs.settings import EncodeSettings, Settings
from foliopress.tasks.analysis import page_kinds, resolution, tiles
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.analysis.strokes import Ink
from foliopress.tasks.checks.page_check import LegibilityMetrics
from foliopress.tasks.codecs import encode
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError


@dataclass(frozen=True)
class EncodedPage:
    """A page as its codec wrote it."""

    data: bytes = field(repr=False)
    codec: encode.Codec


@dataclass(frozen=True)
class PageSize:
    """Size of an upright page; `dpi` is its resolution tag, None without one."""

    height_px: int
    width_px: int
    dpi: float | None


@dataclass(frozen=True)
class FitMetrics:
    """Measurements of a fit for the page's row; None where the fit did not get that far.

    `size` is that of the output; the seconds are those of all attempts.
    """

    codec: encode.Codec | None = None
    quality: int | None = None
    attempts: int | None = None
    tiles_per_level: resolution.LevelCounts | None = None
    size: PageSize | None = None
    legibility: LegibilityMetrics = field(default_factory=LegibilityMetrics)
    seconds_encode: float | None = None
    seconds_check: float | None = None
    seconds_reread: float | None = None

    def only_seconds(self) -> FitMetrics:
        """Return the durations alone, for a fit of which nothing is kept."""
        return FitMetrics(
            seconds_encode=self.seconds_encode, seconds_check=self.seconds_check, seconds_reread=self.seconds_reread
        )


@dataclass(frozen=True)
class Outcome:
    """Result of compressing one page.

    `problem` keeps the page as it is; the last encoding may be there all the same. `levels` are (n_rows, n_cols) int8,
    all 1 unless the page was encoded with coarser tiles.
    """

    problem: PageError | None
    encoded: EncodedPage | None
    levels: np.ndarray = field(repr=False)
    metrics: FitMetrics = field(default_factory=FitMetrics)

    @property
    def data(self) -> bytes | None:
        """Bytes of the encoding."""
        return None if self.encoded is None else self.encoded.data

    @property
    def codec(self) -> encode.Codec | None:
        """Codec of the encoding."""
        return None if self.encoded is None else self.encoded.codec


def rejected(problem: PageError, analysis: PageAnalysis, metrics: FitMetrics | None = None) -> Outcome:
    """Return the outcome of a page that has no encoding."""
    return Outcome(problem, None, full_resolution(analysis), metrics or FitMetrics())


def full_resolution(analysis: PageAnalysis) -> np.ndarray:
    """Return levels (n_rows, n_cols) int8 that keep every pixel."""
    return np.ones(analysis.importance.shape, np.int8)


def size_of(analysis: PageAnalysis) -> PageSize:
    """Return the size of a page that is encoded with all its pixels."""
    height_px, width_px = analysis.page.pixels.shape[:2]
    return PageSize(height_px, width_px, analysis.page.dpi)


def planned_levels(analysis: PageAnalysis, settings: Settings) -> np.ndarray:
    """Return the levels (n_rows, n_cols) int8 of a page's tiles for the first attempt."""
    return resolution.choose_levels(
        analysis.coarse_errors,
        analysis.ink,
        analysis.importance,
        analysis.word_tiles,
        settings.importance,
        settings.resolution,
    )


def tile_plan(analysis: PageAnalysis, levels: np.ndarray, settings: Settings) -> resolution.TilePlan:
    """Return the plan that resizes a page's tiles to their levels."""
    sure = analysis.importance >= settings.importance.sure
    return resolution.TilePlan(levels, analysis.grid, analysis.dpi, analysis.ink, sure)


def strengthened(levels: np.ndarray, failing: np.ndarray, ink: Ink, grid: tiles.TileGrid) -> np.ndarray:
    """Return the levels with every tile of ink near a failing box at full resolution; bare paper stays coarse.

    Args:
        levels: (n_rows, n_cols) int8.
        failing: (n, 4) (row_px, col_px, height_px, width_px).
        ink: Strokes of the page.
        grid: Tiles of the page.
    """
    near = np.zeros(levels.shape, bool)
    for row_px, col_px, height_px, width_px in failing.tolist():
        rows = slice(row_px // grid.tile_px, (row_px + height_px) // grid.tile_px + 1)
        cols = slice(col_px // grid.tile_px, (col_px + width_px) // grid.tile_px + 1)
        near[rows, cols] = True
    strokes = ink.plain if ink.coloured is None else ink.plain | ink.coloured
    has_ink = tiles.masked_fraction(strokes, grid) >= resolution.LEAST_STROKE_FRACTION
    return np.where(near & has_ink, np.int8(1), levels)


def pixels_to_encode(analysis: PageAnalysis, settings: EncodeSettings) -> np.ndarray:
    """Return the pixels of a page, without chroma where it has no visible colour."""
    pixels = analysis.page.pixels
    return pixels if keeps_colour(analysis, settings) else luma_of(pixels)


def keeps_colour(analysis: PageAnalysis, settings: EncodeSettings) -> bool:
    """Return whether a page is encoded in colour."""
    pixels = analysis.page.pixels
    if pixels.ndim == 2:
        return False
    if settings.drop_colour == "never":
        red, green, blue = cv2.split(pixels)
        return not (np.array_equal(red, green) and np.array_equal(green, blue))
    if analysis.kind is page_kinds.PageKind.COLOUR or len(analysis.colour_marks):
        return True
    return analysis.kind is page_kinds.PageKind.BLANK and page_kinds.has_colour(pixels)  # a blank page may be red


def no_gain(form: str, size_bytes: int, most_bytes: int) -> PageError:
    """Return the `no_gain` error for an encoding that saves too little."""
    return PageError("no_gain", f"as {form} it would have {size_bytes} bytes, of use are less than {most_bytes}")
