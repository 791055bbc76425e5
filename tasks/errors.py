"""Define the few kinds of error, by who acts on them."""

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
"""Reasons that depend on the clock, the machine or a writer of the source: every rerun retries such pages."""


class PageError(Exception):
    """A document or page cannot be compressed; it becomes a row and the run continues.

    Args:
        reason: Short snake_case word for the row's `reason` column, e.g. `ocr_timeout`.
        message: Cause, and the limit or remedy.
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
    """A file of a bag's payload is missing or changed; a bag of it would certify damage."""


class StoreUnavailable(Exception):
    """The object store did not respond; worth another try, then the shard fails and a rerun repeats it."""

    def __str__(self) -> str:
        return hide(super().__str__())


class LeaseLost(Exception):
    """Another run took over the lease on DEST, so this one may no longer write."""


class NameRefused(Exception):
    """The store cannot hold this name; the document's row records it, and other documents continue."""


class HostError(StoreUnavailable):
    """An error of the machine, not of the page, e.g. a full folder for temporary files.

    Worth another try, perhaps on another machine; then the shard fails and a rerun repeats it.
    """
