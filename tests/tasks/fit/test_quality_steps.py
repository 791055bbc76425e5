"""The quality of the next attempt."""

from hypothesis import given
from hypothesis import strategies as st

from foliopress.tasks.fit.quality_steps import QualitySteps

qualities, strides = st.integers(1, 100), st.integers(1, 40)


def qualities_tried(first, step, least, share=1):
    """Return the qualities that are tried on a page that passes from `least` on, and the lowest that passed."""
    steps, tried, passed = QualitySteps(first, step), [], None
    while len(tried) < 30:
        tried.append(steps.quality)
        if steps.quality >= least:
            passed = steps.quality
        if not (steps.after_pass() if steps.quality >= least else steps.after_failure(share)):
            return tried, passed
    raise AssertionError(tried)


@given(qualities, strides, qualities, st.integers(1, 3))
def test_the_lowest_quality_that_passes_from_the_first_on_is_found(first, step, least, share):
    tried, passed = qualities_tried(first, step, least, share)
    assert passed == max(first, least)
    assert len(set(tried)) == len(tried)


@given(qualities, qualities, strides, qualities)
def test_a_lower_first_quality_never_ends_higher(one, other, step, least):
    lower, higher = sorted((one, other))
    assert qualities_tried(lower, step, least)[1] <= qualities_tried(higher, step, least)[1]


@given(qualities, strides)
def test_a_page_that_passes_at_once_is_encoded_once(first, step):
    assert qualities_tried(first, step, 1) == ([first], first)


@given(qualities, strides)
def test_a_page_that_nothing_helps_ends_at_the_best_quality(first, step):
    tried, passed = qualities_tried(first, step, 101)
    assert (tried[-1], passed) == (100, None)
    assert tried == sorted(tried)


def test_steps_double_until_one_passes_and_then_the_gap_is_halved():
    assert qualities_tried(30, 10, 43)[0] == [30, 40, 60, 50, 45, 42, 43]


def test_what_failed_with_other_pixels_does_not_count():
    steps = QualitySteps(30, 10)
    assert steps.after_failure() and steps.quality == 40
    steps.restart()
    assert not steps.after_pass()


def test_after_one_passed_what_failed_before_stays_the_limit_whatever_pixels_are_given_back():
    steps = QualitySteps(32, 10)
    assert steps.after_failure() and steps.after_pass() and steps.quality == 37
    steps.restart()
    assert steps.after_pass() and steps.quality == 34
