"""Rotate marked pages as if scanned sideways or upside down, and run OCR on them again."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np

from foliopress.configs.settings import LimitSettings, OcrSettings
from foliopress.model.dataset import MarkedPage
from foliopress.model.truth import PageTruth, Scan
from foliopress.tasks.analysis.tiles import tile_grid
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import recognition

logger = logging.getLogger(__name__)

ROTATIONS = (90, 180, 270)
"""Degrees, anticlockwise."""


def read_rotated_cached(
    scans: Sequence[tuple[Scan, int]], cache: Path, settings: OcrSettings, processes: int = 2
) -> None:
    """Run OCR on scans padded to whole tiles and rotated, in parallel, unless `cache` has the words.

    Args:
        scans: Each with the side of its tiles in pixels.
        cache: Folder of cached words.
        settings: OCR settings.
        processes: Pages read in parallel.
    """
    jobs = [(scan, tile_px, degrees, cache, settings) for scan, tile_px in scans for degrees in ROTATIONS]
    missing = [job for job in jobs if not _words_path(*job).exists()]
    if not missing:
        return
    logger.info("running OCR on %d rotated pages; results are cached in %s", len(missing), cache)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(missing)), mp_context=context) as pool:
        for _ in pool.map(_cache_words, *zip(*missing, strict=True)):
            pass


def rotated_words(
    scan: Scan, tile_px: int, degrees: int, cache: Path, settings: OcrSettings
) -> tuple[recognition.Word, ...] | None:
    """Return the words of a rotated scan in its own coordinates, or None if OCR failed.

    OCR runs if the words are not in the cache.
    """
    path = _words_path(scan, tile_px, degrees, cache, settings)
    if not path.exists():
        _cache_words(scan, tile_px, degrees, cache, settings)
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["problem"]:
        logger.info("%s rotated by %d degrees: %s", scan.key, degrees, stored["problem"])
        return None
    return tuple(recognition.Word(**word) for word in stored["words"])


def rotated_page(page: MarkedPage, degrees: int, words: tuple[recognition.Word, ...]) -> MarkedPage:
    """Return a page padded to whole tiles and rotated, with its ground truth; dpi and kind do not change.

    Args:
        page: The upright page.
        degrees: 0, 90, 180 or 270, anticlockwise.
        words: The words of the rotated page.
    """
    height_px, width_px = page.pixels.shape[:2]
    upright = pad_to_whole_tiles(page.pixels, tile_grid(height_px, width_px, page.dpi).tile_px)
    height_px, width_px = upright.shape[:2]
    truth = page.truth and PageTruth(
        tuple(
            replace(line, polygon=rotate_polygon(line.polygon, height_px, width_px, degrees))
            for line in page.truth.lines
        ),
        tuple(
            replace(region, polygon=rotate_polygon(region.polygon, height_px, width_px, degrees))
            for region in page.truth.regions
        ),
    )
    return replace(page, pixels=rotate_pixels(upright, degrees), words=words, truth=truth)


def pad_to_whole_tiles(pixels: np.ndarray, tile_px: int) -> np.ndarray:
    """Pad a page to whole tiles by replicating its last row and column.

    >>> pad_to_whole_tiles(np.zeros((5, 8), np.uint8), 4).shape
    (8, 8)
    """
    bottom, right = (-side % tile_px for side in pixels.shape[:2])
    padded: np.ndarray = cv2.copyMakeBorder(pixels, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return padded


def rotate_pixels(pixels: np.ndarray, degrees: int) -> np.ndarray:
    """Return a page rotated anticlockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, degrees // 90))


def rotate_polygon(polygon: np.ndarray, height_px: int, width_px: int, degrees: int) -> np.ndarray:
    """Return an outline on the rotated page; its points are pixels, so the last row becomes row 0 at 180 degrees.

    Args:
        polygon: (n, 2) of (row_px, col_px) on the page before rotation.
        height_px: Height of that page.
        width_px: Width of that page.
        degrees: 0, 90, 180 or 270, anticlockwise.

    >>> rotate_polygon(np.array([[0.0, 9.0]]), 5, 10, 90).tolist()
    [[0.0, 0.0]]
    """
    row, col = np.round(polygon).T  # rounded as when drawn: a half would be rounded the other way after the rotation
    turned = {
        0: (row, col),
        90: (width_px - 1 - col, row),
        180: (height_px - 1 - row, width_px - 1 - col),
        270: (col, height_px - 1 - row),
    }
    return np.stack(turned[degrees], axis=1)


def _words_path(scan: Scan, tile_px: int, degrees: int, cache: Path, settings: OcrSettings) -> Path:
    digest = hashlib.sha256(scan.path.read_bytes())
    digest.update(f"{settings.model_dump_json()} whole tiles of {tile_px} px, turned by {degrees}".encode())
    return cache / f"{scan.path.stem[:60]}-{digest.hexdigest()[:16]}.json"


def _cache_words(scan: Scan, tile_px: int, degrees: int, cache: Path, settings: OcrSettings) -> None:
    """Write a rotated scan's words, or the error that OCR ended with, to the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    words: tuple[recognition.Word, ...] = ()
    problem = ""
    try:
        page = image_reader.read_page(scan.path.read_bytes(), 0, LimitSettings())
        pixels = rotate_pixels(pad_to_whole_tiles(page.pixels, tile_px), degrees)
        height_px, width_px = pixels.shape[:2]
        words = recognition.read_words(pixels, recognition.guess_dpi(height_px, width_px, page.dpi), settings)
    except PageError as error:
        problem = error.reason
    path = _words_path(scan, tile_px, degrees, cache, settings)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"problem": problem, "words": [asdict(word) for word in words]}), encoding="utf-8")
    draft.replace(path)
