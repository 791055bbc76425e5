"""Work budget: counts decide, the clock comes last, and a document of many pages may take more."""

import pytest

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.work_budget import WorkBudget

LIMITS = LimitSettings(max_document_operations=1000, max_unpacked_bytes=500, max_document_seconds=10)


def test_what_is_counted_ends_the_reading_at_the_same_place_whatever_the_clock_says():
    for hour in (0.0, 9.0):
        budget = WorkBudget(LIMITS, clock=lambda hour=hour: hour)
        budget.spend(1000)
        with pytest.raises(PageError) as caught:
            budget.spend()
        assert (caught.value.reason, caught.value.failed) == ("too_complex", False)
        assert budget.is_spent


def test_bytes_that_are_unpacked_count_together():
    budget = WorkBudget(LIMITS)
    budget.unpack(300)
    assert budget.bytes_left == 200 and not budget.is_spent
    with pytest.raises(PageError) as caught:
        budget.unpack(201)
    assert (caught.value.reason, caught.value.failed) == ("too_large", False)


def test_time_that_is_spent_fails_the_document_so_that_it_can_be_tried_again():
    now = [0.0]
    budget = WorkBudget(LIMITS, clock=lambda: now[0])
    budget.allow_for_pages(5)
    now[0] = 14.9
    budget.look_at_clock()
    now[0] = 15.1
    with pytest.raises(PageError) as caught:
        for _ in range(300):
            budget.spend()
    assert (caught.value.reason, caught.value.failed) == ("out_of_time", True)
    assert "max_document_seconds" in caught.value.message and "--retry-failed" in caught.value.message


def test_a_document_may_have_more_operations_for_each_of_its_pages():
    budget = WorkBudget(LIMITS)
    budget.allow_for_pages(2)
    budget.spend(1000 + 2 * 20_000)
    with pytest.raises(PageError):
        budget.spend()
