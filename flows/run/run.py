"""Open a run, take its shards through the cluster and commit them, and write its summary."""

from __future__ import annotations

import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import settings_digest
from foliopress.configs.secrets import without_password
from foliopress.configs.settings import Settings
from foliopress.flows.cluster.cluster import ClusterLost, ClusterShape, open_cluster
from foliopress.flows.cluster.dispatcher import RunHooks, ShardDispatcher
from foliopress.flows.cluster.driver_memory import use_one_heap
from foliopress.flows.cluster.page_gate import PageGate
from foliopress.flows.cluster.shard_state import Rows
from foliopress.flows.cluster.shared_places import SharedPlacesCheck, absolute_url
from foliopress.flows.cluster.worker_facts import ask_workers
from foliopress.flows.dest.bag import invalidate_bag, make_bag
from foliopress.flows.dest.inventory import Inventory
from foliopress.flows.dest.name_rules import resolve_naming
from foliopress.flows.dest.orphaned_outputs import delete_orphaned_outputs
from foliopress.flows.dest.overlap_check import check_no_overlap
from foliopress.flows.dest.premis_events import update_events
from foliopress.flows.dest.run_records import repair_run_records
from foliopress.flows.ledger.compaction import compact
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.ledger.shard_rows import ShardRows
from foliopress.flows.older.older_dest import OlderShards, continue_dest
from foliopress.flows.older.older_records import add_digests
from foliopress.flows.run.duplicate_index import DuplicateIndex
from foliopress.flows.run.lease import Lease
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.run.run_summary import (
    Recipe,
    RunStart,
    RunSummary,
    check_same_recipe,
    read_metrics,
    versions,
    write_end,
    write_start,
)
from foliopress.flows.run.shards import Shard, cut_shards
from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.document_plan import PageJob
from foliopress.flows.views.progress import Progress
from foliopress.tasks.errors import LeaseLost, StoreUnavailable
from foliopress.tasks.naming.key_spelling import Naming
from foliopress.tasks.records.bagit import bag_url
from foliopress.tasks.storage.locations import check_place
from foliopress.tasks.storage.source import open_source
from foliopress.tasks.storage.source_listing import Document, ListingCounts, check_not_empty, list_documents
from foliopress.tasks.storage.store import PARTIAL_WRITE_AGE_S, Store

if TYPE_CHECKING:
    from distributed import Client

_END_WAIT_S = 10.0

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run is ending; a shard that is still in work is left to the next run."""


def check_places(source: str, dest: str, settings: Settings) -> Store:
    """Check SOURCE and DEST before anything is started, and return the store of the documents.

    Raises:
        ConfigError: If one lies in the other, a URL holds a password or has a protocol that cannot be opened, SOURCE
            cannot be read or holds no document, or DEST cannot be written.
    """
    for name, url in (("SOURCE", source), ("DEST", dest)):
        check_place(name, url)
    check_no_overlap(source, dest)
    if settings.evidence.bag:
        bag_url(dest)
    scans, target = open_source(source, settings.storage), Store(dest, settings.storage)
    check_not_empty(scans, settings.scan, target)
    try:
        target.check_writable()
    except OSError as error:
        raise ConfigError(f"DEST {dest} cannot be written: {error.strerror or error}") from error
    return scans


def warn_without_conditional_writes(dest: Store, say: Callable[[str], None]) -> None:
    """Warn if a store cannot keep two runs apart that begin at the same moment."""
    if dest.has_conditional_writes():
        return
    place = without_password(dest.url)
    warning = f"DEST {place} has no conditional writes: do not start a run into it while another one is running"
    say(warning)
    log.warning("%s", warning)


@dataclass(frozen=True)
class RunResources:
    """Resources that a run holds from its start to its end."""

    scans: Store
    dest: Store
    naming: Naming
    progress: Progress
    lease: Lease
    ledger: Ledger
    client: Client
    inventory: Inventory
    places_check: SharedPlacesCheck


@contextmanager
def open_run(request: RunRequest) -> Iterator[Run]:
    """Check the places, take the lease, start or join the cluster, and release everything at the end."""
    use_one_heap()
    settings, dest = request.settings, request.dest
    scans = check_places(request.source, dest, settings)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress())
        warn_without_conditional_writes(Store(dest, settings.storage), progress.say)
        lease = stack.enter_context(Lease(Store(dest, settings.storage), request.run_id, progress.say))
        target = Store(dest, settings.storage, lease.check)
        # includes what a run that lost the lease was about to move into place
        target.delete_partial_writes(0.0 if lease.unfenced else PARTIAL_WRITE_AGE_S)
        naming = resolve_naming(target, progress.say)
        ledger = Ledger(target, request.run_id, naming, is_deep=request.is_deep)
        ledger.fence_off(lease.unfenced)
        lease.mark_fenced()
        for line in ledger.damaged:
            progress.say(f"{line.rpartition('; ')[0]}: it does not count as committed, and its documents are redone")
        inventory = Inventory(target, ledger.footers, is_deep=request.is_deep)  # works while the cluster starts
        client = stack.enter_context(open_cluster(settings.cluster, request.log_file))
        places_check = stack.enter_context(SharedPlacesCheck(client, target, scans))
        resources = RunResources(scans, target, naming, progress, lease, ledger, client, inventory, places_check)
        run = Run(request, resources)
        add_digests(target, ledger.footers)
        if not request.overwrite and not ledger.is_empty:
            check_same_recipe(target, settings, run.recipe)
        invalidate_bag(target, progress.say)
        run.older = continue_dest(target, ledger, inventory, settings, str(run.recipe), progress.say)
        ledger.finish_interrupted_commits()
        run.begin()
        try:
            yield run
        finally:
            run.end()


class Run:
    """The state that the shards of one run share. Its methods may be called from several threads.

    Args:
        request: What the run is asked to do.
        resources: What it holds; they are released by whoever opened them.
    """

    def __init__(self, request: RunRequest, resources: RunResources) -> None:
        self._request, self._resources = request, resources
        self.older = OlderShards()
        self.settings, self.progress = request.settings, resources.progress
        self.n_passed_over, self.scan = 0, ListingCounts()
        self._dest, self._ledger, self._inventory = resources.dest, resources.ledger, resources.inventory
        self._source = resources.scans.without_links_into(self._dest.url)
        self._places_check, self._shape = resources.places_check, ClusterShape(resources.client)
        facts = ask_workers(resources.client, self.settings, self._places_check)
        self.recipe = Recipe(settings_digest(self.settings), facts.model_digest, facts.scorer)
        self.versions = versions(facts.tesseract)
        self._gate = self._page_gate()
        self._slots = threading.BoundedSemaphore(self.settings.cluster.shards_at_once)
        self._ended = threading.Event()
        self._fatal: BaseException | None = None
        self._n_at_work = 0
        self._is_counting = False
        self._in_work: dict[str, frozenset[str]] = {}
        """Document keys of the shards in work, by shard."""
        self._failed_keys: frozenset[str] = frozenset()
        """Document keys of the shards that failed."""
        self._lock = threading.Lock()
        self._started_at, self._clock_at_start = _now(), time.monotonic()

    def _page_gate(self) -> PageGate:
        limits = self.settings.cluster
        pixels_per_worker = min(
            limits.pixels_in_flight_per_worker,
            self._shape.pixels_that_fit or limits.pixels_in_flight_per_worker,
        )
        return PageGate(lambda: self._shape.workers, limits.pages_in_flight_per_worker, pixels_per_worker)

    def begin(self) -> None:
        """Write the run's record, and repair those of earlier runs."""
        run_id, is_deep = self._request.run_id, self._request.is_deep
        write_start(self._dest, RunStart(run_id, self._started_at, self.settings, self.recipe, self.versions))
        repair_run_records(self._dest, self._ledger.footers, self.settings, self.recipe, run_id, is_deep=is_deep)
        log.info("run %s begins: %s to %s", run_id, self._request.source, self._dest.url)
        if importlib.util.find_spec("bokeh") is not None:  # Dask's dashboard needs it
            log.info("run %s: Dask's dashboard is at %s", run_id, self._resources.client.dashboard_link)

    def end(self) -> None:
        """Stop the shards that are still in work, and wait for their threads."""
        self._ended.set()
        deadline = time.monotonic() + _END_WAIT_S
        while self._n_at_work and time.monotonic() < deadline:
            time.sleep(0.05)

    def pending_shards(self) -> Iterator[Shard]:
        """Cut the listing into shards, pass over those that are done, and yield others when a slot is free.

        Once a shard is to be done, a thread counts the rest of the listing, for the time left.
        """
        with DuplicateIndex() as duplicate_index:
            documents = duplicate_index.mark_duplicates(list_documents(self._source, self.settings.scan, self.scan))
            yield from self._pending_shards_of(documents)

    def _pending_shards_of(self, documents: Iterator[Document]) -> Iterator[Shard]:
        for shard in cut_shards(documents, self.settings.shard, str(self.recipe)):
            self.check()
            ids = (shard, *self.older.as_committed(shard))
            if any(self._ledger.is_done(one, self._request.retry_failed, self._inventory) for one in ids):
                self.n_passed_over += 1
                self.progress.pass_over(shard.size_bytes)
                continue
            while not self._slots.acquire(timeout=0.5):
                self.check()
            if not self._is_counting:
                self._is_counting = True
                threading.Thread(target=self._count, name="count", daemon=True).start()
            self._in_work[shard.shard_id] = frozenset(document.key for document in shard.documents)
            yield shard

    def release_slot(self, shard: Shard) -> None:
        """Make room for another shard, as this one has ended, done or failed."""
        self._failed_keys |= self._in_work.pop(shard.shard_id, frozenset())
        self._slots.release()

    def _rows_of_original(self, document_key: str) -> Rows | None:
        """Return the page rows of a document of another shard; None while that shard is in work.

        Raises:
            StoreUnavailable: If that shard failed; a rerun does both.
        """
        if any(document_key in keys for keys in list(self._in_work.values())):
            return None
        rows = None if document_key in self._failed_keys else self._ledger.page_rows(document_key)
        if rows is None:
            raise StoreUnavailable(f"the shard of {document_key!r}, the original of a duplicate, is not done")
        return rows

    def compress(self, shard: Shard) -> None:
        """Take a shard's documents through the page steps and commit it.

        Raises:
            StoreUnavailable: The shard may be tried again.
        """
        with self._lock:
            self._n_at_work += 1
        try:
            self._compress(shard)
            self._in_work.pop(shard.shard_id, None)  # its rows can be asked for
        except (ConfigError, LeaseLost, ClusterLost) as error:
            self._fatal = self._fatal or error  # every other shard would fail as well
            raise
        finally:
            with self._lock:
                self._n_at_work -= 1

    def _compress(self, shard: Shard) -> None:
        log.info("shard %s begins: %d documents from %r", shard.shard_id, len(shard.documents), shard.first_key)
        dispatcher = ShardDispatcher(
            self._shape,
            self._gate,
            self.settings.cluster.scoring_batch_pages,
            hooks=RunHooks(self.check, self.progress.page_done, self._rows_of_original),
        )
        self._ledger.detach_duplicates(shard)
        rows = ShardRows()
        has_checkpoints = False
        for result in dispatcher.compress(shard.documents, self._page_job(shard)):
            rows.add(result)
            has_checkpoints = has_checkpoints or len(result.pages) >= checkpoints.LONG_DOCUMENT_PAGES
            self.progress.document_done(result.source_bytes, result.output_bytes)
        self.check()
        self._places_check.check()
        self._ledger.commit(shard, rows)
        if has_checkpoints:
            checkpoints.clear(self._dest, shard.shard_id)
        log.info("shard %s is committed", shard.shard_id)

    def _page_job(self, shard: Shard) -> PageJob:
        return PageJob(
            source_url=absolute_url(self._source.url),
            dest_url=absolute_url(self._dest.url),
            settings=self.settings,
            run_id=self._request.run_id,
            shard_id=shard.shard_id,
            settings_digest=self.recipe.settings_digest,
            model_digest=self.recipe.model_digest,
            scorer=self.recipe.scorer,
            is_leased=True,
            naming=self._resources.naming,
            shared_places=self._places_check.shared_places,
        )

    def check(self) -> None:
        """Raise what ends the run, if anything does."""
        if self._fatal is not None:
            raise self._fatal
        if self._ended.is_set():
            raise Stopped("the run is ending")
        self._resources.lease.check()

    def summarise(self, n_done: int, n_failed: int) -> RunSummary:
        """Clean up DEST, merge small files of statistics, and write the run's summary.

        Args:
            n_done: Shards that were committed.
            n_failed: Shards that failed.
        """
        self.check()
        n_failed += self._ledger.n_lost
        self._warn_of_damage()
        self._clean_up(has_failures=bool(n_failed))
        metrics = read_metrics(self._dest, self._request.run_id, self._ledger.footers)
        summary = RunSummary(
            run_id=self._request.run_id,
            source=self._request.source,
            dest=self._dest.url,
            profile=self.settings.profile,
            started_at=self._started_at,
            finished_at=_now(),
            seconds=time.monotonic() - self._clock_at_start,
            recipe=self.recipe,
            versions=self.versions,
            shards_done=n_done,
            shards_passed_over=self.n_passed_over,
            shards_failed=n_failed,
            scan=self.scan,
            run=metrics.run,
            whole=metrics.whole,
            failed_pages=metrics.failed_pages,
            worst_pages=metrics.worst_pages,
        )
        write_end(self._dest, summary)
        if self.settings.evidence.bag and not n_failed:  # last: the bag lists all other files
            make_bag(self._dest, self.settings.evidence, self._resources.lease)
        return summary

    def _warn_of_damage(self) -> None:
        defects = self._inventory.unrepaired(self._ledger.footers.values(), self._request.run_id)
        if defects:
            self.progress.say(
                f"{len(defects)} shards in DEST are damaged and could not be redone, as SOURCE does not hold their "
                f"documents unchanged (foliopress verify lists all): {next(iter(defects.values()))}"
            )
            log.warning("damaged and not redone: %s", defects)

    def _clean_up(self, *, has_failures: bool) -> None:
        if not has_failures:  # else the next run continues from the checkpoints
            checkpoints.clear(self._dest)
        compact(self._ledger, self._dest, self.settings.stats.most_small_files)
        footers = self._ledger.footers
        if not has_failures and self._inventory.has_unreferenced:
            n_deleted = delete_orphaned_outputs(self._dest, footers, self._resources.naming)
            log.info("deleted %d outputs of a run that stopped before it committed them", n_deleted)
        update_events(self._dest, self.settings.evidence.events, footers, is_deep=self._request.is_deep)

    def _count(self) -> None:
        size_bytes = 0
        with suppress(ConfigError, StoreUnavailable, OSError):
            scan = self.settings.scan.model_copy(update={"version": "auto"})  # only sizes are needed
            for document in list_documents(self._source, scan, ListingCounts()):
                if self._ended.is_set():
                    return
                size_bytes += document.size_bytes
            self.progress.expect(size_bytes)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
