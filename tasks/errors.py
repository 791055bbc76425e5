"""The few kinds of error, sorted by who acts on them."""

from __future__ import annotations

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import hide

__all__ = [
    "RETRIED_REASONS",
    "ConfigError",
    "HostError",
    "LeaseLost",
    "NameRefused",
    "PageError",
    "PayloadDamaged",
    "StoreUnavailable",
]


RETRIED_REASONS = ("ocr_timeout", "ocr_killed", "source_changed")
"""Reasons that hang on the clock, the machine or whoever writes: such pages are tried again by every rerun."""


class PageError(Exception):
    """A document or page cannot be compressed; it becomes a row and the run goes on.

    Args:
        reason: A short snake_case word for the row's `reason` column, e.g. `ocr_timeout`.
        message: What came, and what is allowed or can be done about it.
        failed: True if the page ends as `failed` (its content cannot be read), False for `kept`.
    """

    def __init__(self, reason: str, message: str, *, failed: bool = False) -> None:
        super().__init__(reason, message, failed)
        self.reason = reason
        self.message = message
        self.failed = failed

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return (_page_error, (self.reason, self.message, self.failed))


def _page_error(reason: str, message: str, failed: bool) -> PageError:
    return PageError(reason, message, failed=failed)


class PayloadDamaged(Exception):
    """What a bag should hold is not there as it was written; a bag of it would vouch for damage."""


class StoreUnavailable(Exception):
    """The object store gave no answer; worth another try, then the shard fails and a rerun repeats it."""

    def __str__(self) -> str:
        return hide(super().__str__())


class LeaseLost(Exception):
    """Another run took over the lease on DEST, so this one must not write any more."""


class NameRefused(Exception):
    """The store holds no object of this name; its document's row says so, and its neighbours go on."""


class HostError(StoreUnavailable):
    """The machine could not do its part, e.g. its folder for temporary files is full; says nothing about the page.

    Worth another try, perhaps on another machine; then the shard fails and a rerun repeats it.
    """
