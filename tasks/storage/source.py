"""Open a SOURCE: a folder or prefix of documents, or a single file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.storage.backend import StoredObject
from foliopress.tasks.storage.local_backend import key_of_name
from foliopress.tasks.storage.store import Store


class SingleObjectStore(Store):
    """A store restricted to one object.

    Args:
        url: Folder or prefix of the object.
        storage: Connection settings.
        name: Its key there.
    """

    def __init__(self, url: str, storage: StorageSettings, name: str) -> None:
        super().__init__(url, storage)
        self._name = name

    def list_objects(
        self,
        prefix: str = "",
        on_unreadable: Callable[[str], None] | None = None,  # noqa: ARG002 - no other folder is listed
    ) -> Iterator[StoredObject]:
        """Yield the object, if it exists and its key begins with `prefix`."""
        if not self._name.startswith(prefix):
            return
        for found in super().list_objects(self._name):
            if found.key == self._name:
                yield found
            return  # the key itself sorts before all others that begin with it


def open_source(url: str, storage: StorageSettings) -> Store:
    """Return the store of a SOURCE, a folder, a prefix or a single file, after checking that it is readable.

    A trailing slash makes no difference. If S3 has both `box` and `box/…`, `box` refers to the objects below it.

    Raises:
        ConfigError: If it does not exist, may not be read or does not respond.
    """
    try:
        source = _one_file(url, storage) or Store(url, storage)
        first = next(source.list_objects(), None)
        if first is None or not first.key:  # some stores list a file as a folder of one file without a name
            return _one_object(url, storage) or source
        source.exists(first.key)  # an S3 user may have permission to list objects but not to read them
    except StoreUnavailable as error:
        raise ConfigError(str(error)) from error
    return source


def _one_file(url: str, storage: StorageSettings) -> Store | None:
    """Return the store of a file on a disk; None for a folder, and for other stores."""
    protocol, separator, path = url.partition("://")
    if separator and protocol not in ("file", "local"):
        return None
    file = Path(os.path.abspath(Path(path if separator else url).expanduser()))
    return SingleObjectStore(str(file.parent), storage, key_of_name(file.name)) if file.is_file() else None


def _one_object(url: str, storage: StorageSettings) -> Store | None:
    """Return the store of a single object; None if it does not exist or cannot be listed."""
    protocol, _, path = url.partition("://")
    above, slash, name = path.rstrip("/").rpartition("/")
    if not path or not slash or not name:
        return None
    one = SingleObjectStore(f"{protocol}://{above}", storage, name)
    with suppress(ConfigError):  # permission to read a prefix need not extend to the level above
        if next(one.list_objects(), None) is not None:
            return one
    return None
