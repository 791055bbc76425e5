"""List the documents of a source in key order, as a stream."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import without_password
from foliopress.configs.settings import ScanSettings, StorageSettings
from foliopress.tasks.storage.backend import StoredObject
from foliopress.tasks.storage.store import Store

_HASHED_AHEAD = 4
UNREADABLE = "unreadable"
"""Version of a document that could not be read to compute its digest."""

log = logging.getLogger(__name__)

DOCUMENT_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp"}
    | {".jp2", ".j2k", ".jpx", ".jpf", ".jxl", ".avif", ".bmp", ".pdf"}
)
"""Extensions of documents; the bytes, not the extension, determine the format."""


@dataclass(frozen=True)
class Document:
    """A file of the source to be compressed; `version` changes when its bytes do.

    `identity` is equal for documents with the same bytes; None if the listing does not show it. `duplicate_of` is the
    key of the first listed document with the same identity. `listed` is the part of the listing entry that makes up the
    version, so that a reader can detect a change; None if no part does.
    """

    key: str
    size_bytes: int
    version: str
    identity: str | None = None
    duplicate_of: str | None = None
    listed: StoredObject | None = field(default=None, repr=False, compare=False)


@dataclass
class ListingCounts:
    """Counts of a listing, updated while it runs."""

    documents: int = 0
    hidden: int = 0
    not_documents: int = 0
    excluded: int = 0
    unreadable_folders: int = 0
    """Folders that cannot be read; the files in them are not compressed."""
    keys_not_found: int = 0
    """Keys of `scan.keys_file` that are not in the source; known at the end of the listing."""


def list_documents(source: Store, scan: ScanSettings, counts: ListingCounts) -> Iterator[Document]:
    """Yield the documents of a source in the order of their keys' UTF-8 bytes, never all in memory.

    Args:
        source: Store of the documents.
        scan: Filters of keys, and the kind of version.
        counts: Updated as the listing proceeds.

    Raises:
        ConfigError: If the source or the file of keys cannot be read, or its objects lack the kind of version.
    """
    chosen = _chosen(source, scan, counts)
    needs_identity = scan.duplicates == "once"
    if scan.version == "content":
        for document in _hashed(source, chosen):
            is_known = needs_identity and document.size_bytes and document.version != UNREADABLE
            yield replace(document, identity=document.version) if is_known else document
        return
    for found in chosen:
        if scan.version == "etag" and found.etag is None:
            raise ConfigError(
                f"scan.version: {found.key!r} in {source.url} has no ETag; use auto, size_mtime or content"
            )
        listed, version = _versioned_entry(found, scan)
        identity = f"{found.etag} {found.size_bytes}" if needs_identity and found.etag and found.size_bytes else None
        yield Document(found.key, found.size_bytes, version, identity, listed=listed)


def _versioned_entry(found: StoredObject, scan: ScanSettings) -> tuple[StoredObject, str]:
    """Return the part of a listing entry that must not change, and its version."""
    if scan.version == "etag":
        assert found.etag is not None
        return found._replace(modified=""), found.etag
    listed = found._replace(etag=None) if scan.version == "size_mtime" else found
    return listed, listed.version


def check_not_empty(source: Store, scan: ScanSettings, dest: Store | None = None) -> None:
    """Raise ConfigError if a source has no document to compress, unless `scan.allow_empty`; describe what it has.

    Args:
        source: Store of the documents.
        scan: Filters of keys.
        dest: Store with the rows of earlier runs, if any: an empty source is reported differently if they exist.

    Raises:
        ConfigError: If no document would be compressed.
        StoreUnavailable: If the store does not respond.
    """
    counts = ListingCounts()
    quick = scan.model_copy(update={"version": "auto"})  # avoids reading documents
    if scan.allow_empty or next(list_documents(source, quick, counts), None) is not None:
        return
    if counts.excluded:
        chosen_by = [name for name in ("include", "exclude", "keys_file") if getattr(scan, name)]
        words = f"all of its {counts.excluded} documents are excluded by scan.{' and scan.'.join(chosen_by)}"
    elif counts.hidden or counts.not_documents:
        files = counts.hidden + counts.not_documents
        words = f"none of its {files} files has a document's extension (.jpg, .tif, .pdf, …)"
    else:
        words = "there is no file; check its spelling, and whether it is mounted"
        if dest is not None and _has_rows(dest):
            words = f"it is empty, though {dest.url} holds rows of earlier runs; check whether it is mounted"
    if counts.unreadable_folders:
        words += f"; {counts.unreadable_folders} folders cannot be read"
    place = without_password(source.url)
    raise ConfigError(f"SOURCE {place}: {words}. If that is intended: --allow-empty (scan.allow_empty)")


def _has_rows(dest: Store) -> bool:
    try:
        return next(dest.list_objects("stats/pages/"), None) is not None
    except ConfigError:  # no such folder
        return False


def _chosen(source: Store, scan: ScanSettings, counts: ListingCounts) -> Iterator[StoredObject]:
    wanted = _wanted_keys(scan.keys_file, source.storage) if scan.keys_file else None
    n_wanted_found = 0

    def count_unreadable(_: str) -> None:
        counts.unreadable_folders += 1

    for found in source.list_objects(on_unreadable=count_unreadable):
        n_wanted_found += wanted is not None and found.key in wanted
        if _is_hidden(found.key):
            counts.hidden += 1
        elif not _is_document(found.key):
            counts.not_documents += 1
        elif not _is_chosen(found.key, scan, wanted):
            counts.excluded += 1
        else:
            counts.documents += 1
            yield found
    counts.keys_not_found = len(wanted) - n_wanted_found if wanted is not None else 0
    if counts.keys_not_found:
        log.warning(
            "%d of %d keys in %s are not in the source", counts.keys_not_found, len(wanted or ()), scan.keys_file
        )


def _is_hidden(key: str) -> bool:
    if not (key.startswith(".") or "/." in key):  # most keys: there may be millions
        return False
    return any(part.startswith(".") for part in key.split("/") if part not in (".", ".."))


def _is_document(key: str) -> bool:
    if key[key.rfind(".") :].lower() in DOCUMENT_SUFFIXES:
        return True
    return PurePosixPath(key).suffix.lower() in DOCUMENT_SUFFIXES  # slower, but handles `a.jpg/.`


def _hashed(source: Store, chosen: Iterator[StoredObject]) -> Iterator[Document]:
    """Yield documents whose version is the SHA-256 of their bytes; prefetch a few."""

    def digest(key: str) -> str:
        try:
            with source.open_input(key) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        except OSError:
            return UNREADABLE  # reading it will raise the reason

    with ThreadPoolExecutor(_HASHED_AHEAD) as readers:
        ahead: deque[tuple[StoredObject, Future[str]]] = deque()
        for found in chosen:
            ahead.append((found, readers.submit(digest, found.key)))
            if len(ahead) > _HASHED_AHEAD:
                first, version = ahead.popleft()
                yield Document(first.key, first.size_bytes, version.result())
        for last, version in ahead:
            yield Document(last.key, last.size_bytes, version.result())


def matches(key: str, glob: str) -> bool:
    """Return whether a key, or its last part, matches a shell pattern; `*` matches `/` too.

    >>> matches("letters/a.jpg", "*.jpg"), matches("letters/a.jpg", "letters/*"), matches("letters/a.jpg", "b*")
    (True, True, False)
    """
    return fnmatchcase(key, glob) or fnmatchcase(key.rpartition("/")[2], glob)


def _is_chosen(key: str, scan: ScanSettings, wanted: frozenset[str] | None) -> bool:
    if wanted is not None and key not in wanted:
        return False
    if scan.include and not any(matches(key, glob) for glob in scan.include):
        return False
    return not any(matches(key, glob) for glob in scan.exclude)


def _wanted_keys(path: str, storage: StorageSettings) -> frozenset[str]:
    folder, slash, name = path.rpartition("/")
    try:
        text = Store(folder or slash or ".", storage).read_bytes(name).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise ConfigError(f"scan.keys_file: {path} cannot be read as a text file of keys ({error})") from error
    # str.splitlines would also split at characters that a key may contain
    return frozenset(line.removesuffix("\r") for line in text.split("\n") if line.strip())
