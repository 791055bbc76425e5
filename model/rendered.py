"""Draw synthetic training pages with exact ground truth, to supplement the few marked scans."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from foliopress.configs.settings import OcrSettings
from foliopress.model.dataset import RENDERED, LabelledTiles
from foliopress.model.drawn.pages import draw_page
from foliopress.model.ink_truth import label_page
from foliopress.model.truth import Scan
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition

logger = logging.getLogger(__name__)

DRAWING_VERSION = 1
"""Increase it when the same seed gives other pages or labels: cached pages are then drawn again."""


def rendered_pages(
    count: int, seed: int, cache: Path, settings: OcrSettings, processes: int = 2
) -> list[LabelledTiles]:
    """Draw, read and label pages; each is cached for the next call.

    Args:
        count: Number of pages. Every kind of page occurs within the first `len(model.drawn.pages.PAGES)`.
        seed: The same seed, number and settings give the same page with the same library versions.
        cache: Folder with one `.npz` per page; created if absent.
        settings: OCR settings for the masks.
        processes: Pages drawn in parallel; 1 draws them in this process.
    """
    cache.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(count) if not _page_path(number, seed, cache, settings).exists()]
    if missing:
        logger.info("drawing %d pages; they are cached in %s", len(missing), cache)
    if processes == 1 or len(missing) < 2:
        for number in missing:
            _cache_page(number, seed, cache, settings)
    else:
        arguments = ([seed] * len(missing), [cache] * len(missing), [settings] * len(missing))
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, len(missing)), mp_context=context) as pool:
            for _ in pool.map(_cache_page, missing, *arguments):
                pass
    pages = []
    for number in range(count):
        with np.load(_page_path(number, seed, cache, settings)) as stored:
            pages.append(LabelledTiles(scan=_scan_of(number), **{name: stored[name] for name in stored.files}))
    return pages


def _scan_of(number: int) -> Scan:
    key = f"{RENDERED}/{number:04d}"
    return Scan(key=key, path=Path(key), split="train", collection=RENDERED, document=key, truth=None)


def _page_path(number: int, seed: int, cache: Path, settings: OcrSettings) -> Path:
    depends_on = json.dumps([DRAWING_VERSION, seed, number, settings.model_dump_json()])
    return cache / f"{RENDERED}-{number:04d}-{hashlib.sha256(depends_on.encode()).hexdigest()[:16]}.npz"


def _cache_page(number: int, seed: int, cache: Path, settings: OcrSettings) -> None:
    """Draw, read and label one page, and write it to the cache."""
    page = draw_page(number, seed)
    words: tuple[recognition.Word, ...] = ()
    try:
        words = recognition.read_words(page.pixels, page.dpi, settings)
    except PageError as error:
        logger.warning("rendered page %d has no mask: %s", number, error)
    labelled = label_page(page, words, _scan_of(number))
    path = _page_path(number, seed, cache, settings)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    with draft.open("wb") as file:
        np.savez_compressed(
            file,
            plane=labelled.plane,
            label=labelled.label,
            weight=labelled.weight,
            handwritten=labelled.handwritten,
            masked=labelled.masked,
        )
    draft.replace(path)
