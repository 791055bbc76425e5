"""Training: from marked scans and an ImageNet start to the two files that score."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import keras
import numpy as np

from configs.settings import OcrSettings
from model.augmentation import vary_place, vary_scan, write_on
from model.dataset import (
    LabelledTiles,
    handwritten_documents,
    label_tiles,
    read_marked_page,
    read_words_cached,
    shifted_page,
    split_documents,
    training_scans,
)
from model.network import BACKBONE, build_network, hold_batch_norm, weights_file
from model.scoring import KERAS_FILE, LITERT_FILE
from model.truth import Scan, data_folder, find_scans
from tasks.errors import PageError
from tasks.tiles import CORE_PX, WINDOW_PX, cut_windows

logger = logging.getLogger(__name__)

BATCH = 64
TILES_PER_EPOCH = 15_360
VALIDATION_TILES = 6_000
METRICS_FILE = "metrics.json"
OPERATING_POINT = 0.05
"""Score from which a tile counts as important in the figures; the default of `importance.threshold`."""

# Share of each kind of tile in a batch; what a kind has too few of is drawn more often.
_SHARES = {"printed": 0.30, "handwritten": 0.12, "written": 0.16, "beside": 0.25, "blank": 0.17}
# The same page again, cut elsewhere and as if it had been scanned at another resolution.
_VIEW_SCALES = (1.0, 0.8, 1.3)
_HEAD_RATE, _FINE_RATE, _LAST_RATE = 2e-3, 7e-4, 1e-5
_PATIENCE = 6  # the rate falls along a cosine: the last epochs are the calm ones
_LEAST_VALIDATION_RECALL = 0.995
"""Share of important validation tiles, half of them without their mask, that must reach the operating point."""
_LARGEST_SHIFT = 2.5


def train_model(
    data: Path | None,
    weights: Path | None,
    out: Path,
    cache: Path,
    seed: int = 1,
    epochs: int = 12,
    tiles_per_epoch: int = TILES_PER_EPOCH,
) -> dict[str, Any]:
    """Train on the train split and write `model.keras`, `model.tflite`, `metrics.json` and the model card.

    Args:
        data: Folder of scans; by `FOLIOPRESS_DATA` without it.
        weights: File or folder of the ImageNet start; by `FOLIOPRESS_WEIGHTS` without it.
        out: Folder to write to.
        cache: Folder where OCR words are kept from one training to the next.
        seed: Of all chance; the same seed draws the same tiles.
        epochs: Most epochs of fine-tuning; it stops early when validation has not improved for six.
        tiles_per_epoch: Windows drawn for each epoch.

    Returns:
        What `metrics.json` holds.

    Raises:
        ConfigError: If scans or weights are missing.
    """
    from model.evaluation import evaluate_model

    start = perf_counter()
    folder, backbone_file = data_folder(data), weights_file(weights)
    keras.utils.set_random_seed(seed)
    scans = training_scans(find_scans(folder, "train"))
    settings = OcrSettings()
    read_words_cached(scans, cache, settings)
    parts = split_documents(scans, handwritten_documents(scans))
    training = labelled_views(parts[0], cache, settings, seed, _VIEW_SCALES)
    held_out = labelled_views(parts[1], cache, settings, seed, (1.0,))
    logger.info("%d pages to train on, %d to validate", len(parts[0]), len(parts[1]))
    network, history = fit_network(training, held_out, backbone_file, seed, epochs, tiles_per_epoch)
    validation = settle_operating_point(network, fixed_windows(held_out, VALIDATION_TILES, seed))
    logger.info("operating point: %s", validation)
    out.mkdir(parents=True, exist_ok=True)
    export_network(network, out)
    metrics: dict[str, Any] = {
        "training": {
            "seed": seed,
            "epochs": len(history),
            "tiles_per_epoch": tiles_per_epoch,
            "pages": len(parts[0]),
            "validation_pages": len(parts[1]),
            "validation_documents": sorted({scan.document for scan in parts[1]}),
            "collections": sorted({scan.collection for scan in scans}),
            "backbone": BACKBONE,
            "backbone_sha256": hashlib.sha256(backbone_file.read_bytes()).hexdigest(),
            "keras": keras.__version__,
            "seconds": round(perf_counter() - start),
            "history": history,
            "validation": validation,
        },
    }
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    return evaluate_model(folder, out, cache, "test", out)


def fit_network(
    training: Sequence[LabelledTiles],
    held_out: Sequence[LabelledTiles],
    weights: Path | None,
    seed: int,
    epochs: int,
    tiles_per_epoch: int,
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train a fresh network and return it as it was after its best epoch, with the figures of every epoch.

    First the head alone, one epoch; then everything but batch norm's statistics, the rate falling along a cosine.
    """
    network = build_network(weights)
    drawn = DrawnWindows(training, tiles_per_epoch // BATCH, seed)
    validation = fixed_windows(held_out, VALIDATION_TILES, seed)
    backbone = network.get_layer(BACKBONE)
    backbone.trainable = False
    network.compile(keras.optimizers.Adam(_HEAD_RATE), "binary_crossentropy")
    network.fit(drawn, epochs=1, verbose=0)
    backbone.trainable = True
    hold_batch_norm(backbone)
    steps = max(1, epochs * len(drawn))
    warm_up = min(200, steps // 5)
    rate = keras.optimizers.schedules.CosineDecay(
        _FINE_RATE / 10, steps - warm_up, _LAST_RATE / _FINE_RATE, warmup_target=_FINE_RATE, warmup_steps=warm_up
    )
    network.compile(keras.optimizers.Adam(rate), "binary_crossentropy", weighted_metrics=[])
    best = keras.callbacks.EarlyStopping("val_loss", patience=_PATIENCE, restore_best_weights=True)
    figures = _EpochFigures(validation)
    network.fit(drawn, epochs=epochs, validation_data=validation, callbacks=[figures, best], verbose=0)
    return network, figures.rows


def settle_operating_point(
    network: keras.Model, validation: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> dict[str, float]:
    """Shift the last bias so that just enough of the important validation tiles score 0.05 and more.

    The order of the scores stays as it is; only where 0.05 lies among them changes.

    Returns:
        The shift (in logits), and recall and freed share on validation after it.
    """
    windows, labels, _ = validation
    scores = network.predict(windows, batch_size=256, verbose=0).ravel().astype(np.float64)
    logits = np.log(np.clip(scores, 1e-7, 1 - 1e-7) / np.clip(1 - scores, 1e-7, 1))
    important = labels.ravel() == 1
    wanted = float(np.log(OPERATING_POINT / (1 - OPERATING_POINT)))
    lowest = float(np.quantile(logits[important], 1 - _LEAST_VALIDATION_RECALL)) if important.any() else wanted
    shift = float(np.clip(wanted - lowest, -_LARGEST_SHIFT, _LARGEST_SHIFT))
    head = network.get_layer("importance")
    kernel, bias = head.get_weights()
    head.set_weights([kernel, bias + np.float32(shift)])
    kept = logits + shift >= wanted
    return {
        "shift": round(shift, 4),
        "recall": round(float(kept[important].mean()), 5) if important.any() else 1.0,
        "freed": round(float((~kept[~important]).mean()), 5) if (~important).any() else 1.0,
    }


class _EpochFigures(keras.callbacks.Callback):  # type: ignore[misc]
    """Writes down, after each epoch, what validation says at the operating point."""

    def __init__(self, validation: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
        super().__init__()
        self._windows, self._labels, self._weights = validation
        self._start = perf_counter()
        self.rows: list[dict[str, float]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Score the validation windows."""
        scores = self.model.predict(self._windows, batch_size=256, verbose=0).ravel()
        important = self._labels.ravel() == 1
        row = {name: round(float(value), 5) for name, value in (logs or {}).items()}
        row["val_recall"] = round(float((scores[important] >= OPERATING_POINT).mean()), 5) if important.any() else 1.0
        row["val_freed"] = round(float((scores[~important] < OPERATING_POINT).mean()), 5) if (~important).any() else 1.0
        row["seconds"] = round(perf_counter() - self._start)
        self.rows.append(row)
        logger.info("epoch %d: %s", epoch + 1, row)


class DrawnWindows(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of varied windows: (64, 96, 96, 4) uint8, labels (64, 1) and weights (64,) float32.

    Both classes have the same total weight. The same seed, epoch and number of a batch give the same batch.
    """

    def __init__(self, pages: Sequence[LabelledTiles], n_batches: int, seed: int) -> None:
        super().__init__(workers=1, use_multiprocessing=False, max_queue_size=16)
        self._n_batches, self._seed, self._epoch = max(1, n_batches), seed, 0
        margin = ((WINDOW_PX, WINDOW_PX), (WINDOW_PX, WINDOW_PX), (0, 0))
        self._planes = [np.pad(page.plane, margin, mode="edge") for page in pages]
        self._pages = pages
        self._places = {kind: _places_of(pages, kind) for kind in _SHARES}
        present = {kind: share for kind, share in _SHARES.items() if len(self._places[kind][0])}
        if not present:
            raise ValueError("no tile of the pages given has a label")
        self._kinds = list(present)
        self._shares = np.array(list(present.values())) / sum(present.values())
        # Of the windows written on, seven in ten have strokes in their middle.
        important = {"printed": 1.0, "handwritten": 1.0, "written": 0.7}
        expected = sum(share * important.get(kind, 0.0) for kind, share in zip(self._kinds, self._shares, strict=True))
        share = min(max(float(expected), 0.05), 0.95)
        self._class_weights = (0.5 / (1 - share), 0.5 / share)

    def __len__(self) -> int:
        return self._n_batches

    def on_epoch_end(self) -> None:
        """Draw other windows in the next epoch."""
        self._epoch += 1

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self._seed, self._epoch, index))
        windows = np.empty((BATCH, WINDOW_PX, WINDOW_PX, 4), np.uint8)
        labels = np.empty((BATCH, 1), np.float32)
        weights = np.empty(BATCH, np.float32)
        for slot, which in enumerate(rng.choice(len(self._kinds), BATCH, p=self._shares)):
            window, label, weight = self._draw(self._kinds[which], rng)
            windows[slot], labels[slot] = vary_scan(window, rng), label
            weights[slot] = weight * self._class_weights[int(label)]
        return windows, labels, weights

    def _draw(self, kind: str, rng: np.random.Generator) -> tuple[np.ndarray, float, float]:
        numbers, tiles, chances = self._places[kind]
        while True:
            at = int(np.searchsorted(chances, rng.random() * chances[-1]))
            number, tile = int(numbers[at]), int(tiles[at])
            page = self._pages[number]
            row, col = divmod(tile, page.plane.shape[1] // CORE_PX)
            window = vary_place(self._planes[number], row, col, rng)
            if kind != "written":
                return window, float(page.label[tile]), float(page.weight[tile])
            written, label = write_on(window, rng)
            if label is not None:
                return written, label, 1.0


def labelled_views(
    scans: Sequence[Scan], cache: Path, settings: OcrSettings, seed: int, scales: Sequence[float]
) -> list[LabelledTiles]:
    """Read, cut and label pages, once for each scale; pages that cannot be used are left out with a line in the log."""
    views = []
    for number, scan in enumerate(scans):
        try:
            page = read_marked_page(scan, cache, settings)
        except PageError as error:
            logger.info("%s is left out: %s", scan.key, error)
            continue
        rng = np.random.default_rng((seed, number))
        for scale in scales:
            shown = page
            if scale != 1.0:
                tile_px = max(1, min(*page.pixels.shape[:2], int(page.dpi * scale * CORE_PX / 150)))
                shown = shifted_page(page, *(int(offset) for offset in rng.integers(0, tile_px, 2)))
            views.append(label_tiles(shown, page.dpi * scale))
    return views


def fixed_windows(pages: Sequence[LabelledTiles], most: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (windows, labels, weights) for validation, as they are; half of them lose their mask.

    Each class keeps up to half of `most`; weights give both the same total.
    """
    rng = np.random.default_rng(seed)
    numbers = np.concatenate([np.full(len(page.label), number) for number, page in enumerate(pages)])
    tiles = np.concatenate([np.arange(len(page.label)) for page in pages])
    labels = np.concatenate([page.label for page in pages])
    known = np.concatenate([page.weight for page in pages]) > 0
    chosen = [np.flatnonzero(known & (labels == value)) for value in (0, 1)]
    chosen = [np.sort(rng.permutation(places)[: most // 2]) for places in chosen]
    windows, kept, weights = [], [], []
    for value, places in enumerate(chosen):
        for place in places:
            tile = int(tiles[place])
            window = cut_windows(pages[int(numbers[place])].plane, tile, tile + 1)
            if rng.random() < 0.5:
                window[..., 3] = 0
            windows.append(window)
        kept.append(np.full((len(places), 1), value, np.float32))
        weights.append(np.full(len(places), most / 2 / max(1, len(places)), np.float32))
    if not windows:
        raise ValueError("no tile of the validation pages has a label")
    return np.concatenate(windows), np.concatenate(kept), np.concatenate(weights)


def export_network(network: keras.Model, out: Path) -> None:
    """Write `model.keras`, without the optimiser's state, and `model.tflite` (float32, any batch size)."""
    import tensorflow as tf

    bare = keras.Model.from_config(network.get_config())  # a clone would be compiled, and three times as large
    bare.set_weights(network.get_weights())
    bare.save(out / KERAS_FILE)
    folder = Path(tempfile.mkdtemp(prefix="foliopress-export-"))
    try:
        bare.export(str(folder / "saved"), verbose=False)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(folder / "saved"))
        (out / LITERT_FILE).write_bytes(converter.convert())
    finally:
        shutil.rmtree(folder)


def _places_of(pages: Sequence[LabelledTiles], kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (page numbers, tile numbers, cumulated chances) of a kind's tiles.

    A page's chance grows with the root of its tiles, so that large pages do not drown small ones; unmarked pages, whose
    labels are thin, have a third of it.
    """
    numbers, tiles, chances = [], [], []
    for number, page in enumerate(pages):
        found = np.flatnonzero(_is_of_kind(page, kind))
        if not len(found):
            continue
        numbers.append(np.full(len(found), number))
        tiles.append(found)
        share = (1.0 if page.scan.truth or kind == "handwritten" else 0.33) * len(found) ** 0.5
        chances.append(np.full(len(found), share / len(found)))
    if not numbers:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    return np.concatenate(numbers), np.concatenate(tiles), np.cumsum(np.concatenate(chances))


def _is_of_kind(page: LabelledTiles, kind: str) -> np.ndarray:
    """Return (n_tiles,) bool; `beside` is unimportant with text near, `blank` and `written` are blank all round."""
    known: np.ndarray = page.weight > 0
    important = known & (page.label == 1)
    if kind in ("printed", "handwritten"):
        return np.asarray(important & (page.handwritten == (kind == "handwritten")))
    n_rows, n_cols = page.plane.shape[0] // CORE_PX, page.plane.shape[1] // CORE_PX
    bare = (known & ~important).reshape(n_rows, n_cols)
    round_it = np.lib.stride_tricks.sliding_window_view(np.pad(bare, 1, mode="edge"), (3, 3)).all(axis=(2, 3))
    return np.asarray(bare & ~round_it if kind == "beside" else round_it).ravel()
