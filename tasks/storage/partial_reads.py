"""Read large objects in pieces, directly from a disk or from a temporary copy."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.host_errors import as_host_error
from foliopress.tasks.storage.backend import ObjectChanged, StoredObject
from foliopress.tasks.storage.store import Store

_PIECE_BYTES = 2**24
_MOST_COPIES = 2
_copies: OrderedDict[tuple[str, str], tuple[BinaryIO, str]] = OrderedDict()
"""Copies and their digests by store and key, the most recently used last."""


@contextmanager
def opened(store: Store, key: str, sha256: str | None = None, listed: StoredObject | None = None) -> Iterator[BinaryIO]:
    """Open an object for random access without loading all of it into memory.

    An object on a disk is read in place. For an object store, a process keeps copies of the last two objects in unnamed
    temporary files, which disappear with it.

    Args:
        store: Store of the object.
        key: Its key.
        sha256: Expected SHA-256 of its bytes, in hexadecimal: an existing copy with it is used. Without it a new copy
            is made.
        listed: Its listing entry, if it must still be that version when the block ends.

    Raises:
        OSError: If the object cannot be read; FileNotFoundError if it is gone.
        ObjectChanged: If it is not the listed version, and is opened for the first time (no `sha256`).
        StoreUnavailable: If the store does not respond, the object has changed, or this machine has no room.
    """
    if store.is_folder:
        with store.open_input(key) as file:
            yield file
        if listed is not None and not store.is_as_listed(listed):
            raise _another(store, key, sha256)
        return
    place = store.url, key
    copy, digest = _copies.pop(place, (None, ""))
    if copy is None or sha256 is None or digest != sha256:
        if copy is not None:
            copy.close()
        copy, digest = _copied(store, key)
        if sha256 is None and listed is not None and not store.is_as_listed(listed):
            copy.close()
            raise _another(store, key, sha256)
    _copies[place] = copy, digest
    while len(_copies) > _MOST_COPIES:
        _copies.popitem(last=False)[1][0].close()
    if sha256 is not None and digest != sha256:
        raise _another(store, key, sha256)
    copy.seek(0)
    yield copy


def _another(store: Store, key: str, sha256: str | None) -> Exception:
    if sha256 is None:
        return ObjectChanged(f"{key!r} in {store!r} is no longer the object that was listed")
    return StoreUnavailable(f"{key!r} in {store!r} has changed while it was processed")


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of a whole file, in hexadecimal; rewind it."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest


def _copied(store: Store, key: str) -> tuple[BinaryIO, str]:
    doing = f"copying {key!r}"
    with as_host_error(doing):
        copy = cast(BinaryIO, tempfile.TemporaryFile())  # noqa: SIM115 - it is kept open
    digest = hashlib.sha256()
    try:
        while piece := store.read_range(key, copy.tell(), _PIECE_BYTES):
            with as_host_error(doing):
                copy.write(piece)
                copy.flush()  # else a full disk would only show when the copy is read
            digest.update(piece)
    except BaseException:
        with suppress(OSError):  # closing tries again to write the rest
            copy.close()
        raise
    return copy, digest.hexdigest()
