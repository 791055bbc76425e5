"""Find the duplicates in a listing: documents with the bytes of an earlier one."""

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
"""Cache of the database, as entries come in no order. A million take 13 s; 12 s with 32 MB, 18 s with sqlite's 2 MB."""
_BLOCK = 100
"""Documents to look up together: most blocks have no duplicate, which one query tells."""


class DuplicateIndex:
    """Holds the identity of every document of a listing while the block lasts.

    It is a temporary file of about a hundred bytes for each document, as there may be millions.
    """

    def __enter__(self) -> Self:
        # "" is an unnamed file that is deleted with this process (sqlite.org/inmemorydb.html); one thread lists, which
        # need not be the one that opened it
        self._known = sqlite3.connect("", check_same_thread=False)
        self._known.execute("PRAGMA journal_mode=OFF")
        self._known.execute("PRAGMA synchronous=OFF")
        self._known.execute(f"PRAGMA cache_size=-{_CACHE_BYTES // 1024}")
        self._known.execute("CREATE TABLE originals (identity BLOB PRIMARY KEY, key BLOB) WITHOUT ROWID")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._known.close()

    def mark_duplicates(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents; each duplicate has the key of its original as `duplicate_of`."""
        coming = iter(documents)
        while block := list(islice(coming, _BLOCK)):
            digests = [None if one.identity is None else _digest(one.identity) for one in block]
            yield from self._with_originals(block, digests) if self._has_duplicates(block, digests) else block

    def _has_duplicates(self, block: Sequence[Document], digests: Sequence[bytes | None]) -> bool:
        """Add the documents whose bytes are new, and return whether there are others."""
        entries = [
            (digest, one.key.encode("utf-8", "surrogatepass"))
            for one, digest in zip(block, digests, strict=True)
            if digest is not None
        ]
        known = self._known.executemany("INSERT OR IGNORE INTO originals VALUES (?, ?)", entries)
        return bool(entries) and known.rowcount < len(entries)

    def _with_originals(self, block: Sequence[Document], digests: Sequence[bytes | None]) -> Iterator[Document]:
        for one, digest in zip(block, digests, strict=True):
            original = one.key if digest is None else self._original(digest)
            yield one if original == one.key else replace(one, duplicate_of=original)

    def _original(self, digest: bytes) -> str:
        (found,) = self._known.execute("SELECT key FROM originals WHERE identity = ?", (digest,)).fetchone()
        return bytes(found).decode("utf-8", "surrogatepass")


def _digest(identity: str) -> bytes:
    # 16 bytes distinguish a billion documents, and a collision is noticed when the bytes are compared
    return hashlib.blake2b(identity.encode(), digest_size=16).digest()
