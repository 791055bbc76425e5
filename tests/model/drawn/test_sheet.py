"""Test that a traced sheet looks like any other and records its ink."""

from __future__ import annotations

import numpy as np
import pytest

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.tasks.samples.lettering import print_line
from foliopress.tasks.samples.paper import WHITE_PAPER, Sheet
from tests.model.drawn.by_hand import bar, lay, sheet


def test_a_traced_sheet_looks_like_a_plain_one() -> None:
    plain, drawn = Sheet(20, 40, 200, WHITE_PAPER), TracedSheet(20, 40, 200, WHITE_PAPER)
    for each in (plain, drawn):
        each.lay(print_line("Kilbray", 40), 3, -2, (0.2, 0.2, 0.5), 0.8)  # partly outside the sheet
        each.rule((15, 2), (15, 39))
    assert np.array_equal(plain.light, drawn.light)
    assert drawn.ink[..., Layer.PRINT].max() == pytest.approx((plain.light.max() - plain.light.min()) * 255, abs=3)


def test_ink_is_traced_in_the_layer_that_it_was_laid_in_and_nowhere_else() -> None:
    drawn = sheet(1, 1)
    with drawn.layer(Layer.RULE):
        lay(drawn, 10, 8, bar(2, 5))
    lay(drawn, 20, 8, bar(3, 4))
    assert {layer: int((drawn.ink[..., layer] > 0).sum()) for layer in Layer} == {
        Layer.PRINT: 12,
        Layer.HAND: 0,
        Layer.PICTURE: 0,
        Layer.RULE: 10,
    }


def test_ink_beside_the_sheet_is_cut_off() -> None:
    drawn = sheet(1, 1)
    lay(drawn, -3, -4, bar(5, 10))
    lay(drawn, 30, 40, bar(5, 10))
    assert (drawn.ink[..., Layer.PRINT] > 0).sum() == 2 * 6


def test_light_ink_beside_a_dark_sheet_is_cut_off_too() -> None:
    card = TracedSheet(20, 20, 150, (0.1, 0.1, 0.1))
    card.lay(bar(5, 10), -card.mm(3), -card.mm(4), (0.9, 0.9, 0.9))
    assert (card.ink[..., Layer.PRINT] > 0).sum() == 2 * 6
    assert card.is_dark and not sheet(1, 1).is_dark
