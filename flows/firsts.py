"""Firsts: which document of a listing was the first with the bytes that a later one has too."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from tasks.scan import Document


class Firsts:
    """Remembers, within a block, what every document of a listing is known by; on disk, as there may be millions."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="foliopress-firsts-")

    def __enter__(self) -> Self:
        # one thread lists, which need not be the one that opened it
        self._known = sqlite3.connect(Path(self._folder.name) / "firsts.db", check_same_thread=False)
        self._known.execute("PRAGMA journal_mode=OFF")
        self._known.execute("PRAGMA synchronous=OFF")
        self._known.execute("CREATE TABLE firsts (identity TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._known.close()
        self._folder.cleanup()

    def marked(self, documents: Iterable[Document]) -> Iterator[Document]:
        """Yield the documents, each that has the bytes of an earlier one with that one's key (`same_as`)."""
        for document in documents:
            first = self._first(document) if document.identity is not None else document.key
            yield document if first == document.key else replace(document, same_as=first)

    def _first(self, document: Document) -> str:
        entry = document.identity, document.key.encode("utf-8", "surrogatepass")
        if self._known.execute("INSERT OR IGNORE INTO firsts VALUES (?, ?)", entry).rowcount:
            return document.key
        (found,) = self._known.execute("SELECT key FROM firsts WHERE identity = ?", entry[:1]).fetchone()
        return bytes(found).decode("utf-8", "surrogatepass")
