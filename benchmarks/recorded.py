"""`foliopress` with the pages' steps replaced by what they gave once: all else of a run is real, and takes its time.

python -m benchmarks.recorded RECORD compress SOURCE DEST …

RECORD is a finished DEST; each document of SOURCE gets the rows of one of its documents, the seconds as they were.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import pyarrow as pa

import flows.cli
import flows.run
from configs.settings import StorageSettings
from flows.steps import DocumentResult, PageJob
from tasks.scan import Document
from tasks.statistics import SCHEMAS, TILES_SCHEMA, WORDS_SCHEMA, as_table, live_rows
from tasks.store import Store

_CHECK_EVERY = 16  # documents


class RecordedSpread:
    """Stands in for `flows.spread.Spread`: gives documents their rows at once, and asks no worker.

    Args:
        record: Whole documents.
        check: Called now and then; raises when the run must stop.
        page_done: Called for each page.
    """

    def __init__(
        self, record: Sequence[DocumentResult], check: Callable[[], None], page_done: Callable[[], None]
    ) -> None:
        self._record, self._check, self._page_done = record, check, page_done

    def compress(self, documents: Sequence[Document], job: PageJob) -> Iterator[DocumentResult]:
        """Yield each document's rows."""
        for number, document in enumerate(documents):
            if number % _CHECK_EVERY == 0:
                self._check()
            yield self._rows_of(document, job)

    def _rows_of(self, document: Document, job: PageJob) -> DocumentResult:
        digest = hashlib.sha256(document.key.encode()).digest()
        chosen = self._record[int.from_bytes(digest[:4], "big") % len(self._record)]
        pages = [{**page, "document_key": document.key} for page in chosen.pages]
        for page in pages:
            source_bytes = document.size_bytes // len(pages)
            saved = int(str(page["output_bytes"])) / max(1, int(str(page["source_bytes"])))
            page |= {
                "run_id": job.run_id,
                "shard_id": job.shard_id,
                "document_version": document.version,
                "output_key": f"pages/{document.key}.avif" if page["output_key"] else None,
                "source_bytes": source_bytes,
                "output_bytes": int(source_bytes * saved),
                "source_sha256": digest.hex(),
                "output_sha256": digest.hex(),
                "duplicate_of": None,
            }
            self._page_done()
        return DocumentResult(pages, _renamed(chosen.words, document.key), _renamed(chosen.tiles, document.key))


def read_record(dest: str) -> list[DocumentResult]:
    """Return the documents of a finished DEST."""
    found: dict[str, dict[str, list[dict[str, object]]]] = {}
    store = Store(dest, StorageSettings())
    for table in SCHEMAS:
        for key, rows in groupby(live_rows(store, table), lambda row: str(row["document_key"])):
            found.setdefault(key, {name: [] for name in SCHEMAS})[table] += list(rows)
    return [
        DocumentResult(rows["pages"], as_table(rows["words"], WORDS_SCHEMA), as_table(rows["tiles"], TILES_SCHEMA))
        for rows in found.values()
    ]


def _renamed(table: pa.Table, key: str) -> pa.Table:
    place = table.column_names.index("document_key")
    return table.set_column(place, table.schema.field(place), pa.array([key] * table.num_rows, pa.string()))


def main() -> None:
    """Run the command with its steps replaced."""
    record = read_record(sys.argv.pop(1))

    def spread(*_: object, check: Callable[[], None], page_done: Callable[[], None], **__: object) -> RecordedSpread:
        return RecordedSpread(record, check, page_done)

    setattr(flows.run, "Spread", spread)  # noqa: B010 - a stand-in, on purpose past the type checker
    flows.cli.main()


if __name__ == "__main__":
    main()
