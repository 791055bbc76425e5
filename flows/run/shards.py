"""Cut an archive into shards by content, so that a new document changes one shard and not all later ones."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from foliopress.configs.settings import ShardSettings
from foliopress.tasks.storage.source_listing import Document

_OWN_SHARD_DIVISOR = 8
"""A document of at least `max_bytes` divided by this has a shard of its own."""


@dataclass(frozen=True)
class Shard:
    """Documents that are compressed and committed together, in key order."""

    shard_id: str
    documents: tuple[Document, ...] = field(repr=False)

    @property
    def first_key(self) -> str:
        """Return the key of its first document."""
        return self.documents[0].key

    @property
    def last_key(self) -> str:
        """Return the key of its last document."""
        return self.documents[-1].key

    @property
    def size_bytes(self) -> int:
        """Return the bytes of its sources."""
        return sum(document.size_bytes for document in self.documents)


def cut_shards(documents: Iterable[Document], settings: ShardSettings, recipe: str) -> Iterator[Shard]:
    """Cut a listing into shards as it streams; at most one shard's documents are in memory.

    Args:
        documents: In key order.
        settings: Limits of a shard.
        recipe: Settings, model and scorer, which the shard ids digest as well as the documents.
    """
    for piece in cut(documents, settings.max_documents, settings.max_bytes):
        yield Shard(shard_id(piece, recipe), piece)


def cut(documents: Iterable[Document], max_documents: int, max_bytes: int) -> Iterator[tuple[Document, ...]]:
    """Yield pieces whose ends depend on digests of the documents' keys.

    About one key in `max_documents / 2` ends a piece. A piece that reaches a limit first ends after its document with
    the lowest digest: a document that is added or removed before it seldom moves that place, as it would move a plain
    cut at the limit. A large document is a piece of its own, so that its neighbours need not wait for it.
    """
    one_in = max(2, max_documents // 2)
    piece: list[Document] = []
    size_bytes = 0
    for document in documents:
        if document.size_bytes >= max_bytes // _OWN_SHARD_DIVISOR:
            if piece:
                yield tuple(piece)
                piece, size_bytes = [], 0
            yield (document,)
            continue
        piece.append(document)
        size_bytes += document.size_bytes
        if _digest(document.key) % one_in == 0:
            yield tuple(piece)
            piece, size_bytes = [], 0
        while piece and (len(piece) >= max_documents or size_bytes >= max_bytes):
            lowest = min(range(len(piece)), key=lambda place: _digest(piece[place].key))
            yield tuple(piece[: lowest + 1])
            piece = piece[lowest + 1 :]
            size_bytes = sum(held.size_bytes for held in piece)
    if piece:
        yield tuple(piece)


def shard_id(documents: Iterable[Document], recipe: str) -> str:
    """Return 24 hexadecimal digits that identify these documents in these versions, and the recipe."""
    digest = hashlib.sha256(recipe.encode())
    for document in documents:
        for part in (document.key, document.version):
            data = part.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data) + data)
        if document.duplicate_of is not None:  # its rows point to the original
            data = document.duplicate_of.encode("utf-8", "surrogatepass")
            digest.update(b"=%d:" % len(data) + data)
    return digest.hexdigest()[:24]


def _digest(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()[:8], "big")
