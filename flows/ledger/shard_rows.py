"""Collect the rows of a shard while its documents are done."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from foliopress.flows.run.shards import Shard
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import RETRIED_REASONS
from foliopress.tasks.records.schemas import SCHEMAS, page_table


class ShardRows:
    """The rows of a shard that is being worked on."""

    def __init__(self) -> None:
        self._of_document: dict[str, DocumentResult] = {}

    def add(self, result: DocumentResult) -> None:
        """Add a document's rows; documents may come in any order."""
        self._of_document[result.document_key] = result

    def table(self, name: str, shard: Shard) -> pa.Table:
        """Return the rows of all documents, in the shard's order."""
        results = [self._of_document[document.key] for document in shard.documents]
        if name == "pages":  # one table of all rows: one of each document takes far longer
            return page_table(row for result in results for row in result.pages)
        tables = [getattr(result, name) for result in results]
        return pa.concat_tables([SCHEMAS[name].empty_table(), *tables]).combine_chunks()


def count_pages(pages: pa.Table) -> tuple[int, int]:
    """Return the number of failed pages, and of pages that every rerun tries again."""
    rows: Mapping[str, list[str | None]] = pages.select(["status", "reason"]).to_pydict()
    return rows["status"].count("failed"), sum(reason in RETRIED_REASONS for reason in rows["reason"])
