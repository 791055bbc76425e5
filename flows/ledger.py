"""The ledger: which shards of a DEST are committed, how one is committed, and how those it replaces go."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from flows.pages import DocumentResult
from flows.shards import Shard
from tasks.statistics import PREFIX, SCHEMAS, ShardFooter, iter_footers, shard_key, table_bytes
from tasks.store import Store

_TABLES = ("words", "tiles", "pages")
"""In the order of writing: where `pages` stands, the others do too."""

_TRIED_AGAIN = ("ocr_timeout", "ocr_killed")
"""Reasons that hang on the clock or the machine: such pages are tried again by every rerun."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Rows:
    """The page rows of one committed shard, as far as the ledger needs them."""

    document_keys: frozenset[str]
    outputs: frozenset[tuple[str, str]]
    """(document_key, output_key) of each row that has an output."""


class ShardRows:
    """The rows of a shard that is being worked on, held as Arrow tables: a tenth of the same rows as dictionaries."""

    def __init__(self) -> None:
        self._of_document: dict[str, dict[str, pa.Table]] = {}

    def add(self, result: DocumentResult) -> None:
        """Take in a document's rows; documents may come in any order."""
        rows = {"words": result.words, "tiles": result.tiles, "pages": result.pages}
        tables = {name: pa.Table.from_pylist(rows[name], schema=SCHEMAS[name]) for name in _TABLES}
        self._of_document[str(result.pages[0]["document_key"])] = tables

    def table(self, name: str, shard: Shard) -> pa.Table:
        """Return the rows of all documents, in the shard's order."""
        parts = [self._of_document[document.key][name] for document in shard.documents]
        return pa.concat_tables(parts).combine_chunks()


class Ledger:
    """The committed shards of one DEST; safe to use from several shard threads.

    Args:
        dest: Where the statistics lie. Its footers are read once, here.
    """

    def __init__(self, dest: Store) -> None:
        self._dest = dest
        self._lock = threading.Lock()
        self._footers: dict[str, ShardFooter] = {footer.shard_id: footer for footer in iter_footers(dest)}

    @property
    def is_empty(self) -> bool:
        """True if nothing was ever committed here."""
        return not self._footers

    def is_done(self, shard: Shard, retry_failed: bool) -> bool:
        """Return whether a rerun may pass over the shard.

        Args:
            shard: As the listing and the settings of this run cut it.
            retry_failed: True if a shard with failed pages is to be done again.
        """
        footer = self._footers.get(shard.shard_id)
        if footer is None or footer.partial:
            return False
        rows = self._read("pages", shard.shard_id, ["status", "reason"]).to_pydict()
        again = set(_TRIED_AGAIN)
        return not (again & set(rows["reason"]) or (retry_failed and "failed" in rows["status"]))

    def commit(self, shard: Shard, run_id: str, results: ShardRows) -> None:
        """Write a shard's rows, `pages` last, and let go of the shards that held its documents before."""
        with self._lock:
            self._forget_claims_on(shard.shard_id)
            replaced = self._overlapping(shard)
            footer = {
                PREFIX + "shard_id": shard.shard_id,
                PREFIX + "run_id": run_id,
                PREFIX + "first_key": shard.first_key,
                PREFIX + "last_key": shard.last_key,
                PREFIX + "n_documents": str(len(shard.documents)),
                PREFIX + "supersedes": json.dumps(replaced),
                PREFIX + "partial": "false",
            }
            before = self._outputs_of(shard.shard_id)
            for table in _TABLES:
                self._put(table, shard.shard_id, results.table(table, shard), footer)
            self._footers[shard.shard_id] = ShardFooter.from_metadata(footer)
            self._delete_outputs(before - self._outputs_of(shard.shard_id))
            self._retire(shard.shard_id, replaced)

    def finish_leftovers(self) -> None:
        """Do what a killed run left undone: let go of superseded shards, delete files that were never committed."""
        for footer in list(self._footers.values()):
            if footer.shard_id in self._footers:
                self._retire(footer.shard_id, [other for other in footer.supersedes if other in self._footers])
        for table in ("words", "tiles"):
            for found in list(self._dest.list_objects(f"stats/{table}/")):
                name = found.key.rpartition("/")[2].removesuffix(".parquet")
                if name not in self._footers:
                    log.info("%s was never committed; deleted", found.key)
                    self._dest.delete(found.key)

    def _overlapping(self, shard: Shard) -> list[str]:
        """Return the shards that hold documents of this one, as an earlier run cut or saw them."""
        first, last = _sortable(shard.first_key), _sortable(shard.last_key)
        keys = {document.key for document in shard.documents}
        return [
            footer.shard_id
            for footer in self._footers.values()
            if footer.shard_id != shard.shard_id
            and _sortable(footer.first_key) <= last
            and _sortable(footer.last_key) >= first
            and keys & self._rows(footer.shard_id).document_keys
        ]

    def _forget_claims_on(self, shard_id: str) -> None:
        """Rewrite the footers that supersede this id from an earlier life: its new rows are not theirs to void."""
        for other in [footer for footer in self._footers.values() if shard_id in footer.supersedes]:
            metadata = self._metadata(other.shard_id)
            claims = [claimed for claimed in other.supersedes if claimed != shard_id]
            metadata[PREFIX + "supersedes"] = json.dumps(claims)
            self._put("pages", other.shard_id, self._read("pages", other.shard_id), metadata)
            self._footers[other.shard_id] = ShardFooter.from_metadata(metadata)

    def _retire(self, new_id: str, replaced: Sequence[str]) -> None:
        if not replaced:
            return
        new = self._rows(new_id)
        for old_id in replaced:
            old = self._rows(old_id)
            dead = old.document_keys & new.document_keys
            self._delete_outputs({output for output in old.outputs if output[0] in dead} - new.outputs)
            if dead == old.document_keys:
                log.info("shard %s is superseded by %s; deleted", old_id, new_id)
                for table in reversed(_TABLES):  # the commit mark first: without it the other two are leftovers
                    self._dest.delete(shard_key(table, old_id))
                del self._footers[old_id]
            elif dead:
                self._write_without(old_id, dead)

    def _write_without(self, shard_id: str, dead: frozenset[str]) -> None:
        """Take the rows of documents that lie in another shard now out of this one; it stays for the rest."""
        log.info("shard %s loses %d documents to another shard", shard_id, len(dead))
        metadata = self._metadata(shard_id)
        metadata[PREFIX + "partial"] = "true"
        for table in _TABLES:
            rows = self._read(table, shard_id)
            left = pa.array([key not in dead for key in rows.column("document_key").to_pylist()], pa.bool_())
            self._put(table, shard_id, rows.filter(left), metadata)
        self._footers[shard_id] = ShardFooter.from_metadata(metadata)

    def _put(self, table: str, shard_id: str, rows: pa.Table, metadata: Mapping[str, str]) -> None:
        self._dest.write_bytes(shard_key(table, shard_id), table_bytes(rows, SCHEMAS[table], metadata))

    def _read(self, table: str, shard_id: str, columns: list[str] | None = None) -> pa.Table:
        with self._dest.open_input(shard_key(table, shard_id)) as file:
            return pq.read_table(file, columns=columns)

    def _metadata(self, shard_id: str) -> dict[str, str]:
        with self._dest.open_input(shard_key("pages", shard_id)) as file:
            found = pq.read_schema(file).metadata or {}
        return {key.decode(): value.decode() for key, value in found.items() if key.startswith(PREFIX.encode())}

    def _rows(self, shard_id: str) -> _Rows:
        rows = self._read("pages", shard_id, ["document_key", "output_key"]).to_pydict()
        pairs = zip(rows["document_key"], rows["output_key"], strict=True)
        return _Rows(frozenset(rows["document_key"]), frozenset((doc, out) for doc, out in pairs if out is not None))

    def _outputs_of(self, shard_id: str) -> frozenset[tuple[str, str]]:
        return self._rows(shard_id).outputs if shard_id in self._footers else frozenset()

    def _delete_outputs(self, outputs: set[tuple[str, str]] | frozenset[tuple[str, str]]) -> None:
        for _, key in sorted(outputs):
            self._dest.delete(key)


def _sortable(key: str) -> bytes:
    """Keys are in the order of their UTF-8 bytes."""
    return key.encode("utf-8", "surrogatepass")
