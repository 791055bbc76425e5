"""Test the progress shown during a run."""

from __future__ import annotations

import io

from foliopress.flows.views import progress as progress_module
from foliopress.flows.views.progress import Progress


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_line_tells_pages_speed_bytes_saved_and_time_left() -> None:
    clock = Clock()
    progress = Progress(io.StringIO(), clock=clock)
    progress.expect(12_000_000)
    progress.pass_over(2_000_000)
    for _ in range(30):
        progress.page_done()
    progress.document_done(4_000_000, 1_000_000)
    clock.now = 60.0
    assert progress.line() == "30 pages, 0.5 pages/s, 3.0 MB saved (75 %), 1:30 left"
    assert progress.fraction == 0.4


def test_no_time_left_is_made_up_while_the_listing_is_being_counted() -> None:
    progress = Progress(io.StringIO())
    progress.page_done()
    assert progress.fraction is None
    assert "left" not in progress.line()


def test_an_archive_that_is_done_already_is_wholly_done() -> None:
    progress = Progress(io.StringIO())
    progress.expect(1000)
    progress.pass_over(1000)
    assert progress.fraction == 1.0


def test_elsewhere_than_on_a_terminal_there_are_plain_lines(monkeypatch) -> None:
    monkeypatch.setattr(progress_module, "_LINE_EVERY_S", 0.02)
    stream = io.StringIO()
    with Progress(stream) as progress:
        progress.say("waiting")
        progress.page_done()
        while stream.getvalue().count("\n") < 2:
            pass
    assert stream.getvalue().startswith("waiting\n1 pages")
    assert "\x1b" not in stream.getvalue()


def test_on_a_terminal_there_is_a_bar_that_ends_clean() -> None:
    stream = io.StringIO()
    with Progress(stream, is_terminal=True) as progress:
        progress.expect(10)
        progress.document_done(10, 5)
        progress.say("[a line with brackets]")
    assert "[a line with brackets]" in stream.getvalue()
    assert "0 pages" in stream.getvalue()
