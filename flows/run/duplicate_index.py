"""DuplicateIndex: which document of a listing was the first with the bytes that a later one has too."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from types import TracebackType
from typing import Self

from foliopress.tasks.storage.source_listing import Document

_CACHE_BYTES = 8 * 2**20
"""What of the file is held, as entries come in no order. A million take 13 s: 12 with 32 MB, 18 with sqlite's own 2."""
_BLOCK = 100
"""Documents that are looked up together: most have no bytes that were there before, which one question tells."""


class DuplicateIndex:
    """Remembers, within a block, what every document of a listing is known by.

    It lies in a temporary file, some hundred bytes a document, as there may be millions.
    """

    def __enter__(self) -> Self:
        # "" is a file that has no name and is gone with this process (sqlite.org/inmemorydb.html); one thread lists,
        # which need not be the one that opened it
        self._known = sqlite3.connect("", check_same_thread=False)
        self._known.execute("PRAGMA journal_mode=OFF")
        self._known.execute("PRAGMA synchronous=OFF")
        self._known.execute(f"PRAGMA cache_size=-{_CACHE_BYTES // 1024}")
        self._known.execute("CREATE TABLE firsts (identity BLOB PRIMARY KEY, key BLOB) WITHOUT ROWID")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._known.close()

    def mark_duplicates(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, each that has the bytes of an earlier one with that one's key (`duplicate_of`)."""
        coming = iter(documents)
        while block := list(islice(coming, _BLOCK)):
            digests = [None if one.identity is None else _digest(one.identity) for one in block]
            yield from self._with_firsts(block, digests) if self._knows_some(block, digests) else block

    def _knows_some(self, block: Sequence[Document], digests: Sequence[bytes | None]) -> bool:
        """Remember those that are the first with their bytes, and return whether any is not."""
        entries = [
            (digest, one.key.encode("utf-8", "surrogatepass"))
            for one, digest in zip(block, digests, strict=True)
            if digest is not None
        ]
        known = self._known.executemany("INSERT OR IGNORE INTO firsts VALUES (?, ?)", entries)
        return bool(entries) and known.rowcount < len(entries)

    def _with_firsts(self, block: Sequence[Document], digests: Sequence[bytes | None]) -> Iterator[Document]:
        for one, digest in zip(block, digests, strict=True):
            first = one.key if digest is None else self._first(digest)
            yield one if first == one.key else replace(one, duplicate_of=first)

    def _first(self, digest: bytes) -> str:
        (found,) = self._known.execute("SELECT key FROM firsts WHERE identity = ?", (digest,)).fetchone()
        return bytes(found).decode("utf-8", "surrogatepass")


def _digest(identity: str) -> bytes:
    # 16 bytes tell a milliard documents apart, and any that they confuse turn out to differ when they are read
    return hashlib.blake2b(identity.encode(), digest_size=16).digest()
