"""Dataset: marked scans become tiles with labels, cut and masked as the pipeline would do it."""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from configs.settings import LimitSettings, OcrSettings
from model.truth import PageTruth, Scan, TruthLine, TruthRegion, read_truth
from tasks import kinds, ocr, pages, tiles
from tasks.errors import PageError
from tasks.ink import luma_of

logger = logging.getLogger(__name__)

INK_STD = 8.0
"""Luma standard deviation of a patch above which it holds ink."""
LITTLE_INK_STD = 16.0
"""Luma standard deviation below which a patch holds little ink: grain, show-through, the edge of a stroke."""
EMPTY_STD = 4.0
"""Luma standard deviation below which a patch inside a line's outline is taken for bare paper."""
WRITING_STD = 24.0
"""Luma standard deviation above which a tile of an unmarked, hand-written page is taken for writing."""
TEXT_FRACTION = 0.04
"""Share of a tile that text must cover for the tile to be one of text."""
SURE_CONFIDENCE = 80.0
"""Tesseract's confidence from which an unmarked word is taken for text."""
LARGEST_TRAINING_PIXELS = 40_000_000
"""Unmarked pages of more pixels are not worth their OCR here."""

# Written by hand throughout, and not marked: whatever has strong ink there is writing (or the line it stands on).
HANDWRITTEN_COLLECTIONS = frozenset({"noteshrink-notes"})


@dataclass(frozen=True, eq=False)
class MarkedPage:
    """One decoded page with its words and truth; `pixels` as in `tasks.pages.Page`."""

    scan: Scan
    pixels: np.ndarray
    kind: kinds.PageKind
    dpi: float
    words: tuple[ocr.Word, ...]
    truth: PageTruth | None


@dataclass(frozen=True, eq=False)
class TileTruth:
    """What the truth says of each tile of a page, row by row; every array is (n_tiles,) bool.

    printed, handwritten: at least 4 % of the tile lies in such lines and there is ink in that part.
    marked: any pixel of the tile lies in a line.
    blank, little_ink: no ink, or little, in the whole tile (whether marked or not).
    """

    printed: np.ndarray
    handwritten: np.ndarray
    marked: np.ndarray
    blank: np.ndarray
    little_ink: np.ndarray


@dataclass(frozen=True, eq=False)
class LabelledTiles:
    """A page's plane with the label and weight of each tile, row by row.

    label: (n_tiles,) float32, 1 important, 0 not. weight: (n_tiles,) float32, 0 where nobody knows.
    handwritten: (n_tiles,) bool. masked: (n_tiles,) float32, the share that the OCR mask covers.
    """

    scan: Scan
    plane: np.ndarray
    label: np.ndarray
    weight: np.ndarray
    handwritten: np.ndarray
    masked: np.ndarray


def read_words_cached(scans: Sequence[Scan], cache: Path, settings: OcrSettings, processes: int = 2) -> None:
    """Run the OCR step on every scan whose words do not lie in `cache` yet, several processes at a time."""
    cache.mkdir(parents=True, exist_ok=True)
    missing = [scan for scan in scans if not _words_path(scan, cache, settings).exists()]
    if not missing:
        return
    logger.info("reading the words of %d scans; they are kept in %s", len(missing), cache)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(processes, len(missing)), mp_context=context) as pool:
        for _ in pool.map(_cache_words, missing, [cache] * len(missing), [settings] * len(missing)):
            pass


def read_marked_page(scan: Scan, cache: Path, settings: OcrSettings) -> MarkedPage:
    """Decode a scan and take its words from the cache, reading them if they are not there.

    Raises:
        PageError: If the page cannot be decoded or is one that the pipeline keeps whole.
    """
    page = pages.read_page(scan.path.read_bytes(), 0, LimitSettings())
    path = _words_path(scan, cache, settings)
    if not path.exists():
        _cache_words(scan, cache, settings)
    stored = json.loads(path.read_text(encoding="utf-8"))
    if stored["problem"]:
        raise PageError(stored["problem"], f"{scan.key}: OCR ended with {stored['problem']}")
    words = tuple(ocr.Word(**word) for word in stored["words"])
    height_px, width_px = page.pixels.shape[:2]
    dpi = ocr.estimate_dpi(height_px, width_px, words, page.dpi)
    truth = read_truth(scan.truth) if scan.truth else None
    if truth is not None and not (truth.lines or truth.regions):
        truth = None
    return MarkedPage(scan, page.pixels, kinds.page_kind(page), dpi, words, truth)


def tile_truth(luma: np.ndarray, lines: Sequence[TruthLine], grid: tiles.TileGrid) -> TileTruth:
    """Say of each tile whether it holds marked text, judged on the page's own pixels.

    Args:
        luma: (height, width) uint8.
        lines: Marked lines of the page.
        grid: The page's tiles; those at the edge count only what lies on the page.
    """
    whole = np.ones(luma.shape, bool)
    area = _tile_sums(whole, grid)
    has_text: dict[str, np.ndarray] = {}
    marked = np.zeros(grid.n_tiles, bool)
    for kind in ("printed", "handwritten"):
        region = fill_polygons([line.polygon for line in lines if line.kind == kind], luma.shape)
        share = _tile_sums(region, grid) / area
        has_text[kind] = (share >= TEXT_FRACTION) & (_tile_std(luma, region, grid) > INK_STD)
        marked |= share > 0
    std = _tile_std(luma, whole, grid)
    return TileTruth(has_text["printed"], has_text["handwritten"], marked, std < INK_STD, std < LITTLE_INK_STD)


def label_tiles(page: MarkedPage, dpi: float | None = None) -> LabelledTiles:
    """Cut a page into tiles and label them; a tile that the truth is silent about gets weight 0.

    Important: tiles of marked text with ink in it, tiles of regions marked as text with much ink, and tiles of words
    that Tesseract read with confidence. Unimportant: tiles without a mark and without ink, on marked pages also those
    with little ink. Not judged: ink without a mark (stamps, letterheads and notes are often not marked), pictures.

    Args:
        page: The page with its words and truth.
        dpi: Resolution to cut by instead of the page's own, to see it as if it were scanned larger or smaller.
    """
    height_px, width_px = page.pixels.shape[:2]
    grid = tiles.tile_grid(height_px, width_px, dpi or page.dpi)
    mask = ocr.text_mask(page.words, height_px, width_px)
    luma = luma_of(page.pixels)
    found = tile_truth(luma, page.truth.lines if page.truth else (), grid)
    std = _tile_std(luma, np.ones(luma.shape, bool), grid)
    has_text, handwritten = found.printed | found.handwritten, found.handwritten
    weight = np.zeros(grid.n_tiles, np.float32)
    weight[found.blank & ~found.marked] = 1.0
    if page.truth is not None:
        weight[found.little_ink & ~found.blank & ~found.marked] = 0.7
        weight[(std < EMPTY_STD) & found.marked] = 0.5
        for region in page.truth.regions:
            inside = _tile_sums(fill_polygons([region.polygon], luma.shape), grid) > 0
            weight[inside] = 0.0
            if region.kind == "text":
                has_text = has_text | (inside & (std > LITTLE_INK_STD))
                weight[inside & (std < EMPTY_STD)] = 0.5
    elif page.scan.collection in HANDWRITTEN_COLLECTIONS:
        handwritten = std > WRITING_STD
        has_text = has_text | handwritten
    sure = [word for word in page.words if word.confidence >= SURE_CONFIDENCE and len(word.text) >= 3]
    read = tiles.masked_fraction(ocr.text_mask(sure, height_px, width_px), grid).ravel() >= 2 * TEXT_FRACTION
    has_text = has_text | (read & (std > LITTLE_INK_STD))
    weight[has_text] = 1.0
    return LabelledTiles(
        scan=page.scan,
        plane=tiles.work_plane(page.pixels, mask, grid),
        label=has_text.astype(np.float32),
        weight=weight,
        handwritten=handwritten,
        masked=tiles.masked_fraction(mask, grid).ravel(),
    )


def shifted_page(page: MarkedPage, row_px: int, col_px: int) -> MarkedPage:
    """Return a page without its first rows and columns, so that the tiles' borders fall elsewhere on the text."""
    offset = np.array([row_px, col_px], np.float64)
    truth = page.truth and PageTruth(
        tuple(TruthLine(line.polygon - offset, line.text, line.kind) for line in page.truth.lines),
        tuple(TruthRegion(region.polygon - offset, region.kind) for region in page.truth.regions),
    )
    words = []
    for word in page.words:
        top, left = max(0, word.row_px - row_px), max(0, word.col_px - col_px)
        height = word.row_px + word.height_px - row_px - top
        width = word.col_px + word.width_px - col_px - left
        if height > 0 and width > 0:
            words.append(replace(word, row_px=top, col_px=left, height_px=height, width_px=width))
    pixels = np.ascontiguousarray(page.pixels[row_px:, col_px:])
    return replace(page, pixels=pixels, words=tuple(words), truth=truth)


def training_scans(scans: Sequence[Scan]) -> tuple[Scan, ...]:
    """Return the scans worth training on: all with truth, others up to a size, for their words and blank paper."""
    kept = []
    for scan in scans:
        try:
            header = pages.read_header(scan.path.read_bytes(), LimitSettings()).pages[0]
        except PageError as error:
            logger.info("%s is left out: %s", scan.key, error)
            continue
        if scan.truth or header.height_px * header.width_px <= LARGEST_TRAINING_PIXELS:
            kept.append(scan)
    return tuple(kept)


def handwritten_documents(scans: Sequence[Scan]) -> frozenset[str]:
    """Return the names of the documents whose marked lines are mostly written by hand."""
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
    """Part scans into (training, validation) by document.

    Within a collection, and there among the documents written by hand and the others, validation takes documents in
    the order of their names' digests while they are at most `share` of the pages, but at least the smallest one. The
    only document of such a group goes to training.

    Args:
        scans: The scans of one split.
        handwritten: Names of documents that are mostly written by hand.
        share: Share of the pages of each group that validation may get.
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


def fill_polygons(polygons: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """Return (height, width) bool, True inside any of the polygons, each (n, 2) of (row_px, col_px)."""
    inside = np.zeros(shape[:2], np.uint8)
    for polygon in polygons:
        cv2.fillPoly(inside, [np.round(polygon[:, ::-1]).astype(np.int32)], 1)
    return inside > 0


def _words_path(scan: Scan, cache: Path, settings: OcrSettings) -> Path:
    digest = hashlib.sha256(scan.path.read_bytes())
    digest.update(settings.model_dump_json().encode())
    return cache / f"{scan.path.stem[:60]}-{digest.hexdigest()[:16]}.json"


def _cache_words(scan: Scan, cache: Path, settings: OcrSettings) -> None:
    """Write a scan's words, or the reason why there are none, to the cache."""
    cache.mkdir(parents=True, exist_ok=True)
    words: tuple[ocr.Word, ...] = ()
    problem = ""
    try:
        page = pages.read_page(scan.path.read_bytes(), 0, LimitSettings())
        height_px, width_px = page.pixels.shape[:2]
        words = ocr.read_words(page.pixels, ocr.guess_dpi(height_px, width_px, page.dpi), settings)
    except PageError as error:
        problem = error.reason
    path = _words_path(scan, cache, settings)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"problem": problem, "words": [asdict(word) for word in words]}), encoding="utf-8")
    draft.replace(path)


def _tile_sums(values: np.ndarray, grid: tiles.TileGrid) -> np.ndarray:
    """Return (n_tiles,) float64: the sum over each tile of a (height, width) plane."""
    starts = np.arange(max(grid.n_rows, grid.n_cols)) * grid.tile_px
    rows = np.add.reduceat(values, starts[: grid.n_rows], axis=0, dtype=np.float64)
    sums: np.ndarray = np.add.reduceat(rows, starts[: grid.n_cols], axis=1)
    return sums.ravel()


def _tile_std(luma: np.ndarray, region: np.ndarray, grid: tiles.TileGrid) -> np.ndarray:
    """Return (n_tiles,) float64: the standard deviation of the luma in each tile's part of `region`, 0 without any."""
    count = np.maximum(_tile_sums(region, grid), 1)
    plane = np.where(region, luma, 0).astype(np.float64)
    mean = _tile_sums(plane, grid) / count
    std: np.ndarray = np.sqrt(np.maximum(_tile_sums(plane * plane, grid) / count - mean * mean, 0))
    return std
