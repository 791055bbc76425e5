"""Process one page under certain settings in a thread, and show the results as they arrive.

A trial can be stopped early, e.g. when the settings change.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from foliopress.app.trial_result import Draft, TrialResult
from foliopress.app.uniform_baseline import UniformBaseline
from foliopress.app.workbench import Workbench, key_of
from foliopress.configs.settings import Settings
from foliopress.tasks.checks.rereading import Rereading
from foliopress.tasks.errors import PageError


class Stage(IntEnum):
    """Progress of a trial."""

    STARTED = 0
    DRAFTED = 1
    """There is a first encoding, not yet compared with its source."""
    JUDGED = 2
    FOLLOWED_UP = 3
    """The end: OCR has read the output again, and it was compared with a uniform quality."""


@dataclass(frozen=True)
class FollowUp:
    """Results of the closer look; `words` is an error message if Tesseract gave no answer, None without words."""

    uniform: UniformBaseline | None
    words: Rereading | str | None


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

    def __init__(self, workbench: Workbench, page_index: int, settings: Settings) -> None:
        self.key = key_of(page_index, settings)
        self.status_text = "Starting"
        self.draft: Draft | None = None
        self.result: TrialResult | None = None
        self.follow_up: FollowUp | None = None
        self.workbench, self._page_index, self._settings = workbench, page_index, settings
        self._error: BaseException | None = None
        self._is_stopped = False
        self._changed = threading.Condition()
        threading.Thread(target=self._run, name="trial", daemon=True).start()

    @property
    def stage(self) -> Stage:
        """Progress, derived from the results that are there."""
        if self.follow_up is not None:
            return Stage.FOLLOWED_UP
        if self.result is not None:
            return Stage.JUDGED
        return Stage.STARTED if self.draft is None else Stage.DRAFTED

    @property
    def is_usable(self) -> bool:
        """Whether the trial has ended or will end without an error."""
        return self._error is None and not self._is_stopped

    def wait(self, after: Stage, timeout_s: float) -> bool:
        """Wait for the trial to pass a stage, and return whether it has.

        Raises:
            ConfigError: If the settings ask for something that is not installed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.stage > after or self._error is not None, timeout_s)
        if self._error is not None:
            raise self._error
        return self.stage > after

    def stop(self) -> None:
        """Stop the trial at its next step."""
        self._is_stopped = True

    def _run(self) -> None:
        try:
            self.result = self.workbench.try_page(self._page_index, self._settings, self._on_status, self._on_draft)
            self._notify()
            self._on_status("Finding a uniform quality of equal sharpness")
            uniform = self.workbench.uniform(self.result)
            self._on_status("Reading the output")
            self.follow_up = FollowUp(uniform, self._check_words(self.result))
            self._notify()
        except _Stopped:
            pass
        except BaseException as error:  # `wait` raises it
            self._error = error
            self._notify()

    def _check_words(self, result: TrialResult) -> Rereading | str | None:
        try:
            return self.workbench.check_text(result)
        except PageError as error:
            return str(error)

    def _on_status(self, text: str) -> None:
        if self._is_stopped:
            raise _Stopped
        self.status_text = text

    def _on_draft(self, draft: Callable[[], Draft]) -> None:
        self._on_status("Comparing it with its source")
        if self.draft is None:
            self.draft = draft()
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Stopped(Exception):
    """The trial was stopped."""
