"""Test that the ink record follows every deformation between sheet and scanned page."""

from __future__ import annotations

import numpy as np
import pytest

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.leaf import Leaf
from foliopress.model.drawn.mounting import mounted
from foliopress.model.drawn.scanning import apply_tone_curve, scanned
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.ink_truth import label_page
from foliopress.tasks.samples.lettering import print_line
from foliopress.tasks.samples.paper import WHITE_PAPER
from tests.model.drawn.by_hand import SCAN, bar, lay, page_of, sheet


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 11, 25, 29, 32])
def test_what_the_truth_calls_ink_is_darker_than_the_paper_round_it(seed: int) -> None:
    """Skewed, bent (from seed 3 on), mounted, scanned: the ink record must match the strokes."""
    rng = np.random.default_rng(seed)
    drawn = TracedSheet(60, 110, 150, WHITE_PAPER)
    for row in (8, 20, 32, 44):
        drawn.lay(print_line("the quay and the lighthouse", 28), row, 6)
    leaf = mounted(Leaf(drawn.light, drawn.ink, drawn.dpi, (0.9, 0.9, 0.9)), rng)
    page = scanned(leaf, rng)
    luma = page.pixels.mean(axis=2) if page.pixels.ndim == 3 else page.pixels
    ink = page.ink[..., Layer.PRINT]
    strokes = ink > 100
    beside = (ink < 3) & (np.roll(strokes, 4, axis=0) | np.roll(strokes, -4, axis=0))
    assert strokes.sum() > 2000
    assert luma[beside].mean() - luma[strokes].mean() > 100


def test_two_tone_scanning_wipes_faint_ink_away_and_the_truth_knows_it() -> None:
    drawn = sheet(1, 2)
    lay(drawn, 10, 10, bar(6, 12), 0.9)
    lay(drawn, 10, 42, bar(6, 12), 0.2)
    curve = np.where(np.arange(256) > 128, 255, 0).astype(np.uint8)
    page = apply_tone_curve(page_of(drawn), curve)
    assert set(np.unique(page.pixels)) == {0, 255}
    labelled = label_page(page, (), SCAN)
    assert labelled.label.tolist() == [1, 0]
    assert labelled.weight.tolist() == [1, 0]  # the lost ink makes the tile unknown
