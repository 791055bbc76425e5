"""Large objects: read piece by piece, from the disk where they lie or from a copy on this machine's."""

from __future__ import annotations

import hashlib
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.host_errors import as_host_error
from foliopress.tasks.storage.store import ObjectChanged, Store, StoredObject

_PIECE_BYTES = 2**24
_MOST_COPIES = 2
_copies: OrderedDict[tuple[str, str], tuple[BinaryIO, str]] = OrderedDict()
"""Copies and their digests by store and key, the last one used at the end."""


@contextmanager
def opened(store: Store, key: str, sha256: str | None = None, listed: StoredObject | None = None) -> Iterator[BinaryIO]:
    """Open an object for reading here and there, without all of it in memory.

    What lies on a disk is read where it is. Of an object store's, a process keeps copies of the last two in nameless
    temporary files, which vanish with it.

    Args:
        store: Where it lies.
        key: Its key.
        sha256: What its bytes were known by, in hexadecimal: a copy of these will do. Without it a new one is made.
        listed: As a listing gave it, where it must be that one still when the block ends.

    Raises:
        OSError: If the object cannot be read; FileNotFoundError if it is gone.
        ObjectChanged: If it is another than the one that was listed, and is opened for the first time (no `sha256`).
        StoreUnavailable: If the store gives no answer, the object is another by now, or this machine has no room.
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
        return ObjectChanged(f"{key!r} in {store!r} is no more the object that was listed")
    return StoreUnavailable(f"{key!r} in {store!r} has changed while it was worked on")


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of all of a file, in hexadecimal; the next read begins at its start."""
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
                copy.flush()  # or the want of room would show when it is read
            digest.update(piece)
    except BaseException:
        with suppress(OSError):  # what there was no room for is written once more
            copy.close()
        raise
    return copy, digest.hexdigest()
