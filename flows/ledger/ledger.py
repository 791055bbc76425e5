"""Commit shards to a DEST, say which are committed, and retire the shards that a new one replaces."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from foliopress.flows.dest.inventory import Inventory
from foliopress.flows.ledger import duplicate_outputs
from foliopress.flows.ledger.shard_rows import ShardRows, count_pages
from foliopress.flows.ledger.statistics_files import TABLES, StatisticsFiles
from foliopress.flows.run.shards import Shard
from foliopress.tasks.errors import LeaseLost
from foliopress.tasks.naming.key_spelling import ORDINARY, Naming
from foliopress.tasks.records.fences import is_fenced, repair_fences, write_fence
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import page_rows
from foliopress.tasks.storage.store import Store

log = logging.getLogger(__name__)


class Ledger:
    """The committed shards of one DEST; safe to use from several shard threads.

    Args:
        dest: Where the statistics lie. Its footers are read once, here. A damaged file counts as not committed.
        run_id: Run that writes.
        naming: How names are spelt in DEST.
        is_deep: Read each file of page rows whole and compare it with its checksum.
    """

    def __init__(self, dest: Store, run_id: str, naming: Naming = ORDINARY, *, is_deep: bool = False) -> None:
        self._dest, self._run_id, self._naming = dest, run_id, naming
        self._lock = threading.Lock()
        self._files = StatisticsFiles(dest, run_id, is_deep=is_deep)

    @property
    def is_empty(self) -> bool:
        """True if nothing is committed in DEST."""
        return not len(self._files.index)

    @property
    def footers(self) -> dict[str, Footer]:
        """The footers of all files by their names, in the order of their first keys."""
        return self._files.index.footers

    @property
    def damaged(self) -> Sequence[str]:
        """Why files count as not committed that are not as they were written."""
        return self._files.damaged

    @property
    def n_lost(self) -> int:
        """Number of shards whose rows turned out to be damaged during the run and that were not done again."""
        return len(self._files.lost_shards)

    def is_done(self, shard: Shard, retry_failed: bool, inventory: Inventory | None = None) -> bool:
        """Return whether a rerun may pass over the shard.

        Args:
            shard: As the listing and the settings of this run cut it.
            retry_failed: True to redo a shard with failed pages.
            inventory: What lies in DEST; a shard whose files are incomplete is to be redone.
        """
        entry = self._files.index.entry(shard.shard_id)
        if entry is None or entry.partial or entry.lacks_rows:
            return False
        if inventory is not None and (defect := inventory.defect_of(shard.shard_id)) is not None:
            log.warning("shard %s is done again: %s", shard.shard_id, defect)
            return False
        return not (entry.n_again or (retry_failed and entry.n_failed))

    def page_rows(self, document_key: str) -> list[PageRow] | None:
        """Return a document's committed page rows, None if it has none."""
        with self._lock:
            rows = self._files.rows_of(document_key, ("pages",))
        return None if rows is None else page_rows(rows["pages"])

    def detach_duplicates(self, shard: Shard) -> None:
        """Give documents outside this shard that point to its outputs outputs of their own.

        To be called before work on the shard begins, which overwrites its outputs.
        """
        with self._lock:
            redone = frozenset(document.key for document in shard.documents)
            duplicate_outputs.detach_duplicates(self._files, self._naming, redone)

    def commit(self, shard: Shard, results: ShardRows) -> None:
        """Write a shard's rows, `pages` last, and retire the files that held its documents before.

        Raises:
            LeaseLost: If another run has taken over; where a store knows no conditional writes, the lease itself may
                not have noticed.
        """
        with self._lock:
            if is_fenced(self._dest, self._run_id):
                raise LeaseLost(f"the lease on {self._dest.url} was lost to another run")
            name = self._files.index.new_name(shard.shard_id)
            replaced = self._overlapping(shard)
            tables = {table: results.table(table, shard) for table in TABLES}
            n_failed, n_again = count_pages(tables["pages"])
            originals = {one.duplicate_of for one in shard.documents if one.duplicate_of is not None}
            entry = ShardEntry(
                shard_id=shard.shard_id,
                run_id=self._run_id,
                first_key=shard.first_key,
                last_key=shard.last_key,
                n_documents=len(shard.documents),
                n_failed=n_failed,
                n_again=n_again,
                committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
                firsts=tuple(sorted(originals)),
            )
            self._files.write(Footer(name, (entry,), supersedes=tuple(replaced), written_by=self._run_id), tables)
            self._files.lost_shards.discard(shard.shard_id)
            self._retire(name, replaced)

    def fence_off(self, runs: Iterable[str]) -> None:
        """Make nothing count that these runs, which lost their lease, write from now on."""
        for run_id in runs:
            write_fence(self._dest, run_id, self._files.index.files_of_run(run_id), self._run_id)

    def finish_interrupted_commits(self) -> None:
        """Retire files that a killed run had superseded, and delete files that it did not commit."""
        repair_fences(self._dest, self._run_id)
        index = self._files.index
        for name in list(index):
            if name in index:
                self._retire(name, [other for other in index.footer(name).supersedes if other in index])
        self._files.delete_uncommitted()

    def rewrite_older(self, name: str, rewrite: Callable[[Footer, str, str], Footer | None]) -> None:
        """Replace a file of an older schema by the file that `rewrite` writes; see `StatisticsFiles.rewrite_older`."""
        with self._lock:
            self._files.rewrite_older(name, rewrite)

    def merge_files(self, names: Sequence[str]) -> None:
        """Merge several files into one, which replaces them.

        Args:
            names: The files, in the order of their first keys.
        """
        with self._lock:
            self._files.merge(names)

    def _overlapping(self, shard: Shard) -> list[str]:
        """Return the files that hold documents of this shard, as an earlier run cut or saw them."""
        keys = {document.key for document in shard.documents}
        near = self._files.index.files_between(shard.first_key, shard.last_key)
        return sorted(name for name in near if keys & self._files.rows(name).document_keys)

    def _retire(self, new_name: str, replaced: Sequence[str]) -> None:
        """Delete the rows and outputs in older files of the documents that lie in a new one."""
        if not replaced:
            return
        new = self._files.rows(new_name)
        for old_name in replaced:
            old = self._files.rows(old_name)
            if old_name not in self._files.index:  # it turned out to be damaged
                continue
            moved = old.document_keys & new.document_keys
            for _, key in sorted({output for output in old.outputs if output[0] in moved} - new.outputs):
                self._dest.delete(key)
            if moved == old.document_keys:
                log.info("deleted %s, which is superseded by %s", old_name, new_name)
                self._files.delete(old_name)
            elif moved:
                self._files.drop_documents(old_name, moved)
