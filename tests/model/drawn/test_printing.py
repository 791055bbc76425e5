"""Test that print is placed correctly and ends at the edge of its box."""

from __future__ import annotations

import numpy as np
import pytest

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.printing import print_column, print_text, random_type
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.tasks.samples.paper import WHITE_PAPER


def ink_box(drawn: TracedSheet) -> tuple[float, float, float, float]:
    """Return (top, left, bottom, right) of all printed ink, in mm."""
    rows, cols = (np.flatnonzero((drawn.ink[..., Layer.PRINT] > 12).any(axis=axis)) for axis in (1, 0))
    return tuple(drawn.mm(int(place)) for place in (rows[0], cols[0], rows[-1], cols[-1]))


def test_a_line_is_printed_after_round_or_before_its_place() -> None:
    places = []
    for align in (0.0, 0.5, 1.0):
        rng = np.random.default_rng(1)
        drawn = TracedSheet(40, 120, 100, WHITE_PAPER)
        end = print_text(drawn, "the lighthouse", (10, 60), random_type(rng, 13, is_typed=True), rng, align)
        top, left, bottom, right = ink_box(drawn)
        assert 10 <= top < bottom < end < 18
        places.append((left, right))
    after, around, before = places
    assert before[0] < before[1] < 60 < after[0] < after[1]
    assert sum(around) / 2 == pytest.approx(60, abs=2)
    assert after[0] - around[0] == pytest.approx(around[0] - before[0], abs=0.3)  # a pixel is 0.254 mm


@pytest.mark.parametrize("seed", range(4))
def test_a_column_fills_its_box_and_leaves_out_lines_without_room(seed: int) -> None:
    rng = np.random.default_rng(seed)
    drawn = TracedSheet(100, 100, 100, WHITE_PAPER)
    end = print_column(drawn, (20, 15, 50, 85), random_type(rng, 11), rng)
    top, left, bottom, right = ink_box(drawn)
    assert top >= 20 and bottom <= end <= 50.5
    assert left >= 15 and right <= 88
    assert bottom > 40 and right > 70


def test_a_box_lower_than_a_line_stays_empty() -> None:
    rng = np.random.default_rng(1)
    drawn = TracedSheet(40, 40, 100, WHITE_PAPER)
    assert print_column(drawn, (20, 5, 22, 35), random_type(rng, 11), rng) == 20
    assert not drawn.ink.any()
