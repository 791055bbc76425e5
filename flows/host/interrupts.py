"""End a run cleanly on Ctrl-C, SIGTERM or a closed terminal, and at once on a second signal."""

from __future__ import annotations

import _thread
import signal
import time
from collections.abc import Callable
from types import FrameType

GRACE_PERIOD_S = 8.0
"""Seconds after an interrupt before the process is ended, clean or not; its workers and its API end with it."""
_REPEAT_AFTER_S = 1.0
"""A second signal counts only after this time: a terminal and a wrapper may both forward one Ctrl-C."""


def end_on_signals(leave: Callable[[], None]) -> None:
    """Raise KeyboardInterrupt in the main thread on SIGINT, SIGTERM and SIGHUP, unless they are ignored.

    Shells (for background commands) and `nohup` start a command with one of them ignored.

    Args:
        leave: Ends the process; called on a second signal, or if the run has not ended in time after the first.
    """
    interrupts = _Interrupts(leave)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupts.take)


class _Interrupts:
    def __init__(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._first_at: float | None = None

    def take(self, _number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._first_at is None:
            self._first_at = now
            # starting a thread with `threading` takes locks that the interrupted main thread may hold
            _thread.start_new_thread(self._leave_later, ())
            raise KeyboardInterrupt
        if now - self._first_at >= _REPEAT_AFTER_S:
            self._leave()

    def _leave_later(self) -> None:
        time.sleep(GRACE_PERIOD_S)
        self._leave()
