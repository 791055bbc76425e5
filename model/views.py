"""Cut marked pages into labelled tiles, in the original view and in randomly scaled, skewed and shifted views."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np

from foliopress.configs.settings import OcrSettings
from foliopress.model.dataset import LabelledTiles, MarkedPage, read_marked_page
from foliopress.model.tile_truth import LITTLE_INK_STD, TEXT_FRACTION, fill_polygons, tile_std, tile_sums, tile_truth
from foliopress.model.truth import PageTruth, Scan, TruthLine, TruthRegion
from foliopress.tasks.analysis import tiles
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition

logger = logging.getLogger(__name__)

EMPTY_STD = 4.0
"""Luma standard deviation below which a patch inside a line's outline counts as bare paper."""
WRITING_STD = 24.0
"""Luma standard deviation above which a tile of an unmarked, handwritten page counts as writing."""
SURE_CONFIDENCE = 80.0
"""Tesseract confidence from which an unmarked word counts as text."""

# Handwritten throughout and unmarked: strong ink there is writing (or the line it stands on).
HANDWRITTEN_COLLECTIONS = frozenset({"noteshrink-notes"})

_SMALLEST_SCALE, _LARGEST_SCALE = 0.75, 1.35
_SKEW_DEGREES = 1.5  # standard deviation


@dataclass(frozen=True)
class View:
    """Scale, skew and shift of a page.

    scale: Factor on the page's dpi. skew_degrees: Rotation about the page's centre, anticlockwise.
    row_px, col_px: Pixels cut off at the top and on the left, so that tile borders cross the text elsewhere.
    """

    scale: float = 1.0
    skew_degrees: float = 0.0
    row_px: int = 0
    col_px: int = 0


UPRIGHT = View()


def labelled_views(
    scans: Sequence[Scan], cache: Path, settings: OcrSettings, seed: int, n_views: int, processes: int = 2
) -> list[LabelledTiles]:
    """Read, cut and label pages, each in the original and `n_views - 1` random views, in several processes.

    Unusable pages are skipped and logged. The same seed gives the same views of a page, whatever other pages there are.
    """
    if not scans:
        return []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(scans)), mp_context=context) as pool:
        found = pool.map(_views_of, scans, repeat(cache), repeat(settings), repeat(seed), repeat(n_views))
        return [view for views in found for view in views]


def label_tiles(page: MarkedPage, view: View = UPRIGHT) -> LabelledTiles:
    """Cut a page into tiles and label them; tiles without ground truth get weight 0.

    Important: tiles of marked text with ink, tiles of text regions with much ink, and tiles of words that Tesseract
    read with confidence. Unimportant: unmarked tiles without ink, and on marked pages also those with little ink.
    Weight 0: unmarked ink (stamps, letterheads and notes are often not marked) and pictures.

    Args:
        page: The page with its words and ground truth.
        view: Scale, skew and shift.
    """
    height_px, width_px = page.pixels.shape[:2]
    sure_words = [word for word in page.words if word.confidence >= SURE_CONFIDENCE and len(word.text) >= 3]
    seen = _ViewTransform(view, height_px, width_px)
    pixels = seen.image(page.pixels)
    mask, sure = (seen.mask(recognition.text_mask(words, height_px, width_px)) for words in (page.words, sure_words))
    truth = seen.truth(page.truth)
    grid = tiles.tile_grid(pixels.shape[0], pixels.shape[1], page.dpi * view.scale)
    luma = luma_of(pixels)
    found = tile_truth(luma, truth.lines if truth else (), grid)
    std = tile_std(luma, np.ones(luma.shape, bool), grid)
    has_text, handwritten = found.printed | found.handwritten, found.handwritten
    weight = np.zeros(grid.n_tiles, np.float32)
    weight[found.blank & ~found.marked] = 1.0
    if truth is not None:
        weight[found.little_ink & ~found.blank & ~found.marked] = 0.7
        weight[(std < EMPTY_STD) & found.marked] = 0.5
        for region in truth.regions:
            inside = tile_sums(fill_polygons([region.polygon], luma.shape), grid) > 0
            weight[inside] = 0.0
            if region.kind == "text":
                has_text = has_text | (inside & (std > LITTLE_INK_STD))
                weight[inside & (std < EMPTY_STD)] = 0.5
    elif page.scan.collection in HANDWRITTEN_COLLECTIONS:
        handwritten = std > WRITING_STD
        has_text = has_text | handwritten
    read = tiles.masked_fraction(sure, grid).ravel() >= 2 * TEXT_FRACTION
    has_text = has_text | (read & (std > LITTLE_INK_STD))
    weight[has_text] = 1.0
    return LabelledTiles(
        scan=page.scan,
        plane=tiles.work_plane(pixels, mask, grid),
        label=has_text.astype(np.float32),
        weight=weight,
        handwritten=handwritten,
        masked=tiles.masked_fraction(mask, grid).ravel(),
    )


def random_view(rng: np.random.Generator, tile_px: int) -> View:
    """Return a view with random scale and shift, two times in three also slightly skewed."""
    scale = float(np.exp(rng.uniform(np.log(_SMALLEST_SCALE), np.log(_LARGEST_SCALE))))
    skew = float(rng.normal(0, _SKEW_DEGREES)) if rng.random() < 2 / 3 else 0.0
    return View(scale, skew, int(rng.integers(tile_px)), int(rng.integers(tile_px)))


class _ViewTransform:
    """Transforms pixels, masks and ground truth of a page into a view."""

    def __init__(self, view: View, height_px: int, width_px: int) -> None:
        self._is_as_it_was = view.skew_degrees == 0 and view.row_px == 0 and view.col_px == 0
        self._matrix = cv2.getRotationMatrix2D(((width_px - 1) / 2, (height_px - 1) / 2), view.skew_degrees, 1.0)
        self._matrix[:, 2] -= (view.col_px, view.row_px)
        self._size = width_px - view.col_px, height_px - view.row_px

    def image(self, pixels: np.ndarray) -> np.ndarray:
        """Return the pixels; outside the page its edge is replicated."""
        if self._is_as_it_was:
            return pixels
        return cv2.warpAffine(pixels, self._matrix, self._size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)

    def mask(self, mask: np.ndarray) -> np.ndarray:
        """Return a (height, width) bool mask; False outside the page."""
        if self._is_as_it_was:
            return mask
        return cv2.warpAffine(mask.astype(np.uint8), self._matrix, self._size, flags=cv2.INTER_NEAREST) > 0

    def truth(self, truth: PageTruth | None) -> PageTruth | None:
        """Return the transformed ground truth."""
        return truth and PageTruth(
            tuple(
                TruthLine(self._polygon(line.polygon), line.text, line.kind, line.is_typewritten)
                for line in truth.lines
            ),
            tuple(TruthRegion(self._polygon(region.polygon), region.kind) for region in truth.regions),
        )

    def _polygon(self, polygon: np.ndarray) -> np.ndarray:
        moved: np.ndarray = polygon[:, ::-1] @ self._matrix[:, :2].T + self._matrix[:, 2]
        return moved[:, ::-1].copy()


def _views_of(scan: Scan, cache: Path, settings: OcrSettings, seed: int, n_views: int) -> list[LabelledTiles]:
    try:
        page = read_marked_page(scan, cache, settings)
    except PageError as error:
        logger.info("%s is skipped: %s", scan.key, error)
        return []
    rng = np.random.default_rng([seed, *scan.key.encode()])
    tile_px = max(1, min(*page.pixels.shape[:2], tiles.tile_grid(1, 1, page.dpi).tile_px))
    views = [UPRIGHT, *(random_view(rng, tile_px) for _ in range(n_views - 1))]
    return [label_tiles(page, view) for view in views]
