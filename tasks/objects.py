"""Objects: what a listing gives, and what each kind of store can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple, Protocol


class ObjectArchived(PermissionError):
    """The object lies in a class of storage (e.g. Glacier) that must be asked to restore it before it can be read."""


class StoredObject(NamedTuple):
    """An object as a listing gives it.

    `etag` is the store's own mark of its content, None where it has none. `modified` is the time of its last change, as
    the store writes it; empty where it tells none.
    """

    key: str
    size_bytes: int
    modified: str
    etag: str | None = None

    @property
    def version(self) -> str:
        """What changes when its bytes do: the ETag, or size and time on a disk."""
        return self.etag if self.etag is not None else self.size_and_time

    @property
    def size_and_time(self) -> str:
        """Size and time of the last change."""
        return f"{self.size_bytes}-{self.modified}"


Tried = Callable[[Callable[[], Any]], Any]
"""Runs one call to the store, again where it may help."""
PassOver = Callable[[str], None]
"""Told of each folder that must not be read."""


Guard = Callable[[], None]
"""Raises LeaseLost if this process must not write any more."""


def unguarded() -> None:
    """Let every write through."""


class Backend(Protocol):
    """One kind of store: a disk, a bucket, or what else fsspec reaches.

    Each call is one try; `tasks.store.Store` has them tried again, and says what an error means. A missing object is a
    FileNotFoundError, one that must not be read a PermissionError.
    """

    def list_objects(self, prefix: str, tried: Tried, pass_over: PassOver) -> Iterator[StoredObject]:
        """Yield the objects below a prefix in the order of their keys; each request goes through `tried`."""

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes, and what `replace` knows them by."""

    def write(self, key: str, data: bytes, is_output: bool, guard: Guard = unguarded) -> None:
        """Write an object, whole or not at all; call `guard` as late as possible before it can be seen."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object if there is none; return whether it was written."""

    def replace(self, key: str, version: str, data: bytes) -> bool:
        """Write over an object that is still the one that was read; return whether it was."""

    def clear_leftovers(self, older_than_s: float) -> None:
        """Delete what killed processes left half-written so long ago."""

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""

    def open_input(self, key: str) -> BinaryIO:
        """Return a seekable binary file of an object."""

    def read_piece(self, key: str, start: int, size: int) -> bytes:
        """Return at most `size` bytes from `start` on; none behind the end."""


def fault_of(error: BaseException) -> str:
    """Return S3's code of an error, from wherever in the chain of causes botocore's answer hangs; else ''."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
        cause = cause.__cause__
    return ""
