"""Show the progress of a run: a bar on a terminal, otherwise a line every few seconds."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TextIO

_LINE_EVERY_S = 5.0
_WITHOUT_CURSOR = ("", "dumb", "unknown")
"""Terminal types on which a line cannot be overwritten."""
_BAR_EVERY_S = 0.5


class Progress:
    """Count completed work and show it while the context is open; thread-safe.

    Args:
        stream: Stream to write to; stdout is reserved for the summary.
        is_terminal: True for a bar, False for lines; by default, depends on the stream.
        clock: Monotonic clock in seconds.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        is_terminal: bool | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._is_terminal = _shows_bars(self._stream) if is_terminal is None else is_terminal
        self._clock = clock
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._started_at = clock()
        self._expected_bytes: int | None = None
        self._bar: Any = None
        self._bar_task: Any = None
        self.pages = self.source_bytes = self.output_bytes = self.passed_over_bytes = 0

    def __enter__(self) -> Self:
        self._started_at = self._clock()
        if self._is_terminal:
            self._start_bar()
        self._thread = threading.Thread(target=self._keep_showing, name="progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """Print a separate line."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=self._stream, flush=True)

    def expect(self, source_bytes: int) -> None:
        """Set the total source bytes of the listing; until then no remaining time is shown."""
        self._expected_bytes = source_bytes

    def pass_over(self, source_bytes: int) -> None:
        """Count a shard that an earlier run has completed."""
        with self._lock:
            self.passed_over_bytes += source_bytes

    def page_done(self) -> None:
        """Count a page that is encoded and checked."""
        with self._lock:
            self.pages += 1

    def document_done(self, source_bytes: int, output_bytes: int) -> None:
        """Count a document whose outputs are stored."""
        with self._lock:
            self.source_bytes += source_bytes
            self.output_bytes += output_bytes

    @property
    def fraction(self) -> float | None:
        """Return the completed fraction of the work, by bytes; None while the listing is in progress."""
        if self._expected_bytes is None:
            return None
        todo = self._expected_bytes - self.passed_over_bytes
        return min(1.0, self.source_bytes / todo) if todo > 0 else 1.0

    def line(self) -> str:
        """Return pages, throughput, bytes saved and remaining time as one line."""
        elapsed_s = max(1e-3, self._clock() - self._started_at)
        saved = self.source_bytes - self.output_bytes
        percent = f" ({100 * saved / self.source_bytes:.0f} %)" if self.source_bytes else ""
        parts = [f"{self.pages} pages", f"{self.pages / elapsed_s:.1f} pages/s", f"{megabytes(saved)} saved{percent}"]
        fraction = self.fraction
        if fraction:
            parts.append(f"{_clock_text(elapsed_s * (1 - fraction) / fraction)} left")
        return ", ".join(parts)

    def _keep_showing(self) -> None:
        shown = ""
        while not self._ended.wait(_BAR_EVERY_S if self._bar is not None else _LINE_EVERY_S):
            if self._bar is not None:
                self._show_bar()
            elif self.pages and (line := self.line()) != shown:
                self.say(line)
                shown = line
        if self._bar is not None:
            self._show_bar()

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        console = Console(file=self._stream)
        self._bar = Bar(BarColumn(), TextColumn("{task.description}", markup=False), console=console)
        self._bar_task = self._bar.add_task(self.line(), total=None)
        self._bar.start()

    def _show_bar(self) -> None:
        fraction = self.fraction
        total = None if fraction is None else 1.0
        self._bar.update(self._bar_task, description=self.line(), total=total, completed=fraction or 0.0)


def _shows_bars(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM", "") not in _WITHOUT_CURSOR


def megabytes(size_bytes: int) -> str:
    """Return a size as text.

    >>> megabytes(2_345_678), megabytes(5_000_000_000), megabytes(-20)
    ('2.3 MB', '5.0 GB', '-0.0 MB')
    """
    return f"{size_bytes / 1e9:.1f} GB" if abs(size_bytes) >= 1e9 else f"{size_bytes / 1e6:.1f} MB"


def _clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
