"""Replay the rows of documents that were compressed once, under the names of others."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import pyarrow as pa

from foliopress.configs.settings import StorageSettings
from foliopress.flows.steps.document_plan import PageJob
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import SCHEMAS, TILES_SCHEMA, WORDS_SCHEMA, as_table
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store


def read_record(dest: str) -> list[DocumentResult]:
    """Return the documents of a finished DEST."""
    store = Store(dest, StorageSettings())
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for table in SCHEMAS:
        for key, rows in groupby(live_rows(store, table), lambda row: str(row["document_key"])):
            found.setdefault(key, {name: [] for name in SCHEMAS})[table] += list(rows)
    return [
        DocumentResult(
            tuple(PageRow.from_record(row) for row in rows["pages"]),
            as_table(rows["words"], WORDS_SCHEMA),
            as_table(rows["tiles"], TILES_SCHEMA),
        )
        for rows in found.values()
    ]


def stand_in(record: Sequence[DocumentResult], document: Document) -> DocumentResult:
    """Return the recorded document that stands in for another, the same one for the same key."""
    digest = hashlib.sha256(document.key.encode()).digest()
    return record[int.from_bytes(digest[:4], "big") % len(record)]


def replayed(record: Sequence[DocumentResult], document: Document, job: PageJob) -> DocumentResult:
    """Return the rows of a document's stand-in, seconds included, under the document's own name."""
    digest = hashlib.sha256(document.key.encode()).hexdigest()
    chosen = stand_in(record, document)
    source_bytes = document.size_bytes // len(chosen.pages)
    pages = tuple(
        replace(
            page,
            document_key=document.key,
            run_id=job.run_id,
            shard_id=job.shard_id,
            document_version=document.version,
            output_key=f"pages/{document.key}.avif" if page.output_key else None,
            source_bytes=source_bytes,
            output_bytes=int(source_bytes * (page.output_bytes / max(1, page.source_bytes))),
            source_sha256=digest,
            output_sha256=digest,
            duplicate_of=None,
        )
        for page in chosen.pages
    )
    return DocumentResult(pages, _renamed(chosen.words, document.key), _renamed(chosen.tiles, document.key))


def _renamed(table: pa.Table, key: str) -> pa.Table:
    place = table.column_names.index("document_key")
    return table.set_column(place, table.schema.field(place), pa.array([key] * table.num_rows, pa.string()))
