"""Objects: what a listing gives, and what each kind of store can do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, BinaryIO, NamedTuple, Protocol
from urllib.parse import urlsplit


class InvalidResponse(ConnectionError):
    """A store's answer cannot be right; another try may bring a better one."""


class ObjectChanged(OSError):
    """The object is no more the one that was listed."""


class ObjectArchived(PermissionError):
    """The object lies in a class of storage (e.g. Glacier) that must be asked to restore it before it can be read."""


class StoredObject(NamedTuple):
    """An object as a listing gives it.

    `etag` is the store's own mark of its content, None where it has none. `modified` is the time of its last change, in
    ISO 8601 or as the store writes it; empty where it tells none.
    """

    key: str
    size_bytes: int
    modified: str
    etag: str | None = None

    @property
    def version(self) -> str:
        """What changes when its bytes do: ETag, size and time, each if the store has it.

        There are stores whose ETag never changes, whose times are whole seconds, and scans that replace others of the
        same size.

        >>> StoredObject("a", 5, "12").version, StoredObject("a", 5, "12", "d41d").version
        ('5-12', 'd41d-5-12')
        """
        return self.size_and_time if self.etag is None else f"{self.etag}-{self.size_and_time}"

    @property
    def size_and_time(self) -> str:
        """Size and time of the last change."""
        return f"{self.size_bytes}-{self.modified}"

    def is_like(self, other: StoredObject) -> bool:
        """Return whether another look at this key may have met the same bytes.

        What one of the two does not tell is not compared, and of times only whole seconds: HTTP's headers have no more.
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


_LONGEST_MESSAGE = 500

Retry = Callable[[Callable[[], Any]], Any]
"""Runs one call to the store, again where it may help."""
OnUnreadable = Callable[[str], None]
"""Told of each folder that must not be read."""


Guard = Callable[[], None]
"""Raises LeaseLost if this process must not write any more."""


def unguarded() -> None:
    """Let every write through."""


class Backend(Protocol):
    """One kind of store: a disk, a bucket, or what else fsspec reaches.

    Each call is one try; `tasks.storage.store.Store` repeats it, and says what an error means. A missing object is a
    FileNotFoundError, one that must not be read a PermissionError.
    """

    def list_objects(self, prefix: str, retry: Retry, on_unreadable: OnUnreadable) -> Iterator[StoredObject]:
        """Yield the objects below a prefix in the order of their keys; each request goes through `retry`."""

    def read(self, key: str) -> bytes:
        """Return an object's bytes."""

    def read_listed(self, listed: StoredObject) -> bytes:
        """Return the bytes of an object that a listing gave, all of them of that version.

        Raises:
            ObjectChanged: If it is another one by now, or became one while it was read.
        """

    def is_as_listed(self, listed: StoredObject) -> bool:
        """Return whether an object is still the one that a listing gave."""

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes, and what `replace` knows them by."""

    def write(self, key: str, data: bytes, is_output: bool, guard: Guard = unguarded) -> None:
        """Write an object, whole or not at all; call `guard` as late as possible before it can be seen."""

    def create(self, key: str, data: bytes) -> bool:
        """Write an object if there is none; return whether it was written."""

    def replace(self, key: str, version: str, data: bytes) -> bool:
        """Write over an object that is still the one that was read; return whether it was."""

    def has_conditional_writes(self, key: str) -> bool:
        """Return whether of two that create or replace at the same moment one is refused.

        Args:
            key: Where there is nothing; what is written there to find out is the caller's to delete.
        """

    def delete_partial_writes(self, older_than_s: float) -> None:
        """Delete what killed processes left half-written so long ago."""

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""

    def open_input(self, key: str) -> BinaryIO:
        """Return a seekable binary file of an object."""

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """Return at most `size` bytes from `start` on; none behind the end."""


def error_code(error: BaseException) -> str:
    """Return S3's code of an error, from wherever in the chain of causes botocore's answer hangs; else ''."""
    return str(_answer_of(error).get("Error", {}).get("Code", ""))


def error_text(error: BaseException) -> str:
    """Return what the store itself said of an error: code, message and the number of the request; else what it is."""
    answer = _answer_of(error)
    said = answer.get("Error", {})
    if not said.get("Code"):
        where = urlsplit(str(getattr(error, "kwargs", {}).get("endpoint_url", "")))
        place = f" ({where.scheme}://{where.netloc.rpartition('@')[2]})" if where.netloc else ""
        return f"{error}" if isinstance(error, InvalidResponse) else f"{type(error).__name__}{place}"
    message = " ".join(str(said.get("Message") or "").split())[:_LONGEST_MESSAGE]
    number = answer.get("ResponseMetadata", {}).get("RequestId") or said.get("RequestId")
    return f"{said['Code']}{f': {message}' if message else ''}{f' (request {number})' if number else ''}"


def _answer_of(error: BaseException) -> dict[str, Any]:
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return response
        cause = cause.__cause__
    return {}
