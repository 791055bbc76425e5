"""Probe: a sample of a page's strokes, and the least quality at which they are sharp enough."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.tasks.fit.quality_search import (
    MOST_PATCHES,
    PATCH_PX,
    PROBED_QUALITIES,
    Sample,
    find_quality,
    take_sample,
)

DPI = 150.0


def strokes(height_px=PATCH_PX, width_px=PATCH_PX, seed=0):
    """Print-like strokes on paper, and where they are."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((height_px, width_px), np.uint8)
    for row in range(10, height_px, 20):
        for col in range(8, width_px, 14):
            cv2.line(ink, (col, row), (col + int(rng.integers(0, 9)), row + int(rng.integers(-8, 9))), 1, 2)
    return (230 - 190 * ink).astype(np.uint8), ink > 0


@pytest.fixture(scope="module")
def sample():
    pixels, ink = strokes()
    return Sample(pixels, pixels, ink)


class Fading:
    """A stand-in codec: the lower the quality, the more of the blurred page shines through."""

    def __init__(self, qualities=(0, 100), strengths=(0.0, 1.0)):
        self.qualities, self.strengths = qualities, strengths
        self.asked = []

    def __call__(self, pixels, quality):
        self.asked.append(quality)
        strength = float(np.interp(quality, self.qualities, self.strengths))
        blurred = cv2.GaussianBlur(pixels, (0, 0), 6)
        return cv2.addWeighted(pixels, strength, blurred, 1 - strength, 0)


@given(
    height=st.integers(1, 900), width=st.integers(1, 900), colour=st.booleans(), spots=st.integers(0, 6), data=st.data()
)
@settings(max_examples=60, deadline=None)
def test_every_patch_of_a_sample_bears_ink_and_shows_the_page_there(height, width, colour, spots, data):
    """Each pixel of the page tells its own place, so that the sample tells where it was taken."""
    rows, cols = np.mgrid[:height, :width]
    source = ((rows * 31 + cols * 7) % 251).astype(np.uint8)
    mixed = 255 - source
    if colour:
        source, mixed = (np.repeat(plane[..., np.newaxis], 3, axis=2) for plane in (source, mixed))
    ink = np.zeros((height, width), bool)
    for _ in range(spots):
        row, col = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        ink[row : row + 40, col : col + 40] = True
    found = take_sample(source, mixed, ink)
    if found is None:
        assert ink.sum() < 16 * 0.0005 * PATCH_PX**2  # less than a speck in each of 4 x 4 places
        return
    assert found.source.shape == found.blended.shape and found.source.shape[:2] == found.ink.shape
    assert np.array_equal(found.blended, 255 - found.source)
    side = min(PATCH_PX, height), min(PATCH_PX, width)
    assert found.ink.shape[1] == side[1] and found.ink.shape[0] % side[0] == 0
    patches = found.ink.reshape(-1, *side)
    assert 1 <= len(patches) <= MOST_PATCHES
    borne = patches.sum(axis=(1, 2))
    assert (borne >= min(0.01 * PATCH_PX**2, borne.max() / 8) - 1).all()
    assert borne.min() >= 0.0005 * PATCH_PX**2 - 1


def test_patches_lie_where_the_ink_is_and_are_spread_over_it():
    places = np.arange(24, dtype=np.uint8).reshape(6, 4) * 10
    source = np.kron(places, np.ones((PATCH_PX, PATCH_PX), np.uint8))
    ink = np.zeros(source.shape, bool)
    ink[: 5 * PATCH_PX, : 3 * PATCH_PX] = True  # 15 places; the last row and column are bare
    found = take_sample(source, source, ink)
    shown = [int(patch[0, 0]) // 10 for patch in found.source.reshape(-1, PATCH_PX, PATCH_PX)]
    assert len(set(shown)) == MOST_PATCHES
    assert (shown[0], shown[-1]) == (0, 18)  # the first inked place and the last
    assert all(place % 4 < 3 and place < 20 for place in shown)
    assert found.ink.all()


@pytest.mark.parametrize("shape", [(300, 300), (20, 2000), (1, 1)])
def test_a_page_without_ink_gives_no_sample_and_neither_does_a_speck(shape):
    page, ink = np.full(shape, 200, np.uint8), np.zeros(shape, bool)
    assert take_sample(page, page, ink) is None
    ink[0, 0] = True
    assert take_sample(page, page, ink) is None


def test_patches_at_the_edge_are_moved_inwards():
    columns = np.tile(np.arange(300) % 251, (300, 1)).astype(np.uint8)
    found = take_sample(columns.T.copy(), columns, np.ones((300, 300), bool))
    assert found.ink.shape == (4 * PATCH_PX, PATCH_PX)
    corners = [(int(found.source[at, 0]), int(found.blended[at, 0])) for at in range(0, 4 * PATCH_PX, PATCH_PX)]
    assert corners == [(0, 0), (0, 44), (44, 0), (44, 44)]


def test_a_page_of_one_short_word_is_sampled_there_and_not_at_a_speck():
    pixels, ink = np.full((1000, 1000), 200, np.uint8), np.zeros((1000, 1000), bool)
    cv2.putText(pixels, "No. 9", (600, 600), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 40, 1)
    ink[pixels < 120] = True
    assert ink.sum() < 0.01 * PATCH_PX**2
    ink[100:104, 100:104] = True
    found = take_sample(pixels, pixels, ink)
    assert found.ink.sum() == ink.sum() - 16
    assert found.source.min() == 40


@pytest.mark.parametrize("shape", [(40, 90), (40, 700), (700, 40), (PATCH_PX, PATCH_PX)])
def test_a_page_smaller_than_a_patch_is_sampled_as_far_as_it_goes(shape):
    pixels, ink = strokes(*shape)
    found = take_sample(pixels, pixels, ink)
    assert found.source.shape[1] == min(PATCH_PX, shape[1])
    assert 20 <= find_quality(found, Fading(), DPI, 0.9, 0.8) <= 92


@given(
    strengths=st.lists(st.floats(0, 1), min_size=6, max_size=6).map(sorted),
    targets=st.lists(st.floats(0, 0.999), min_size=2, max_size=2).map(sorted),
    full_targets=st.lists(st.floats(0, 0.999), min_size=2, max_size=2).map(sorted),
    dpi=st.sampled_from([100.0, 300.0]),
)
@settings(max_examples=50, deadline=None)
def test_a_higher_target_never_gives_a_lower_quality(sample, strengths, targets, full_targets, dpi):
    found = [
        find_quality(sample, Fading(PROBED_QUALITIES, strengths), dpi, target, full_target)
        for target, full_target in zip(targets, full_targets, strict=True)
    ]
    assert PROBED_QUALITIES[0] <= found[0] <= found[1] <= PROBED_QUALITIES[-1]


@pytest.mark.parametrize("target", [0.5, 0.7, 0.9, 0.96])
@pytest.mark.parametrize("at_full_size", [False, True])
def test_the_quality_found_reaches_the_target_and_little_less_would_not(sample, target, at_full_size):
    targets = (0.0, target) if at_full_size else (target, 0.0)
    quality = find_quality(sample, Fading(), 300.0, *targets)
    assert PROBED_QUALITIES[0] < quality < PROBED_QUALITIES[-1]
    # a codec of one strength whatever the quality needs the least quality, or never gets there
    reaches = find_quality(sample, Fading(strengths=[(quality + 3) / 100] * 2), 300.0, *targets)
    assert reaches == PROBED_QUALITIES[0]
    falls_short = find_quality(sample, Fading(strengths=[(quality - 3) / 100] * 2), 300.0, *targets)
    assert falls_short == PROBED_QUALITIES[-1]


def test_either_target_alone_can_ask_for_more(sample):
    low = find_quality(sample, Fading(), 300.0, 0.5, 0.5)
    assert find_quality(sample, Fading(), 300.0, 0.97, 0.5) > low
    assert find_quality(sample, Fading(), 300.0, 0.5, 0.97) > low


def test_a_target_beyond_reach_gives_the_highest_quality_and_none_at_all_the_least(sample):
    assert find_quality(sample, Fading(strengths=(0.1, 0.1)), DPI, 0.99, 0.9) == PROBED_QUALITIES[-1]
    assert find_quality(sample, Fading(), DPI, 0.0, 0.0) == PROBED_QUALITIES[0]


@pytest.mark.parametrize("target", [0.0, 0.7, 0.9, 0.97, 0.999])
def test_no_quality_is_tried_that_lies_beyond_the_answers_neighbours(sample, target):
    codec = Fading()
    quality = find_quality(sample, codec, DPI, target, 0.0)
    assert codec.asked[0] == PROBED_QUALITIES[2]
    assert len(codec.asked) == len(set(codec.asked)) <= 4
    assert set(codec.asked) <= set(PROBED_QUALITIES)
    if quality not in PROBED_QUALITIES:
        assert {max(tried for tried in PROBED_QUALITIES if tried < quality)} < set(codec.asked)
        assert min(tried for tried in PROBED_QUALITIES if tried > quality) in codec.asked


def test_the_mixed_page_is_coded_and_held_against_the_source(sample):
    blurred = cv2.GaussianBlur(sample.source, (0, 0), 3)
    harmed = Sample(sample.source, blurred, sample.ink)
    assert find_quality(harmed, Fading(), DPI, 0.95, 0.0) == PROBED_QUALITIES[-1]  # no quality brings it back
    assert find_quality(sample, Fading(), DPI, 0.95, 0.0) < PROBED_QUALITIES[-1]
