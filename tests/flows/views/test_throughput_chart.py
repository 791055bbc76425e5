"""Test throughput in pages per minute, for runs of any length."""

from __future__ import annotations

import base64
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.flows.views.throughput_chart import ThroughputCurve, as_svg


def curve_of(*samples: tuple[float, int]) -> ThroughputCurve:
    curve = ThroughputCurve()
    for seconds, pages in samples:
        curve.add(seconds, pages)
    return curve


def test_each_piece_of_the_time_has_its_own_rate() -> None:
    assert curve_of((0, 0), (30, 10), (60, 40)).rates() == [(30, 20.0), (60, 60.0)]


@given(st.lists(st.tuples(st.floats(0.01, 100), st.integers(0, 50)), min_size=2, max_size=3000))
def test_a_run_of_any_length_is_a_bounded_curve_whose_pieces_add_up(steps: list[tuple[float, int]]) -> None:
    curve, seconds, pages = ThroughputCurve(), 0.0, 0
    first = None
    for step_s, more in steps:
        seconds, pages = seconds + step_s, pages + more
        first = first or (seconds, pages)
        curve.add(seconds, pages)
    rates = curve.rates()
    assert 1 <= len(rates) <= 122
    assert rates[-1][0] == seconds
    begins = [first[0], *(end_s for end_s, _ in rates)]
    done = sum(rate * (end_s - begin_s) / 60 for begin_s, (end_s, rate) in zip(begins, rates, strict=False))
    assert done == pytest.approx(pages - first[1], abs=1e-6 * max(1, pages))


def test_the_picture_is_an_svg_that_names_the_most_and_the_time() -> None:
    url = curve_of((0, 0), (3600, 600), (7200, 3000)).as_url()
    assert url is not None
    text = base64.b64decode(url.removeprefix("data:image/svg+xml;base64,")).decode()
    root = ElementTree.fromstring(text)
    output = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert output == ["40", "0", "pages per minute", "2 h"]
    (line,) = root.iter("{http://www.w3.org/2000/svg}polyline")
    assert len(line.attrib["points"].split()) == 2


def test_too_little_to_draw_is_no_picture() -> None:
    assert ThroughputCurve().as_url() is None
    assert curve_of((0, 0), (2, 5)).as_url() is None


def test_a_run_without_pages_draws_a_line_at_nothing() -> None:
    assert "226.0" in as_svg([(10.0, 0.0), (20.0, 0.0)])
