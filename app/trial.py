"""Process one page under certain settings in a thread, and show the results as they arrive.

A trial can be stopped early, e.g. when the settings change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from foliopress.app.trial_result import Draft, Tried
from foliopress.app.uniform_baseline import Uniform
from foliopress.app.workbench import Bench, key_of
from foliopress.configs.settings import Settings
from foliopress.tasks.checks.rereading import WordCheck
from foliopress.tasks.errors import PageError


class Stage(IntEnum):
    """Progress of a trial."""

    BEGUN = 0
    DRAWN = 1
    """There is a first encoding, not yet compared with its source."""
    JUDGED = 2
    SEEN_CLOSER = 3
    """The end: OCR has read the output again, and it was compared with a uniform quality."""


@dataclass(frozen=True)
class Closer:
    """Results of the closer look; `checks` is an error message if Tesseract gave no answer."""

    uniform: Uniform | None
    checks: tuple[WordCheck, ...] | str


class Trial:
    """A page that is being processed; it starts at once.

    Attributes:
        says: Current activity, for display.
        draft: From `Stage.DRAWN` on; a page in layers or in one bit has none.
        tried: From `Stage.JUDGED` on.
        closer: At the end.

    Args:
        bench: Workbench with the document.
        page_index: Index of the page, from 0.
        settings: Settings, as for a run.
    """

    def __init__(self, bench: Bench, page_index: int, settings: Settings) -> None:
        self.key = key_of(page_index, settings)
        self.says = "Starting"
        self.draft: Draft | None = None
        self.tried: Tried | None = None
        self.closer: Closer | None = None
        self.bench, self._page_index, self._settings = bench, page_index, settings
        self._error: BaseException | None = None
        self._is_stopped = False
        self._moved = threading.Condition()
        threading.Thread(target=self._run, name="trial", daemon=True).start()

    @property
    def stage(self) -> Stage:
        """Progress, derived from the results that are there."""
        if self.closer is not None:
            return Stage.SEEN_CLOSER
        if self.tried is not None:
            return Stage.JUDGED
        return Stage.BEGUN if self.draft is None else Stage.DRAWN

    @property
    def is_of_use(self) -> bool:
        """Whether the trial has ended or will end without an error."""
        return self._error is None and not self._is_stopped

    def wait(self, beyond: Stage, timeout_s: float) -> bool:
        """Wait for the trial to pass a stage, and return whether it has.

        Raises:
            ConfigError: If the settings ask for something that is not installed.
        """
        with self._moved:
            self._moved.wait_for(lambda: self.stage > beyond or self._error is not None, timeout_s)
        if self._error is not None:
            raise self._error
        return self.stage > beyond

    def stop(self) -> None:
        """Stop the trial at its next step."""
        self._is_stopped = True

    def _run(self) -> None:
        try:
            self.tried = self.bench.try_page(self._page_index, self._settings, self._say, self._see)
            self._tell()
            self._say("Looking for a uniform quality that is as sharp")
            uniform = self.bench.uniform(self.tried)
            self._say("Reading the output once more")
            self.closer = Closer(uniform, self._checks(self.tried))
            self._tell()
        except _Stopped:
            pass
        except BaseException as error:  # `wait` raises it
            self._error = error
            self._tell()

    def _checks(self, tried: Tried) -> tuple[WordCheck, ...] | str:
        try:
            return self.bench.check_text(tried)
        except PageError as error:
            return str(error)

    def _say(self, text: str) -> None:
        if self._is_stopped:
            raise _Stopped
        self.says = text

    def _see(self, draft: Callable[[], Draft]) -> None:
        self._say("Holding it against its source")
        if self.draft is None:
            self.draft = draft()
            self._tell()

    def _tell(self) -> None:
        with self._moved:
            self._moved.notify_all()


class _Stopped(Exception):
    """The trial was stopped."""
