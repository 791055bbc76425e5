"""Train the network from ImageNet weights on labelled pages; an interrupted training can be resumed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import keras
import numpy as np

from foliopress.model.dataset import LabelledTiles
from foliopress.model.network import BACKBONE, build_network, freeze_batch_norm, load_network
from foliopress.model.patches import Batch, TrainingPatches, validation_patches

logger = logging.getLogger(__name__)

EPOCHS, BATCHES_PER_EPOCH = 5, 120
LOG_FOLDER = "tensorboard"

_HEAD_BATCHES = 60
_HEAD_RATE, _FINE_RATE, _LAST_SHARE, _DECAY = 2e-3, 1e-3, 0.01, 1e-4
_RECALL_TO_COMPARE_AT = 0.998
_PATIENCE = 3


@dataclass(frozen=True)
class TrainingOptions:
    """Length and starting point of a training.

    weights: ImageNet weights of the backbone; random weights without it. with_mask: Whether the network sees the mask.
    """

    weights: Path | None
    seed: int = 1
    epochs: int = EPOCHS
    batches_per_epoch: int = BATCHES_PER_EPOCH
    with_mask: bool = True


def fit_network(
    training: Sequence[LabelledTiles],
    held_out: Sequence[LabelledTiles],
    options: TrainingOptions,
    checkpoints: Path | None = None,
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Train a network and return it as of its best epoch, with the metrics of every epoch.

    The head is trained alone first; then everything but batch norm's statistics, with a cosine learning-rate decay.

    Args:
        training: Pages to sample patches from.
        held_out: Pages to validate on after each epoch.
        options: Length and starting point.
        checkpoints: Folder for the state after each epoch and a TensorBoard log. An interrupted training with the same
            options and pages resumes after its last complete epoch. Without it nothing is stored.
    """
    n_batches = _HEAD_BATCHES + options.epochs * options.batches_per_epoch
    drawn = TrainingPatches(training, n_batches, options.seed, with_mask=options.with_mask)
    validation = validation_patches(held_out, options.seed, with_mask=options.with_mask)
    state = _TrainingState(checkpoints / checkpoint_name(options, training) if checkpoints else None, options.epochs)
    network = state.load()
    if network is None:
        network = _with_trained_head(options, drawn)
    callbacks = [_ReproducibleDropout(options), _EpochMetrics(validation, state)]
    if checkpoints is not None:
        callbacks.append(keras.callbacks.TensorBoard(str(checkpoints / LOG_FOLDER), write_graph=False))
    if len(state.rows) < options.epochs and not state.has_stalled:
        network.fit(
            drawn.after(_HEAD_BATCHES + len(state.rows) * options.batches_per_epoch),
            initial_epoch=len(state.rows),
            epochs=options.epochs,
            steps_per_epoch=options.batches_per_epoch,
            shuffle=False,  # already random; in order, a resumed training continues as it would have
            callbacks=callbacks,
            verbose=0,
        )
    network.set_weights(state.best)
    return network, state.rows


def checkpoint_name(options: TrainingOptions, training: Sequence[LabelledTiles]) -> str:
    """Return a name that identifies the state of this training, distinct for other options or pages."""
    digest = hashlib.sha256(repr((options, [(page.scan.key, page.shape) for page in training])).encode())
    return f"course-{digest.hexdigest()[:16]}"


def _with_trained_head(options: TrainingOptions, drawn: TrainingPatches) -> keras.Model:
    """Return a new network after some batches of training the head alone, ready to be trained as a whole."""
    keras.utils.set_random_seed(options.seed)
    network = build_network(options.weights)
    backbone = network.get_layer(BACKBONE)
    if options.weights is not None:
        backbone.trainable = False
        network.compile(keras.optimizers.AdamW(_HEAD_RATE, weight_decay=_DECAY), "binary_crossentropy")
        network.fit(drawn, epochs=1, steps_per_epoch=_HEAD_BATCHES, shuffle=False, verbose=0)
        backbone.trainable = True
        freeze_batch_norm(backbone)
    steps = max(1, options.epochs * options.batches_per_epoch)
    warm_up = min(60, steps // 5)
    rate = keras.optimizers.schedules.CosineDecay(
        _FINE_RATE / 10, steps - warm_up, _LAST_SHARE, warmup_target=_FINE_RATE, warmup_steps=warm_up
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=_DECAY)
    network.compile(optimizer, "binary_crossentropy", weighted_metrics=[])
    return network


class _TrainingState:
    """State of a training: the network with its optimiser, the best weights so far, one row per epoch.

    At a high learning rate, validation loss fluctuates at random. Epochs of the first half are therefore neither the
    best nor a reason to stop; until the second half, the latest weights count.
    """

    def __init__(self, folder: Path | None, epochs: int) -> None:
        self._folder = folder
        self._first_calm = (epochs - 1) // 2
        self.rows: list[dict[str, float]] = []
        self.best: list[np.ndarray] = []

    def load(self) -> keras.Model | None:
        """Return the network of an interrupted training, or None."""
        if self._folder is None or not (self._folder / "rows.json").is_file():
            return None
        self.rows = json.loads((self._folder / "rows.json").read_text(encoding="utf-8"))
        self.best = load_network(self._folder / "best.keras").get_weights()
        network = keras.saving.load_model(str(self._folder / f"epoch-{len(self.rows)}.keras"), safe_mode=True)
        logger.info("resuming the training after epoch %d", len(self.rows))
        return network

    def add(self, row: dict[str, float], network: keras.Model) -> None:
        """Save an epoch's results; the rows are written last, so that everything they refer to exists."""
        self.rows.append(row)
        calm = [other["val_loss"] for other in self.rows[self._first_calm :]]
        is_best = not calm or row["val_loss"] <= min(calm)
        if is_best:
            self.best = network.get_weights()
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        network.save(self._folder / f"epoch-{len(self.rows)}.keras")
        if is_best:
            network.save(self._folder / "best.keras", include_optimizer=False)
        draft = self._folder / "rows.json.new"
        draft.write_text(json.dumps(self.rows, indent=1) + "\n", encoding="utf-8")
        draft.replace(self._folder / "rows.json")
        (self._folder / f"epoch-{len(self.rows) - 1}.keras").unlink(missing_ok=True)

    @property
    def has_stalled(self) -> bool:
        """Whether validation has not improved for three epochs of the second half."""
        losses = [row["val_loss"] for row in self.rows[self._first_calm :]]
        return bool(losses) and len(losses) - 1 - int(np.argmin(losses)) >= _PATIENCE


class _ReproducibleDropout(keras.callbacks.Callback):  # type: ignore[misc]
    """Make each epoch's dropout depend on the seed and the epoch only.

    A saved network does not contain the state of its dropout layers (Keras 3.15): a resumed training would continue
    with other random numbers.
    """

    def __init__(self, options: TrainingOptions) -> None:
        super().__init__()
        self._options = options

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002 (Keras passes it)
        """Set the state of each dropout layer: its seed and the number of batches seen."""
        layers = [layer for layer in self.model.layers if isinstance(layer, keras.layers.Dropout)]
        for number, layer in enumerate(layers):
            seed = 1000 * self._options.seed + number
            layer.seed_generator.state.assign([seed, epoch * self._options.batches_per_epoch])


class _EpochMetrics(keras.callbacks.Callback):  # type: ignore[misc]
    """Record validation metrics after each epoch, and stop a training that no longer improves."""

    def __init__(self, validation: Batch, state: _TrainingState) -> None:
        super().__init__()
        self._patches, self._labels, self._weights = validation
        self._state = state
        self._start = perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Score the validation patches; later callbacks see the metrics too."""
        logs = {} if logs is None else logs
        scores = self.model.predict(self._patches, batch_size=16, verbose=0)[..., 0].astype(np.float64)
        important = self._labels[..., 0] == 1
        right = np.clip(np.where(important, scores, 1 - scores), 1e-7, 1.0)
        logs["val_loss"] = float(np.average(-np.log(right), weights=self._weights))
        known = self._weights > 0
        lowest = np.quantile(scores[known & important], 1 - _RECALL_TO_COMPARE_AT) if (known & important).any() else 0.0
        bare = scores[known & ~important]
        logs["val_freed"] = float((bare < lowest).mean()) if len(bare) else 1.0
        row = {name: round(float(value), 5) for name, value in logs.items()}
        self._state.add(row | {"seconds": round(perf_counter() - self._start)}, self.model)
        logger.info("epoch %d: %s", epoch + 1, self._state.rows[-1])
        if self._state.has_stalled:
            self.model.stop_training = True
