"""Interrupts: Ctrl-C, a terminal that is closed and a polite kill end a run tidily; a second one, at once."""

from __future__ import annotations

import _thread
import signal
import time
from collections.abc import Callable
from types import FrameType

GRACE_PERIOD_S = 8.0
"""A run that is interrupted is left after so long, tidy or not; its workers and its API end with its process."""
_REPEAT_AFTER_S = 1.0
"""A terminal and a wrapper around the command may both pass one Ctrl-C on."""


def end_on_signals(leave: Callable[[], None]) -> None:
    """Raise KeyboardInterrupt in the main thread upon SIGINT, SIGTERM and SIGHUP; those that are ignored stay so.

    Whoever starts a command in the background, or with `nohup`, has it ignore one of them.

    Args:
        leave: Ends the process: called upon a second signal, or when the run has not ended in time after the first.
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
            # `threading` takes locks to start a thread, and the main thread may hold them where it was interrupted
            _thread.start_new_thread(self._leave_later, ())
            raise KeyboardInterrupt
        if now - self._first_at >= _REPEAT_AFTER_S:
            self._leave()

    def _leave_later(self) -> None:
        time.sleep(GRACE_PERIOD_S)
        self._leave()
