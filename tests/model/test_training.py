"""Test training and export on a tiny set, complete and interrupted."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import foliopress.model.training
from foliopress.model.export import export_network
from foliopress.model.network import load_network
from foliopress.model.patches import BATCH, validation_patches
from foliopress.model.scoring import KERAS_FILE, LITERT_FILE, load_scorer
from foliopress.model.training import LOG_FOLDER, TrainingOptions, fit_network
from foliopress.tasks.analysis.tiles import cut_patches
from tests.model.made_up import labelled

COURSE = TrainingOptions(weights=None, seed=1, epochs=2, batches_per_epoch=2)
PAGES = [labelled(1), labelled(2)]
HELD_OUT = [labelled(3, "c/e")]

Trained = tuple[keras.Model, list[dict[str, float]], Path]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the files of the training below after its first epoch, as if it had been killed then."""
    return tmp_path_factory.mktemp("stopped")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, stopped: Path) -> Trained:
    """Return a network after two short epochs, its history, and the folder of its checkpoints."""
    folder = tmp_path_factory.mktemp("trained")
    add = foliopress.model.training._TrainingState.add

    def add_and_copy(state: foliopress.model.training._TrainingState, *args: Any) -> None:
        add(state, *args)
        if len(state.rows) == 1:
            shutil.copytree(folder, stopped, dirs_exist_ok=True)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(foliopress.model.training._TrainingState, "add", add_and_copy)
        network, history = fit_network(PAGES, HELD_OUT, COURSE, folder)
    return network, history, folder


@pytest.mark.long
def test_a_short_training_exports_two_small_files_that_score_alike(trained: Trained, tmp_path: Path) -> None:
    network, history, _ = trained
    assert [set(row) for row in history] == [{"loss", "val_loss", "val_freed", "seconds"}] * 2
    export_network(network, tmp_path)
    patches = cut_patches(PAGES[0].plane)
    scores = load_scorer(str(tmp_path), "litert-cpu").score(patches)
    assert np.abs(scores - np.asarray(network(patches, training=False))[..., 0]).max() < 1e-3
    assert sum((tmp_path / name).stat().st_size for name in (KERAS_FILE, LITERT_FILE)) < 6_000_000


@pytest.mark.long
def test_a_training_leaves_a_log_for_tensorboard_with_what_validation_said(trained: Trained) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained[2] / LOG_FOLDER / "train"))
    events.Reload()
    tags = {tag for kinds in events.Tags().values() if isinstance(kinds, list) for tag in kinds}
    assert any("val_loss" in tag for tag in tags) or (trained[2] / LOG_FOLDER / "validation").is_dir()


@pytest.mark.long
def test_a_stopped_training_goes_on_where_it_was_and_ends_as_if_it_had_not_been_stopped(
    trained: Trained, stopped: Path
) -> None:
    assert not list(stopped.glob("course-*/epoch-2.keras"))
    network, history = fit_network(PAGES, HELD_OUT, COURSE, stopped)
    assert history[0] == trained[1][0]  # loaded, not repeated: its seconds are equal too
    assert [row["loss"] for row in history] == pytest.approx([row["loss"] for row in trained[1]], rel=1e-4)
    last = [load_network(next(folder.glob("course-*/epoch-2.keras"))) for folder in (stopped, trained[2])]
    for networks in ((network, trained[0]), last):
        for ours, theirs in zip(*(each.get_weights() for each in networks), strict=True):
            assert np.allclose(ours, theirs, atol=1e-4)


@pytest.mark.long
def test_a_finished_training_is_not_done_again(trained: Trained) -> None:
    network, history = fit_network(PAGES, HELD_OUT, COURSE, trained[2])
    assert history == trained[1]
    assert all(np.array_equal(*pair) for pair in zip(network.get_weights(), trained[0].get_weights(), strict=True))


@pytest.mark.long
def test_another_seed_is_another_training(trained: Trained) -> None:
    other = foliopress.model.training.checkpoint_name(replace(COURSE, seed=2), PAGES)
    assert other != foliopress.model.training.checkpoint_name(COURSE, PAGES)
    assert not (trained[2] / other).exists()


class Numbered:
    """Replacement for a network after an epoch."""

    def __init__(self, number: int) -> None:
        self.number = number

    def get_weights(self) -> list[np.ndarray]:
        return [np.array(self.number)]


def test_the_best_epoch_of_the_calm_half_counts_and_a_training_stops_three_epochs_after_it() -> None:
    state = foliopress.model.training._TrainingState(None, epochs=10)
    losses = [0.1, 0.5, 0.4, 0.6, 0.9, 0.3, 0.35, 0.2, 0.25, 0.21]
    seen = []
    for number, loss in enumerate(losses):
        state.add({"val_loss": loss}, Numbered(number))  # type: ignore[arg-type]
        seen.append((int(state.best[0]), state.has_stalled))
    assert [best for best, _ in seen] == [0, 1, 2, 3, 4, 5, 5, 7, 7, 7]
    assert not any(stalled for _, stalled in seen)
    state.add({"val_loss": 0.22}, Numbered(10))  # type: ignore[arg-type]
    assert state.has_stalled


def test_validation_has_as_many_figures_as_patches() -> None:
    assert len(validation_patches(HELD_OUT, 1)[0]) == 4
    assert BATCH == 16
