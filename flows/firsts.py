"""Firsts: which document of a listing was the first with the bytes that a later one has too."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Self

from tasks.scan import Document


class Firsts:
    """Remembers, within a block, what every document of a listing is known by.

    It lies in a temporary file, some hundred bytes a document, as there may be millions.
    """

    def __enter__(self) -> Self:
        # "" is a file that has no name and is gone with this process (sqlite.org/inmemorydb.html); one thread lists,
        # which need not be the one that opened it
        self._known = sqlite3.connect("", check_same_thread=False)
        self._known.execute("PRAGMA journal_mode=OFF")
        self._known.execute("PRAGMA synchronous=OFF")
        self._known.execute("CREATE TABLE firsts (identity BLOB PRIMARY KEY, key BLOB) WITHOUT ROWID")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._known.close()

    def marked(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, each that has the bytes of an earlier one with that one's key (`same_as`)."""
        for document in documents:
            first = document.key if document.identity is None else self._first(document, document.identity)
            yield document if first == document.key else replace(document, same_as=first)

    def _first(self, document: Document, identity: str) -> str:
        # 16 bytes tell a milliard documents apart, and any that they confuse turn out to differ when they are read
        digest = hashlib.blake2b(identity.encode(), digest_size=16).digest()
        entry = digest, document.key.encode("utf-8", "surrogatepass")
        if self._known.execute("INSERT OR IGNORE INTO firsts VALUES (?, ?)", entry).rowcount:
            return document.key
        (found,) = self._known.execute("SELECT key FROM firsts WHERE identity = ?", (digest,)).fetchone()
        return bytes(found).decode("utf-8", "surrogatepass")
