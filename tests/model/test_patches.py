"""Test the sampling and augmentation of training patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foliopress.model.augmentation import draw_handwriting, vary_scan
from foliopress.model.patches import BATCH, SIDE_PX, TILES, TrainingPatches, cut_labelled, validation_patches
from tests.model.made_up import PLANE_TILES, labelled


def test_a_patch_holds_its_tiles_in_the_middle_with_their_labels() -> None:
    page = labelled(1)
    patch, label, weight = cut_labelled(page, 1, 0)
    assert patch.shape == (320, 320, 4)
    assert np.array_equal(patch[48:-48, 48:-48], page.plane[32:256, 0:224])
    assert np.array_equal(patch[48:-48, 0], page.plane[32:256, 0])  # the edge is replicated to the left of the page
    assert np.array_equal(label, page.label.reshape(8, 8)[1:, :7])
    hand = page.handwritten.reshape(8, 8)[1:, :7]
    assert np.allclose(weight, page.weight.reshape(8, 8)[1:, :7] * np.where(hand, 1.5, 1.0))


def test_tiles_past_the_page_weigh_nothing() -> None:
    page = labelled(1)
    _, label, weight = cut_labelled(page, -1, 5)
    assert not weight[0].any() and not weight[:, 3:].any()
    assert weight[1:4, :3].all()
    assert np.array_equal(label[1:, :3], page.label.reshape(8, 8)[:6, 5:])


def test_the_same_seed_and_number_draw_the_same_batch() -> None:
    pages = [labelled(1), labelled(2)]
    first, second = TrainingPatches(pages, 3, seed=5), TrainingPatches(pages, 3, seed=5).after(1)
    assert (len(first), len(second)) == (3, 2)
    for ours, theirs in zip(first[2], second[1], strict=True):
        assert np.array_equal(ours, theirs)
    patches, labels, weights = first[0]
    assert patches.shape == (BATCH, SIDE_PX, SIDE_PX, 4)
    assert patches.dtype == np.uint8
    assert labels.shape == (BATCH, TILES, TILES, 1)
    assert weights.shape == (BATCH, TILES, TILES)
    assert set(np.unique(labels)) == {0.0, 1.0}
    assert not np.array_equal(first[0][0], second[0][0])


def test_both_classes_weigh_about_the_same() -> None:
    drawn = TrainingPatches([labelled(seed) for seed in range(4)], 30, seed=2)
    totals = np.zeros(2)
    for index in range(len(drawn)):
        _, labels, weights = drawn[index]
        totals += [weights[labels[..., 0] == value].sum() for value in (0, 1)]
    assert totals[0] == pytest.approx(totals[1], rel=0.15)


def test_a_network_without_mask_never_sees_one() -> None:
    pages = [labelled(1)]
    assert any(TrainingPatches(pages, 1, seed=1)[0][0][..., 3].any(axis=(1, 2)))
    assert not TrainingPatches(pages, 1, seed=1, with_mask=False)[0][0][..., 3].any()
    assert not validation_patches(pages, 1, with_mask=False)[0][..., 3].any()


def test_pages_without_a_label_cannot_be_drawn_from() -> None:
    page = labelled(1)
    silent = replace(page, weight=np.zeros_like(page.weight))
    with pytest.raises(ValueError, match="label"):
        TrainingPatches([silent], 1, seed=1)
    with pytest.raises(ValueError, match="label"):
        validation_patches([silent], 1)


def test_validation_sees_every_judged_tile_once_and_both_classes_alike() -> None:
    pages = [labelled(seed) for seed in range(6)]
    patches, labels, weights = validation_patches(pages, seed=1)
    assert (weights > 0).sum() == len(pages) * PLANE_TILES * (PLANE_TILES - 1)
    assert weights[labels[..., 0] == 1].sum() == pytest.approx(weights[labels[..., 0] == 0].sum(), rel=1e-4)
    with_mask = patches[..., 3].any(axis=(1, 2))
    assert 0 < with_mask.sum() < len(patches)


def test_about_half_of_the_varied_patches_lose_their_mask_and_none_gains_one() -> None:
    rng = np.random.default_rng(3)
    patch = np.full((96, 96, 4), 200, np.uint8)
    patch[:, :48, 3] = 255
    patch[:, 48:, 3] = 0
    before = patch.copy()
    masks = [vary_scan(patch, rng)[..., 3] for _ in range(200)]
    assert np.array_equal(patch, before)
    with_mask = [mask for mask in masks if mask.any()]
    assert 70 <= len(with_mask) <= 130
    assert all(np.array_equal(mask, before[..., 3]) for mask in with_mask)


def test_tiles_that_were_written_on_become_important_and_those_with_a_trace_are_not_judged() -> None:
    rng = np.random.default_rng(4)
    paper = np.full((SIDE_PX, SIDE_PX, 4), 240, np.uint8)
    seen = {(1.0, 1.0): 0, (0.0, 1.0): 0, (0.0, 0.0): 0}
    for _ in range(40):
        written, label, weight = draw_handwriting(paper, np.zeros((7, 7), np.float32), np.ones((7, 7), np.float32), rng)
        change = np.abs(written[48:-48, 48:-48, :3].astype(int) - 240).max(axis=2)
        change = change.reshape(7, 32, 7, 32).max(axis=(1, 3))
        assert (change[label == 1] > 20).all()
        assert (change[(label == 0) & (weight == 1)] == 0).all()
        for tile in zip(label.ravel().tolist(), weight.ravel().tolist(), strict=True):
            seen[tile] += 1
    assert min(seen.values()) >= 10


def test_writing_takes_no_importance_away() -> None:
    rng = np.random.default_rng(5)
    paper = np.full((SIDE_PX, SIDE_PX, 4), 240, np.uint8)
    for _ in range(10):
        _, label, weight = draw_handwriting(paper, np.ones((7, 7), np.float32), np.full((7, 7), 0.5, np.float32), rng)
        assert (label == 1).all() and (weight == 0.5).all()
