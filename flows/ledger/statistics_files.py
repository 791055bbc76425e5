"""Write, merge and delete the files of statistics of a DEST, one writer at a time.

No file is ever overwritten, as another run that lost its lease might be about to do the same: a file carries its run's
mark in its name, and what has to change is written anew and replaces the older file.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from foliopress.flows.ledger.commit_index import CommitIndex, base_of
from foliopress.tasks.records.footers import Footer, ShardEntry, read_footers
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.records.table_files import FileDamaged, TableWriter, file_key, read_table, row_groups, table_bytes
from foliopress.tasks.storage.store import Store

TABLES = ("words", "tiles", "pages")
"""In the order of writing: `pages` is the commit mark, so that the others are there when it is."""

_ROW_GROUP_BYTES = 2 * 2**20
"""Size of a row group in a merged file; one of a single shard's few rows would take longer to read, by columns."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FileRows:
    """The documents and outputs that the page rows of one file name."""

    document_keys: frozenset[str] = frozenset()
    outputs: frozenset[tuple[str, str]] = frozenset()
    """(document_key, key) of each output and text file that a row owns."""


class StatisticsFiles:
    """The committed files of statistics of a DEST, on disk and in memory.

    Args:
        dest: Where the statistics lie. Its footers are read once, here. A damaged file counts as not committed.
        run_id: Run that writes.
        is_deep: Read each file of page rows whole and compare it with its checksum.
    """

    def __init__(self, dest: Store, run_id: str, *, is_deep: bool = False) -> None:
        self.dest, self.run_id = dest, run_id
        self.index = CommitIndex(run_id)
        self.damaged: list[str] = []
        """Why files count as not committed that are not as they were written."""
        self.lost_shards: set[str] = set()
        """Shards whose rows turned out to be unreadable when they were needed."""
        for footer in read_footers(dest, on_damaged=self._note_damaged, is_deep=is_deep).values():
            self.index.add(footer)

    def write(self, footer: Footer, tables: Mapping[str, pa.Table]) -> None:
        """Write a new file, `pages` last."""
        for table in TABLES:
            data = table_bytes(tables[table], SCHEMAS[table], footer.as_metadata())
            footer = self._write(table, footer, data)
        self.index.add(footer)

    def rewrite(
        self,
        old: Footer,
        entries: tuple[ShardEntry, ...],
        dropped: frozenset[str],
        added: Mapping[str, Sequence[pa.Table]] | None = None,
    ) -> None:
        """Replace a file by one without the rows of some documents, and with other rows.

        Args:
            old: The file.
            entries: The shards of the new file.
            dropped: Keys of the documents whose rows are left out.
            added: Rows to add, by table.
        """
        name = self.index.new_name(base_of(old.name))
        footer = replace(old, name=name, shards=entries, replaces=(old.name,), written_by=self.run_id)
        try:
            for table in TABLES:
                footer = self._copy_rows(table, [old.name], footer, dropped, added[table] if added else ())
        except FileDamaged as error:
            self.lose(old.name, error)
            return
        self.delete(old.name)
        self.index.add(footer)

    def rewrite_older(self, name: str, rewrite: Callable[[Footer, str, str], Footer | None]) -> None:
        """Replace a file of an older schema by the file that `rewrite` writes, given its footer, a new name and run.

        A file of which no rows remain, or whose page rows cannot be read, is deleted.
        """
        new = None
        try:
            new = rewrite(self.index.footer(name), self.index.new_name(base_of(name)), self.run_id)
        except FileDamaged as error:  # its shards are not committed then, and this run does them again
            self._note_damaged(error)
        self.delete(name)
        if new is not None:
            self.index.add(new)

    def merge(self, names: Sequence[str]) -> None:
        """Write the rows of several files into one, which replaces them as soon as its `pages` stand.

        Args:
            names: The files, in the order of their first keys.
        """
        footers = [self.index.footer(name) for name in names]
        entries = tuple(entry for footer in footers for entry in footer.shards)
        # what is left of a file and a shard of it done again may be the same shards, hence the names
        parts = "\n".join([*map(base_of, names), *(entry.shard_id for entry in entries)])
        name = self.index.new_name(f"part-{hashlib.sha256(parts.encode()).hexdigest()[:20]}")
        merged = Footer(name, entries, replaces=tuple(names), written_by=self.run_id)
        try:
            for table in TABLES:
                merged = self._copy_rows(table, names, merged)
        except FileDamaged as error:
            self._lose_unreadable(names, error)
            return
        for one in names:
            self.delete(one)
        self.index.add(merged)
        log.info("merged %d files of statistics into %s", len(names), name)

    def delete(self, name: str) -> None:
        """Delete a file."""
        for table in reversed(TABLES):  # the commit mark first: without it the other two are leftovers
            self.dest.delete(file_key(table, name))
        self.index.remove(name)

    def delete_uncommitted(self) -> None:
        """Delete files of statistics that a stopped run did not commit, or that were merged."""
        for table in reversed(TABLES):  # the commit mark first: without it the other two are leftovers
            for found in list(self.dest.list_objects(f"stats/{table}/")):
                name = found.key.rpartition("/")[2].removesuffix(".parquet")
                if name not in self.index and found.key.endswith(".parquet"):
                    log.info("deleted %s, which was never committed or has been merged into a larger file", found.key)
                    self.dest.delete(found.key)

    def lose(self, name: str, error: FileDamaged) -> None:
        """Delete a file whose page rows cannot be read: its shards are to be done again."""
        if name not in self.index:
            return
        log.error("%s; its shards are to be done again", error)
        self.lost_shards.update(self.index.shards_only_in(name))
        self.delete(name)

    def rows(self, name: str) -> FileRows:
        """Return what a file's rows name; nothing if they are damaged, and the file is deleted."""
        try:
            found = read_table(self.dest, "pages", name, ["document_key", "output_key", "duplicate_of", "text_files"])
        except FileDamaged as error:
            self.lose(name, error)
            return FileRows()
        own = set()
        rows = found.to_pydict()
        for document, output, original, text in zip(*(rows[column] for column in found.column_names), strict=True):
            if output is not None and original is None:
                own.add((document, output))
            own.update((document, file["key"]) for file in text or ())
        return FileRows(frozenset(rows["document_key"]), frozenset(own))

    def rows_of(self, document_key: str, tables: Sequence[str] = TABLES) -> dict[str, pa.Table] | None:
        """Return a document's rows, by table; None if it has none. Between commits they stand in one file.

        Raises:
            FileDamaged: If its words or tiles cannot be read.
        """
        for name in self.index.files_between(document_key, document_key):
            if document_key in self.rows(name).document_keys:
                try:
                    pages = read_table(self.dest, "pages", name, of_document=document_key)
                except FileDamaged as error:
                    self.lose(name, error)
                    return None
                others = (table for table in tables if table != "pages")
                return {"pages": pages} | {
                    table: read_table(self.dest, table, name, of_document=document_key) for table in others
                }
        return None

    def drop_documents(self, name: str, dropped: frozenset[str]) -> None:
        """Remove the rows of documents that lie in another file now; the file stays for the rest."""
        log.info("%s loses %d documents to another shard", name, len(dropped))
        old = self.index.footer(name)
        try:
            pages = read_table(self.dest, "pages", name, ["document_key", "shard_id"])
        except FileDamaged as error:
            self.lose(name, error)
            return
        hit = set(pages.filter(_is_of(pages, dropped)).column("shard_id").to_pylist())
        left = set(pages.filter(pc.invert(_is_of(pages, dropped))).column("shard_id").to_pylist())
        entries = tuple(
            replace(entry, partial=True) if entry.shard_id in hit else entry
            for entry in old.shards
            if entry.shard_id in left
        )
        self.rewrite(old, entries, dropped)

    def _copy_rows(
        self,
        table: str,
        names: Iterable[str],
        footer: Footer,
        dropped: frozenset[str] = frozenset(),
        added: Iterable[pa.Table] = (),
    ) -> Footer:
        """Write one table of a new file from those of others; the rows of some shards at a time are in memory.

        Returns:
            The footer, which names the file, and marks shards whose words or tiles could not be read.

        Raises:
            FileDamaged: If page rows cannot be read.
        """
        lost: set[str] = set()

        def kept() -> Iterator[pa.Table]:
            for name in names:
                try:
                    for rows in row_groups(self.dest, table, name):
                        yield rows.filter(pc.invert(_is_of(rows, dropped))) if dropped else rows
                except FileDamaged as error:
                    if table == "pages":
                        raise
                    log.error("%s; its shards are to be done again", error)
                    lost.update(one.shard_id for one in self.index.footer(name).shards)
            yield from added

        buffer = io.BytesIO()
        with TableWriter(buffer, SCHEMAS[table], footer.as_metadata()) as writer:
            for rows in _in_row_groups(kept()):
                writer.write(rows)
        return self._write(table, footer.lacking(lost) if lost else footer, buffer.getvalue())

    def _write(self, table: str, footer: Footer, data: bytes) -> Footer:
        """Write one table, and return the footer with its digest for `pages`, which is written last."""
        self.dest.write_bytes(file_key(table, footer.name), data)
        return footer if table == "pages" else footer.with_file(table, data)

    def _lose_unreadable(self, names: Iterable[str], error: FileDamaged) -> None:
        for name in names:
            try:
                for _ in row_groups(self.dest, "pages", name):
                    pass
            except FileDamaged:
                self.lose(name, error)

    def _note_damaged(self, error: FileDamaged) -> None:
        log.error("%s", error)
        self.damaged.append(str(error))


def _in_row_groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables concatenated to `_ROW_GROUP_BYTES` or a little more."""
    pending: list[pa.Table] = []
    size_bytes = 0
    for table in tables:
        pending.append(table.replace_schema_metadata())
        size_bytes += table.nbytes
        if size_bytes >= _ROW_GROUP_BYTES:
            yield pa.concat_tables(pending)
            pending, size_bytes = [], 0
    if pending:
        yield pa.concat_tables(pending)


def _is_of(rows: pa.Table, document_keys: frozenset[str]) -> pa.ChunkedArray:
    """Return which rows belong to these documents."""
    return pc.is_in(rows.column("document_key"), value_set=pa.array(sorted(document_keys), pa.string()))
