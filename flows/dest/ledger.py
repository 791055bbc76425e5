"""The ledger: which shards of a DEST are committed, how one is committed, and how those it replaces go."""

from __future__ import annotations

import hashlib
import io
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from foliopress.flows.dest.inventory import Holdings
from foliopress.flows.run.key_ranges import Spans
from foliopress.flows.run.shards import Shard
from foliopress.flows.steps.duplicates import give_own
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import TRIED_AGAIN, LeaseLost
from foliopress.tasks.records.fences import is_fenced, mend_fences, write_fence
from foliopress.tasks.records.footers import Footer, ShardEntry, read_footers, sortable
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import SCHEMAS, page_rows, page_table
from foliopress.tasks.records.table_files import FileDamaged, TableWriter, file_key, read_table, row_groups, table_bytes
from foliopress.tasks.storage.key_spelling import ORDINARY, Naming
from foliopress.tasks.storage.store import Store

_TABLES = ("words", "tiles", "pages")
"""In the order of writing: where `pages` stands, the others do too."""

_TOGETHER = 2 * 2**20
"""Bytes of a group of rows in a file that was put together: a shard's few would take longer to read, by columns."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Rows:
    """The page rows of one committed file, as far as the ledger needs them."""

    document_keys: frozenset[str]
    outputs: frozenset[tuple[str, str]]
    """(document_key, key) of each output of its own that a row names, and of its text."""


_NO_ROWS = _Rows(frozenset(), frozenset())


class ShardRows:
    """The rows of a shard that is being worked on."""

    def __init__(self) -> None:
        self._of_document: dict[str, DocumentResult] = {}

    def add(self, result: DocumentResult) -> None:
        """Take in a document's rows; documents may come in any order."""
        self._of_document[result.document_key] = result

    def table(self, name: str, shard: Shard) -> pa.Table:
        """Return the rows of all documents, in the shard's order."""
        results = [self._of_document[document.key] for document in shard.documents]
        if name == "pages":  # one table of all rows: one of each document takes far longer
            return page_table(row for result in results for row in result.pages)
        tables = [getattr(result, name) for result in results]
        return pa.concat_tables([SCHEMAS[name].empty_table(), *tables]).combine_chunks()


class Ledger:
    """The committed shards of one DEST; safe to use from several shard threads.

    No file is ever written over, as another run that lost its lease might be about to do the same: a file has its
    run's mark in its name, and what has to change is written anew and takes the older one's place.

    Args:
        dest: Where the statistics lie. Its footers are read once, here. A damaged file counts as not committed.
        run_id: Of the run that writes.
        naming: How names are spelt there.
        is_deep: Read each file of page rows whole and hold it against its seal.
    """

    def __init__(self, dest: Store, run_id: str, naming: Naming = ORDINARY, *, is_deep: bool = False) -> None:
        self._dest, self._run_id, self._naming = dest, run_id, naming
        self._lock = threading.Lock()
        self._files: dict[str, Footer] = {}
        self._entries: dict[str, ShardEntry] = {}
        self._file_of: dict[str, str] = {}
        self._written = Counter[str]()
        """How many files of this run there were whose names begin so."""
        self._spans = Spans()
        self._pointing = defaultdict[str, set[str]](set)
        """Files with rows that point to the output of another document, by its key."""
        self._lost: set[str] = set()
        """Shards whose rows could not be read any more when they were needed."""
        self.damaged: list[str] = []
        """What is wrong with files that were not as they were written, and count as not committed."""
        for footer in read_footers(dest, on_damaged=self._note_damaged, is_deep=is_deep).values():
            self._note(footer)

    @property
    def is_empty(self) -> bool:
        """True if nothing was ever committed here."""
        return not self._files

    @property
    def footers(self) -> dict[str, Footer]:
        """The footers of all files by their names, in the order of their first keys."""
        in_order = sorted(self._files.values(), key=lambda footer: sortable(footer.first_key))
        return {footer.name: footer for footer in in_order}

    def fence_off(self, runs: Iterable[str]) -> None:
        """Have nothing count that these runs, which lost their lease, write from now on."""
        for run_id in runs:
            counted = [name for name, footer in self._files.items() if footer.written_by == run_id]
            write_fence(self._dest, run_id, counted, self._run_id)

    @property
    def n_lost(self) -> int:
        """Number of shards whose rows turned out to be damaged in the course of the run, and were not done again."""
        return len(self._lost)

    def is_done(self, shard: Shard, retry_failed: bool, holdings: Holdings | None = None) -> bool:
        """Return whether a rerun may pass over the shard.

        Args:
            shard: As the listing and the settings of this run cut it.
            retry_failed: True if a shard with failed pages is to be done again.
            holdings: What lies in DEST; a shard that lacks some of it is to be done again.
        """
        entry = self._entries.get(shard.shard_id)
        if entry is None or entry.partial or entry.lacks_rows:
            return False
        if holdings is not None and (lack := holdings.lack_of(shard.shard_id)) is not None:
            log.warning("shard %s is done again: %s", shard.shard_id, lack)
            return False
        return not (entry.n_again or (retry_failed and entry.n_failed))

    def page_rows(self, document_key: str) -> list[PageRow] | None:
        """Return a document's committed page rows, None if it has none."""
        with self._lock:
            held = self._held(document_key, ("pages",))
        return page_rows(held["pages"]) if held else None

    def settle(self, shard: Shard) -> None:
        """Give documents that point to outputs of this shard, and do not belong to it, outputs of their own.

        To be called before the shard is worked on, since that writes over its outputs.
        """
        with self._lock:
            redone = frozenset(document.key for document in shard.documents)
            for name in sorted({name for key in redone for name in self._pointing.get(key, ())}):
                self._settle(name, redone)

    def commit(self, shard: Shard, results: ShardRows) -> None:
        """Write a shard's rows, `pages` last, and let go of the files that held its documents before.

        Raises:
            LeaseLost: If another run has taken over; where a store knows no conditions this one may not have noticed.
        """
        with self._lock:
            if is_fenced(self._dest, self._run_id):
                raise LeaseLost(f"the lease on {self._dest.url} was lost to another run")
            name = self._new_name(shard.shard_id)
            replaced = self._overlapping(shard)
            tables = {table: results.table(table, shard) for table in _TABLES}
            n_failed, n_again = _counts(tables["pages"])
            firsts = {document.same_as for document in shard.documents if document.same_as is not None}
            entry = ShardEntry(
                shard_id=shard.shard_id,
                run_id=self._run_id,
                first_key=shard.first_key,
                last_key=shard.last_key,
                n_documents=len(shard.documents),
                n_failed=n_failed,
                n_again=n_again,
                committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
                firsts=tuple(sorted(firsts)),
            )
            footer = Footer(name, (entry,), supersedes=tuple(replaced), written_by=self._run_id)
            for table in _TABLES:
                footer = self._put(table, footer, tables[table])
            self._note(footer)
            self._lost.discard(shard.shard_id)
            self._retire(name, replaced)

    def finish_leftovers(self) -> None:
        """Do what a killed run left undone: let go of superseded files, delete those that were never committed."""
        mend_fences(self._dest, self._run_id)
        for footer in list(self._files.values()):
            if footer.name in self._files:
                self._retire(footer.name, [other for other in footer.supersedes if other in self._files])
        for table in reversed(_TABLES):  # the commit mark first: without it the other two are leftovers
            for found in list(self._dest.list_objects(f"stats/{table}/")):
                name = found.key.rpartition("/")[2].removesuffix(".parquet")
                if name not in self._files and found.key.endswith(".parquet"):
                    log.info("%s was never committed, or is part of a larger file; deleted", found.key)
                    self._dest.delete(found.key)

    def put_together(self, names: Sequence[str]) -> None:
        """Write the rows of several files into one, which takes their place as soon as its `pages` stand.

        Args:
            names: Of the files, in the order of their first keys.
        """
        with self._lock:
            footers = [self._files[name] for name in names]
            entries = tuple(entry for footer in footers for entry in footer.shards)
            # what is left of a file and a shard of it done again may be the same shards, hence the names
            parts = "\n".join([*map(_base, names), *(entry.shard_id for entry in entries)])
            name = self._new_name(f"part-{hashlib.sha256(parts.encode()).hexdigest()[:20]}")
            merged = Footer(name, entries, replaces=tuple(names), written_by=self._run_id)
            try:
                for table in _TABLES:
                    merged = self._rewrite(table, names, merged)
            except FileDamaged as error:
                self._lose_unreadable(names, error)
                return
            for one in names:
                self._drop(one)
            self._note(merged)
            log.info("%d files of statistics are put together to %s", len(names), name)

    def _held(self, document_key: str, tables: Sequence[str] = _TABLES) -> dict[str, pa.Table] | None:
        """Return a document's rows, None if it has none; between commits they stand in one file."""
        place = sortable(document_key)
        for name in list(self._spans.meeting(place, place)):
            if document_key in self._rows(name).document_keys:
                try:
                    pages = read_table(self._dest, "pages", name, of_document=document_key)
                except FileDamaged as error:
                    self._lose(name, error)
                    return None
                beside = (table for table in tables if table != "pages")
                return {"pages": pages} | {
                    table: read_table(self._dest, table, name, of_document=document_key) for table in beside
                }
        return None

    def _settle(self, name: str, redone: frozenset[str]) -> None:
        """Give documents of a file outputs of their own, if they point to those of documents that are redone."""
        try:
            pages = read_table(self._dest, "pages", name, ["document_key", "duplicate_of"])
        except FileDamaged as error:
            self._lose(name, error)
            return
        first_of = dict(zip(pages["document_key"].to_pylist(), pages["duplicate_of"].to_pylist(), strict=True))
        added: dict[str, list[pa.Table]] = {table: [] for table in _TABLES}
        settled = set()
        for twin, first in first_of.items():
            if first not in redone or twin in redone:
                continue
            try:
                ours, theirs = self._held(twin, ("pages",)), self._held(first)
            except FileDamaged as error:
                log.warning("%r gets no output of its own, as %s", twin, error)
                continue
            if ours is None:  # its rows turned out to be damaged
                continue
            rows = None
            if theirs is not None:
                rows = give_own(self._dest, page_rows(ours["pages"]), page_rows(theirs["pages"]), self._naming)
            if theirs is None or rows is None:
                log.warning("what %r points to is not there as it was written; verify tells", twin)
                continue
            settled.add(twin)
            added["pages"].append(page_table(rows))
            for table in ("words", "tiles"):
                keys = pa.array([twin] * len(theirs[table]), pa.string())
                added[table].append(theirs[table].set_column(0, "document_key", keys))
        if settled and name in self._files:
            old = self._files[name]
            firsts = {first for twin, first in first_of.items() if twin not in settled}
            entries = (replace(entry, firsts=tuple(sorted(firsts.intersection(entry.firsts)))) for entry in old.shards)
            self._write_anew(old, tuple(entries), frozenset(settled), added)
            log.info("%d documents of %s have outputs of their own, as those they had are redone", len(settled), name)

    def _overlapping(self, shard: Shard) -> list[str]:
        """Return the files that hold documents of this shard, as an earlier run cut or saw them."""
        keys = {document.key for document in shard.documents}
        near = self._spans.meeting(sortable(shard.first_key), sortable(shard.last_key))
        return sorted(name for name in list(near) if keys & self._rows(name).document_keys)

    def _new_name(self, base: str) -> str:
        """Return a name that no other run gives to a file, and this one has not given to a file that it wrote."""
        mark = hashlib.sha256(self._run_id.encode()).hexdigest()[:8]
        again = f"-{self._written[base] + 1}" if self._written[base] else ""
        return f"{base}.{mark}{again}"

    def _retire(self, new_name: str, replaced: Sequence[str]) -> None:
        if not replaced:
            return
        new = self._rows(new_name)
        for old_name in replaced:
            old = self._rows(old_name)
            if old_name not in self._files:  # it turned out to be damaged
                continue
            dead = old.document_keys & new.document_keys
            self._delete_outputs({output for output in old.outputs if output[0] in dead} - new.outputs)
            if dead == old.document_keys:
                log.info("%s is superseded by %s; deleted", old_name, new_name)
                self._drop(old_name)
            elif dead:
                self._write_without(old_name, dead)

    def _drop(self, name: str) -> None:
        for table in reversed(_TABLES):  # the commit mark first: without it the other two are leftovers
            self._dest.delete(file_key(table, name))
        self._forget(name)

    def _write_without(self, name: str, dead: frozenset[str]) -> None:
        """Take the rows of documents that lie in another file now out of this one; it stays for the rest."""
        log.info("%s loses %d documents to another shard", name, len(dead))
        old = self._files[name]
        try:
            pages = read_table(self._dest, "pages", name, ["document_key", "shard_id"])
        except FileDamaged as error:
            self._lose(name, error)
            return
        hit = set(pages.filter(_holds(pages, dead)).column("shard_id").to_pylist())
        left = set(pages.filter(pc.invert(_holds(pages, dead))).column("shard_id").to_pylist())
        entries = tuple(
            replace(entry, partial=True) if entry.shard_id in hit else entry
            for entry in old.shards
            if entry.shard_id in left
        )
        self._write_anew(old, entries, dead)

    def _write_anew(
        self,
        old: Footer,
        entries: tuple[ShardEntry, ...],
        dead: frozenset[str],
        added: Mapping[str, Sequence[pa.Table]] | None = None,
    ) -> None:
        """Write a file without the rows of some documents, and with others, and have it take the older one's place."""
        name = self._new_name(_base(old.name))
        footer = replace(old, name=name, shards=entries, replaces=(old.name,), written_by=self._run_id)
        try:
            for table in _TABLES:
                footer = self._rewrite(table, [old.name], footer, dead, added[table] if added else ())
        except FileDamaged as error:
            self._lose(old.name, error)
            return
        self._drop(old.name)
        self._note(footer)

    def _note_damaged(self, error: FileDamaged) -> None:
        log.error("%s", error)
        self.damaged.append(str(error))

    def _lose(self, name: str, error: FileDamaged) -> None:
        """Let go of a file whose page rows cannot be read: its shards are to be done again."""
        footer = self._files.get(name)
        if footer is None:
            return
        log.error("%s; its shards are to be done again", error)
        self._lost.update(one.shard_id for one in footer.shards if self._file_of.get(one.shard_id) == name)
        self._drop(name)

    def _lose_unreadable(self, names: Iterable[str], error: FileDamaged) -> None:
        """Let go of those files whose page rows cannot be read."""
        for name in names:
            try:
                for _ in row_groups(self._dest, "pages", name):
                    pass
            except FileDamaged:
                self._lose(name, error)

    def _forget(self, name: str) -> None:
        """Take a file out of memory; a shard of it that has another file by now stays."""
        footer = self._files.pop(name)
        for entry in footer.shards:
            for key in entry.firsts:
                self._pointing[key].discard(name)
                if not self._pointing[key]:
                    del self._pointing[key]
        self._spans.remove(name, sortable(footer.first_key), sortable(footer.last_key))
        for entry in footer.shards:
            if self._file_of.get(entry.shard_id) == name:
                del self._file_of[entry.shard_id], self._entries[entry.shard_id]

    def _note(self, footer: Footer) -> None:
        """Have in memory what a file says of itself now."""
        if footer.name in self._files:
            self._forget(footer.name)
        self._files[footer.name] = footer
        if footer.written_by == self._run_id:
            self._written[_base(footer.name)] += 1
        self._spans.add(footer.name, sortable(footer.first_key), sortable(footer.last_key))
        for entry in footer.shards:
            for key in entry.firsts:
                self._pointing[key].add(footer.name)
            held = self._files.get(self._file_of.get(entry.shard_id, ""))
            # a shard that was done again stands in two files until its older rows are out of the larger one
            if held is None or footer.name not in held.supersedes:
                self._entries[entry.shard_id], self._file_of[entry.shard_id] = entry, footer.name

    def _rewrite(
        self,
        table: str,
        names: Iterable[str],
        footer: Footer,
        dead: frozenset[str] = frozenset(),
        added: Iterable[pa.Table] = (),
    ) -> Footer:
        """Write a file of the rows of others, without those of some documents; some shards' rows at a time are held.

        Returns:
            The footer, which names the file, and says of what shards words or tiles could not be read.

        Raises:
            FileDamaged: If page rows cannot be read.
        """
        lost: set[str] = set()

        def kept() -> Iterator[pa.Table]:
            for name in names:
                try:
                    for rows in row_groups(self._dest, table, name):
                        yield rows.filter(pc.invert(_holds(rows, dead))) if dead else rows
                except FileDamaged as error:
                    if table == "pages":
                        raise
                    log.error("%s; its shards are to be done again", error)
                    lost.update(one.shard_id for one in self._files[name].shards)
            yield from added

        buffer = io.BytesIO()
        with TableWriter(buffer, SCHEMAS[table], footer.as_metadata()) as writer:
            for rows in _together(kept()):
                writer.write(rows)
        return self._write(table, footer.lacking(lost) if lost else footer, buffer.getvalue())

    def _put(self, table: str, footer: Footer, rows: pa.Table) -> Footer:
        return self._write(table, footer, table_bytes(rows, SCHEMAS[table], footer.as_metadata()))

    def _write(self, table: str, footer: Footer, data: bytes) -> Footer:
        """Write a file, and return the footer with its digest, for `pages`, which is written last."""
        self._dest.write_bytes(file_key(table, footer.name), data)
        return footer if table == "pages" else footer.with_file(table, data)

    def _rows(self, name: str) -> _Rows:
        """Return what is needed of a file's rows: none if they are damaged, and the file is let go of."""
        try:
            found = read_table(self._dest, "pages", name, ["document_key", "output_key", "duplicate_of", "text_files"])
        except FileDamaged as error:
            self._lose(name, error)
            return _NO_ROWS
        own = set()
        rows = found.to_pydict()
        for document, output, first, text in zip(*(rows[column] for column in found.column_names), strict=True):
            if output is not None and first is None:
                own.add((document, output))
            own.update((document, file["key"]) for file in text or ())
        return _Rows(frozenset(rows["document_key"]), frozenset(own))

    def _delete_outputs(self, outputs: Iterable[tuple[str, str]]) -> None:
        for _, key in sorted(outputs):
            self._dest.delete(key)


def _base(name: str) -> str:
    """Return a file's name without the mark of the run that wrote it."""
    return name.partition(".")[0]


def _together(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield tables put together to `_TOGETHER` bytes or a little more."""
    pending: list[pa.Table] = []
    size_bytes = 0
    for table in tables:
        pending.append(table.replace_schema_metadata())
        size_bytes += table.nbytes
        if size_bytes >= _TOGETHER:
            yield pa.concat_tables(pending)
            pending, size_bytes = [], 0
    if pending:
        yield pa.concat_tables(pending)


def _counts(pages: pa.Table) -> tuple[int, int]:
    """Return how many pages of a shard failed, and how many every rerun tries again."""
    rows: Mapping[str, list[str | None]] = pages.select(["status", "reason"]).to_pydict()
    return rows["status"].count("failed"), sum(reason in TRIED_AGAIN for reason in rows["reason"])


def _holds(rows: pa.Table, document_keys: frozenset[str]) -> pa.ChunkedArray:
    """Return which rows are of these documents."""
    return pc.is_in(rows.column("document_key"), value_set=pa.array(sorted(document_keys), pa.string()))
