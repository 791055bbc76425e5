"""Spread: the documents of one shard over the Dask cluster, a window of pages at a time.

The driver sees shapes and rows only. Pixels stay on the worker that decoded them; what travels is a document's bytes,
the encoded page, and, where workers with a GPU score, the page at 150 dpi for the network.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from foliopress.flows.cluster.cluster import ClusterLost, ClusterShape, is_lost, lost_if_closed
from foliopress.flows.steps import steps as page_steps
from foliopress.flows.steps.steps import (
    DocumentResult,
    DocumentShape,
    PageJob,
    PageResult,
    PreparedPage,
    SourceDocument,
)
from foliopress.tasks.errors import ConfigError, LeaseLost, StoreUnavailable
from foliopress.tasks.host_trouble import trouble_of
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.storage.source_listing import Document

if TYPE_CHECKING:
    from distributed import Client, Future

_TICK_S = 0.5
_GATHER_S = 10.0
"""How long to wait for a value that is said to be there; its worker may have died, and all others with it."""
_OPEN_BYTES_PER_WORKER = 256 * 2**20
"""Bytes of sources that may lie in the workers' memory at once, per worker; one document is always let in."""
_SHORT_BYTES = 2**24
"""A document of no more bytes is fetched twice rather than with a task of its own, if it has more than one page."""
_TRIES_ALONE = 1
"""How often a document whose worker died is tried by itself before it gets the blame. Dask does a task over when its
worker died once, so that it takes two deaths alone."""

ANY_WORKER = ""
"""In place of a worker's address while none is known."""

# Dask runs what is nearly done first, so that pages leave the workers' memory before new ones come in.
_FETCH, _PREPARE, _SCORE, _FINISH, _STORE = 5, 0, 10, 20, 30

log = logging.getLogger(__name__)


Rows = Sequence[PageRow]
"""The page rows of one document."""


class PageSteps(Protocol):
    """The page functions; `flows.steps.steps` is one, and a test may bring its own."""

    fetch_document: Callable[..., Any]
    describe: Callable[..., Any]
    prepare_page: Callable[..., Any]
    scoring_input: Callable[..., Any]
    score_pages: Callable[..., Any]
    finish_page: Callable[..., Any]
    store_document: Callable[..., Any]
    fail_document: Callable[..., Any]
    point_to: Callable[..., Any]


class PageGate:
    """Lets pages be decoded while a worker has room for their pixels, and says which; one serves all shards of a run.

    Args:
        workers: Addresses, asked for at each page, since a cluster may grow and shrink; none where none is there.
        pages_per_worker: Pages that may be in flight.
        pixels_per_worker: Pixels that may be in flight; a larger page is let in where nothing else is.
    """

    def __init__(self, workers: Callable[[], Sequence[str]], pages_per_worker: int, pixels_per_worker: int) -> None:
        self._workers, self._pages_per_worker, self._pixels_per_worker = workers, pages_per_worker, pixels_per_worker
        self._lock = threading.Lock()
        self._pages: Counter[str] = Counter()
        self._pixels: Counter[str] = Counter()
        self._alone: object = None

    @property
    def max_pages(self) -> int:
        """Return how many pages may be in flight now."""
        return self._pages_per_worker * max(1, len(self._workers()))

    @property
    def pixels_per_page(self) -> int:
        """Return the pixels with which as many pages as may be in flight have room together."""
        return max(1, self._pixels_per_worker // self._pages_per_worker)

    @property
    def is_empty(self) -> bool:
        """Whether no page is in flight, and nobody wants to be alone."""
        with self._lock:
            return not self._pages and not self._pixels and self._alone is None

    def try_enter(self, pixels: int, alone: object = None) -> str | None:
        """Let a page in if there is room, and return the worker that has it; return None at once if there is none.

        Args:
            pixels: Of the page.
            alone: Who wants to have the workers alone: from the first try until `end_alone` nobody else is let in,
                and its pages enter one at a time.
        """
        workers = self._workers() or (ANY_WORKER,)
        with self._lock:
            if alone is not None and self._alone is None:
                self._alone = alone
            if self._alone is not alone or (alone is not None and self._pages):
                return None
            with_room = [one for one in workers if self._has_room(one, pixels)]
            if not with_room:
                return None
            worker = min(with_room, key=lambda one: (self._pixels[one], self._pages[one]))
            self._pages[worker] += 1
            self._pixels[worker] += pixels
            return worker

    def _has_room(self, worker: str, pixels: int) -> bool:
        return not self._pages[worker] or (
            self._pages[worker] < self._pages_per_worker and self._pixels[worker] + pixels <= self._pixels_per_worker
        )

    def leave(self, pixels: int, worker: str) -> None:
        """Give back what a page that was let in took from a worker, which may be gone by now."""
        with self._lock:
            self._pages[worker] -= 1
            self._pixels[worker] -= pixels
            if not self._pages[worker]:
                del self._pages[worker], self._pixels[worker]

    def end_alone(self, alone: object) -> None:
        """Let others in again."""
        with self._lock:
            if self._alone is alone:
                self._alone = None


@dataclass(eq=False)
class _Page:
    """One page on its way."""

    owner: _Open
    page_index: int
    pixels: int
    is_whole: bool = False
    """Stands for a document that is not fetched yet and is hoped to have no other page."""
    worker: str | None = None
    """Where it was let in; None while it is not."""
    prepared: Future | None = None
    scoring_input: Future | None = None


@dataclass(eq=False)
class _Open:
    """One document on its way."""

    document: Document
    alone: bool
    source: Future | None = None
    pages: list[_Page] = field(default_factory=list)
    finished: dict[int, Future] = field(default_factory=dict)
    is_given_up: bool = False


class Spread:
    """Takes documents through the page functions on a Dask cluster; one object per shard, used by one thread.

    Args:
        client: Of the cluster; several shards may share it.
        shape: What the cluster offers.
        gate: Shared by all shards of the run.
        scoring_batch_pages: Pages scored together, at most.
        check: Called at least twice a second; raises when the run must stop.
        page_done: Called when a page is finished.
        find_first: Given the key of a document of another shard, returns its page rows; None while they are not there
            yet.
        steps: The page functions.
        without_worker_s: For how many seconds the cluster may be without any worker.
    """

    def __init__(
        self,
        client: Client,
        shape: ClusterShape,
        gate: PageGate,
        scoring_batch_pages: int,
        check: Callable[[], None] = lambda: None,
        page_done: Callable[[], None] = lambda: None,
        find_first: Callable[[str], Rows | None] = lambda _: None,
        steps: PageSteps = page_steps,
        without_worker_s: float = 600.0,
    ) -> None:
        self._client, self._shape, self._gate, self._batch_pages = client, shape, gate, scoring_batch_pages
        self._check, self._page_done, self._find_first, self._steps = check, page_done, find_first, steps
        self._without_worker_s = without_worker_s
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._job: PageJob | None = None
        self._open: set[_Open] = set()
        self._waiting: deque[_Page] = deque()
        self._to_score: list[_Page] = []
        self._scoring = 0
        self._watched: set[Future] = set()
        self._suspects: deque[Document] = deque()
        self._tries_alone: dict[Document, int] = {}
        self._n_pages: dict[Document, int] = {}
        self._results: deque[DocumentResult] = deque()
        self._here: frozenset[str] = frozenset()
        self._twins: deque[Document] = deque()
        """Documents with the bytes of another, whose rows they wait for."""
        self._rows_of_firsts: dict[str, Rows | None] = {}

    def compress(self, documents: Sequence[Document], job: PageJob) -> Iterator[DocumentResult]:
        """Yield each document's rows as it is stored, in the order in which they are done.

        Raises:
            StoreUnavailable: If SOURCE or DEST gave no answer, or a worker's machine is in trouble; the shard may be
                tried again.
            ConfigError: If a worker cannot do the work at all.
            ClusterLost: If the scheduler is gone, or all workers are and none comes.
        """
        self._job = job
        self._here = frozenset(document.key for document in documents)
        self._rows_of_firsts = {document.same_as: None for document in documents if document.same_as in self._here}
        self._twins = deque(document for document in documents if document.same_as is not None)
        todo = deque(document for document in documents if document.same_as is None)
        try:
            yield from self._compress(todo)
        finally:
            self._gate.end_alone(self)
            for document in list(self._open):
                self._give_up(document)
            if not is_lost(self._client):
                self._client.cancel(list(self._watched), force=True)

    def _compress(self, todo: deque[Document]) -> Iterator[DocumentResult]:
        with lost_if_closed(self._client):
            while todo or self._open or self._suspects or self._twins:
                while todo and self._has_room_for(todo[0]):
                    self._start(todo.popleft())
                self._start_twins()
                if not todo and not self._open and self._suspects:
                    self._start(self._suspects.popleft(), alone=True)
                self._let_pages_in()
                self._score_what_is_ready()
                self._take_events()
                while self._results:
                    yield self._results.popleft()

    def _has_room_for(self, document: Document) -> bool:
        held = sum(one.document.size_bytes for one in self._open)
        most_bytes = _OPEN_BYTES_PER_WORKER * self._shape.n_workers
        return not self._open or (
            len(self._open) < 2 * self._gate.max_pages and held + document.size_bytes <= most_bytes
        )

    def _take_events(self) -> None:
        """Wait a moment for something to happen, then deal with all that has."""
        self._check()
        if is_lost(self._client):
            raise ClusterLost
        if self._shape.without_worker_s > self._without_worker_s:
            raise ClusterLost(f"the Dask cluster has had no worker for {self._without_worker_s:g} s")
        try:
            self._events.get(timeout=_TICK_S)()
            while True:
                self._events.get_nowait()()
        except queue.Empty:
            pass

    def _start_twins(self) -> None:
        """Start the documents whose first has its rows by now."""
        for _ in range(len(self._twins)):
            if not self._has_room_for(self._twins[0]):
                return
            twin = self._twins.popleft()
            assert twin.same_as is not None
            is_here = twin.same_as in self._here
            first = self._rows_of_firsts[twin.same_as] if is_here else self._find_first(twin.same_as)
            if first is None:
                self._twins.append(twin)
            else:
                self._start(twin, first=first)

    def _start(self, document: Document, alone: bool = False, first: Rows | None = None) -> None:
        opened = _Open(document, alone)
        self._open.add(opened)
        if first is None and not alone and not self._shape.scoring_resources and _looks_short(document):
            opened.pages = [_Page(opened, 0, self._gate.pixels_per_page, is_whole=True)]
            self._waiting.extend(opened.pages)
            return
        self._fetch(opened)
        if first is None:
            self._describe(opened)
            return
        pointing = self._submit(self._steps.point_to, opened.source, first, self._job, priority=_STORE)
        self._when_done(pointing, opened, lambda rows: self._pointed(opened, rows))

    def _pointed(self, opened: _Open, rows: DocumentResult | None) -> None:
        if rows is None:
            log.warning("document %r has other bytes than %r", opened.document.key, opened.document.same_as)
            self._describe(opened)
            return
        for _ in rows.pages[1:]:
            self._page_done()
        self._close(opened, rows)

    def _fetch(self, opened: _Open) -> None:
        opened.source = self._submit(self._steps.fetch_document, opened.document, self._job, priority=_FETCH)

    def _describe(self, opened: _Open) -> None:
        shape = self._submit(self._steps.describe, opened.source, priority=_FETCH)
        self._when_done(shape, opened, lambda value: self._described(opened, value))

    def _described(self, opened: _Open, shape: DocumentShape) -> None:
        opened.pages = [_Page(opened, number, pixels) for number, pixels in enumerate(shape.pixels)]
        self._waiting.extend(opened.pages)
        if not opened.pages:
            self._store(opened)

    def _let_pages_in(self) -> None:
        while self._waiting:
            page = self._waiting[0]
            if not page.owner.is_given_up:
                page.worker = self._gate.try_enter(page.pixels, self if page.owner.alone else None)
                if page.worker is None:
                    return
                # where there is room for its pixels; what comes after goes where they are
                where = {"workers": [page.worker], "allow_other_workers": True} if page.worker != ANY_WORKER else {}
                if page.is_whole:
                    self._work_whole(page, where)
                elif self._shape.scoring_resources:
                    self._prepare(page, where)
                else:
                    self._work(page, where)
            self._waiting.popleft()

    def _work_whole(self, page: _Page, where: Mapping[str, Any]) -> None:
        """Have a document done in one task from its name to its rows, if it has one page and that has room.

        A task takes 14 ms of driver and worker, however little it does; one for each step took 1 % of a core more for
        each worker.
        """
        opened, steps = page.owner, self._steps
        does = (steps.fetch_document, steps.describe, self._way, steps.store_document)
        result = self._submit(_work_whole, does, opened.document, self._job, page.pixels, priority=_PREPARE, **where)
        self._when_done(result, opened, lambda value: self._worked_whole(opened, value))

    def _worked_whole(self, opened: _Open, value: DocumentResult | DocumentShape) -> None:
        if isinstance(value, DocumentResult):
            self._close(opened, value)
            return
        for page in opened.pages:
            self._let_out(page)
        self._fetch(opened)
        self._described(opened, value)

    def _work(self, page: _Page, where: Mapping[str, Any]) -> None:
        """Have a page done in one task."""
        opened = page.owner
        arguments = (self._way, opened.source, page.page_index, self._job)
        finished = self._submit(_work_page, *arguments, priority=_PREPARE, **where)
        self._when_done(finished, opened, lambda _: self._finished(page, finished), gather=False)

    @property
    def _way(self) -> _Way:
        steps = self._steps
        return steps.prepare_page, steps.scoring_input, steps.score_pages, steps.finish_page

    def _prepare(self, page: _Page, where: Mapping[str, Any]) -> None:
        """Have a page decoded where it may be scored elsewhere."""
        page.prepared = self._submit(
            self._steps.prepare_page, page.owner.source, page.page_index, self._job, priority=_PREPARE, **where
        )
        page.scoring_input = self._submit(self._steps.scoring_input, page.prepared, priority=_PREPARE + 1)

        # the plane itself stays where it is: only that it is there is of interest
        self._when_done(page.scoring_input, page.owner, lambda _: self._to_score.append(page), gather=False)

    def _score_what_is_ready(self) -> None:
        """Score full batches at once, and a smaller one rather than let a scoring worker idle."""
        self._to_score = [page for page in self._to_score if not page.owner.is_given_up]
        while self._to_score and (len(self._to_score) >= self._batch_pages or self._scoring < self._shape.n_gpus):
            batch, self._to_score = self._to_score[: self._batch_pages], self._to_score[self._batch_pages :]
            self._score(batch)

    def _score(self, batch: list[_Page]) -> None:
        inputs = [page.scoring_input for page in batch]
        resources = self._shape.scoring_resources
        scores = self._submit(self._steps.score_pages, inputs, self._job, priority=_SCORE, resources=resources)
        self._scoring += 1

        def scored(future: Future) -> None:
            self._scoring -= 1
            if future.status != "finished" and len(batch) > 1:
                log.warning("scoring %d pages together failed; each is scored alone", len(batch))
                for page in batch:
                    if not page.owner.is_given_up:
                        self._score([page])
                return
            for number, page in enumerate(batch):
                if future.status != "finished":
                    self._went_wrong(page.owner, future)
                elif not page.owner.is_given_up:
                    self._finish(page, scores, number)

        self._watch(scores, scored)

    def _finish(self, page: _Page, scores: Future, number: int) -> None:
        finished = self._submit(
            _finish_scored,
            self._steps.finish_page,
            page.prepared,
            scores,
            number,
            page.owner.source,
            self._job,
            priority=_FINISH,
        )
        self._when_done(finished, page.owner, lambda _: self._finished(page, finished), gather=False)

    def _finished(self, page: _Page, finished: Future) -> None:
        self._let_out(page)
        page.prepared = page.scoring_input = None
        self._page_done()
        opened = page.owner
        opened.finished[page.page_index] = finished
        if len(opened.finished) == len(opened.pages):
            self._store(opened)

    def _store(self, opened: _Open) -> None:
        finished = [opened.finished[page.page_index] for page in opened.pages]
        result = self._submit(self._steps.store_document, opened.source, finished, self._job, priority=_STORE)
        self._when_done(result, opened, lambda rows: self._close(opened, rows))

    def _close(self, opened: _Open, rows: DocumentResult) -> None:
        if not opened.finished:
            self._page_done()  # its only page, or the one row of a document that could not be opened
        self._give_up(opened)
        self._results.append(rows)
        if opened.document.key in self._rows_of_firsts:
            self._rows_of_firsts[opened.document.key] = rows.pages

    def _fail(self, document: Document, reason: str, message: str, n_pages: int) -> None:
        opened = _Open(document, alone=False)
        self._open.add(opened)
        result = self._submit(self._steps.fail_document, document, self._job, reason, message, n_pages, priority=_STORE)

        def failed(future: Future) -> None:
            if future.status != "finished":
                raise _error_of(future)
            self._gather(future, lambda rows: self._close(opened, rows), failed)

        self._watch(result, failed)

    def _went_wrong(self, opened: _Open, future: Future) -> None:
        """Sort out by who acts: the shard, the user, the document alone once more, or nobody."""
        if opened.is_given_up:
            return
        error = _error_of(future)
        if isinstance(error, StoreUnavailable | ConfigError | LeaseLost):
            raise error
        if (trouble := trouble_of(error)) is not None:
            raise trouble from error
        document = opened.document
        n_pages = self._n_pages[document] = max(len(opened.pages), self._n_pages.get(document, 1))
        self._give_up(opened)
        if not _is_lost(future, error):
            log.error("document %r: %s", document.key, error, exc_info=error)
            self._fail(document, "internal_error", f"{type(error).__name__}: {error}"[:500], n_pages)
            return
        tries = self._tries_alone.get(document, 0)
        log.warning("document %r: its worker died (%s); %s", document.key, error, "alone" if tries else "to be alone")
        if tries >= _TRIES_ALONE:
            message = "the worker process died over this document, also when it had the workers to itself"
            self._fail(document, "worker_killed", message, n_pages)
        else:
            self._tries_alone[document] = tries + 1
            self._suspects.append(document)

    def _give_up(self, opened: _Open) -> None:
        """Let go of all that a document holds on the cluster."""
        opened.is_given_up = True
        for page in opened.pages:
            self._let_out(page)
        opened.pages, opened.finished, opened.source = [], {}, None
        if opened.alone:
            self._gate.end_alone(self)
        self._open.discard(opened)

    def _let_out(self, page: _Page) -> None:
        if page.worker is not None:
            self._gate.leave(page.pixels, page.worker)
            page.worker = None

    def _submit(self, function: Callable[..., Any], *arguments: object, **options: object) -> Future:
        return self._client.submit(function, *arguments, pure=False, **options)

    def _when_done(self, future: Future, opened: _Open, then: Callable[[Any], None], gather: bool = True) -> None:
        """Call `then` with the value (or None, if it is not to be gathered), or deal with what went wrong."""

        def done(future: Future) -> None:
            if opened.is_given_up:
                return
            if future.status != "finished":
                self._went_wrong(opened, future)
            elif gather:
                self._gather(future, then, done)
            else:
                then(None)

        self._watch(future, done)

    def _gather(self, future: Future, then: Callable[[Any], None], done: Callable[[Future], None]) -> None:
        """Call `then` with the value of a future that is finished; or `done` anew, if the worker that held it died."""
        try:
            value = future.result(timeout=_GATHER_S)
        except Exception as error:
            if future.status == "pending" or (isinstance(error, TimeoutError) and future.status == "finished"):
                self._watch(future, done)  # it is made anew
            elif future.status == "finished":
                raise
            else:
                done(future)
            return
        then(value)

    def _watch(self, future: Future, done: Callable[[Future], None]) -> None:
        """Have `done` called in this object's own thread."""
        self._watched.add(future)

        def happened() -> None:
            self._watched.discard(future)
            done(future)

        future.add_done_callback(lambda _: self._events.put(happened))


_Way = tuple[Callable[..., Any], ...]
"""What prepares a page, takes what the network sees, scores and finishes."""


def _work_page(way: _Way, source: SourceDocument, page_index: int, job: PageJob) -> PageResult:
    prepare_page, scoring_input, score_pages, finish_page = way
    prepared = prepare_page(source, page_index, job)
    (scores,) = score_pages([scoring_input(prepared)], job)
    finished: PageResult = finish_page(prepared, scores, source, job)
    return finished


def _work_whole(
    does: tuple[Callable[..., Any], Callable[..., DocumentShape], _Way, Callable[..., DocumentResult]],
    document: Document,
    job: PageJob,
    most_pixels: int,
) -> DocumentResult | DocumentShape:
    """Return a document's rows; or its shape alone, if it has several pages or too many pixels."""
    fetch_document, describe, way, store_document = does
    source = fetch_document(document, job)
    shape = describe(source)
    if shape.n_pages > 1 or sum(shape.pixels) > most_pixels:
        return shape
    return store_document(source, [_work_page(way, source, number, job) for number in range(shape.n_pages)], job)


def _looks_short(document: Document) -> bool:
    return document.size_bytes <= _SHORT_BYTES and not document.key.lower().endswith(".pdf")


def _finish_scored(
    finish_page: Callable[..., PageResult],
    prepared: PreparedPage,
    scores: Sequence[Any],
    number: int,
    source: SourceDocument,
    job: PageJob,
) -> PageResult:
    return finish_page(prepared, scores[number], source, job)


def _error_of(future: Future) -> BaseException:
    if future.status == "error":
        error: BaseException | None = future.exception()
        if error is not None:
            return error
    return RuntimeError(f"the task was {future.status}")


def _is_lost(future: Future, error: BaseException) -> bool:
    from distributed import KilledWorker

    return future.status in ("cancelled", "lost") or isinstance(error, KilledWorker)
