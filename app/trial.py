"""Trial: one page under certain settings, on its way in a thread, seen as far as it has come.

It ends early when it is told to, as when the settings change meanwhile.
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
from foliopress.tasks.checks.rereading import WordCheck
from foliopress.tasks.errors import PageError


class Stage(IntEnum):
    """How far a trial has come."""

    STARTED = 0
    DRAFTED = 1
    """There is a first encoding, which nobody has held against its source yet."""
    JUDGED = 2
    FOLLOWED_UP = 3
    """The end: the output was read once more, and held against a uniform quality."""


@dataclass(frozen=True)
class FollowUp:
    """What takes a second look; `checks` is what went wrong where Tesseract gave no answer."""

    uniform: UniformBaseline | None
    checks: tuple[WordCheck, ...] | str


class Trial:
    """A page on its way; it begins at once.

    Attributes:
        says: What is being done, in words for a person.
        draft: From `Stage.DRAWN` on, if the page came by it: one of layers or of one bit does not.
        tried: From `Stage.JUDGED` on.
        closer: At the end.

    Args:
        bench: With the document.
        page_index: 0-based.
        settings: As for a run.
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
        """How far it has come, as told by what is there."""
        if self.follow_up is not None:
            return Stage.FOLLOWED_UP
        if self.result is not None:
            return Stage.JUDGED
        return Stage.STARTED if self.draft is None else Stage.DRAFTED

    @property
    def is_usable(self) -> bool:
        """Whether it has come to its end, or is on the way to it."""
        return self._error is None and not self._is_stopped

    def wait(self, beyond: Stage, timeout_s: float) -> bool:
        """Wait a while for the trial to come beyond a stage, and return whether it has.

        Raises:
            ConfigError: If the settings ask for what is not there.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.stage > beyond or self._error is not None, timeout_s)
        if self._error is not None:
            raise self._error
        return self.stage > beyond

    def stop(self) -> None:
        """Have it end at its next step."""
        self._is_stopped = True

    def _run(self) -> None:
        try:
            self.result = self.workbench.try_page(self._page_index, self._settings, self._on_status, self._on_draft)
            self._notify()
            self._on_status("Looking for a uniform quality that is as sharp")
            uniform = self.workbench.uniform(self.result)
            self._on_status("Reading the output once more")
            self.follow_up = FollowUp(uniform, self._check_words(self.result))
            self._notify()
        except _Stopped:
            pass
        except BaseException as error:  # it is raised where somebody waits
            self._error = error
            self._notify()

    def _check_words(self, result: TrialResult) -> tuple[WordCheck, ...] | str:
        try:
            return self.workbench.check_text(result)
        except PageError as error:
            return str(error)

    def _on_status(self, text: str) -> None:
        if self._is_stopped:
            raise _Stopped
        self.status_text = text

    def _on_draft(self, draft: Callable[[], Draft]) -> None:
        self._on_status("Holding it against its source")
        if self.draft is None:
            self.draft = draft()
            self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Stopped(Exception):
    """The trial was told to stop."""
