"""Store: objects by key under one root, on a disk, on S3 or elsewhere. The only door to fsspec and s3fs."""

from __future__ import annotations

import errno
import io
import logging
import os
import random
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
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

# POSIX names need not be UTF-8. Their odd bytes become these private code points, which Parquet can hold.
_ODD_BYTES = {0xDC00 + byte: 0xF700 + byte for byte in range(0x80, 0x100)}
_ODD_BYTES_BACK = {mine: theirs for theirs, mine in _ODD_BYTES.items()}

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
}


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing gives it. `version` changes when its bytes do: the ETag, or size and time on a disk."""

    key: str
    size_bytes: int
    version: str


class Store:
    """Objects by key under one root URL. Can be pickled; each process connects for itself, when it first must.

    Args:
        url: A path, or a URL of any protocol that fsspec knows, e.g. `s3://bucket/archive`.
        storage: Endpoint and credentials for S3, and how often a call is tried.
    """

    def __init__(self, url: str, storage: StorageSettings) -> None:
        self.url = url
        self._storage = storage

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def list_objects(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the objects whose key begins with `prefix`, in the order of their keys' UTF-8 bytes, as they come in.

        Raises:
            ConfigError: If the root does not exist or must not be read.
            StoreUnavailable: If the store gives no answer.
        """
        yield from self._backend.list_objects(prefix, lambda call: self._try("list", prefix, call))

    def read_bytes(self, key: str) -> bytes:
        """Return an object's bytes.

        Raises:
            FileNotFoundError: If there is no such object.
            PermissionError: If a local file must not be read.
            StoreUnavailable: If the store gives no answer.
        """
        return self._try("read", key, lambda: self._backend.read(key))

    def write_bytes(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all.

        Raises:
            ConfigError: If the store must not be written.
            StoreUnavailable: If the store gives no answer or is full.
        """
        self._try("write", key, lambda: self._backend.write(key, data))

    def create_bytes(self, key: str, data: bytes) -> bool:
        """Write an object only if there is none of this key; return whether it was written."""
        return self._try("create", key, lambda: self._backend.create(key, data))

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
        """Raise ConfigError, with what to do, if the root does not exist or must not be read."""
        next(self.list_objects(), None)

    def check_writable(self) -> None:
        """Raise ConfigError, with what to do, if the root cannot be written."""
        probe = f"runs/.probe-{uuid.uuid4().hex}"
        self.write_bytes(probe, b"")
        self.delete(probe)

    @property
    def _backend(self) -> _Backend:
        return _connect(self.url, self._storage, os.getpid())

    def _try(self, what: str, key: str, call: Callable[[], Result]) -> Result:
        """Call, again after a growing pause while the fault may pass; then say which object and what came."""
        pause_s = _FIRST_PAUSE_S
        for attempt in range(self._storage.retries + 1):
            try:
                return call()
            except (ConfigError, StoreUnavailable, FileNotFoundError, IsADirectoryError):
                raise
            except Exception as error:
                words = f"cannot {what} {key!r} in {self.url}"
                fault = _fault_of(error)
                if fault in _SETTINGS_AT_FAULT:
                    raise ConfigError(f"{words}: {_SETTINGS_AT_FAULT[fault]} ({fault})") from error
                if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                    advice = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage.access_key_id"
                    raise ConfigError(f"{words}: no S3 credentials; {advice}") from error
                if isinstance(error, PermissionError):
                    if what in ("read", "open"):
                        raise
                    raise ConfigError(f"{words}: permission denied") from error
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                    raise StoreUnavailable(f"{words}: {os.strerror(error.errno)}") from error
                if isinstance(error, OSError) and error.errno in (errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
                    raise ConfigError(f"{words}: {os.strerror(error.errno)}") from error
                if attempt == self._storage.retries:
                    reason = fault or type(error).__name__
                    raise StoreUnavailable(f"{words}: {reason}, tried {attempt + 1} times") from error
                log.warning("%s: %s; trying again", words, fault or type(error).__name__)
                time.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        raise AssertionError("the loop returns or raises")


Tried = Callable[[Callable[[], Any]], Any]
"""Runs one call to the store, again where it may help."""


class _Backend(Protocol):
    def list_objects(self, prefix: str, tried: Tried) -> Iterator[StoredObject]: ...
    def read(self, key: str) -> bytes: ...
    def write(self, key: str, data: bytes) -> None: ...
    def create(self, key: str, data: bytes) -> bool: ...
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
        raise ConfigError(f"{url}: fsspec cannot open {protocol}:// ({error})") from error


class _LocalFolder:
    """A folder on a disk."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.abspath(root.expanduser()))

    def list_objects(self, prefix: str, tried: Tried) -> Iterator[StoredObject]:  # noqa: ARG002
        if not self.root.is_dir():
            raise ConfigError(f"there is no folder {self.root}")
        try:
            os.scandir(self.root).close()
        except PermissionError as error:
            raise ConfigError(f"the folder {self.root} must not be read: permission denied") from error
        return self._walk(self.root, "", prefix, frozenset())

    def _walk(self, folder: Path, base: str, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[StoredObject]:
        try:
            status = folder.stat()
            entries = list(os.scandir(folder))
        except OSError as error:
            log.warning("%s is passed over: %s", folder, error.strerror)
            return
        here = (status.st_dev, status.st_ino)
        if here in above:
            return  # a link back to a folder that this one lies in
        named = [
            (base + entry.name.translate(_ODD_BYTES) + ("/" if _is_folder(entry) else ""), entry) for entry in entries
        ]
        for key, entry in sorted(named, key=lambda pair: pair[0].encode()):
            if not (key.startswith(prefix) or prefix.startswith(key)) or entry.name.startswith(_TEMPORARY):
                continue
            if key.endswith("/"):
                yield from self._walk(Path(entry.path), key, prefix, above | {here})
            elif key.startswith(prefix):
                try:
                    size = entry.stat()
                except OSError:
                    continue  # deleted since the folder was read, or a link to nowhere or to itself
                if not stat.S_ISREG(size.st_mode):
                    continue
                yield StoredObject(key, size.st_size, f"{size.st_size}-{size.st_mtime_ns}")

    def read(self, key: str) -> bytes:
        return self._path(key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self._path(key)
        # A disk cannot hold `b.tif` and `b.tif/0001.avif`; only outputs of one document, old and new, meet so.
        for folder in path.parents:
            if folder != self.root and folder.is_relative_to(self.root) and folder.is_file():
                folder.unlink()
        if path.is_dir():
            shutil.rmtree(path)
        with self._written(key, data) as temporary:
            os.replace(temporary, path)

    def create(self, key: str, data: bytes) -> bool:
        with self._written(key, data) as temporary:
            try:
                os.link(temporary, self._path(key))
            except FileExistsError:
                return False
        return True

    def delete(self, key: str) -> None:
        path = self._path(key)
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if folder == self.root or folder.parent == self.root:
                return
            try:
                folder.rmdir()  # an object store has no empty folders either
            except OSError:
                return

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def open_input(self, key: str) -> BinaryIO:
        return self._path(key).open("rb")

    def _path(self, key: str) -> Path:
        path = self.root / key
        return path if path.exists() else self.root / key.translate(_ODD_BYTES_BACK)

    def _written(self, key: str, data: bytes) -> _TemporaryFile:
        return _TemporaryFile(self._path(key).parent, data)


class _TemporaryFile:
    """A file beside its final place, gone when the block ends unless it was moved."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self._path = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
        self._data = data

    def __enter__(self) -> Path:
        while True:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with self._path.open("xb") as file:
                    file.write(self._data)
                return self._path
            except FileNotFoundError:
                continue  # another thread removed the folder as empty between the two calls
            except BaseException:
                self._path.unlink(missing_ok=True)
                raise

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


class _S3Bucket:
    """A bucket, or what lies under a prefix in it. Keys go to S3 as they are; s3fs would tidy them as paths."""

    def __init__(self, path: str, storage: StorageSettings) -> None:
        self.bucket, _, prefix = path.partition("/")
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        region = {"region_name": storage.region} if storage.region else {}
        self.fs = fsspec.filesystem(
            "s3",
            key=_secret(storage.access_key_id),
            secret=_secret(storage.secret_access_key),
            token=_secret(storage.session_token),
            endpoint_url=storage.endpoint_url or os.environ.get("AWS_ENDPOINT_URL"),
            client_kwargs=region,
            config_kwargs={"connect_timeout": 10, "read_timeout": 60, "retries": {"max_attempts": 1}},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def list_objects(self, prefix: str, tried: Tried) -> Iterator[StoredObject]:
        more: dict[str, str] = {}
        while True:
            answer = tried(partial(self._call, "list_objects_v2", Prefix=self.prefix + prefix, **more))
            for item in answer.get("Contents", []):
                key = item["Key"].removeprefix(self.prefix)
                if key and not (key.endswith("/") and item["Size"] == 0):  # what shops show as folders
                    yield StoredObject(key, int(item["Size"]), item["ETag"].strip('"'))
            if not answer.get("IsTruncated"):
                return
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def read(self, key: str) -> bytes:
        answer = self._call("get_object", Key=self.prefix + key)
        data: bytes = sync(self.fs.loop, answer["Body"].read)
        if len(data) != int(answer["ContentLength"]):
            raise ConnectionError(f"{len(data)} of {answer['ContentLength']} bytes came")
        return data

    def write(self, key: str, data: bytes) -> None:
        self._call("put_object", Key=self.prefix + key, Body=data)

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._call("put_object", Key=self.prefix + key, Body=data, IfNoneMatch="*")
        except OSError as error:
            if _fault_of(error) in ("PreconditionFailed", "ConditionalRequestConflict", "412"):
                return False
            raise
        return True

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
        except FileNotFoundError as error:
            if _fault_of(error) == "NoSuchBucket":
                raise ConfigError(f"s3://{self.bucket}: the bucket does not exist (NoSuchBucket)") from error
            raise


class _AnyFileSystem:
    """Whatever else fsspec reaches, by its plain calls; good for memory:// and tried-out protocols."""

    def __init__(self, fs: Any, path: str) -> None:
        self.fs, self.root = fs, path.rstrip("/")

    def list_objects(self, prefix: str, tried: Tried) -> Iterator[StoredObject]:
        start = len(self.root.lstrip("/")) + 1 if self.root.strip("/") else 0
        found = tried(lambda: self.fs.find(self.root, detail=True) if self.fs.exists(self.root) else {})
        keys = {name.lstrip("/")[start:]: entry for name, entry in found.items()}
        for key in sorted(keys, key=str.encode):
            if key.startswith(prefix):
                version = str(keys[key].get("ETag") or keys[key].get("created") or keys[key].get("mtime") or "")
                yield StoredObject(key, int(keys[key]["size"]), f"{keys[key]['size']}-{version}")

    def read(self, key: str) -> bytes:
        data: bytes = self.fs.cat_file(f"{self.root}/{key}")
        return data

    def write(self, key: str, data: bytes) -> None:
        path = f"{self.root}/{key}"
        self.fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        self.fs.pipe_file(path, data)

    def create(self, key: str, data: bytes) -> bool:
        if self.exists(key):
            return False
        self.write(key, data)
        return True

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
