"""Tiles and labels from scans with ground truth, and the variations that make a small set of them go far."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import cv2
import keras
import numpy as np

from configs.settings import Settings
from model.truth import TruthPage, line_mask, read_lines, truth_pages
from tasks.ink import luma_of
from tasks.ocr import Word, estimate_dpi, guess_dpi, read_words, text_mask
from tasks.pages import read_page
from tasks.tiles import CORE_PX, WINDOW_PX, TileGrid, masked_fraction, tile_grid, work_plane

INK_STD, LITTLE_INK_STD = 8.0, 16.0
"""Luma standard deviation of a tile (grey levels) below which it holds no ink, or little."""
LEAST_TEXT_FRACTION = 0.04
"""Share of a tile's area inside text lines from which it counts as text."""

PRINTED, HANDWRITTEN, BLANK, LITTLE_INK, UNKNOWN = 1, 2, 3, 4, 0
"""Kinds of tile. Ink outside the marked lines is UNKNOWN and never taught: truth files leave out stamps,
letterheads and drawings, which must not be learnt as unimportant."""


@dataclass(frozen=True)
class LabelledPage:
    """A scan ready to be cut: its work plane (h, w, 4) uint8, and each tile's kind, (n_tiles,) int8."""

    key: str
    document: str
    plane: np.ndarray = field(repr=False)
    grid: TileGrid
    kinds: np.ndarray = field(repr=False)
    masked: np.ndarray = field(repr=False)


def load_pages(data: Path, split: str, cache: Path) -> list[LabelledPage]:
    """Return the labelled pages of a split, in key order; OCR words are cached in a folder, two processes at a time."""
    found = list(truth_pages(data, split))
    cache.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(2) as pool:
        return list(pool.map(partial(label_page, cache=cache), found))


def label_page(page: TruthPage, cache: Path) -> LabelledPage:
    """Read one scan, find its words as the pipeline does, and label its tiles."""
    settings = Settings()
    data = page.image.read_bytes()
    image = read_page(data, 0, settings.limits)
    height_px, width_px = image.pixels.shape[:2]
    recipe = hashlib.sha256(data + settings.ocr.model_dump_json().encode()).hexdigest()[:24]
    cached = cache / f"{recipe}.words"
    if cached.is_file():
        words: tuple[Word, ...] = pickle.loads(cached.read_bytes())  # written by this function alone
    else:
        words = read_words(image.pixels, guess_dpi(height_px, width_px, image.dpi), settings.ocr)
        cached.write_bytes(pickle.dumps(words))
    grid = tile_grid(height_px, width_px, estimate_dpi(height_px, width_px, words, image.dpi))
    mask = text_mask(words, height_px, width_px)
    truth = line_mask(read_lines(page.truth), height_px, width_px)
    kinds = tile_kinds(luma_of(image.pixels), truth, grid)
    return LabelledPage(
        page.key, page.document, work_plane(image.pixels, mask, grid), grid, kinds, masked_fraction(mask, grid).ravel()
    )


def tile_kinds(luma: np.ndarray, truth: np.ndarray, grid: TileGrid) -> np.ndarray:
    """Return (n_tiles,) int8: what each tile holds, by its pixels and the marked lines.

    Args:
        luma: (height, width) uint8.
        truth: (height, width) uint8, 0 outside all lines, 1 in printed ones, 2 in handwritten ones.
        grid: The page's tiles.
    """
    side = grid.tile_px
    kinds = np.full(grid.n_tiles, UNKNOWN, np.int8)
    for number in range(grid.n_tiles):
        row, col = divmod(number, grid.n_cols)
        window = np.s_[row * side : (row + 1) * side, col * side : (col + 1) * side]
        patch, lines = luma[window], truth[window]
        std = float(patch.std())
        if lines.any():
            for kind in (PRINTED, HANDWRITTEN):
                inside = lines == kind
                if inside.mean() >= LEAST_TEXT_FRACTION and float(patch[inside].std()) > INK_STD:
                    kinds[number] = kind
        elif std < LITTLE_INK_STD:
            kinds[number] = BLANK if std < INK_STD else LITTLE_INK
    return kinds


def split_by_document(
    pages: Sequence[LabelledPage], held_out: float, seed: int
) -> tuple[list[LabelledPage], list[LabelledPage]]:
    """Return (training, validation) pages; the pages of one document stay together, each collection gives its share."""
    collections: dict[str, list[str]] = {}
    for page in pages:
        documents = collections.setdefault(page.document.split("/")[0], [])
        if page.document not in documents:
            documents.append(page.document)
    rng = np.random.default_rng(seed)
    chosen: set[str] = set()
    for documents in collections.values():
        if len(documents) > 1:
            count = max(1, round(held_out * len(documents)))
            chosen |= {documents[number] for number in rng.permutation(len(documents))[:count]}
    return (
        [page for page in pages if page.document not in chosen],
        [page for page in pages if page.document in chosen],
    )


class TileSequence(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of varied windows, drawn so that each kind of tile has its share whatever its number."""

    SHARES = ((PRINTED, 0.27), (HANDWRITTEN, 0.23), (BLANK, 0.25), (LITTLE_INK, 0.25))

    def __init__(self, pages: Sequence[LabelledPage], batches: int, batch_size: int, seed: int) -> None:
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=16)
        self.pages, self.batches, self.batch_size, self.seed, self.epoch = pages, batches, batch_size, seed, 0
        margin = WINDOW_PX  # room for a turned and scaled window at the page's edge
        self.padded = [np.pad(p.plane, ((margin, margin), (margin, margin), (0, 0)), mode="edge") for p in pages]
        self.places = {
            kind: np.concatenate(
                [
                    np.stack([np.full(n, number), tiles], axis=1)
                    for number, page in enumerate(pages)
                    if (n := len(tiles := np.flatnonzero(page.kinds == kind)))
                ]
                or [np.zeros((0, 2), np.int64)]
            )
            for kind, _ in self.SHARES
        }

    def __len__(self) -> int:
        return self.batches

    def on_epoch_end(self) -> None:
        self.epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self.seed, self.epoch, index))
        present = [(kind, share) for kind, share in self.SHARES if len(self.places[kind])]
        weights = np.array([share for _, share in present])
        drawn = rng.choice(len(present), self.batch_size, p=weights / weights.sum())
        windows = np.empty((self.batch_size, WINDOW_PX, WINDOW_PX, 4), np.uint8)
        labels = np.empty((self.batch_size, 1), np.float32)
        for slot, which in enumerate(drawn):
            kind = present[which][0]
            page, tile = self.places[kind][rng.integers(len(self.places[kind]))]
            windows[slot] = self._window(int(page), int(tile), rng)
            labels[slot] = kind in (PRINTED, HANDWRITTEN)
        return windows, labels

    def _window(self, page: int, tile: int, rng: np.random.Generator) -> np.ndarray:
        row, col = divmod(tile, self.pages[page].grid.n_cols)
        centre = (WINDOW_PX + (col + 0.5) * CORE_PX, WINDOW_PX + (row + 0.5) * CORE_PX)
        return vary(turned_window(self.padded[page], centre, rng), rng)


def turned_window(padded: np.ndarray, centre: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Return a (96, 96, 4) window round `centre` (col, row), turned by 90s and a little more, scaled and shifted."""
    angle = 90.0 * float(rng.integers(4)) + float(rng.normal(0, 2.0))
    scale = float(np.exp(rng.normal(0, 0.15)))
    matrix = cv2.getRotationMatrix2D(centre, angle, scale)
    shift = rng.uniform(-3, 3, 2)
    matrix[:, 2] += WINDOW_PX / 2 - np.array(centre) + shift
    return cv2.warpAffine(
        padded, matrix, (WINDOW_PX, WINDOW_PX), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def vary(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a window as another scanner would give it: tone, fading, blur, noise, JPEG; and often without its mask."""
    result = window.copy()
    colours = result[..., :3].astype(np.float32)
    paper = float(np.percentile(colours, 90))
    colours = paper + (colours - paper) * rng.uniform(0.45, 1.2)  # fading ink
    colours = colours * rng.uniform(0.75, 1.12) * rng.uniform(0.94, 1.06, 3) + rng.uniform(-12, 12)
    if rng.random() < 0.25:
        colours[:] = colours.mean(axis=2, keepdims=True)
    if rng.random() < 0.06:
        colours = 255 - colours
    if rng.random() < 0.35:
        colours = cv2.GaussianBlur(colours, (0, 0), rng.uniform(0.3, 1.2))
    if rng.random() < 0.5:
        colours += rng.normal(0, rng.uniform(0.5, 6), (WINDOW_PX, WINDOW_PX, 1))
    pixels = np.clip(colours, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))]
        pixels = cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR)
    result[..., :3] = pixels
    # A network that leans on the mask loses what OCR did not read.
    result[..., 3] = 0 if rng.random() < 0.5 else np.where(result[..., 3] > 127, 255, 0)
    return result
