"""Read the rows of all committed shards of a DEST, without those that a newer file replaces."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from foliopress.tasks.records.footers import Footer, read_footers
from foliopress.tasks.records.schemas import PAGES_SCHEMA
from foliopress.tasks.records.table_files import batches_of, read_table
from foliopress.tasks.storage.store import Store

_FILES_AT_ONCE = 4


def live_rows(
    dest: Store, table: str = "pages", columns: Sequence[str] | None = None, passing_over: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the rows of all committed shards, without those of documents that a newer shard holds.

    Args:
        dest: Store with the statistics.
        table: `pages`, `words` or `tiles`.
        columns: Columns to yield (default: all).
        passing_over: Keys of files in `stats/pages` to skip; their shards count as not committed.
    """
    footers = read_footers(dest, passing_over)
    void = void_documents(dest, footers)
    for name in footers:
        yield from rows_of(dest, table, name, columns, void.get(name, frozenset()))


def rows_of(
    dest: Store, table: str, name: str, columns: Sequence[str] | None = None, void: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """Yield the rows of one committed file, without those of void documents.

    Args:
        dest: Store with the statistics.
        table: `pages`, `words` or `tiles`.
        name: Name of the file.
        columns: Columns to yield (default: all).
        void: Keys of documents, from `void_documents`.
    """
    wanted = None if columns is None else sorted({*columns, "document_key"})
    for batch in batches_of(dest, table, name, wanted):
        for row in batch:
            if row["document_key"] not in void:
                yield row if columns is None else {name: row[name] for name in columns}


def void_documents(dest: Store, footers: Mapping[str, Footer]) -> dict[str, set[str]]:
    """Return, by file, the documents whose rows are void because a newer file holds them.

    Such a file is one that a killed run did not rewrite or delete; usually there is none.
    """
    void: dict[str, set[str]] = {}
    for footer in footers.values():
        for old in footer.supersedes:
            if old in footers:
                void.setdefault(old, set()).update(_document_keys(dest, footer.name))
    return void


def live_table(dest: Store, columns: Sequence[str], dictionary_columns: Sequence[str] = ()) -> pa.Table:
    """Return columns of the page rows of `live_rows` as one table.

    Args:
        dest: Store with the statistics.
        columns: Columns to read.
        dictionary_columns: Those of them with few distinct texts, which the table holds dictionary-encoded.
    """
    tables = list(live_tables(dest, read_footers(dest), columns, dictionary_columns))
    empty = pa.schema([PAGES_SCHEMA.field(name) for name in columns]).empty_table()
    return pa.concat_tables(tables).unify_dictionaries() if tables else empty


def live_tables(
    dest: Store, footers: Mapping[str, Footer], columns: Sequence[str], dictionary_columns: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """Yield the table of `live_table` file by file; some files are read ahead.

    Args:
        dest: Store with the statistics.
        footers: Footers of all committed files, by name.
        columns: Columns to read.
        dictionary_columns: Those of them that the tables hold dictionary-encoded.
    """
    void = void_documents(dest, footers)

    def read(name: str) -> pa.Table:
        wanted = sorted({*columns, "document_key"})
        table = read_table(dest, "pages", name, wanted, read_dictionary=list(dictionary_columns))
        if dead := void.get(name):
            table = table.filter(pc.invert(pc.is_in(table["document_key"], pa.array(sorted(dead), pa.string()))))
        return table.select(list(columns)).replace_schema_metadata()

    names = iter(footers)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as readers:  # each waits for an object store's answers
        while some := list(islice(names, _FILES_AT_ONCE)):
            yield from readers.map(read, some)


def _document_keys(dest: Store, name: str) -> set[str]:
    return set(read_table(dest, "pages", name, ["document_key"]).column(0).to_pylist())
