"""Sample training and validation patches from labelled pages."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import keras
import numpy as np

from foliopress.model.augmentation import draw_handwriting, vary_scan
from foliopress.model.dataset import RENDERED, LabelledTiles
from foliopress.tasks.analysis.tiles import CORE_PX, PATCH_MARGIN_PX

TILES = 7
"""Tiles per side of a training patch."""
SIDE_PX = TILES * CORE_PX + 2 * PATCH_MARGIN_PX
BATCH = 16
"""Patches per batch."""

# How often a patch is centred on a tile of each kind; its neighbours come with it.
_SHARES = {"printed": 0.32, "handwritten": 0.22, "adjacent": 0.28, "blank": 0.18}
_WRITTEN_ON = 0.35  # share of patches that get strokes drawn on them
_HANDWRITTEN_WEIGHT = 1.5
_UNMARKED_SHARE, _RENDERED_SHARE = 0.33, 0.2
_BATCHES_TO_WEIGH = 12

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]


class TrainingPatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of augmented patches: (16, 320, 320, 4) uint8, labels (16, 7, 7, 1) and weights (16, 7, 7) float32.

    Both classes have the same total weight. The same pages, seed and batch number give the same batch.
    """

    def __init__(self, pages: Sequence[LabelledTiles], n_batches: int, seed: int, *, with_mask: bool = True) -> None:
        super().__init__(workers=2, use_multiprocessing=False, max_queue_size=16)
        self._pages, self._n_batches, self._seed, self._with_mask = pages, n_batches, seed, with_mask
        self._first = 0
        self._places = {kind: _places_of(pages, kind) for kind in _SHARES}
        present = {kind: share for kind, share in _SHARES.items() if len(self._places[kind][0])}
        if not present:
            raise ValueError("no tile of the given pages has a label")
        self._kinds = list(present)
        self._shares = np.array(list(present.values())) / sum(present.values())
        self._class_weights = (1.0, 1.0)
        rng = np.random.default_rng((seed, 0))
        self._class_weights = _balance(*zip(*(self._draw(rng)[1:] for _ in range(_BATCHES_TO_WEIGH)), strict=True))

    def __len__(self) -> int:
        return self._n_batches

    def __getitem__(self, index: int) -> Batch:
        return self._draw(np.random.default_rng((self._seed, 1, self._first + index)))

    def after(self, n_batches: int) -> TrainingPatches:
        """Return the batches that remain after the first `n_batches`."""
        rest = copy.copy(self)
        rest._first, rest._n_batches = self._first + n_batches, self._n_batches - n_batches
        return rest

    def _draw(self, rng: np.random.Generator) -> Batch:
        patches = np.empty((BATCH, SIDE_PX, SIDE_PX, 4), np.uint8)
        labels = np.empty((BATCH, TILES, TILES, 1), np.float32)
        weights = np.empty((BATCH, TILES, TILES), np.float32)
        for slot, which in enumerate(rng.choice(len(self._kinds), BATCH, p=self._shares)):
            patch, label, weight = self._one(self._kinds[which], rng)
            patches[slot], labels[slot, ..., 0] = patch, label
            weights[slot] = weight * np.where(label == 1, self._class_weights[1], self._class_weights[0])
        return patches, labels, weights

    def _one(self, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        numbers, tiles, chances = self._places[kind]
        at = int(np.searchsorted(chances, rng.random() * chances[-1]))
        page, tile = self._pages[int(numbers[at])], int(tiles[at])
        row, col = (
            _shifted(place, n_tiles, rng)
            for place, n_tiles in zip(divmod(tile, page.shape[1]), page.shape, strict=True)
        )
        patch, label, weight = cut_labelled(page, row, col)
        turns = int(rng.integers(4))
        patch, label, weight = (np.ascontiguousarray(np.rot90(array, turns)) for array in (patch, label, weight))
        if rng.random() < _WRITTEN_ON:
            patch, label, weight = draw_handwriting(patch, label, weight, rng)
        patch = vary_scan(patch, rng)
        if not self._with_mask:
            patch[..., 3] = 0
        return patch, label, weight


def cut_labelled(page: LabelledTiles, row: int, col: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cut the patch whose first tile is (row, col); outside the page its edge is replicated, with weight 0.

    Returns:
        (320, 320, 4) uint8, label and weight (7, 7) float32; handwriting tiles weigh half as much again.
    """
    reach = np.arange(-PATCH_MARGIN_PX, SIDE_PX - PATCH_MARGIN_PX)
    rows = np.clip(row * CORE_PX + reach, 0, page.plane.shape[0] - 1)
    cols = np.clip(col * CORE_PX + reach, 0, page.plane.shape[1] - 1)
    n_rows, n_cols = page.shape
    weight_of = page.weight * np.where(page.handwritten, _HANDWRITTEN_WEIGHT, 1.0)
    label, weight = np.zeros((TILES, TILES), np.float32), np.zeros((TILES, TILES), np.float32)
    on_page = np.s_[max(row, 0) : min(row + TILES, n_rows), max(col, 0) : min(col + TILES, n_cols)]
    here = np.s_[on_page[0].start - row : on_page[0].stop - row, on_page[1].start - col : on_page[1].stop - col]
    label[here] = page.label.reshape(n_rows, n_cols)[on_page]
    weight[here] = weight_of.reshape(n_rows, n_cols)[on_page]
    return page.plane[rows[:, np.newaxis], cols], label, weight


def validation_patches(pages: Sequence[LabelledTiles], seed: int, *, with_mask: bool = True) -> Batch:
    """Return all patches that tile the pages, without augmentation, for validation; half of them lose their mask.

    Returns:
        (n, 320, 320, 4) uint8, labels (n, 7, 7, 1) and weights (n, 7, 7) float32; both classes weigh the same.
    """
    rng = np.random.default_rng(seed)
    cut = [
        cut_labelled(page, row, col)
        for page in pages
        for row in range(0, page.shape[0], TILES)
        for col in range(0, page.shape[1], TILES)
    ]
    cut = [(patch, label, weight) for patch, label, weight in cut if weight.any()]
    if not cut:
        raise ValueError("no tile of the validation pages has a label")
    patches, labels, weights = (np.stack(arrays) for arrays in zip(*cut, strict=True))
    patches[rng.random(len(patches)) < 0.5 if with_mask else slice(None), ..., 3] = 0
    low, high = _balance((labels,), (weights,))
    return patches, labels[..., np.newaxis], weights * np.where(labels == 1, high, low).astype(np.float32)


def _shifted(place: int, n_tiles: int, rng: np.random.Generator) -> int:
    """Return a random start for a patch that contains the tile at `place`; it may reach one tile past the page."""
    start = place - int(rng.integers(TILES))
    return int(np.clip(start, -1, max(-1, n_tiles - TILES + 1)))


def _balance(labels: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> tuple[float, float]:
    """Return class weights (unimportant, important) that give both classes the same total."""
    total = float(sum(weight.sum() for weight in weights))
    high = float(
        sum((weight * label.reshape(weight.shape)).sum() for label, weight in zip(labels, weights, strict=True))
    )
    share = min(max(high / total if total else 0.5, 0.05), 0.95)
    return 0.5 / (1 - share), 0.5 / share


def _places_of(pages: Sequence[LabelledTiles], kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (page numbers, tile numbers, cumulative probabilities) of all tiles of one kind.

    A page's probability grows with the square root of its tile count, so that large pages do not swamp small ones.
    Unmarked scans, whose labels are sparse, get a third of it; drawn pages, of which there can be any number, a fifth.
    """
    numbers, tiles, chances = [], [], []
    for number, page in enumerate(pages):
        found = np.flatnonzero(_is_of_kind(page, kind))
        if not len(found):
            continue
        numbers.append(np.full(len(found), number))
        tiles.append(found)
        share = _chance_of(page, kind) * len(found) ** 0.5
        chances.append(np.full(len(found), share / len(found)))
    if not numbers:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(numbers), np.concatenate(tiles), np.cumsum(np.concatenate(chances))


def _chance_of(page: LabelledTiles, kind: str) -> float:
    if page.scan.collection == RENDERED:
        return _RENDERED_SHARE
    return 1.0 if page.scan.truth is not None or kind == "handwritten" else _UNMARKED_SHARE


def _is_of_kind(page: LabelledTiles, kind: str) -> np.ndarray:
    """Return (n_tiles,) bool; `adjacent`: unimportant with other tiles nearby; `blank`: unimportant all round."""
    known: np.ndarray = page.weight > 0
    important = known & (page.label == 1)
    if kind in ("printed", "handwritten"):
        return np.asarray(important & (page.handwritten == (kind == "handwritten")))
    bare = (known & ~important).reshape(page.shape)
    round_it = np.lib.stride_tricks.sliding_window_view(np.pad(bare, 1, mode="edge"), (3, 3)).all(axis=(2, 3))
    return np.asarray(bare & ~round_it if kind == "adjacent" else round_it).ravel()
