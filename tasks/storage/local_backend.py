"""Store objects on a disk. A file that is being written is no object until it is complete."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO

from foliopress.configs.errors import ConfigError
from foliopress.tasks.errors import NameRefused, StoreUnavailable
from foliopress.tasks.storage.backend import Guard, ObjectChanged, OnUnreadable, Retry, StoredObject, unguarded
from foliopress.tasks.storage.mounts import is_inside

log = logging.getLogger(__name__)

TEMPORARY = ".foliopress-"
"""Prefix of a local file's name while it is being written; such a file is no object."""

_WRONG_NAME = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)

_LOCK_WAIT_S = 5.0
_SCRATCH = "work"
"""Folder of a run's temporary objects; unlike others it is removed when it is empty."""
_PAGE_NAME = re.compile(r"[0-9]{4,}\.[a-z0-9]+")
"""Names of the pages of a multi-page document."""

# POSIX names need not be UTF-8. Invalid bytes become private-use code points, which Parquet and S3 can hold; if a name
# contains these code points itself, its bytes are mapped likewise. So no two names become the same key.
_ODD_BYTES: dict[int, str] = {0xDC00 + byte: chr(0xF700 + byte) for byte in range(0x80, 0x100)} | {
    point: "".join(chr(0xF700 + byte) for byte in chr(point).encode()) for point in range(0xF780, 0xF800)
}
_ODD_BYTES_BACK = {0xF700 + byte: 0xDC00 + byte for byte in range(0x80, 0x100)}


def key_of_name(name: str) -> str:
    """Return the spelling of a file's name in a key."""
    return name.translate(_ODD_BYTES)


class LocalBackend:
    """A folder on a disk. Nothing is written or deleted through a link that leads out of it.

    Args:
        root: The folder.
        without_links_into: Another folder. Listings skip links that lead into it.
    """

    def __init__(self, root: Path, without_links_into: Path | None = None) -> None:
        self.root = Path(os.path.abspath(root.expanduser()))
        self._without_links_into = without_links_into.expanduser() if without_links_into else None

    def list_objects(self, prefix: str, retry: Retry, on_unreadable: OnUnreadable) -> Iterator[StoredObject]:
        if not self.root.is_dir():
            raise ConfigError(f"there is no folder {self.root}")
        opened = retry(partial(self._keys_in, ""))
        if opened is None:
            raise ConfigError(f"the folder {self.root} cannot be read: permission denied")
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
                    continue  # a link back to a folder above this one
                opened = None if self._is_link_into(key[:-1], identity) else retry(partial(self._keys_in, key))
                if opened is None:
                    on_unreadable(key)
                else:
                    pending.append(iter(opened))
                    above.append(identity)

    def _keys_in(self, base: str) -> list[str] | None:
        """Return the keys in a folder in order, those of folders ending in `/`; None if it cannot be read."""
        try:
            with os.scandir(self._path(base[:-1]) if base else self.root) as entries:
                names = [
                    key_of_name(entry.name) + ("/" if self._is_passed_by(entry) or _is_folder(entry) else "")
                    for entry in entries
                    if not entry.name.startswith(TEMPORARY)
                ]
        except (FileNotFoundError, NotADirectoryError):
            return []  # deleted since the folder above was read
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP):
                return None
            raise
        return [base + name for name in sorted(names)]  # without surrogates, text sorts as its UTF-8

    def _is_passed_by(self, entry: os.DirEntry[str]) -> bool:
        """Return whether an entry is a link into the excluded folder; it counts as a folder then."""
        return (
            self._without_links_into is not None
            and entry.is_symlink()
            and is_inside(Path(entry.path), self._without_links_into)
        )

    def _is_link_into(self, key: str, identity: tuple[int, int]) -> bool:
        if self._without_links_into is None:
            return False
        path = self._path(key)
        found = identity == _identity(self._without_links_into) != (-1, -1)
        if found or (path.is_symlink() and is_inside(path, self._without_links_into)):
            log.warning("%s leads into %s, which holds no scans", path, self._without_links_into)
            return True
        return False

    def _object(self, key: str) -> StoredObject | None:
        path = self._path(key)
        try:
            status = path.stat()
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not path.is_symlink():
                return None  # deleted since the folder was read
            return StoredObject(key, 0, "", "unreadable")  # reading it will raise the reason
        if not stat.S_ISREG(status.st_mode):
            return None
        return StoredObject(key, status.st_size, str(status.st_mtime_ns))

    def read(self, key: str) -> bytes:
        with self.open_input(key) as file:
            return file.read()

    def read_listed(self, listed: StoredObject) -> bytes:
        with self.open_input(listed.key) as file:
            data = file.read()
            status = os.fstat(file.fileno())  # after reading: it may have been written meanwhile
        found = StoredObject(listed.key, status.st_size, str(status.st_mtime_ns))
        # some file systems report other values for a name than for an open file
        if len(data) != listed.size_bytes or not (listed.is_like(found) or self.is_as_listed(listed)):
            raise ObjectChanged(f"{listed.key!r} is no longer the file that was listed")
        return data

    def is_as_listed(self, listed: StoredObject) -> bool:
        found = self._object(listed.key)
        return found is not None and listed.is_like(found)

    def read_versioned(self, key: str) -> tuple[bytes, str]:
        with self.open_input(key) as file:
            return file.read(), _file_version(file.fileno())

    def open_input(self, key: str) -> BinaryIO:
        try:
            # without O_NONBLOCK, opening a pipe that replaced the file would block
            handle = os.open(self._path(key), os.O_RDONLY | os.O_NONBLOCK)
        except NotADirectoryError as error:
            raise FileNotFoundError(error.errno, f"no such object: {key!r}") from error
        file = os.fdopen(handle, "rb")
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            file.close()
            raise FileNotFoundError(errno.ENOENT, f"not a file: {key!r}")
        return file

    def read_range(self, key: str, start: int, size: int) -> bytes:
        with self.open_input(key) as file:
            file.seek(start)
            return file.read(size)

    def write(self, key: str, data: bytes, is_output: bool = False, guard: Guard = unguarded) -> None:  # noqa: ARG002 - a disk has no storage classes
        with _refusals(key):
            path = self._own_path(key)
            guard()
            if _PAGE_NAME.fullmatch(path.name) and path.parent != self.root and path.parent.is_file():
                path.parent.unlink()  # the document was kept whole before and has pages now
        with _TemporaryFile(self._top_folder(path), data) as temporary, _refusals(key):
            guard()  # writing the bytes to disk may have taken long
            if path.is_dir() and not path.is_symlink():
                _remove_pages(path)
            try:
                self._put(temporary, path, os.replace)
            except FileNotFoundError as error:  # a run that takes over a lease deletes partial writes
                guard()
                raise StoreUnavailable(f"{path} was deleted before it was complete") from error

    @staticmethod
    def _put(temporary: Path, path: Path, move: Callable[[Path, Path], None]) -> None:
        """Move or link a temporary file to its path; make the folders above."""
        for _ in range(100):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                return move(temporary, path)
            except FileNotFoundError:
                if not temporary.exists():
                    raise
                # another thread removed the empty folder between the two calls; or the name is invalid, as on exFAT
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def _top_folder(self, path: Path) -> Path:
        """Return `pages`, `stats` or `runs`: partial writes are there, not deeper."""
        parts = path.relative_to(self.root).parts
        return self.root / parts[0] if len(parts) > 1 else self.root

    def create(self, key: str, data: bytes) -> bool:
        path = self._own_path(key)
        with _TemporaryFile(self._top_folder(path), data) as temporary, _refusals(key):
            try:
                self._put(temporary, path, os.link)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                    raise
                return _create_without_links(path, data)
        return True

    def replace(self, key: str, version: str, data: bytes) -> bool:
        if not self.root.is_dir():
            return False
        path = self._own_path(key)
        folder = self._top_folder(path)
        with _TemporaryFile(folder, data) as temporary, _locked(self.root) as is_locked:
            if not is_locked:  # the process that holds the lock is paused: it must not move its file into place later
                for other in folder.glob(f"{TEMPORARY}*"):
                    if other != temporary:
                        other.unlink(missing_ok=True)
            try:
                if self.read_versioned(key)[1] != version:
                    return False
                self._put(temporary, path, os.replace)
            except FileNotFoundError:  # no such object, or another process deleted the temporary file
                return False
        return True

    def has_conditional_writes(self, key: str) -> bool:  # noqa: ARG002
        return True

    def delete_partial_writes(self, older_than_s: float) -> None:
        if not self.root.is_dir():
            return
        folders = [self.root, *(entry for entry in self.root.iterdir() if entry.is_dir() and not entry.is_symlink())]
        for folder in folders:
            for path in folder.glob(f"{TEMPORARY}*"):
                with suppress(FileNotFoundError):
                    if time.time() - path.stat().st_mtime > older_than_s:
                        log.info("deleted the partial write %s", path)
                        path.unlink()

    def delete(self, key: str) -> None:
        try:
            path = self._own_path(key)
            path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError as error:
            if error.errno in _WRONG_NAME:
                return  # no object can have such a name
            if not path.is_dir():
                raise
            return
        for folder in path.parents:
            if folder == self.root or (folder.parent == self.root and folder.name != _SCRATCH):
                return
            try:
                folder.rmdir()  # an object store has no empty folders either
            except OSError:
                return

    def exists(self, key: str) -> bool:
        try:
            return self._path(key).is_file()
        except OSError as error:
            if error.errno in _WRONG_NAME:
                return False
            raise

    def _path(self, key: str) -> Path:
        if {"", ".", ".."} & set(key.split("/")):
            raise ValueError(f"{key!r} is no path in a folder")
        return self.root / key.translate(_ODD_BYTES_BACK)

    def _own_path(self, key: str) -> Path:
        """Return the path of an object that is to be written or deleted.

        Raises:
            ConfigError: If a link on the path leads out of the folder.
        """
        path = self._path(key)
        if not is_inside(path.parent, self.root):
            raise ConfigError(
                f"{path.parent} is reached through a link that leads out of {self.root}; nothing is written or deleted "
                "there: replace the link by a folder, or mount one there"
            )
        return path


def _remove_pages(folder: Path) -> None:
    """Remove the folder of a document that no longer has pages; never anything else."""
    entries = list(folder.iterdir())
    if not all(_PAGE_NAME.fullmatch(entry.name) and entry.is_file() for entry in entries):
        raise ConfigError(f"{folder} is in the way: a folder that holds more than a document's pages")
    for entry in entries:
        entry.unlink(missing_ok=True)
    folder.rmdir()


def _create_without_links(path: Path, data: bytes) -> bool:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


class _TemporaryFile:
    """A file on the same disk, deleted when the block ends unless it was moved."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self._path = folder / f"{TEMPORARY}{uuid.uuid4().hex}"
        self._data = data

    def __enter__(self) -> Path:
        try:
            with self._opened() as file:
                file.write(self._data)
                file.flush()
                os.fsync(file.fileno())  # after a power cut, no committed name may refer to missing bytes
        except BaseException:
            self._path.unlink(missing_ok=True)
            raise
        return self._path

    def _opened(self) -> BinaryIO:
        for _ in range(100):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # the empty folder was removed between the two calls
                return self._path.open("xb")
        raise StoreUnavailable(f"the folder {self._path.parent} is removed each time it is made")

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)


@contextmanager
def _refusals(key: str) -> Iterator[None]:
    """Raise NameRefused if the disk cannot hold a key's name."""
    try:
        yield
    except OSError as error:
        if error.errno not in _WRONG_NAME:
            raise
        raise NameRefused(
            f"cannot write {key!r}: the store cannot hold this name ({os.strerror(error.errno)})"
        ) from error


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Lock out other processes of this machine, and yield whether the lock was acquired.

    It is not if another process holds it too long, e.g. because it is paused. A file system without locks locks nobody
    out but yields True.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        deadline = time.monotonic() + _LOCK_WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    yield False
                    return
                time.sleep(0.02)
                continue
            except OSError:
                pass
            yield True
            return
    finally:
        os.close(handle)


def _file_version(handle: int) -> str:
    status = os.fstat(handle)
    return f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


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
