"""Test drawn pages, from the seed to the page."""

from __future__ import annotations

import numpy as np
import pytest

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.pages import PAGES, draw_page
from foliopress.model.ink_truth import label_page
from tests.model.drawn.by_hand import SCAN


@pytest.mark.parametrize(("number", "seed"), [(7, 6), (7, 38), (7, 45), (18, 6), (18, 13), (18, 17)])
def test_a_blank_page_has_no_important_tile_and_no_doubt(number: int, seed: int) -> None:
    """Number 7 is the blank back of a leaf, number 18 an empty page."""
    labelled = label_page(draw_page(number, seed), (), SCAN)
    assert not labelled.label.any()
    assert labelled.weight.all()


def test_every_kind_of_page_but_the_blank_ones_holds_writing() -> None:
    blank = []
    for make in PAGES:
        drawn = make(np.random.default_rng(2))
        assert drawn.ink.shape == (*drawn.light.shape[:2], len(Layer))
        assert drawn.light.min() >= 0 and drawn.light.max() <= 1
        if not (drawn.ink[..., [Layer.PRINT, Layer.HAND]] > 12).any():
            blank.append(make.__name__)
    assert blank == ["blank_back", "empty_page"]


def test_a_seed_gives_the_same_page_and_another_seed_another() -> None:
    first, again, other = draw_page(3, 35), draw_page(3, 35), draw_page(3, 16)
    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.ink, again.ink)
    assert first.dpi == again.dpi
    assert not np.array_equal(first.pixels, other.pixels)
