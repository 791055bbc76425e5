"""Store objects on any other file system that fsspec can open."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any, BinaryIO

from foliopress.tasks.storage.backend import Guard, ObjectChanged, OnUnreadable, Retry, StoredObject, unguarded

_ETAG_NAMES = ("ETag", "etag", "md5Hash", "content_md5")
_TIME_NAMES = ("last_modified", "LastModified", "mtime", "created")


class FsspecBackend:
    """A file system accessed by fsspec's plain calls, such as memory://."""

    def __init__(self, fs: Any, path: str) -> None:
        self.fs, self.root = fs, path.rstrip("/")

    def list_objects(self, prefix: str, retry: Retry, on_unreadable: OnUnreadable) -> Iterator[StoredObject]:  # noqa: ARG002
        start = len(self.root.lstrip("/")) + 1 if self.root.strip("/") else 0
        found = retry(lambda: self.fs.find(self.root, detail=True) if self.fs.exists(self.root) else {})
        keys = {name.lstrip("/")[start:]: entry for name, entry in found.items()}
        for key in sorted(keys, key=str.encode):
            if key.startswith(prefix):
                yield _told(key, keys[key])

    def read_listed(self, listed: StoredObject) -> bytes:
        data = self.read(listed.key)
        if (listed.size_bytes and len(data) != listed.size_bytes) or not self.is_as_listed(listed):
            raise ObjectChanged(f"{listed.key!r} is no longer the object that was listed")
        return data

    def is_as_listed(self, listed: StoredObject) -> bool:
        path = f"{self.root}/{listed.key}"
        try:
            if _is_like(listed, _told(listed.key, self.fs.info(path))):
                return True
        except FileNotFoundError:
            return False
        self.fs.invalidate_cache()  # some protocols describe one object differently from a listing
        found = self.fs.find(path.rpartition("/")[0], maxdepth=1, detail=True)
        entries = (entry for name, entry in found.items() if name.strip("/") == path.strip("/"))
        return any(_is_like(listed, _told(listed.key, entry)) for entry in entries)

    def read(self, key: str) -> bytes:
        data: bytes = self.fs.cat_file(f"{self.root}/{key}")
        return data

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        data = self.read(key)
        return data, hashlib.sha256(data).hexdigest()

    def write(self, key: str, data: bytes, is_output: bool = False, guard: Guard = unguarded) -> None:  # noqa: ARG002 - only S3 has storage classes
        guard()
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

    def has_conditional_writes(self, key: str) -> bool:  # noqa: ARG002
        return False  # `create` and `replace` check, then write

    def delete_partial_writes(self, older_than_s: float) -> None:
        pass  # the protocol decides whether a write is atomic

    def delete(self, key: str) -> None:
        if self.exists(key):
            self.fs.rm_file(f"{self.root}/{key}")

    def exists(self, key: str) -> bool:
        return bool(self.fs.isfile(f"{self.root}/{key}"))

    def open_input(self, key: str) -> BinaryIO:
        return io.BytesIO(self.read(key))

    def read_range(self, key: str, start: int, size: int) -> bytes:
        path = f"{self.root}/{key}"
        end = min(start + size, int(self.fs.size(path)))
        return bytes(self.fs.cat_file(path, start, end)) if start < end else b""


def _is_like(listed: StoredObject, found: StoredObject) -> bool:
    # listings over HTTP have no sizes
    return listed.is_like(found if listed.size_bytes else found._replace(size_bytes=0))


def _told(key: str, entry: dict[str, Any]) -> StoredObject:
    modified = next((str(entry[name]) for name in _TIME_NAMES if entry.get(name)), "")
    etag = next((str(entry[name]) for name in _ETAG_NAMES if entry.get(name)), None)
    return StoredObject(key, int(entry["size"] or 0), modified, etag)
