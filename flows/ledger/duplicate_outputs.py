"""Give duplicates outputs of their own before the originals that they point to are overwritten."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pyarrow as pa

from foliopress.flows.ledger.statistics_files import TABLES, StatisticsFiles
from foliopress.flows.steps.duplicates import give_own
from foliopress.tasks.naming.key_spelling import Naming
from foliopress.tasks.records.schemas import page_rows, page_table
from foliopress.tasks.records.table_files import FileDamaged, read_table

log = logging.getLogger(__name__)


@dataclass
class _OwnRows:
    """Duplicates of one file that have outputs of their own now, and their rows."""

    documents: set[str] = field(default_factory=set)
    tables: dict[str, list[pa.Table]] = field(default_factory=lambda: {table: [] for table in TABLES})


def detach_duplicates(files: StatisticsFiles, naming: Naming, redone: frozenset[str]) -> None:
    """Copy the outputs of documents that are about to be redone, for each duplicate that is not redone with them.

    Args:
        files: The statistics, whose rows are changed to name the copies.
        naming: How names are spelt in DEST.
        redone: Keys of the documents of a shard whose outputs are about to be overwritten.
    """
    for name in files.index.files_pointing_to(redone):
        try:
            pages = read_table(files.dest, "pages", name, ["document_key", "duplicate_of"])
        except FileDamaged as error:
            files.lose(name, error)
            continue
        original_of = dict(zip(pages["document_key"].to_pylist(), pages["duplicate_of"].to_pylist(), strict=True))
        own = _copy_outputs(files, naming, original_of, redone)
        if own.documents and name in files.index:
            _replace_rows(files, name, original_of, own)


def _copy_outputs(
    files: StatisticsFiles, naming: Naming, original_of: Mapping[str, str | None], redone: frozenset[str]
) -> _OwnRows:
    own = _OwnRows()
    for duplicate, original in original_of.items():
        if original is None or original not in redone or duplicate in redone:
            continue
        try:
            ours, theirs = files.rows_of(duplicate, ("pages",)), files.rows_of(original)
        except FileDamaged as error:
            log.warning("%r gets no output of its own: %s", duplicate, error)
            continue
        if ours is None:  # its rows turned out to be damaged
            continue
        rows = None
        if theirs is not None:
            rows = give_own(files.dest, page_rows(ours["pages"]), page_rows(theirs["pages"]), naming)
        if theirs is None or rows is None:
            log.warning("the output that %r points to is missing or damaged; see foliopress verify", duplicate)
            continue
        own.documents.add(duplicate)
        own.tables["pages"].append(page_table(rows))
        for table in ("words", "tiles"):
            keys = pa.array([duplicate] * len(theirs[table]), pa.string())
            own.tables[table].append(theirs[table].set_column(0, "document_key", keys))
    return own


def _replace_rows(files: StatisticsFiles, name: str, original_of: Mapping[str, str | None], own: _OwnRows) -> None:
    old = files.index.footer(name)
    originals = {original for duplicate, original in original_of.items() if duplicate not in own.documents}
    entries = tuple(
        replace(entry, firsts=tuple(sorted(key for key in entry.firsts if key in originals))) for entry in old.shards
    )
    files.rewrite(old, entries, frozenset(own.documents), own.tables)
    log.info("%d duplicates in %s have outputs of their own now; their originals are redone", len(own.documents), name)
