"""Limit the work of reading a document, first by counting operations, last by the clock."""

from __future__ import annotations

from collections.abc import Callable
from time import thread_time

from foliopress.configs.settings import LimitSettings
from foliopress.tasks import watchdog
from foliopress.tasks.errors import PageError
from foliopress.tasks.watchdog import out_of_time

_SECONDS_A_PAGE = 1.0
_OPERATIONS_A_PAGE = 20_000
_LOOKS_EVERY = 256  # operations between two looks at the clock


class WorkBudget:
    """Counts the work of reading one document, or one page of it, and raises when it is too much.

    Counts depend on the document alone, so that the result is the same on every machine; the seconds cover work that is
    not counted.

    Args:
        limits: Limits for documents.
        clock: Returns seconds of this thread's processor time.

    >>> budget = WorkBudget(LimitSettings(max_document_operations=2))
    >>> budget.spend(2)
    >>> budget.spend()
    Traceback (most recent call last):
    foliopress.tasks.errors.PageError: more than the 2 operations of limits.max_document_operations; it stays as it is
    """

    def __init__(self, limits: LimitSettings, clock: Callable[[], float] = thread_time) -> None:
        self._limits, self._clock, self._most_s = limits, clock, limits.max_document_seconds
        self._most_operations = limits.max_document_operations
        self._began, self._looked_at = clock(), 0
        self.operations = self.unpacked_bytes = 0

    def spend(self, operations: int = 1) -> None:
        """Count operations: marks, forms, fields, directories and other items processed one by one.

        Raises:
            PageError: If they are too many (`too_complex`), or took too long (`out_of_time`, `failed`).
        """
        self.operations += operations
        if self.operations > self._most_operations:
            message = f"more than the {self._most_operations} operations of limits.max_document_operations"
            raise PageError("too_complex", f"{message}; it stays as it is")
        if self.operations - self._looked_at >= _LOOKS_EVERY:
            self.look_at_clock()

    def unpack(self, n_bytes: int) -> None:
        """Count bytes unpacked from compressed streams.

        Raises:
            PageError: If they are too many (`too_large`), or took too long (`out_of_time`, `failed`).
        """
        self.unpacked_bytes += n_bytes
        if self.unpacked_bytes > self._limits.max_unpacked_bytes:
            raise unpacks_too_far(self._limits.max_unpacked_bytes)
        self.look_at_clock()

    @property
    def is_spent(self) -> bool:
        """Whether the document has used up one of its limits."""
        return self.operations > self._most_operations or self.bytes_left == 0 or self.seconds_left < 0

    @property
    def bytes_left(self) -> int:
        """Bytes that may still be unpacked."""
        return max(0, self._limits.max_unpacked_bytes - self.unpacked_bytes)

    @property
    def seconds_left(self) -> float:
        """Remaining processor time; negative once it is spent."""
        return self._most_s - (self._clock() - self._began)

    def allow_for_pages(self, n_pages: int) -> None:
        """Extend the limits for a document's number of pages, once it is known."""
        self._most_operations = self._limits.max_document_operations + n_pages * _OPERATIONS_A_PAGE
        self._most_s = seconds_for(n_pages, self._limits)

    def look_at_clock(self) -> None:
        """Raise PageError (`out_of_time`, `failed`) once the time is spent."""
        self._looked_at = self.operations
        watchdog.restart()
        if self.seconds_left < 0:
            raise out_of_time(self._most_s)


def seconds_for(n_pages: int, limits: LimitSettings) -> float:
    """Return the seconds that a document of so many pages may take in one go."""
    return limits.max_document_seconds + n_pages * _SECONDS_A_PAGE


def unpacks_too_far(most_bytes: int) -> PageError:
    """Return the error of compressed data that unpack to too many bytes."""
    return PageError("too_large", f"packed streams hold more than {most_bytes} bytes; it stays as it is")
