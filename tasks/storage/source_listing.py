"""List: the documents of a source, in key order, as they come in."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from foliopress.configs.loading import without_password
from foliopress.configs.settings import ScanSettings, StorageSettings
from foliopress.tasks.errors import ConfigError
from foliopress.tasks.storage.store import Store, StoredObject

_HASHED_AHEAD = 4
UNREADABLE = "unreadable"
"""Version of a document that could not be read when its bytes were to be digested."""

log = logging.getLogger(__name__)

DOCUMENT_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp"}
    | {".jp2", ".j2k", ".jpx", ".jpf", ".jxl", ".avif", ".bmp", ".pdf"}
)
"""What a file's name must end in to be a document; the bytes decide how it is read."""


@dataclass(frozen=True)
class Document:
    """A file of the source that is worked on; `version` changes when its bytes do.

    `identity` is the same for documents of the same bytes; None where the listing does not tell. `duplicate_of` is the
    key of the first document of the listing with the same identity. `listed` is what of the listing stands for the
    version, so that a reader can see that the document has not changed since; None where nothing does.
    """

    key: str
    size_bytes: int
    version: str
    identity: str | None = None
    duplicate_of: str | None = None
    listed: StoredObject | None = field(default=None, repr=False, compare=False)


@dataclass
class ScanCounts:
    """What a listing came across, counted while it runs."""

    documents: int = 0
    hidden: int = 0
    not_documents: int = 0
    excluded: int = 0
    unreadable_folders: int = 0
    """Folders that must not be read; what lies in them is not worked on."""
    keys_not_found: int = 0
    """Keys of `scan.keys_file` that the source does not hold; known at the end of the listing."""


def list_documents(source: Store, scan: ScanSettings, counts: ScanCounts) -> Iterator[Document]:
    """Yield the documents of a source in the order of their keys' UTF-8 bytes, never all in memory.

    Args:
        source: Where they lie.
        scan: Which keys are wanted.
        counts: Counted up as the listing goes on.

    Raises:
        ConfigError: If the source or the file of keys cannot be read, or its objects have no such version.
    """
    chosen = _chosen(source, scan, counts)
    is_told = scan.duplicates == "once"
    if scan.version == "content":
        for document in _hashed(source, chosen):
            is_known = is_told and document.size_bytes and document.version != UNREADABLE
            yield replace(document, identity=document.version) if is_known else document
        return
    for found in chosen:
        if scan.version == "etag" and found.etag is None:
            raise ConfigError(f"scan.version: {found.key!r} in {source.url} has no ETag; auto, size_mtime or content")
        listed, version = _what_counts(found, scan)
        identity = f"{found.etag} {found.size_bytes}" if is_told and found.etag and found.size_bytes else None
        yield Document(found.key, found.size_bytes, version, identity, listed=listed)


def _what_counts(found: StoredObject, scan: ScanSettings) -> tuple[StoredObject, str]:
    """Return what of a listed object must stay as it is, and the version of that."""
    if scan.version == "etag":
        assert found.etag is not None
        return found._replace(modified=""), found.etag
    listed = found._replace(etag=None) if scan.version == "size_mtime" else found
    return listed, listed.version


def check_not_empty(source: Store, scan: ScanSettings, dest: Store | None = None) -> None:
    """Look for a first document, and say what is there instead if there is none; `scan.allow_empty` allows that.

    Args:
        source: Where documents should lie.
        scan: Which are wanted.
        dest: Where earlier runs may have left rows: what was full and is empty is told so.

    Raises:
        ConfigError: If no document would be worked on.
        StoreUnavailable: If the store gives no answer.
    """
    counts = ScanCounts()
    quick = scan.model_copy(update={"version": "auto"})  # nothing need be read
    if scan.allow_empty or next(list_documents(source, quick, counts), None) is not None:
        return
    if counts.excluded:
        chosen_by = [name for name in ("include", "exclude", "keys_file") if getattr(scan, name)]
        words = f"none of its {counts.excluded} documents is let through by scan.{' and scan.'.join(chosen_by)}"
    elif counts.hidden or counts.not_documents:
        files = counts.hidden + counts.not_documents
        words = f"of {files} files there none is a document by its name (.jpg, .tif, .pdf, …)"
    else:
        words = "there is no file; check how it is written, and whether it is mounted"
        if dest is not None and _has_rows(dest):
            words = f"it is empty, though {dest.url} holds rows of earlier runs; check whether it is mounted"
    if counts.unreadable_folders:
        words += f"; {counts.unreadable_folders} folders must not be read"
    place = without_password(source.url)
    raise ConfigError(f"SOURCE {place}: {words}. Where that is as it should be: --allow-empty (scan.allow_empty)")


def _has_rows(dest: Store) -> bool:
    try:
        return next(dest.list_objects("stats/pages/"), None) is not None
    except ConfigError:  # there is no such folder
        return False


def _chosen(source: Store, scan: ScanSettings, counts: ScanCounts) -> Iterator[StoredObject]:
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
    return PurePosixPath(key).suffix.lower() in DOCUMENT_SUFFIXES  # slower, and sees through `a.jpg/.`


def _hashed(source: Store, chosen: Iterator[StoredObject]) -> Iterator[Document]:
    """Yield documents whose version is the SHA-256 of their bytes; a few are read ahead."""

    def digest(key: str) -> str:
        try:
            with source.open_input(key) as file:
                return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        except OSError:
            return UNREADABLE  # whoever reads it learns why

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
    # str.splitlines would also cut at letters that a key may hold
    return frozenset(line.removesuffix("\r") for line in text.split("\n") if line.strip())
