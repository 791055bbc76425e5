"""One run: the places, the lease, the cluster and the ledger that its shards share."""

from __future__ import annotations

import importlib.util
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

from foliopress.configs.loading import settings_digest, without_password
from foliopress.configs.settings import Settings
from foliopress.flows.cluster.cluster import ClusterLost, ClusterShape, open_cluster
from foliopress.flows.cluster.dispatcher import PageGate, Spread
from foliopress.flows.cluster.driver_memory import share_one_heap
from foliopress.flows.cluster.shared_places import Lookout, located
from foliopress.flows.cluster.worker_facts import ask_workers
from foliopress.flows.dest.bag import make_bag, void_bag
from foliopress.flows.dest.compaction import compact
from foliopress.flows.dest.inventory import Holdings
from foliopress.flows.dest.ledger import Ledger, ShardRows
from foliopress.flows.dest.name_rules import settle_naming
from foliopress.flows.dest.orphaned_outputs import clear_leftovers
from foliopress.flows.dest.overlap_check import check_apart
from foliopress.flows.dest.premis_events import keep_events
from foliopress.flows.dest.run_records import mend_records
from foliopress.flows.run.duplicate_index import Firsts
from foliopress.flows.run.lease import Lease
from foliopress.flows.run.run_summary import (
    Recipe,
    RunSummary,
    read_figures,
    refuse_other_recipe,
    versions,
    write_end,
    write_start,
)
from foliopress.flows.run.shards import Shard, cut_shards
from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.document_plan import PageJob
from foliopress.flows.views.progress import Progress
from foliopress.tasks.errors import ConfigError, LeaseLost, StoreUnavailable
from foliopress.tasks.records.bagit import bag_url
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.storage.key_spelling import Naming
from foliopress.tasks.storage.locations import check_place
from foliopress.tasks.storage.source import open_source
from foliopress.tasks.storage.source_listing import Document, ScanCounts, check_not_empty, list_documents
from foliopress.tasks.storage.store import LEFTOVER_AGE_S, Store

if TYPE_CHECKING:
    from distributed import Client

_END_WAIT_S = 10.0

log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run is ending; what a shard was doing is left to the next run."""


def new_run_id() -> str:
    """Return a name that sorts by time, in small letters, as some disks have no others: `20260131t175900z-3f9c2a`."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{uuid4().hex[:6]}"


def check_places(source: str, dest: str, settings: Settings) -> Store:
    """Look at SOURCE and DEST before anything is started, and return where the documents lie.

    Raises:
        ConfigError: If one lies in the other, holds a password or is of no kind that can be opened, SOURCE cannot be
            read or holds no document, or DEST cannot be written.
    """
    for name, url in (("SOURCE", source), ("DEST", dest)):
        check_place(name, url)
    check_apart(source, dest)
    if settings.evidence.bag:
        bag_url(dest)
    scans, target = open_source(source, settings.storage), Store(dest, settings.storage)
    check_not_empty(scans, settings.scan, target)
    try:
        target.check_writable()
    except OSError as error:
        raise ConfigError(f"DEST {dest} cannot be written: {error.strerror or error}") from error
    return scans


def warn_of_no_conditions(dest: Store, say: Callable[[str], None]) -> None:
    """Say so where a store cannot keep two runs apart that begin at the same moment."""
    if dest.has_conditions():
        return
    place = without_password(dest.url)
    warning = f"DEST {place} knows no conditional writes: start no run into it while another one begins or goes on"
    say(warning)
    log.warning("%s", warning)


@contextmanager
def open_run(
    source: str,
    dest: str,
    settings: Settings,
    *,
    retry_failed: bool,
    overwrite: bool,
    run_id: str,
    log_file: str | None,
    deep: bool = False,
) -> Iterator[Run]:
    """Check the places, take the lease, start or join the cluster, and give all of it back at the end."""
    share_one_heap()
    scans = check_places(source, dest, settings)
    with ExitStack() as stack:
        progress = stack.enter_context(Progress())
        warn_of_no_conditions(Store(dest, settings.storage), progress.say)
        lease = stack.enter_context(Lease(Store(dest, settings.storage), run_id, progress.say))
        target = Store(dest, settings.storage, lease.check)
        # what a run that lost the lease was about to move into place goes as well
        target.clear_leftovers(0.0 if lease.unfenced else LEFTOVER_AGE_S)
        naming = settle_naming(target, progress.say)
        ledger = Ledger(target, run_id, naming, is_deep=deep)
        ledger.fence_off(lease.unfenced)
        lease.forget_unfenced()
        for line in ledger.damaged:
            progress.say(f"{line.rpartition('; ')[0]}: it counts as not committed, and its documents are done again")
        holdings = Holdings(target, ledger.footers, is_deep=deep)  # while the cluster starts
        client = stack.enter_context(open_cluster(settings.cluster, log_file))
        lookout = stack.enter_context(Lookout(client, target, scans))
        shared = (progress, lease, ledger, client, holdings, lookout)
        run = Run(source, scans, target, settings, retry_failed, run_id, *shared, naming=naming, deep=deep)
        if not overwrite and not ledger.is_empty:
            refuse_other_recipe(target, settings, run.recipe)
        void_bag(target, progress.say)
        ledger.finish_leftovers()
        run.begin()
        try:
            yield run
        finally:
            run.end()


class Run:
    """What the shards of one run share. Its methods may be called from several threads."""

    def __init__(
        self,
        source: str,
        scans: Store,
        dest: Store,
        settings: Settings,
        retry_failed: bool,
        run_id: str,
        progress: Progress,
        lease: Lease,
        ledger: Ledger,
        client: Client,
        holdings: Holdings,
        lookout: Lookout,
        *,
        naming: Naming,
        deep: bool,
    ) -> None:
        self._holdings, self._deep = holdings, deep
        self.source_url, self.dest_url, self.settings, self.run_id = source, dest.url, settings, run_id
        self.progress, self.passed_over, self.scan = progress, 0, ScanCounts()
        self._source, self._dest = scans.apart_from(dest.url), dest
        self._retry_failed, self._lease, self._ledger, self._client = retry_failed, lease, ledger, client
        self._naming, self._shape = naming, ClusterShape(client)
        self._lookout = lookout
        facts = ask_workers(client, settings, lookout)
        self.recipe = Recipe(settings_digest(settings), facts.model_digest, facts.scorer)
        self.versions = versions(facts.tesseract)
        in_flight = settings.cluster
        pixels_per_worker = min(
            in_flight.pixels_in_flight_per_worker,
            self._shape.pixels_that_fit or in_flight.pixels_in_flight_per_worker,
        )
        self._gate = PageGate(lambda: self._shape.workers, in_flight.pages_in_flight_per_worker, pixels_per_worker)
        self._slots = threading.BoundedSemaphore(settings.cluster.shards_at_once)
        self._ended = threading.Event()
        self._fatal: BaseException | None = None
        self._at_work = 0
        self._counts = False
        self._begun: dict[str, frozenset[str]] = {}
        """Keys of the documents of the shards that are being worked on, by the shard."""
        self._undone: frozenset[str] = frozenset()
        """Keys of those whose shards failed."""
        self._lock = threading.Lock()
        self._started_at, self._clock_at_start = _now(), time.monotonic()

    def begin(self) -> None:
        """Write down what this run is."""
        write_start(self._dest, self.run_id, self._started_at, self.settings, self.recipe, self.versions)
        footers = self._ledger.footers
        mend_records(self._dest, footers, self.settings, self.recipe, self.run_id, is_deep=self._deep)
        log.info("run %s begins: %s to %s", self.run_id, self.source_url, self.dest_url)
        if importlib.util.find_spec("bokeh") is not None:  # which Dask's dashboard is drawn by
            log.info("run %s: what the workers do shows at %s", self.run_id, self._client.dashboard_link)

    def end(self) -> None:
        """Stop the shards that are still at work, and wait for their threads."""
        self._ended.set()
        deadline = time.monotonic() + _END_WAIT_S
        while self._at_work and time.monotonic() < deadline:
            time.sleep(0.05)

    def shards_to_do(self) -> Iterator[Shard]:
        """Cut the listing, pass over what is done, and hold back until there is room for another shard.

        Once there is something to do, a thread counts the listing ahead, for the time left.
        """
        with Firsts() as firsts:
            documents = firsts.marked(list_documents(self._source, self.settings.scan, self.scan))
            yield from self._shards_of(documents)

    def _shards_of(self, documents: Iterator[Document]) -> Iterator[Shard]:
        for shard in cut_shards(documents, self.settings.shard, str(self.recipe)):
            self.check()
            if self._ledger.is_done(shard, self._retry_failed, self._holdings):
                self.passed_over += 1
                self.progress.pass_over(shard.size_bytes)
                continue
            while not self._slots.acquire(timeout=0.5):
                self.check()
            if not self._counts:
                self._counts = True
                threading.Thread(target=self._count, name="count", daemon=True).start()
            self._begun[shard.shard_id] = frozenset(document.key for document in shard.documents)
            yield shard

    def free_slot(self, shard: Shard) -> None:
        """Make room for another shard, as this one has ended, be it done or not."""
        self._undone |= self._begun.pop(shard.shard_id, frozenset())
        self._slots.release()

    def _rows_of_first(self, document_key: str) -> list[PageRow] | None:
        """Return the page rows of a document of another shard; None while that is being worked on.

        Raises:
            StoreUnavailable: If that shard failed; a rerun goes on.
        """
        if any(document_key in keys for keys in list(self._begun.values())):
            return None
        rows = None if document_key in self._undone else self._ledger.page_rows(document_key)
        if rows is None:
            raise StoreUnavailable(f"the shard of {document_key!r}, whose bytes another document has too, is not done")
        return rows

    def compress(self, shard: Shard) -> None:
        """Take a shard's documents through the page functions and commit it.

        Raises:
            StoreUnavailable: The shard may be tried again.
        """
        with self._lock:
            self._at_work += 1
        try:
            self._compress(shard)
            self._begun.pop(shard.shard_id, None)  # its rows can be asked for
        except (ConfigError, LeaseLost, ClusterLost) as error:
            self._fatal = self._fatal or error  # no other shard would fare better
            raise
        finally:
            with self._lock:
                self._at_work -= 1

    def _compress(self, shard: Shard) -> None:
        log.info("shard %s begins: %d documents from %r", shard.shard_id, len(shard.documents), shard.first_key)
        job = PageJob(
            source_url=located(self._source.url),
            dest_url=located(self.dest_url),
            settings=self.settings,
            run_id=self.run_id,
            shard_id=shard.shard_id,
            settings_digest=self.recipe.settings_digest,
            model_digest=self.recipe.model_digest,
            scorer=self.recipe.scorer,
            is_leased=True,
            naming=self._naming,
            sight=self._lookout.sight,
        )
        spread = Spread(
            self._client,
            self._shape,
            self._gate,
            self.settings.cluster.scoring_batch_pages,
            check=self.check,
            page_done=self.progress.page_done,
            find_first=self._rows_of_first,
        )
        self._ledger.settle(shard)
        rows = ShardRows()
        has_parked = False
        for result in spread.compress(shard.documents, job):
            rows.add(result)
            has_parked = has_parked or len(result.pages) >= checkpoints.LONG_DOCUMENT_PAGES
            self.progress.document_done(result.source_bytes, result.output_bytes)
        self.check()
        self._lookout.check()
        self._ledger.commit(shard, rows)
        if has_parked:
            checkpoints.clear(self._dest, shard.shard_id)
        log.info("shard %s is committed", shard.shard_id)

    def check(self) -> None:
        """Raise what ends the run, if anything does."""
        if self._fatal is not None:
            raise self._fatal
        if self._ended.is_set():
            raise Stopped("the run is ending")
        self._lease.check()

    def summarise(self, shards_done: int, shards_failed: int) -> RunSummary:
        """Add up what the run did, and write it beside the output; many small files of statistics become few."""
        self.check()
        shards_failed += self._ledger.n_lost
        if left := self._holdings.left(self._ledger.footers.values(), self.run_id):
            self.progress.say(
                f"{len(left)} shards in DEST are damaged and were not done again, as SOURCE does not hold their "
                f"documents as they were (foliopress verify names all): {next(iter(left.values()))}"
            )
            log.warning("damaged and not done again: %s", left)
        if not shards_failed:  # nothing is left that could be gone on with
            checkpoints.clear(self._dest)
        compact(self._ledger, self._dest, self.settings.stats.most_small_files)
        footers = self._ledger.footers
        if not shards_failed and self._holdings.has_unnamed:
            n_left = clear_leftovers(self._dest, footers, self._naming)
            log.info("%d outputs were left by a run that did not come to its commit; deleted", n_left)
        keep_events(self._dest, self.settings.evidence.events, footers, is_deep=self._deep)
        figures = read_figures(self._dest, self.run_id, footers)
        summary = RunSummary(
            run_id=self.run_id,
            source=self.source_url,
            dest=self.dest_url,
            profile=self.settings.profile,
            started_at=self._started_at,
            finished_at=_now(),
            seconds=time.monotonic() - self._clock_at_start,
            recipe=self.recipe,
            versions=self.versions,
            shards_done=shards_done,
            shards_passed_over=self.passed_over,
            shards_failed=shards_failed,
            scan=self.scan,
            run=figures.run,
            whole=figures.whole,
            failed_pages=figures.failed_pages,
            worst_pages=figures.worst_pages,
        )
        write_end(self._dest, summary)
        if self.settings.evidence.bag and not shards_failed:  # last: what is written later is not in it
            make_bag(self._dest, self.settings.evidence, self._lease)
        return summary

    def _count(self) -> None:
        size_bytes = 0
        with suppress(ConfigError, StoreUnavailable, OSError):
            scan = self.settings.scan.model_copy(update={"version": "auto"})  # only sizes are wanted
            for document in list_documents(self._source, scan, ScanCounts()):
                if self._ended.is_set():
                    return
                size_bytes += document.size_bytes
            self.progress.expect(size_bytes)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
