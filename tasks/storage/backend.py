"""Define stored objects and the interface of a storage backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, Protocol


class InvalidResponse(ConnectionError):
    """A store's response is invalid; another try may bring a valid one."""


class ObjectChanged(OSError):
    """The object is no longer the one that was listed."""


class ObjectArchived(PermissionError):
    """The object is in an archive storage class (e.g. Glacier) and must be restored before it can be read."""


class StoredObject(NamedTuple):
    """An object as listed.

    `etag` is the store's own identifier of its content, None if it has none. `modified` is the time of the last change,
    in ISO 8601 or as the store writes it; empty if the store gives none.
    """

    key: str
    size_bytes: int
    modified: str
    etag: str | None = None

    @property
    def version(self) -> str:
        """Identifier that changes with the bytes: ETag, size and time, as far as the store has them.

        All three are needed: some stores never change an ETag, some have times in whole seconds, and a scan may replace
        another of the same size.

        >>> StoredObject("a", 5, "12").version, StoredObject("a", 5, "12", "d41d").version
        ('5-12', 'd41d-5-12')
        """
        return self.size_and_time if self.etag is None else f"{self.etag}-{self.size_and_time}"

    @property
    def size_and_time(self) -> str:
        """Size and time of the last change, joined by a hyphen."""
        return f"{self.size_bytes}-{self.modified}"

    def is_like(self, other: StoredObject) -> bool:
        """Return whether another entry for this key may describe the same bytes.

        Fields that either entry lacks are not compared, and times only to the second, the precision of HTTP headers.
        """
        return (
            self.size_bytes == other.size_bytes
            and (self.etag is None or other.etag is None or self.etag == other.etag)
            and (not self.modified or not other.modified or _second(self.modified) == _second(other.modified))
        )


def _second(time: str) -> str:
    try:
        return str(int(datetime.fromisoformat(time).timestamp())) if "T" in time else time
    except ValueError:
        return time


Retry = Callable[[Callable[[], Any]], Any]
"""Makes one call to the store, repeated if that may help."""
OnUnreadable = Callable[[str], None]
"""Called with the key of each folder that cannot be read."""

Guard = Callable[[], None]
"""Raises LeaseLost if this process may no longer write."""


def unguarded() -> None:
    """Allow every write."""


class Backend(Protocol):
    """One kind of store: a disk, a bucket, or another fsspec file system.

    Each call is one try; `tasks.storage.store.Store` repeats it and explains errors. A missing object raises
    FileNotFoundError, one that may not be read PermissionError.
    """

    def list_objects(self, prefix: str, retry: Retry, on_unreadable: OnUnreadable) -> Iterator[StoredObject]:
        """Yield the objects below a prefix in key order; make each request through `retry`."""

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""

    def read_listed(self, listed: StoredObject) -> bytes:
        """Return the bytes of a listed object, all of them of the listed version.

        Raises:
            ObjectChanged: If it has changed since, or changed while it was read.
        """

    def is_as_listed(self, listed: StoredObject) -> bool:
        """Return whether an object is still the one that was listed."""

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and their version for `replace`."""

    def write(self, key: str, data: bytes, is_output: bool, guard: Guard = unguarded) -> None:
        """Write an object atomically; call `guard` as late as possible before it becomes visible."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object if none exists; return whether it was written."""

    def replace(self, key: str, version: str, data: bytes) -> bool:
        """Overwrite an object if it is still the version that was read; return whether it was."""

    def has_conditional_writes(self, key: str) -> bool:
        """Return whether one of two simultaneous `create` or `replace` calls is refused.

        Args:
            key: Unused key to try it on; the caller deletes the object written there.
        """

    def delete_partial_writes(self, older_than_s: float) -> None:
        """Delete partial writes that killed processes left at least so long ago."""

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""

    def exists(self, key: str) -> bool:
        """Return whether an object has this key."""

    def open_input(self, key: str) -> BinaryIO:
        """Return a seekable binary file of an object."""

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """Return at most `size` bytes from `start`; none past the end."""
