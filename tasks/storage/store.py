"""Read and write objects by key under one root, on a disk, on S3 or elsewhere; retry calls and explain errors."""

from __future__ import annotations

import copy
import errno
import logging
import os
import random
import time
import uuid
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, TypeVar

import fsspec
from fsspec.core import split_protocol

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import without_password
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import LeaseLost, NameRefused, StoreUnavailable
from foliopress.tasks.storage.backend import Backend, Guard, ObjectArchived, ObjectChanged, StoredObject, unguarded
from foliopress.tasks.storage.fsspec_backend import FsspecBackend
from foliopress.tasks.storage.local_backend import LocalBackend
from foliopress.tasks.storage.locations import protocol_of
from foliopress.tasks.storage.s3_backend import S3Backend
from foliopress.tasks.storage.store_errors import error_code, error_text, raise_if_permanent, without_secrets

__all__ = ["ObjectArchived", "ObjectChanged", "Store", "StoredObject"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PARTIAL_WRITE_AGE_S = 300.0
"""Age from which a partial write was left by a killed process; one in progress is younger."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 10.0

_BUGS = (TypeError, ValueError, LookupError, AttributeError, AssertionError, NotImplementedError, MemoryError)
"""Programming errors, which another try does not cure."""


class Store:
    """Objects by key under one root URL. Can be pickled; each process connects on first use.

    Args:
        url: A path, or a URL of one of `tasks.storage.locations.PROTOCOLS`, e.g. `s3://bucket/archive`.
        storage: Endpoint and credentials for S3, and the number of tries.
        guard: Called before each write and deletion, also between tries, and when an object is missing; raises
            LeaseLost if the work must end.
    """

    def __init__(self, url: str, storage: StorageSettings, guard: Guard = unguarded) -> None:
        self.url = url
        self._storage = storage
        self._guard = guard
        self._without_links_into = ""

    @property
    def storage(self) -> StorageSettings:
        """Connection settings."""
        return self._storage

    def __repr__(self) -> str:
        return f"Store({without_password(self.url)!r})"

    def list_objects(
        self, prefix: str = "", on_unreadable: Callable[[str], None] | None = None
    ) -> Iterator[StoredObject]:
        """Yield the objects whose key begins with `prefix`, in the order of their keys' UTF-8 bytes, as a stream.

        On a disk, links are followed unless they lead back to a folder above them. A broken link is an object of size 0
        that cannot be read; pipes, sockets and devices are no objects.

        Args:
            prefix: Beginning of the keys.
            on_unreadable: Called with the key, ending in `/`, of each folder below the root that cannot be read.

        Raises:
            ConfigError: If the root does not exist or may not be read.
            StoreUnavailable: If the store does not respond.
        """

        def skip(folder: str) -> None:
            log.warning("skipping the folder %r in %s: it cannot be read", folder, without_password(self.url))
            if on_unreadable is not None:
                on_unreadable(folder)

        yield from self._backend.list_objects(prefix, lambda call: self._try("list", prefix, call), skip)

    def read_bytes(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            FileNotFoundError: If the object does not exist.
            OSError: If this object, unlike others, cannot be read, e.g. PermissionError.
            StoreUnavailable: If the store does not respond.
        """
        return self._try("read", key, lambda: self._backend.read(key))

    def read_listed(self, listed: StoredObject) -> bytes:
        """Return the bytes of a listed object, all of them of the listed version.

        Raises:
            ObjectChanged: If it has changed since, or changed while it was read.
            FileNotFoundError: If it is gone.
            OSError: If this object, unlike others, cannot be read, e.g. PermissionError.
            StoreUnavailable: If the store does not respond.
        """
        return self._try("read", listed.key, lambda: self._backend.read_listed(listed))

    def is_as_listed(self, listed: StoredObject) -> bool:
        """Return whether an object is still the one that was listed."""
        return self._try("read", listed.key, lambda: self._backend.is_as_listed(listed))

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and their version for `replace_bytes`."""
        return self._try("read", key, lambda: self._backend.read_versioned(key))

    def write_bytes(self, key: str, data: bytes, *, is_output: bool = False) -> None:
        """Write an object atomically.

        A disk cannot hold both `b.tif` and `b.tif/0001.avif`: a document's older pages, or its older file, are deleted.

        Args:
            key: Its key.
            data: Its bytes.
            is_output: Whether it is kept and seldom read: it gets the class `storage.storage_class`.

        Raises:
            ConfigError: If the store may not be written, or something else is in the way.
            NameRefused: If the store cannot hold its name.
            StoreUnavailable: If the store does not respond or is full.
        """
        self._try("write", key, lambda: self._backend.write(key, data, is_output, self._guard))

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write an object only if none has this key; return whether it was written."""
        return self._try("create", key, lambda: self._backend.create(key, data))

    def replace_bytes(self, key: str, version: str, data: bytes) -> bool:
        """Overwrite an object only if it is still the version that was read; return whether it was.

        On a server without conditional writes the check comes just before, so that two writers may both succeed.

        Args:
            key: Its key.
            version: Version from `read_versioned`.
            data: Its new bytes.
        """
        return self._try("replace", key, lambda: self._backend.replace(key, version, data))

    def has_conditional_writes(self) -> bool:
        """Return whether `create_bytes` and `replace_bytes` are safe against a simultaneous process.

        Some object stores refuse conditional writes; others silently ignore the condition, which only a try shows.

        Raises:
            ConfigError: If the root cannot be written.
            StoreUnavailable: If the store does not respond.
        """
        probe = f"runs/.probe-{uuid.uuid4().hex}"
        found = self._try("write", probe, lambda: self._backend.has_conditional_writes(probe))
        if not self.is_folder:
            self.delete(probe)
        return found

    def delete_partial_writes(self, older_than_s: float = PARTIAL_WRITE_AGE_S) -> None:
        """Delete partial writes that killed processes left on a disk; an object store has none."""
        self._try("clear", "", lambda: self._backend.delete_partial_writes(older_than_s))

    def delete(self, key: str) -> None:
        """Delete an object if it exists."""

        def delete() -> None:
            self._guard()
            self._backend.delete(key)

        self._try("delete", key, delete)

    def exists(self, key: str) -> bool:
        """Return whether an object has this key."""
        return self._try("look for", key, lambda: self._backend.exists(key))

    def open_input(self, key: str) -> BinaryIO:
        """Return a seekable binary file of an object, for Parquet's footers."""
        return self._try("open", key, lambda: self._backend.open_input(key))

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """Return at most `size` bytes of an object from `start`; none past its end."""
        return self._try("read", key, lambda: self._backend.read_range(key, start, size))

    def without_links_into(self, url: str) -> Store:
        """Return the same store with listings that skip links into another folder, like unreadable folders.

        Args:
            url: Path or URL of the other folder; has no effect unless both are folders on a disk.
        """
        store = copy.copy(self)
        store._without_links_into = url
        return store

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder on a disk of this machine, with random access to its files."""
        return isinstance(self._backend, LocalBackend)

    def check_readable(self) -> None:
        """Raise ConfigError with the cause if the root does not exist or may not be read."""
        try:
            first = next(self.list_objects(), None)
            if first is not None:
                self.exists(first.key)  # an S3 user may have permission to list objects but not to read them
        except StoreUnavailable as error:
            raise ConfigError(str(error)) from error

    def check_writable(self) -> None:
        """Raise ConfigError with the cause if the root cannot be written."""
        probe = f"runs/.probe-{uuid.uuid4().hex}"
        try:
            self.write_bytes(probe, b"")
            self.delete(probe)
        except (StoreUnavailable, NameRefused) as error:
            raise ConfigError(str(error)) from error

    @property
    def _backend(self) -> Backend:
        return _connect(self.url, self._storage, os.getpid(), self._without_links_into)

    def _try(self, action: str, key: str, call: Callable[[], Result]) -> Result:
        """Make a call, again after a growing pause while the error may pass; explain the error that remains."""
        pause_s = _FIRST_PAUSE_S
        begun = time.monotonic()
        for attempt in range(self._storage.retries + 1):
            try:
                return call()
            except FileNotFoundError:
                self._guard()  # another run may have taken over and removed it
                raise
            except (
                *(ConfigError, LeaseLost, NameRefused, StoreUnavailable, IsADirectoryError, ObjectChanged),
                *_BUGS,
            ):
                raise
            except Exception as error:
                place = without_password(self.url)
                failed_call = f"cannot {action} {key!r} in {place}" if key else f"cannot {action} {place}"
                code, text = error_code(error), without_secrets(error_text(error), self._storage)
                raise_if_permanent(error, code, text, action, failed_call)
                waited_s = time.monotonic() - begun
                if attempt == self._storage.retries or waited_s >= self._storage.give_up_after_s:
                    if action == "read" and isinstance(error, OSError) and error.errno == errno.EIO and not code:
                        raise  # a bad sector concerns this file, not the store
                    tried = f"tried {attempt + 1} times in {waited_s:.0f} s"
                    raise StoreUnavailable(f"{failed_call}: {text}, {tried}") from error
                log.warning("%s: %s; trying again", failed_call, text)
                time.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError("the loop returns or raises")


@lru_cache(maxsize=16)
def _connect(url: str, storage: StorageSettings, process_id: int, without_links_into: str = "") -> Backend:  # noqa: ARG001
    """Return this process's connection; the process id is an argument because s3fs does not survive a fork."""
    protocol, (_, path) = protocol_of(url), split_protocol(url)
    if protocol in ("file", "local"):
        other, other_path = split_protocol(without_links_into)
        is_folder = without_links_into and other in (None, "file", "local")
        return LocalBackend(Path(path), Path(other_path) if is_folder else None)
    if protocol in ("s3", "s3a"):
        return S3Backend(path, storage)
    try:
        return FsspecBackend(fsspec.filesystem(protocol), path)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{without_password(url)}: fsspec cannot open {protocol}:// ({error})") from error
