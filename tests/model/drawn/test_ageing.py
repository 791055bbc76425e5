"""Test that defects change a leaf's appearance but not its text."""

from __future__ import annotations

import numpy as np
import pytest

from foliopress.model.drawn.ageing import DEFECTS
from foliopress.model.drawn.ink import FADED_CONTRAST, Layer
from foliopress.model.drawn.leaf import Leaf
from foliopress.model.drawn.scanning import scanned
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.ink_truth import label_page
from foliopress.tasks.samples.paper import WHITE_PAPER
from tests.model.drawn.by_hand import SCAN, bar, lay, sheet


def test_no_defect_is_important() -> None:
    rng = np.random.default_rng(5)
    blank = TracedSheet(148, 105, 100, WHITE_PAPER)
    leaf = Leaf(blank.light, blank.ink, blank.dpi, (0.05, 0.05, 0.05))
    for _, defect in DEFECTS:
        leaf = defect(leaf, rng)
    page = scanned(leaf, rng)
    labelled = label_page(page, (), SCAN)
    assert page.pixels.std() > 8
    assert not labelled.label.any()
    assert labelled.weight.all()


@pytest.mark.parametrize("seed", range(6))
def test_a_defect_leaves_the_leaf_before_it_alone_and_adds_no_ink(seed: int) -> None:
    drawn = sheet(8, 8)
    lay(drawn, 100, 60, bar(20, 120))
    leaf = Leaf(drawn.light, drawn.ink, drawn.dpi, (0.05, 0.05, 0.05))
    light, ink = drawn.light.copy(), drawn.ink.copy()
    for _, defect in DEFECTS:
        after = defect(leaf, np.random.default_rng(seed))
        assert np.array_equal(leaf.light, light) and np.array_equal(leaf.ink, ink)
        assert after.light.dtype == after.ink.dtype == np.float32
        assert after.size == leaf.size and (after.ink <= ink).all()


def test_faded_ink_leaves_a_trace_and_covered_ink_none() -> None:
    drawn = sheet(8, 8)
    drawn.ink[..., Layer.PRINT] = 10
    leaf = Leaf(drawn.light, drawn.ink, drawn.dpi, (0.05, 0.05, 0.05))
    least = {}
    for _, defect in DEFECTS:
        least[defect.__name__] = float(defect(leaf, np.random.default_rng(3)).ink[..., Layer.PRINT].min())
    assert least["_torn"] == least["_punched"] == 0
    assert least["_faded"] == least["_blotted"] == FADED_CONTRAST
    assert least["_folded"] == 10
