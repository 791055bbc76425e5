"""Test that handwriting of every kind is recorded as such, at the right place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foliopress.model.drawn.handwriting import Script, random_pen, write, write_lines
from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.tasks.samples.paper import WHITE_PAPER

SCRIPTS: tuple[Script, ...] = ("joined", "single", "strokes")


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_stands_on_its_baseline_in_the_layer_of_the_hand(script: Script) -> None:
    rng = np.random.default_rng(4)
    drawn = TracedSheet(60, 120, 100, WHITE_PAPER)
    pen = replace(random_pen(rng, 3.0), script=script, strength=1.0, dryness=0.0, slant=0.0)
    write(drawn, "moon", (40, 10), pen, rng)
    by_hand = drawn.ink[..., Layer.HAND] > 12
    assert by_hand.sum() == (drawn.ink > 12).sum() > 100
    rows = np.flatnonzero(by_hand.any(axis=1))
    assert drawn.mm(int(rows[-1])) == pytest.approx(40, abs=4.5)  # one and a half x-heights for descenders
    assert 25 < drawn.mm(int(rows[0])) < 38


def test_written_lines_end_inside_their_box() -> None:
    rng = np.random.default_rng(5)
    drawn = TracedSheet(100, 120, 100, WHITE_PAPER)
    end = write_lines(drawn, (20, 10, 60, 110), 9.0, random_pen(rng, 2.0), rng)
    assert end == 56
    assert not (drawn.ink[drawn.px(75) :, :, Layer.HAND] > 12).any()
