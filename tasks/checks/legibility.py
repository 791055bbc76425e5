"""Compare a decoded page with its source by the SSIM of its strokes and the error of its colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.configs.settings import LegibilitySettings
from foliopress.tasks.analysis.block_sums import block_sums
from foliopress.tasks.analysis.colour_marks import NO_MARKS, ColourMarks, compare_marks
from foliopress.tasks.analysis.resolution import reduced
from foliopress.tasks.analysis.strokes import Ink
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.ocr.recognition import Word, text_mask

BLOCK_INCH = (0.25, 0.5)
"""Height and width of a block on paper: part of a line of print. The worst block decides."""
READING_DPI = 150.0
"""Resolution of a page on a screen: half that of most scans."""
LEAST_INK_FRACTION = 0.02
"""Blocks with less ink contain only specks and are not judged."""
_WINDOW_PX = 11
_STRIP_ROWS = 128


@dataclass(frozen=True)
class Verdict:
    """Result of the check.

    `text_ssim` is the mean SSIM on the strokes of words that OCR read (None without words), `worst_block_ssim` the mean
    of the worst block of ink (None on a page without ink), `chroma_error` the 95th percentile of the chroma difference
    at 1/8 size. `mark_chroma_error` is the largest error of a coloured mark's mean chroma, in grey levels (None on a
    page without one), and `marks_lost` counts the marks that are discoloured or faded. `failing` has the blocks below
    the floor and the boxes of such marks, (n, 4) (row_px, col_px, height_px, width_px); `is_discoloured` means that
    chroma failed, anywhere.
    """

    passed: bool
    text_ssim: float | None
    worst_block_ssim: float | None
    chroma_error: float
    failing: np.ndarray
    mark_chroma_error: float | None = None
    marks_lost: int = 0
    is_discoloured: bool = False


@dataclass(frozen=True)
class SourcePage:
    """An upright page and its analysis, with which a decoded page is compared.

    `pixels` is uint8, (height, width) or (height, width, 3). `words` are those that OCR read; ink outside them is
    judged as well.
    """

    pixels: np.ndarray
    words: Sequence[Word]
    ink: Ink
    dpi: float
    marks: ColourMarks = NO_MARKS


def judge(source: SourcePage, decoded: np.ndarray, settings: LegibilitySettings) -> Verdict:
    """Compare a decoded page with its source.

    Args:
        source: The source page.
        decoded: The same page after encoding and decoding, of the same height and width.
        settings: The floors.

    Raises:
        ValueError: If the two differ in height or width.
    """
    if source.pixels.shape[:2] != decoded.shape[:2]:
        raise ValueError(f"the decoded page has {decoded.shape[:2]} pixels, its source {source.pixels.shape[:2]}")
    ink, marks = source.ink, source.marks
    similarity = ssim_map(luma_of(source.pixels), luma_of(decoded))
    text = ink.plain & text_mask(source.words, *similarity.shape)
    blocks = block_means(similarity, ink.plain, source.dpi)
    worst = float(blocks.min(initial=np.inf))
    error = chroma_error(source.pixels, decoded)
    rows, cols = np.nonzero(blocks < settings.min_block_ssim)
    height_px, width_px = block_size(source.dpi)
    sizes = np.broadcast_to([height_px, width_px], (len(rows), 2))
    failing = np.concatenate([np.stack([rows * height_px, cols * width_px], axis=1), sizes], axis=1)
    is_discoloured, marks_lost, mark_error = error > settings.max_chroma_error, 0, None
    if len(marks):
        change = compare_marks(marks, decoded, settings.max_mark_chroma_error)
        lost = change.is_discoloured | change.is_faded
        failing = np.concatenate([failing, marks.boxes[lost]])
        is_discoloured |= bool(change.is_discoloured.any())
        marks_lost, mark_error = int(lost.sum()), float(change.chroma_error.max())
    return Verdict(
        passed=len(failing) == 0 and error <= settings.max_chroma_error,
        text_ssim=float(similarity[text].mean()) if text.any() else None,
        worst_block_ssim=worst if np.isfinite(worst) else None,
        chroma_error=error,
        failing=failing,
        mark_chroma_error=mark_error,
        marks_lost=marks_lost,
        is_discoloured=is_discoloured,
    )


def at_reading_size(plane: np.ndarray, dpi: float) -> np.ndarray:
    """Return a (height, width) plane averaged down to `READING_DPI`; a coarser one is returned unchanged.

    At that size a stroke of print is two pixels wide and the grain of the paper is gone: only shapes remain.
    """
    if dpi <= READING_DPI:
        return plane
    size = [max(1, round(side * READING_DPI / dpi)) for side in plane.shape[::-1]]
    smaller: np.ndarray = cv2.resize(plane, size, interpolation=cv2.INTER_AREA)
    return smaller


def ssim_map(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the SSIM of two (height, width) uint8 planes at every pixel, float32.

    Gaussian window of 11 pixels, sigma 1.5, K1 = 0.01, K2 = 0.03 (Wang et al. 2004, "Image quality assessment: from
    error visibility to structural similarity"). Computed in strips, so that the data stay in the cache.
    """
    height_px = a.shape[0]
    similarity = np.empty(a.shape, np.float32)
    for top in range(0, height_px, _STRIP_ROWS):
        bottom = min(height_px, top + _STRIP_ROWS)
        rows = slice(max(0, top - _WINDOW_PX // 2), bottom + _WINDOW_PX // 2)
        strip = _ssim(a[rows].astype(np.float32), b[rows].astype(np.float32))
        similarity[top:bottom] = strip[top - rows.start : bottom - rows.start]
    return similarity


def _ssim(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the SSIM of two float32 planes; only the sum of the variances is needed, which saves a filter."""
    mean_x, mean_y = _window_mean(x), _window_mean(y)
    product, squares = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    covariance = _window_mean(x * y)
    covariance -= product
    variances = _window_mean(x * x + y * y)
    variances -= squares
    c1, c2 = np.float32((0.01 * 255) ** 2), np.float32((0.03 * 255) ** 2)
    for plane, constant in ((product, c1), (covariance, c2)):  # in place from here on: strips fill the cache
        plane *= np.float32(2)
        plane += constant
    squares += c1
    variances += c2
    product *= covariance
    squares *= variances
    similarity: np.ndarray = np.divide(product, squares, out=product)
    return similarity


def block_means(similarity: np.ndarray, ink: np.ndarray, dpi: float) -> np.ndarray:
    """Return (n_block_rows, n_block_cols) float32: mean similarity on each block's ink, infinite without enough ink."""
    block_px = block_size(dpi)
    n_ink = block_sums(ink, *block_px)
    total = block_sums(cv2.copyTo(similarity, ink.view(np.uint8)), *block_px)
    is_judged = n_ink >= LEAST_INK_FRACTION * block_px[0] * block_px[1]
    return np.asarray(np.where(is_judged, total / np.maximum(n_ink, 1.0), np.inf), np.float32)


def chroma_error(a: np.ndarray, b: np.ndarray) -> float:
    """Return the 95th percentile of |dCb| and |dCr| at 1/8 size, in grey levels; 0 between two grey pages."""
    if a.ndim == 2 and b.ndim == 2:
        return 0.0
    return float(np.percentile(np.abs(_small_chroma(a) - _small_chroma(b)), 95))


def _small_chroma(pixels: np.ndarray) -> np.ndarray:
    small = reduced(pixels, 8)
    rgb = small if small.ndim == 3 else cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb)[..., 1:].astype(np.float32)


def _window_mean(plane: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(plane, (_WINDOW_PX, _WINDOW_PX), 1.5)


def block_size(dpi: float) -> tuple[int, int]:
    """Return (height_px, width_px) of a block."""
    return max(4, round(BLOCK_INCH[0] * dpi)), max(8, round(BLOCK_INCH[1] * dpi))
