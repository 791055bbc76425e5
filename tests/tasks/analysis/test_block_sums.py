"""Sums over blocks, for any size of plane and block."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from foliopress.tasks.analysis.block_sums import block_areas, block_sums

SIDES = st.integers(1, 40)


@given(
    plane=arrays.arrays(np.bool_, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)), height=SIDES, width=SIDES
)
def test_each_block_has_the_sum_of_its_own_pixels(plane: np.ndarray, height: int, width: int) -> None:
    sums, areas = block_sums(plane, height, width), block_areas(plane.shape, height, width)
    for row in range(sums.shape[0]):
        for col in range(sums.shape[1]):
            block = plane[row * height : (row + 1) * height, col * width : (col + 1) * width]
            assert (sums[row, col], areas[row, col]) == (block.sum(), block.size)
    assert sums.shape == areas.shape == (-(-plane.shape[0] // height), -(-plane.shape[1] // width))


def test_floats_are_added_as_they_are() -> None:
    plane = np.array([[0.5, -1.5, 2.0], [0.25, 0.0, 1.0]], np.float32)
    assert block_sums(plane, 2, 2).tolist() == [[-0.75, 3.0]]
    assert block_sums(plane, 1, 3).tolist() == [[1.0], [1.25]]
