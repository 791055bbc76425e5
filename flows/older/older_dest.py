"""Continue a DEST that an older version wrote.

The first run over such a DEST rewrites its files of statistics in today's schema; outputs are not touched. Shards keep
their ids, which digest settings and source versions by the rules of then: a shard of today's listing is looked up under
the id that it would have had.
"""

from __future__ import annotations

import io
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from foliopress.configs.older_settings import differences, settings_since
from foliopress.configs.settings import Settings
from foliopress.flows.dest.inventory import Inventory
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.older.older_records import (
    TEXT_COLUMNS,
    PageKey,
    TextFile,
    older_files,
    read_settings,
    read_text_forms,
    text_files,
)
from foliopress.flows.run.shards import Shard, shard_id
from foliopress.tasks.ocr.text_export import TextForm
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.records.statistics import void_documents
from foliopress.tasks.records.table_files import FileDamaged, TableWriter, file_key, read_table, row_groups
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store

_READERS = 8
_RECIPE = ("settings_digest", "model_digest", "scorer")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OlderShards:
    """Recognizes shards that an older version committed with the present settings, model and scorer."""

    recipes: tuple[str, ...] = ()
    """Settings, model and scorer that their ids digest; none in a DEST that no older version wrote."""

    def as_committed(self, shard: Shard) -> Iterator[Shard]:
        """Yield a shard under each id that an older version would have given it."""
        if self.recipes:
            documents = [replace(document, version=_older_version(document)) for document in shard.documents]
            for recipe in self.recipes:
                yield Shard(shard_id(documents, recipe), shard.documents)


def continue_dest(
    dest: Store, ledger: Ledger, inventory: Inventory, settings: Settings, recipe: str, say: Callable[[str], None]
) -> OlderShards:
    """Rewrite older files of statistics in today's schema, and return how their shards are recognized.

    Args:
        dest: The output, whose lease is held; the records of its runs have digests.
        ledger: Its committed shards.
        inventory: What is stored in DEST, which reads the older files before they go.
        settings: Those in force.
        recipe: Digest of these, digest of the model, and scorer.
        say: Called with one line if there are older files.

    Raises:
        StoreUnavailable: If the store gives no answer.
    """
    older = older_files(ledger.footers.values())
    if older:
        inventory.defect_of("")  # waits for it
        say(f"DEST was written by an older version; {len(older)} files of statistics are rewritten in today's schema")
        rewriter = _Rewriter(dest, void_documents(dest, ledger.footers), read_text_forms(dest, older))
        for footer in older:
            ledger.rewrite_older(footer.name, rewriter.rewrite)
    return OlderShards(_same_recipes(dest, ledger.footers.values(), settings, recipe))


def _same_recipes(dest: Store, footers: Iterable[Footer], settings: Settings, recipe: str) -> tuple[str, ...]:
    """Return the recipes of older shards that equal the present one but for settings that did not exist then."""
    runs = defaultdict[str, set[str]](set)
    for footer in footers:
        for entry in footer.shards:
            if entry.older_recipe is not None:
                runs[entry.older_recipe].add(entry.run_id)
    same = []
    for older, run_ids in runs.items():
        stored = next(filter(None, (read_settings(dest, run_id) for run_id in sorted(run_ids))), None)
        if stored is not None and older.split(" ")[1:] == recipe.split(" ")[1:] and not differences(stored, settings):
            same.append(older)
            since = ", ".join(f"{key}={value}" for key, value in settings_since(stored, settings).items())
            log.info("shards of recipe %s count as done; settings that it did not have: %s", older, since)
    return tuple(same)


def _older_version(document: Document) -> str:
    """Return a source's version as it was until commit f439fc8: the ETag alone where the store has one.

    >>> from foliopress.tasks.storage.backend import StoredObject
    >>> listed = StoredObject("a", 5, "12", "d41d")
    >>> _older_version(Document("a", 5, listed.version, listed=listed))
    'd41d'
    """
    etag = document.listed.etag if document.listed is not None else None
    return document.version if etag is None else etag


@dataclass(frozen=True)
class _Rewriter:
    """Rewrites files of statistics of an older schema."""

    dest: Store
    void: Mapping[str, Collection[str]]
    """Documents whose rows in a file are void, by its name."""
    text_forms: Mapping[str, tuple[TextForm, ...] | None]
    """Forms of text that each run was asked for."""

    def rewrite(self, old: Footer, name: str, run_id: str) -> Footer | None:
        """Write a file's rows under a new name, and return its footer; None if all of its rows are void.

        Args:
            old: The footer of the file.
            name: The new name.
            run_id: Of the present run.

        Raises:
            FileDamaged: If its page rows cannot be read.
        """
        dead = self.void.get(old.name, ())
        columns = dict.fromkeys([*TEXT_COLUMNS, "shard_id", *_RECIPE])
        rows = _without(read_table(self.dest, "pages", old.name, list(columns)), dead)
        if not rows.num_rows:
            return None
        texts, lost = self._text_files(rows)
        footer = Footer(
            name,
            _entries(old, rows, lost, has_dead=bool(dead)),
            supersedes=old.supersedes,
            replaces=(*old.replaces, old.name),
            written_by=run_id,
        )
        for table in ("words", "tiles"):
            try:
                data = self._rewritten(table, old.name, footer, dead, texts)
            except FileDamaged as error:
                log.error("%s; its shards are to be done again", error)
                footer = footer.lacking([entry.shard_id for entry in footer.shards])
                data = _as_file(table, [], footer)
            self.dest.write_bytes(file_key(table, name), data)
            footer = footer.with_file(table, data)
        self.dest.write_bytes(file_key("pages", name), self._rewritten("pages", old.name, footer, dead, texts))
        log.info("%s, of schema %s, is rewritten as %s", old.name, old.schema_version, name)
        return footer

    def _rewritten(
        self,
        table: str,
        name: str,
        footer: Footer,
        dead: Collection[str],
        texts: Mapping[PageKey, list[WrittenFile]],
    ) -> bytes:
        live = (_without(group, dead) for group in row_groups(self.dest, table, name))
        return _as_file(table, (_with_text(rows, texts) if table == "pages" else rows for rows in live), footer)

    def _text_files(self, rows: pa.Table) -> tuple[dict[PageKey, list[WrittenFile]], set[PageKey]]:
        """Return the files of text of each page as they are, and the pages that lack one."""

        def read(file: TextFile) -> WrittenFile | None:
            try:
                return WrittenFile.of(file.key, self.dest.read_bytes(file.key))
            except FileNotFoundError:
                return None

        files = list(text_files(rows, self.text_forms))
        found = defaultdict[PageKey, list[WrittenFile]](list)
        lost: set[PageKey] = set()
        with ThreadPoolExecutor(_READERS) as readers:
            for file, written in zip(files, readers.map(read, files), strict=True):
                if written is not None:
                    found[file.page].append(written)
                elif file.is_certain:
                    lost.add(file.page)
        return found, lost


def _entries(old: Footer, rows: pa.Table, lost: Collection[PageKey], *, has_dead: bool) -> tuple[ShardEntry, ...]:
    """Return what a file says of its shards, without those of which all rows are void."""
    recipes: dict[str, str] = {}
    documents = defaultdict[str, set[str]](set)
    lacking: set[str] = set()
    for row in rows.to_pylist():
        shard = row["shard_id"]
        recipes[shard] = " ".join(str(row[name]) for name in _RECIPE)
        documents[shard].add(row["document_key"])
        if (row["document_key"], row["page_index"]) in lost:
            lacking.add(shard)
    return tuple(
        replace(
            entry,
            older_recipe=recipes[entry.shard_id],
            partial=entry.partial or (has_dead and len(documents[entry.shard_id]) < entry.n_documents),
            lacks_rows=entry.shard_id in lacking,
        )
        for entry in old.shards
        if entry.shard_id in recipes
    )


def _as_file(table: str, groups: Iterable[pa.Table], footer: Footer) -> bytes:
    buffer = io.BytesIO()
    with TableWriter(buffer, SCHEMAS[table], footer.as_metadata()) as writer:
        for rows in groups:
            writer.write(rows)
    return buffer.getvalue()


def _without(rows: pa.Table, dead: Collection[str]) -> pa.Table:
    return rows.filter(pc.invert(pc.is_in(rows["document_key"], pa.array(sorted(dead), pa.string())))) if dead else rows


def _with_text(rows: pa.Table, texts: Mapping[PageKey, list[WrittenFile]]) -> pa.Table:
    pages = zip(rows["document_key"].to_pylist(), rows["page_index"].to_pylist(), strict=True)
    place = rows.schema.get_field_index("text_files")
    field = rows.schema.field(place)
    return rows.set_column(place, field, pa.array([_as_records(texts.get(page)) for page in pages], field.type))


def _as_records(files: Iterable[WrittenFile] | None) -> list[dict[str, Any]] | None:
    return None if files is None else [asdict(file) for file in files]
