"""List: the documents of a source, in key order, as they come in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from configs.settings import ScanSettings, StorageSettings
from tasks.errors import ConfigError
from tasks.store import Store

DOCUMENT_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".webp"}
    | {".jp2", ".j2k", ".jpx", ".jpf", ".avif", ".bmp", ".pdf"}
)
"""What a file's name must end in to be a document; the bytes decide how it is read."""


@dataclass(frozen=True)
class Document:
    """A file of the source that is worked on; `version` changes when its bytes do."""

    key: str
    size_bytes: int
    version: str


@dataclass
class ScanCounts:
    """What a listing came across, counted while it runs."""

    documents: int = 0
    hidden: int = 0
    not_documents: int = 0
    excluded: int = 0


def list_documents(source: Store, scan: ScanSettings, counts: ScanCounts) -> Iterator[Document]:
    """Yield the documents of a source in the order of their keys' UTF-8 bytes, never all in memory.

    Args:
        source: Where they lie.
        scan: Which keys are wanted.
        counts: Counted up as the listing goes on.

    Raises:
        ConfigError: If the source or the file of keys cannot be read.
    """
    wanted = _wanted_keys(scan.keys) if scan.keys else None
    for found in source.list_objects():
        if any(part.startswith(".") for part in found.key.split("/") if part not in (".", "..")):
            counts.hidden += 1
        elif PurePosixPath(found.key).suffix.lower() not in DOCUMENT_SUFFIXES:
            counts.not_documents += 1
        elif not _is_chosen(found.key, scan, wanted):
            counts.excluded += 1
        else:
            counts.documents += 1
            yield Document(found.key, found.size_bytes, found.version)


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


def _wanted_keys(path: str) -> frozenset[str]:
    folder, _, name = path.replace("\\", "/").rpartition("/")
    try:
        text = Store(folder or ".", StorageSettings()).read_bytes(name).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"scan.keys: {path} cannot be read as a text file of keys ({error})") from error
    return frozenset(line for line in text.splitlines() if line.strip())
