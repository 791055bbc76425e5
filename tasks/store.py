"""Store: objects by key under one root, on a disk, on S3 or elsewhere. The only door to fsspec and s3fs."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import io
import logging
import os
import random
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

import fsspec
from fsspec.asyn import sync
from fsspec.core import split_protocol
from pydantic import SecretStr

from configs.settings import StorageSettings
from tasks.errors import ConfigError, StoreUnavailable

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.3, 10.0
_TEMPORARY = ".foliopress-"
"""How a local file's name begins while it is being written; such a file is no object."""
_LEFTOVER_AGE_S = 300.0
"""A file that is still being written is not as old; one that a killed process left is."""

_PAGE_NAME = re.compile(r"[0-9]{4,}\.[a-z0-9]+")
"""How the pages of a many-page document are named."""

# POSIX names need not be UTF-8. Their odd bytes become private code points, which Parquet and S3 can hold; where a name
# has these code points itself, its bytes are written so. Thus no two names become the same key.
_ODD_BYTES: dict[int, str] = {0xDC00 + byte: chr(0xF700 + byte) for byte in range(0x80, 0x100)} | {
    point: "".join(chr(0xF700 + byte) for byte in chr(point).encode()) for point in range(0xF780, 0xF800)
}
_ODD_BYTES_BACK = {0xF700 + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}

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
_KEY_AT_FAULT = "the encryption key cannot be used (storage.kms_key_id)"
_ARCHIVED = "InvalidObjectState"
_THIS_OBJECT_AT_FAULT = ("", "AccessDenied", "Forbidden", "403")
_PLACE_AT_FAULT = (errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP, errno.EXDEV)

_MISTAKES = (TypeError, ValueError, LookupError, AttributeError, AssertionError, NotImplementedError, MemoryError)
"""What another try does not mend."""


class ObjectArchived(PermissionError):
    """The object lies in a class of storage (e.g. Glacier) that must be asked to restore it before it can be read."""


@dataclass(frozen=True)
class StoredObject:
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


class Store:
    """Objects by key under one root URL. Can be pickled; each process connects for itself, when it first must.

    Args:
        url: A path, or a URL of any protocol that fsspec knows, e.g. `s3://bucket/archive`.
        storage: Endpoint and credentials for S3, and how often a call is tried.
    """

    def __init__(self, url: str, storage: StorageSettings) -> None:
        self.url = url
        self._storage = storage

    @property
    def storage(self) -> StorageSettings:
        """How the store is reached."""
        return self._storage

    def __repr__(self) -> str:
        return f"Store({_shown(self.url)!r})"

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
            log.warning("the folder %r in %s cannot be read and is passed over", folder, _shown(self.url))
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
            StoreUnavailable: If the store gives no answer or is full.
        """
        self._try("write", key, lambda: self._backend.write(key, data, is_output))

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

    def clear_leftovers(self) -> None:
        """Delete what killed processes left half-written on a disk; an object store has nothing of the kind."""
        self._try("clear", "", self._backend.clear_leftovers)

    def delete(self, key: str) -> None:
        """Delete an object; one that is not there is fine."""
        self._try("delete", key, lambda: self._backend.delete(key))

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""
        return self._try("look for", key, lambda: self._backend.exists(key))

    def open_input(self, key: str) -> BinaryIO:
        """Return a seekable binary file of an object, for Parquet's footers."""
        return self._try("open", key, lambda: self._backend.open_input(key))

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
        except StoreUnavailable as error:
            raise ConfigError(str(error)) from error

    @property
    def _backend(self) -> _Backend:
        return _connect(self.url, self._storage, os.getpid())

    def _try(self, what: str, key: str, call: Callable[[], Result]) -> Result:
        """Call, again after a growing pause while the fault may pass; then say which object and what came."""
        pause_s = _FIRST_PAUSE_S
        begun = time.monotonic()
        for attempt in range(self._storage.retries + 1):
            try:
                return call()
            except (ConfigError, StoreUnavailable, FileNotFoundError, IsADirectoryError, *_MISTAKES):
                raise
            except Exception as error:
                words = f"cannot {what} {key!r} in {_shown(self.url)}" if key else f"cannot {what} {_shown(self.url)}"
                fault = _fault_of(error)
                self._raise_if_lasting(error, fault, what, words)
                waited_s = time.monotonic() - begun
                if attempt == self._storage.retries or waited_s >= self._storage.give_up_after_s:
                    if what == "read" and isinstance(error, OSError) and error.errno == errno.EIO and not fault:
                        raise  # a bad sector is this file's trouble, not the store's
                    reason = fault or type(error).__name__
                    tried = f"tried {attempt + 1} times in {waited_s:.0f} s"
                    raise StoreUnavailable(f"{words}: {reason}, {tried}") from error
                log.warning("%s: %s; trying again", words, fault or type(error).__name__)
                time.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError("the loop returns or raises")

    @staticmethod
    def _raise_if_lasting(error: Exception, fault: str, what: str, words: str) -> None:
        """Raise what another try would not mend, in words."""
        name = type(error).__name__
        if fault == _ARCHIVED and what in ("read", "open"):
            raise ObjectArchived(f"{words}: archived, to be restored before it can be read") from error
        if isinstance(error, PermissionError) and what in ("read", "open") and fault in _THIS_OBJECT_AT_FAULT:
            raise PermissionError(f"{words}: permission denied") from error
        if fault in _SETTINGS_AT_FAULT:
            raise ConfigError(f"{words}: {_SETTINGS_AT_FAULT[fault]} ({fault})") from error
        if fault.startswith("KMS."):
            raise ConfigError(f"{words}: {_KEY_AT_FAULT} ({fault})") from error
        if name in ("NoCredentialsError", "PartialCredentialsError"):
            advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage.access_key_id"
            raise ConfigError(f"{words}: no S3 credentials; {advice}") from error
        if name == "ParamValidationError":
            raise ConfigError(f"{words}: not a possible name for a bucket or key") from error
        if isinstance(error, PermissionError):
            raise ConfigError(f"{words}: permission denied") from error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StoreUnavailable(f"{words}: {os.strerror(error.errno)}") from error
        if isinstance(error, OSError) and error.errno in _PLACE_AT_FAULT:
            if what in ("read", "open"):
                raise error
            raise ConfigError(f"{words}: {os.strerror(error.errno)}") from error


Tried = Callable[[Callable[[], Any]], Any]
"""Runs one call to the store, again where it may help."""
PassOver = Callable[[str], None]
"""Told of each folder that must not be read."""


class _Backend(Protocol):
    def list_objects(self, prefix: str, tried: Tried, pass_over: PassOver) -> Iterator[StoredObject]: ...
    def read(self, key: str) -> bytes: ...
    def read_versioned(self, key: str) -> tuple[bytes, str]: ...
    def write(self, key: str, data: bytes, is_output: bool) -> None: ...
    def create(self, key: str, data: bytes) -> bool: ...
    def replace(self, key: str, version: str, data: bytes) -> bool: ...
    def clear_leftovers(self) -> None: ...
    def delete(self, key: str) -> None: ...
    def exists(self, key: str) -> bool: ...
    def open_input(self, key: str) -> BinaryIO: ...


@lru_cache(maxsize=16)
def _connect(url: str, storage: StorageSettings, process_id: int) -> _Backend:  # noqa: ARG001
    """Return this process's connection; s3fs does not survive a fork, hence the process id among the arguments."""
    protocol, path = split_protocol(url)
    if protocol in (None, "file", "local"):
        return _LocalFolder(Path(path))
    if protocol in ("s3", "s3a"):
        return _S3Bucket(path, storage)
    try:
        return _AnyFileSystem(fsspec.filesystem(protocol), path)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"{_shown(url)}: fsspec cannot open {protocol}:// ({error})") from error


class _LocalFolder:
    """A folder on a disk."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root.expanduser()))

    def list_objects(self, prefix: str, tried: Tried, pass_over: PassOver) -> Iterator[StoredObject]:
        if not self.root.is_dir():
            raise ConfigError(f"there is no folder {self.root}")
        opened = tried(partial(self._keys_in, ""))
        if opened is None:
            raise ConfigError(f"the folder {self.root} must not be read: permission denied")
        above = [_identity(self.root)]
        pending = [iter(opened)]
        while pending:
            key = next(pending[-1], None)
            if key is None:
                pending.pop()
                above.pop()
            elif not key.endswith("/"):
                if key.startswith(prefix) and (found := self._object(key)) is not None:
                    yield found
            elif key.startswith(prefix) or prefix.startswith(key):
                identity = _identity(self._path(key[:-1]))
                if identity in above:
                    continue  # a link back to a folder that this one lies in
                opened = tried(partial(self._keys_in, key))
                if opened is None:
                    pass_over(key)
                else:
                    pending.append(iter(opened))
                    above.append(identity)

    def _keys_in(self, base: str) -> list[str] | None:
        """Return the keys in a folder in their order, those of folders ending in `/`; None if it must not be read."""
        try:
            with os.scandir(self._path(base[:-1]) if base else self.root) as entries:
                names = [
                    entry.name.translate(_ODD_BYTES) + ("/" if _is_folder(entry) else "")
                    for entry in entries
                    if not entry.name.startswith(_TEMPORARY)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []  # deleted since the folder above was read
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP):
                return None
            raise
        return [base + name for name in sorted(names)]  # without surrogates, letters sort as their UTF-8 does

    def _object(self, key: str) -> StoredObject | None:
        path = self._path(key)
        try:
            status = path.stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not path.is_symlink():
                return None  # deleted since the folder was read
            return StoredObject(key, 0, "", "unreadable")  # whoever reads it learns why
        if not stat.S_ISREG(status.st_mode):
            return None
        return StoredObject(key, status.st_size, str(status.st_mtime_ns))

    def read(self, key: str) -> bytes:
        with self.open_input(key) as file:
            return file.read()

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        with self.open_input(key) as file:
            return file.read(), _file_version(file.fileno())

    def open_input(self, key: str) -> BinaryIO:
        try:
            # without O_NONBLOCK a pipe that took the file's place would be waited for
            handle = os.open(self._path(key), os.O_RDONLY | os.O_NONBLOCK)
        except NotADirectoryError as error:
            raise FileNotFoundError(error.errno, f"no such object: {key!r}") from error
        file = os.fdopen(handle, "rb")
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            file.close()
            raise FileNotFoundError(errno.ENOENT, f"not a file: {key!r}")
        return file

    def write(self, key: str, data: bytes, is_output: bool = False) -> None:  # noqa: ARG002 - a disk has no classes
        path = self._path(key)
        if _PAGE_NAME.fullmatch(path.name) and path.parent != self.root and path.parent.is_file():
            path.parent.unlink()  # the document was kept whole before, and has pages now
        with _TemporaryFile(self._top_folder(path), data) as temporary:
            if path.is_dir():
                self._clear_pages(path)
            self._put(temporary, path, os.replace)

    @staticmethod
    def _put(temporary: Path, path: Path, move: Callable[[Path, Path], None]) -> None:
        """Move or link a temporary file to its place, making the folders above."""
        for _ in range(100):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return move(temporary, path)
            except FileNotFoundError:
                if not temporary.exists():
                    raise
                # another thread removed the folder as empty between the two calls
        raise StoreUnavailable(f"the folder {path.parent} disappears as often as it is made")

    def _top_folder(self, path: Path) -> Path:
        """Return `pages`, `stats` or `runs`: what is left half-written lies there, not deeper."""
        parts = path.relative_to(self.root).parts
        return self.root / parts[0] if len(parts) > 1 else self.root

    def _clear_pages(self, folder: Path) -> None:
        """Remove the folder of a document that has pages no more; never anything else."""
        entries = list(folder.iterdir())
        if not all(_PAGE_NAME.fullmatch(entry.name) and entry.is_file() for entry in entries):
            raise ConfigError(f"{folder} stands in the way: a folder with other things than a document's pages")
        for entry in entries:
            entry.unlink(missing_ok=True)
        folder.rmdir()

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with _TemporaryFile(self._top_folder(path), data) as temporary:
            try:
                self._put(temporary, path, os.link)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                    raise
                return self._create_without_links(path, data)
        return True

    @staticmethod
    def _create_without_links(path: Path, data: bytes) -> bool:
        try:
            with path.open("xb") as file:
                file.write(data)
        except FileExistsError:
            return False
        return True

    def replace(self, key: str, version: str, data: bytes) -> bool:
        if not self.root.is_dir():
            return False
        with _locked(self.root):
            try:
                _, found = self.read_versioned(key)
            except FileNotFoundError:
                return False
            if found != version:
                return False
            self.write(key, data)
        return True

    def clear_leftovers(self) -> None:
        if not self.root.is_dir():
            return
        folders = [self.root, *(entry for entry in self.root.iterdir() if entry.is_dir())]
        for folder in folders:
            for path in folder.glob(f"{_TEMPORARY}*"):
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S:
                        log.info("%s was left half-written; deleted", path)
                        path.unlink()

    def delete(self, key: str) -> None:
        path = self._path(key)
        try:
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            if not path.is_dir():
                raise
            return
        for folder in path.parents:
            if folder == self.root or folder.parent == self.root:
                return
            try:
                folder.rmdir()  # an object store has no empty folders either
            except OSError:
                return

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def _path(self, key: str) -> Path:
        if {"", ".", ".."} & set(key.split("/")):
            raise ValueError(f"{key!r} is no place in a folder")
        return self.root / key.translate(_ODD_BYTES_BACK)


class _TemporaryFile:
    """A file in a folder of its disk, gone when the block ends unless it was moved."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self._path = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
        self._data = data

    def __enter__(self) -> Path:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._path.open("xb") as file:
                file.write(self._data)
                file.flush()
                os.fsync(file.fileno())  # a commit mark must not outlive a power cut that its bytes do not
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        return self._path

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes of this machine out of a block; a file system without locks keeps nobody out."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _file_version(handle: int) -> str:
    status = os.fstat(handle)
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


class _S3Bucket:
    """A bucket, or what lies under a prefix in it. Keys go to S3 as they are; s3fs would tidy them as paths."""

    def __init__(self, path: str, storage: StorageSettings) -> None:
        self.bucket, _, prefix = path.partition("/")
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        endpoint_url = storage.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        region = {"region_name": storage.region} if storage.region else {}
        config: dict[str, object] = {
            "connect_timeout": min(10.0, storage.timeout_s),
            "read_timeout": storage.timeout_s,
            "retries": {"max_attempts": 0},  # Store tries again by itself
        }
        if endpoint_url:  # older servers other than Amazon's refuse the checksums that botocore now adds unasked
            config |= {
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            }
        self.fs = fsspec.filesystem(
            "s3",
            key=_secret(storage.access_key_id),
            secret=_secret(storage.secret_access_key),
            token=_secret(storage.session_token),
            endpoint_url=endpoint_url,
            client_kwargs=region,
            config_kwargs=config,
            use_listings_cache=False,
            skip_instance_cache=True,
        )
        self.fs.retries = 1
        self._with_each = _given(
            ServerSideEncryption=storage.server_side_encryption, SSEKMSKeyId=storage.kms_key_id, ACL=storage.acl
        )
        self._with_outputs = _given(StorageClass=storage.storage_class)

    def list_objects(self, prefix: str, tried: Tried, pass_over: PassOver) -> Iterator[StoredObject]:  # noqa: ARG002
        more: dict[str, str] = {}
        while True:
            answer = tried(partial(self._call, "list_objects_v2", Prefix=self.prefix + prefix, **more))
            for item in answer.get("Contents", []):
                key = item["Key"].removeprefix(self.prefix)
                if key and not (key.endswith("/") and item["Size"] == 0):  # what shops show as folders
                    etag, modified = item["ETag"].strip('"'), item["LastModified"].isoformat()
                    yield StoredObject(key, int(item["Size"]), modified, etag)
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def read(self, key: str) -> bytes:
        return self.read_versioned(key)[0]

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        answer = self._call("get_object", Key=self.prefix + key)
        data: bytes = sync(self.fs.loop, answer["Body"].read)
        if len(data) != int(answer["ContentLength"]):
            raise ConnectionError(f"{len(data)} of {answer['ContentLength']} bytes came")
        return data, str(answer["ETag"])

    def write(self, key: str, data: bytes, is_output: bool = False) -> None:
        self._put(key, data, **(self._with_outputs if is_output else {}))

    def create(self, key: str, data: bytes) -> bool:
        return self._put_if(key, data, lambda: not self.exists(key), IfNoneMatch="*")

    def replace(self, key: str, version: str, data: bytes) -> bool:
        return self._put_if(key, data, lambda: self.read_versioned(key)[1] == version, IfMatch=version)

    def _put_if(self, key: str, data: bytes, holds: Callable[[], bool], **condition: str) -> bool:
        try:
            self._put(key, data, **condition)
        except FileNotFoundError:  # nothing there to be replaced
            return False
        except OSError as error:
            fault = _fault_of(error)
            if fault in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                return False
            if fault not in ("NotImplemented", "501"):
                raise
            if not holds():  # a server that knows no conditions: the best that can be done there
                return False
            self._put(key, data)
        return True

    def _put(self, key: str, data: bytes, **more: str) -> None:
        self._call("put_object", Key=self.prefix + key, Body=data, **self._with_each, **more)

    def clear_leftovers(self) -> None:
        pass  # an object is one PUT, and what breaks off leaves nothing

    def delete(self, key: str) -> None:
        self._call("delete_object", Key=self.prefix + key)

    def exists(self, key: str) -> bool:
        try:
            self._call("head_object", Key=self.prefix + key)
        except FileNotFoundError:
            return False
        return True

    def open_input(self, key: str) -> BinaryIO:
        return io.BytesIO(self.read(key))

    def _call(self, method: str, **arguments: object) -> Any:
        try:
            return self.fs.call_s3(method, Bucket=self.bucket, **arguments)
        except ValueError as error:
            raise ConfigError(f"s3://{self.bucket}: {error}") from error  # e.g. an endpoint that is no URL
        except FileNotFoundError as error:
            if _fault_of(error) == "NoSuchBucket":
                raise ConfigError(f"s3://{self.bucket}: the bucket does not exist (NoSuchBucket)") from error
            raise


_ETAG_NAMES = ("ETag", "etag", "md5Hash", "content_md5")
_TIME_NAMES = ("last_modified", "LastModified", "mtime", "created")


class _AnyFileSystem:
    """Whatever else fsspec reaches, by its plain calls; good for memory:// and tried-out protocols."""

    def __init__(self, fs: Any, path: str) -> None:
        self.fs, self.root = fs, path.rstrip("/")

    def list_objects(self, prefix: str, tried: Tried, pass_over: PassOver) -> Iterator[StoredObject]:  # noqa: ARG002
        start = len(self.root.lstrip("/")) + 1 if self.root.strip("/") else 0
        found = tried(lambda: self.fs.find(self.root, detail=True) if self.fs.exists(self.root) else {})
        keys = {name.lstrip("/")[start:]: entry for name, entry in found.items()}
        for key in sorted(keys, key=str.encode):
            if key.startswith(prefix):
                entry = keys[key]
                modified = next((str(entry[name]) for name in _TIME_NAMES if entry.get(name)), "")
                etag = next((str(entry[name]) for name in _ETAG_NAMES if entry.get(name)), None)
                yield StoredObject(key, int(entry["size"] or 0), modified, etag)

    def read(self, key: str) -> bytes:
        data: bytes = self.fs.cat_file(f"{self.root}/{key}")
        return data

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        data = self.read(key)
        return data, hashlib.sha256(data).hexdigest()

    def write(self, key: str, data: bytes, is_output: bool = False) -> None:  # noqa: ARG002 - classes are S3's
        path = f"{self.root}/{key}"
        self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        self.fs.pipe_file(path, data)

    def create(self, key: str, data: bytes) -> bool:
        if self.exists(key):
            return False
        self.write(key, data)
        return True

    def replace(self, key: str, version: str, data: bytes) -> bool:
        if not self.exists(key) or self.read_versioned(key)[1] != version:
            return False
        self.write(key, data)
        return True

    def clear_leftovers(self) -> None:
        pass  # whether writing is atomic is up to the protocol

    def delete(self, key: str) -> None:
        if self.exists(key):
            self.fs.rm_file(f"{self.root}/{key}")

    def exists(self, key: str) -> bool:
        return bool(self.fs.isfile(f"{self.root}/{key}"))

    def open_input(self, key: str) -> BinaryIO:
        return io.BytesIO(self.read(key))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:
        return (-1, -1)
    return (status.st_dev, status.st_ino)


def _shown(url: str) -> str:
    """Return a URL without the user and password it may hold, for messages.

    >>> _shown("sftp://me:secret@host/scans"), _shown("s3://bucket/a@b")
    ('sftp://host/scans', 's3://bucket/a@b')
    """
    return re.sub(r"(?<=://)[^/]*@", "", url)


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value is not None}


def _secret(value: SecretStr | None) -> str | None:
    return value.get_secret_value() if value is not None else None


def _fault_of(error: BaseException) -> str:
    """Return S3's code of an error, from wherever in the chain of causes botocore's answer hangs; else ''."""
    cause: BaseException | None = error
    while cause is not None:
        response = getattr(cause, "response", None)
        if isinstance(response, dict) and "Error" in response:
            return str(response["Error"].get("Code", ""))
        cause = cause.__cause__
    return ""
