"""Test that overlapping ranges of keys are found, whatever was added and removed before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.flows.ledger.key_ranges import KeyRanges

KEYS = st.binary(max_size=2)
SPANS = st.tuples(KEYS, KEYS).map(lambda ends: (min(ends), max(ends)))


@given(spans=st.lists(SPANS, max_size=30), gone=st.sets(st.integers(0, 29)), wanted=SPANS)
def test_the_spans_that_meet_another_are_those_that_a_look_at_each_would_find(
    spans: list[tuple[bytes, bytes]], gone: set[int], wanted: tuple[bytes, bytes]
) -> None:
    held = KeyRanges()
    for number, (first, last) in enumerate(spans):
        held.add(str(number), first, last)
    for number in gone:
        if number < len(spans):
            held.remove(str(number), *spans[number])
    expected = {
        str(number)
        for number, (first, last) in enumerate(spans)
        if number not in gone and first <= wanted[1] and last >= wanted[0]
    }
    found = list(held.overlapping(*wanted))
    assert set(found) == expected and len(found) == len(expected)


def test_a_span_that_is_not_there_cannot_be_taken_out() -> None:
    spans = KeyRanges()
    spans.add("a", b"1", b"2")
    with pytest.raises(KeyError):
        spans.remove("a", b"1", b"3")
