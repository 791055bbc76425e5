"""Store: objects by key under one root, on a disk, on S3 or elsewhere; tried again, and then said what is wrong."""

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

from foliopress.configs.loading import without_password
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import ConfigError, LeaseLost, NameRefused, StoreUnavailable
from foliopress.tasks.storage.backend import (
    Backend,
    Guard,
    ObjectArchived,
    ObjectChanged,
    StoredObject,
    error_code,
    error_text,
    unguarded,
)
from foliopress.tasks.storage.fsspec_backend import FsspecBackend
from foliopress.tasks.storage.local_backend import LocalBackend
from foliopress.tasks.storage.locations import protocol_of
from foliopress.tasks.storage.s3_backend import S3Backend

__all__ = ["ObjectArchived", "ObjectChanged", "Store", "StoredObject"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

PARTIAL_WRITE_AGE_S = 300.0
"""A file that is still being written is not as old; one that a killed process left is."""

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 10.0


_SETTINGS_AT_FAULT = {
    "NoSuchBucket": "the bucket does not exist",
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret key is wrong",
    "InvalidToken": "the session token is wrong",
    "ExpiredToken": "the session token has expired",
    "AccessDenied": "access is denied",
    "Forbidden": "access is denied",
    "403": "access is denied",
    "AllAccessDisabled": "access is disabled",
    "PermanentRedirect": "the bucket lies in another region (storage.region)",
    "AuthorizationHeaderMalformed": "the region is wrong (storage.region)",
    "InvalidBucketName": "no bucket can have this name",
    "InvalidStorageClass": "the store has no such class (storage.storage_class)",
    "AccessControlListNotSupported": "the bucket takes no ACLs (storage.acl)",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
_NAME_AT_FAULT = ("KeyTooLongError", "InvalidObjectName", "XMinioInvalidObjectName", "XMinioInvalidResourceName")
_KEY_AT_FAULT = "the encryption key cannot be used (storage.kms_key_id)"
_ARCHIVED = "InvalidObjectState"
_SECRET_VARIABLES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_THIS_OBJECT_AT_FAULT = ("", "AccessDenied", "Forbidden", "403")
_PLACE_AT_FAULT = (errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV)

_MISTAKES = (TypeError, ValueError, LookupError, AttributeError, AssertionError, NotImplementedError, MemoryError)
"""What another try does not mend."""


class Store:
    """Objects by key under one root URL. Can be pickled; each process connects for itself, when it first must.

    Args:
        url: A path, or a URL of one of `tasks.storage.locations.PROTOCOLS`, e.g. `s3://bucket/archive`.
        storage: Endpoint and credentials for S3, and how often a call is tried.
        guard: Called before each write and deletion, also between its tries, and when an object is not there; it raises
            LeaseLost where the work must end.
    """

    def __init__(self, url: str, storage: StorageSettings, guard: Guard = unguarded) -> None:
        self.url = url
        self._storage = storage
        self._guard = guard
        self._without_links_into = ""

    @property
    def storage(self) -> StorageSettings:
        """How the store is reached."""
        return self._storage

    def __repr__(self) -> str:
        return f"Store({without_password(self.url)!r})"

    def list_objects(
        self, prefix: str = "", on_unreadable: Callable[[str], None] | None = None
    ) -> Iterator[StoredObject]:
        """Yield the objects whose key begins with `prefix`, in the order of their keys' UTF-8 bytes, as they come in.

        On a disk, links are followed unless they lead back to a folder above them. A link to nowhere is an object of
        size 0 that cannot be read; pipes, sockets and devices are no objects.

        Args:
            prefix: Beginning of the wanted keys.
            on_unreadable: Called with the key, ending in `/`, of each folder below the root that must not be read.

        Raises:
            ConfigError: If the root does not exist or must not be read.
            StoreUnavailable: If the store gives no answer.
        """

        def pass_over(folder: str) -> None:
            log.warning("the folder %r in %s cannot be read and is passed over", folder, without_password(self.url))
            if on_unreadable is not None:
                on_unreadable(folder)

        yield from self._backend.list_objects(prefix, lambda call: self._try("list", prefix, call), pass_over)

    def read_bytes(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            FileNotFoundError: If there is no such object.
            OSError: If this object, unlike others, cannot be read, e.g. PermissionError.
            StoreUnavailable: If the store gives no answer.
        """
        return self._try("read", key, lambda: self._backend.read(key))

    def read_listed(self, listed: StoredObject) -> bytes:
        """Return the bytes of an object that a listing gave, all of them of that version.

        Raises:
            ObjectChanged: If it is another one by now, or became one while it was read.
            FileNotFoundError: If it is gone.
            OSError: If this object, unlike others, cannot be read, e.g. PermissionError.
            StoreUnavailable: If the store gives no answer.
        """
        return self._try("read", listed.key, lambda: self._backend.read_listed(listed))

    def is_as_listed(self, listed: StoredObject) -> bool:
        """Return whether an object is still the one that a listing gave."""
        return self._try("read", listed.key, lambda: self._backend.is_as_listed(listed))

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes, and what `replace_bytes` knows them by."""
        return self._try("read", key, lambda: self._backend.read_versioned(key))

    def write_bytes(self, key: str, data: bytes, *, is_output: bool = False) -> None:
        """Write an object, whole or not at all.

        A disk cannot hold both `b.tif` and `b.tif/0001.avif`: a document's older pages, or its older file, give way.

        Args:
            key: Where it shall lie.
            data: Its bytes.
            is_output: True for what is kept and seldom read: it goes into `storage.storage_class`.

        Raises:
            ConfigError: If the store must not be written, or something else stands in the way.
            NameRefused: If it holds no object of this name.
            StoreUnavailable: If the store gives no answer or is full.
        """
        self._try("write", key, lambda: self._backend.write(key, data, is_output, self._guard))

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none of this key; return whether it was written."""
        return self._try("create", key, lambda: self._backend.create(key, data))

    def replace_bytes(self, key: str, version: str, data: bytes) -> bool:
        """Write over an object only if it is still the one that was read; return whether it was.

        A server that knows no conditions is asked just before, which leaves a moment in which both may come through.

        Args:
            key: Where it lies.
            version: As `read_versioned` gave it.
            data: Its new bytes.
        """
        return self._try("replace", key, lambda: self._backend.replace(key, version, data))

    def has_conditional_writes(self) -> bool:
        """Return whether `create_bytes` and `replace_bytes` hold against another process at the same moment.

        Some object stores refuse conditional writes; others pass over the condition in silence, which shows only by
        trying.

        Raises:
            ConfigError: If the root cannot be written.
            StoreUnavailable: If the store gives no answer.
        """
        probe = f"runs/.probe-{uuid.uuid4().hex}"
        found = self._try("write", probe, lambda: self._backend.has_conditional_writes(probe))
        if not self.is_folder:
            self.delete(probe)
        return found

    def delete_partial_writes(self, older_than_s: float = PARTIAL_WRITE_AGE_S) -> None:
        """Delete what killed processes left half-written on a disk; an object store has nothing of the kind."""
        self._try("clear", "", lambda: self._backend.delete_partial_writes(older_than_s))

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""

        def delete() -> None:
            self._guard()
            self._backend.delete(key)

        self._try("delete", key, delete)

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""
        return self._try("look for", key, lambda: self._backend.exists(key))

    def open_input(self, key: str) -> BinaryIO:
        """Return a seekable binary file of an object, for Parquet's footers."""
        return self._try("open", key, lambda: self._backend.open_input(key))

    def read_range(self, key: str, start: int, size: int) -> bytes:
        """Return at most `size` bytes of an object from `start` on; none behind its end."""
        return self._try("read", key, lambda: self._backend.read_range(key, start, size))

    def without_links_into(self, url: str) -> Store:
        """Return the same store, whose listings pass over links into another folder as over what must not be read.

        Args:
            url: Path or URL of the other one; where either is no folder there is nothing to pass over.
        """
        store = copy.copy(self)
        store._without_links_into = url
        return store

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder on a disk of this machine, whose files can be read here and there."""
        return isinstance(self._backend, LocalBackend)

    def check_readable(self) -> None:
        """Raise ConfigError, with what is wrong, if the root does not exist or must not be read."""
        try:
            first = next(self.list_objects(), None)
            if first is not None:
                self.exists(first.key)  # an S3 user may be allowed to list objects and not to read them
        except StoreUnavailable as error:
            raise ConfigError(str(error)) from error

    def check_writable(self) -> None:
        """Raise ConfigError, with what is wrong, if the root cannot be written."""
        probe = f"runs/.probe-{uuid.uuid4().hex}"
        try:
            self.write_bytes(probe, b"")
            self.delete(probe)
        except (StoreUnavailable, NameRefused) as error:
            raise ConfigError(str(error)) from error

    @property
    def _backend(self) -> Backend:
        return _connect(self.url, self._storage, os.getpid(), self._without_links_into)

    def _try(self, what: str, key: str, call: Callable[[], Result]) -> Result:
        """Call, again after a growing pause while the fault may pass; then say which object and what came."""
        pause_s = _FIRST_PAUSE_S
        begun = time.monotonic()
        for attempt in range(self._storage.retries + 1):
            try:
                return call()
            except FileNotFoundError:
                self._guard()  # it may have gone because another run took over
                raise
            except (
                *(ConfigError, LeaseLost, NameRefused, StoreUnavailable, IsADirectoryError, ObjectChanged),
                *_MISTAKES,
            ):
                raise
            except Exception as error:
                place = without_password(self.url)
                words = f"cannot {what} {key!r} in {place}" if key else f"cannot {what} {place}"
                fault, said = error_code(error), self._shown(error_text(error))
                self._raise_if_lasting(error, fault, said, what, words)
                waited_s = time.monotonic() - begun
                if attempt == self._storage.retries or waited_s >= self._storage.give_up_after_s:
                    if what == "read" and isinstance(error, OSError) and error.errno == errno.EIO and not fault:
                        raise  # a bad sector is this file's trouble, not the store's
                    tried = f"tried {attempt + 1} times in {waited_s:.0f} s"
                    raise StoreUnavailable(f"{words}: {said}, {tried}") from error
                log.warning("%s: %s; trying again", words, said)
                time.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError("the loop returns or raises")

    def _shown(self, sentence: str) -> str:
        """Return what a store said without our keys, which some stores repeat."""
        storage = self._storage
        held = (storage.access_key_id, storage.secret_access_key, storage.session_token)
        secrets = [one.get_secret_value() for one in held if one is not None]
        for secret in filter(None, [*secrets, *map(os.environ.get, _SECRET_VARIABLES)]):
            sentence = sentence.replace(secret, "…")
        return sentence

    @staticmethod
    def _raise_if_lasting(error: Exception, fault: str, said: str, what: str, words: str) -> None:
        """Raise what another try would not mend, in words; `said` is what the store itself said."""
        name = type(error).__name__
        if fault == _ARCHIVED and what in ("read", "open"):
            raise ObjectArchived(f"{words}: archived, to be restored before it can be read ({said})") from error
        if isinstance(error, PermissionError) and what in ("read", "open") and fault in _THIS_OBJECT_AT_FAULT:
            raise PermissionError(f"{words}: permission denied" + (f" ({said})" if fault else "")) from error
        if fault in _SETTINGS_AT_FAULT:
            raise ConfigError(f"{words}: {_SETTINGS_AT_FAULT[fault]} ({said})") from error
        if fault in _NAME_AT_FAULT and what == "write":
            raise NameRefused(f"{words}: the store holds no such name ({said})") from error
        if fault.startswith("KMS."):
            raise ConfigError(f"{words}: {_KEY_AT_FAULT} ({said})") from error
        if name in ("NoCredentialsError", "PartialCredentialsError"):
            advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage.access_key_id"
            raise ConfigError(f"{words}: no S3 credentials; {advice}") from error
        if name == "ParamValidationError":
            raise ConfigError(f"{words}: not a possible name for a bucket or key") from error
        if isinstance(error, PermissionError):
            raise ConfigError(f"{words}: permission denied" + (f" ({said})" if fault else "")) from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailable(f"{words}: {os.strerror(error.errno)}") from error
        if isinstance(error, OSError) and error.errno in _PLACE_AT_FAULT:
            if what in ("read", "open"):
                raise error
            raise ConfigError(f"{words}: {os.strerror(error.errno)}") from error


@lru_cache(maxsize=16)
def _connect(url: str, storage: StorageSettings, process_id: int, without_links_into: str = "") -> Backend:  # noqa: ARG001
    """Return this process's connection; s3fs does not survive a fork, hence the process id among the arguments."""
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
