"""Read scans with their OCR words and ground truth, and split them into training and validation."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from foliopress.configs.settings import LimitSettings, OcrSettings
from foliopress.model.truth import PageTruth, Scan, read_truth
from foliopress.tasks.analysis import page_kinds
from foliopress.tasks.analysis.tiles import CORE_PX
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import recognition

logger = logging.getLogger(__name__)

RENDERED = "rendered"
"""Collection name of the synthetic pages that the program draws for training."""
LARGEST_TRAINING_PIXELS = 40_000_000
"""Unmarked pages with more pixels are skipped: their OCR takes too long for what they add."""


@dataclass(frozen=True, eq=False)
class MarkedPage:
    """One decoded page with its words and ground truth; `pixels` as in `tasks.images.image_reader.Page`."""

    scan: Scan
    pixels: np.ndarray
    kind: page_kinds.PageKind
    dpi: float
    words: tuple[recognition.Word, ...]
    truth: PageTruth | None


@dataclass(frozen=True, eq=False)
class LabelledTiles:
    """A page's input plane, with the label and weight of each tile, row by row.

    plane: (n_rows * 32, n_cols * 32, 4) uint8 from `tasks.analysis.tiles.work_plane`.
    label: (n_tiles,) float32, 1 important, 0 not. weight: (n_tiles,) float32, 0 where unknown.
    handwritten: (n_tiles,) bool. masked: (n_tiles,) float32, the share of each tile under the OCR mask.
    """

    scan: Scan
    plane: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    handwritten: np.ndarray
    masked: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_cols) in tiles."""
        return self.plane.shape[0] // CORE_PX, self.plane.shape[1] // CORE_PX


def read_words_cached(scans: Sequence[Scan], cache: Path, settings: OcrSettings, processes: int = 2) -> None:
    """Run OCR on every scan whose words are not in `cache` yet, in several processes."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [scan for scan in scans if not _words_path(scan, cache, settings).exists()]
    if not missing:
        return
    logger.info("running OCR on %d scans; results are cached in %s", len(missing), cache)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(missing)), mp_context=context) as pool:
        for _ in pool.map(_cache_words, missing, [cache] * len(missing), [settings] * len(missing)):
            pass


def read_marked_page(scan: Scan, cache: Path, settings: OcrSettings) -> MarkedPage:
    """Decode a scan and return it with its words from the cache; run OCR if they are missing.

    Raises:
        PageError: If the page cannot be decoded or the pipeline keeps it whole.
    """
    page = image_reader.read_page(scan.path.read_bytes(), 0, LimitSettings())
    path = _words_path(scan, cache, settings)
    if not path.exists():
        _cache_words(scan, cache, settings)
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["problem"]:
        raise PageError(stored["problem"], f"{scan.key}: OCR ended with {stored['problem']}")
    words = tuple(recognition.Word(**word) for word in stored["words"])
    height_px, width_px = page.pixels.shape[:2]
    dpi = recognition.estimate_dpi(height_px, width_px, words, page.dpi)
    truth = read_truth(scan.truth) if scan.truth else None
    if truth is not None and not (truth.lines or truth.regions):
        truth = None
    return MarkedPage(scan, page.pixels, page_kinds.page_kind(page), dpi, words, truth)


def training_scans(scans: Sequence[Scan]) -> tuple[Scan, ...]:
    """Return the scans worth training on: all with ground truth, and unmarked ones up to a size limit.

    Unmarked scans contribute confident OCR words and blank paper.
    """
    kept = []
    for scan in scans:
        try:
            header = image_reader.read_header(scan.path.read_bytes(), LimitSettings()).pages[0]
        except PageError as error:
            logger.info("%s is skipped: %s", scan.key, error)
            continue
        if scan.truth or header.height_px * header.width_px <= LARGEST_TRAINING_PIXELS:
            kept.append(scan)
    return tuple(kept)


def handwritten_documents(scans: Sequence[Scan]) -> frozenset[str]:
    """Return the names of documents whose marked lines are mostly handwritten."""
    counts: dict[str, list[int]] = {}
    for scan in scans:
        lines = read_truth(scan.truth).lines if scan.truth else ()
        tally = counts.setdefault(scan.document, [0, 0])
        tally[0] += sum(line.kind == "handwritten" for line in lines)
        tally[1] += len(lines)
    return frozenset(name for name, (by_hand, in_all) in counts.items() if by_hand * 2 > in_all)


def split_documents(
    scans: Sequence[Scan], handwritten: frozenset[str] = frozenset(), share: float = 0.2
) -> tuple[tuple[Scan, ...], tuple[Scan, ...]]:
    """Split scans into (training, validation) by document.

    Each collection is split in two groups: mostly handwritten documents and the others. In each group, documents are
    taken in order of their names' digests and go to validation while that holds at most `share` of the group's pages;
    at least the smallest document goes there. The only document of a group goes to training.

    Args:
        scans: The scans of one split.
        handwritten: Names of the mostly handwritten documents.
        share: Largest share of each group's pages that validation may get.
    """
    groups: dict[tuple[str, bool], dict[str, int]] = {}
    for scan in scans:
        counts = groups.setdefault((scan.collection, scan.document in handwritten), {})
        counts[scan.document] = counts.get(scan.document, 0) + 1
    validation: set[str] = set()
    for counts in groups.values():
        if len(counts) < 2:
            continue
        room = share * sum(counts.values())
        names = sorted(counts, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
        taken = []
        for name in names:
            if counts[name] <= room:
                taken.append(name)
                room -= counts[name]
        validation.update(taken or [min(names, key=counts.__getitem__)])
    training = tuple(scan for scan in scans if scan.document not in validation)
    return training, tuple(scan for scan in scans if scan.document in validation)


def _words_path(scan: Scan, cache: Path, settings: OcrSettings) -> Path:
    digest = hashlib.sha256(scan.path.read_bytes())
    digest.update(settings.model_dump_json().encode())
    return cache / f"{scan.path.stem[:60]}-{digest.hexdigest()[:16]}.json"


def _cache_words(scan: Scan, cache: Path, settings: OcrSettings) -> None:
    """Write a scan's words, or the error that OCR ended with, to the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    words: tuple[recognition.Word, ...] = ()
    problem = ""
    try:
        page = image_reader.read_page(scan.path.read_bytes(), 0, LimitSettings())
        height_px, width_px = page.pixels.shape[:2]
        words = recognition.read_words(page.pixels, recognition.guess_dpi(height_px, width_px, page.dpi), settings)
    except PageError as error:
        problem = error.reason
    path = _words_path(scan, cache, settings)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"problem": problem, "words": [asdict(word) for word in words]}), encoding="utf-8")
    draft.replace(path)
