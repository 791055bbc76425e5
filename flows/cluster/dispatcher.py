"""Dispatch the documents of one shard to the Dask cluster, a window of pages at a time.

The driver sees shapes and rows only. Pixels stay on the worker that decoded them; what travels is a document's bytes,
the encoded page, and, where workers with a GPU score, the page at 150 dpi for the network.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from foliopress.configs.errors import ConfigError
from foliopress.flows.cluster.cluster import ClusterShape, raise_if_closed
from foliopress.flows.cluster.page_functions import PageSteps
from foliopress.flows.cluster.page_gate import ANY_WORKER, PageGate
from foliopress.flows.cluster.shard_state import (
    OpenDocument,
    OpenPage,
    Rows,
    ScoringBatches,
    SuspectDocuments,
    WaitingDuplicates,
)
from foliopress.flows.cluster.step_tasks import StepTasks
from foliopress.flows.cluster.task_events import TaskEvents, error_of, has_lost_worker
from foliopress.flows.steps import steps as page_steps
from foliopress.flows.steps.document_plan import DocumentShape, PageJob
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import LeaseLost, StoreUnavailable
from foliopress.tasks.host_errors import host_error_of
from foliopress.tasks.storage.source_listing import Document

if TYPE_CHECKING:
    from distributed import Future

_TICK_S = 0.5
_OPEN_BYTES_PER_WORKER = 256 * 2**20
"""Maximum bytes of sources in the workers' memory at once, per worker; one document is always admitted."""
_SHORT_BYTES = 2**24
"""A document of no more bytes is fetched twice rather than with a task of its own, if it has more than one page."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunHooks:
    """Callbacks by which a dispatcher reports to its run."""

    check: Callable[[], None] = lambda: None
    """Called at least twice a second; raises when the run must stop."""
    page_done: Callable[[], None] = lambda: None
    """Called when a page is finished."""
    find_original: Callable[[str], Rows | None] = lambda _: None
    """Returns the page rows of a document of another shard, by its key; None while it has none."""


class ShardDispatcher:
    """Takes documents through the page steps on a Dask cluster; one object per shard, used by one thread.

    Args:
        shape: The cluster.
        gate: Admits pages; shared by all shards of the run.
        scoring_batch_pages: Maximum number of pages to score together.
        hooks: Callbacks into the run.
        steps: The page steps.
    """

    _submit: StepTasks

    def __init__(
        self,
        shape: ClusterShape,
        gate: PageGate,
        scoring_batch_pages: int,
        hooks: RunHooks = RunHooks(),
        steps: PageSteps = page_steps,
    ) -> None:
        self._shape, self._gate, self._hooks, self._steps = shape, gate, hooks, steps
        self._tasks = TaskEvents(shape.client)
        self._batches = ScoringBatches(
            self._tasks, shape, scoring_batch_pages, lambda inputs: self._submit.score(inputs), self._on_page_scored
        )
        self._duplicates = WaitingDuplicates((), hooks.find_original)
        self._open: set[OpenDocument] = set()
        self._waiting: deque[OpenPage] = deque()
        self._suspects = SuspectDocuments()
        self._results: deque[DocumentResult] = deque()

    def compress(self, documents: Sequence[Document], job: PageJob) -> Iterator[DocumentResult]:
        """Yield each document's rows when it is stored, in the order in which documents are done.

        Raises:
            StoreUnavailable: If SOURCE or DEST gave no answer, or a worker's machine is in trouble; the shard may be
                tried again.
            ConfigError: If a worker cannot do the work at all.
            ClusterLost: If the scheduler is gone, or all workers are and none comes.
        """
        self._submit = StepTasks(self._tasks, self._steps, job, self._shape)
        self._duplicates = WaitingDuplicates(documents, self._hooks.find_original)
        todo = deque(document for document in documents if document.duplicate_of is None)
        try:
            yield from self._compress(todo)
        finally:
            self._gate.end_alone(self)
            for document in list(self._open):
                self._close(document)
            self._tasks.cancel()

    def _compress(self, todo: deque[Document]) -> Iterator[DocumentResult]:
        with raise_if_closed(self._shape.client):
            while todo or self._open or self._suspects or self._duplicates:
                while todo and self._has_room_for(todo[0]):
                    self._start(todo.popleft())
                for duplicate, rows in self._duplicates.take_ready(self._has_room_for):
                    self._start_duplicate(duplicate, rows)
                if not todo and not self._open and self._suspects:
                    self._start(self._suspects.pop(), is_alone=True)
                self._admit_pages()
                self._batches.submit_ready()
                self._hooks.check()
                self._shape.check()
                self._tasks.process(_TICK_S)
                while self._results:
                    yield self._results.popleft()

    def _has_room_for(self, document: Document) -> bool:
        held_bytes = sum(one.document.size_bytes for one in self._open)
        max_bytes = _OPEN_BYTES_PER_WORKER * self._shape.n_workers
        return not self._open or (
            len(self._open) < 2 * self._gate.max_pages and held_bytes + document.size_bytes <= max_bytes
        )

    def _start(self, document: Document, is_alone: bool = False) -> None:
        opened = OpenDocument(document, is_alone)
        self._open.add(opened)
        if not is_alone and not self._shape.scoring_resources and _is_probably_short(document):
            opened.pages = [OpenPage(opened, 0, self._gate.pixels_per_page, is_document=True)]
            self._waiting.extend(opened.pages)
            return
        opened.source = self._submit.fetch(document)
        self._describe(opened)

    def _start_duplicate(self, document: Document, original: Rows) -> None:
        opened = OpenDocument(document, is_alone=False)
        self._open.add(opened)
        opened.source = self._submit.fetch(document)
        compared = self._submit.compare(opened.source, original)
        self._when_done(compared, opened, lambda rows: self._on_duplicate_compared(opened, rows))

    def _on_duplicate_compared(self, opened: OpenDocument, rows: DocumentResult | None) -> None:
        if rows is None:
            log.warning("document %r has other bytes than %r", opened.document.key, opened.document.duplicate_of)
            self._describe(opened)
            return
        for _ in rows.pages[1:]:
            self._hooks.page_done()
        self._on_document_done(opened, rows)

    def _describe(self, opened: OpenDocument) -> None:
        shape = self._submit.describe(opened.source)
        self._when_done(shape, opened, lambda value: self._on_described(opened, value))

    def _on_described(self, opened: OpenDocument, shape: DocumentShape) -> None:
        opened.pages = [OpenPage(opened, number, pixels) for number, pixels in enumerate(shape.pixels)]
        self._waiting.extend(opened.pages)
        if not opened.pages:
            self._store(opened)

    def _admit_pages(self) -> None:
        while self._waiting:
            page = self._waiting[0]
            if not page.owner.is_closed:
                page.worker = self._gate.try_enter(page.pixels, self if page.owner.is_alone else None)
                if page.worker is None:
                    return
                # where there is room for its pixels; later tasks run where these pixels are
                where = {"workers": [page.worker], "allow_other_workers": True} if page.worker != ANY_WORKER else {}
                if page.is_document:
                    self._run_document(page, where)
                elif self._shape.scoring_resources:
                    self._prepare(page, where)
                else:
                    self._run_page(page, where)
            self._waiting.popleft()

    def _run_document(self, page: OpenPage, where: Mapping[str, Any]) -> None:
        opened = page.owner
        result = self._submit.document(opened.document, page.pixels, where)
        self._when_done(result, opened, lambda value: self._on_document_run(opened, value))

    def _on_document_run(self, opened: OpenDocument, value: DocumentResult | DocumentShape) -> None:
        if isinstance(value, DocumentResult):
            self._on_document_done(opened, value)
            return
        for page in opened.pages:
            self._leave_gate(page)
        opened.source = self._submit.fetch(opened.document)
        self._on_described(opened, value)

    def _run_page(self, page: OpenPage, where: Mapping[str, Any]) -> None:
        finished = self._submit.page(page.owner.source, page.page_index, where)
        self._when_done(finished, page.owner, lambda _: self._on_page_finished(page, finished), is_gathered=False)

    def _prepare(self, page: OpenPage, where: Mapping[str, Any]) -> None:
        """Have a page decoded that may be scored on another worker."""
        page.prepared = self._submit.prepare(page.owner.source, page.page_index, where)
        page.scoring_input = self._submit.scoring_input(page.prepared)
        # the plane itself stays where it is: the driver only needs to know that it is there
        self._when_done(page.scoring_input, page.owner, lambda _: self._batches.add(page), is_gathered=False)

    def _on_page_scored(self, page: OpenPage, scores: Future, number: int) -> None:
        if page.owner.is_closed:
            return
        if scores.status != "finished":
            self._on_failed(page.owner, scores)
            return
        finished = self._submit.finish(page.prepared, scores, number, page.owner.source)
        self._when_done(finished, page.owner, lambda _: self._on_page_finished(page, finished), is_gathered=False)

    def _on_page_finished(self, page: OpenPage, finished: Future) -> None:
        self._leave_gate(page)
        page.prepared = page.scoring_input = None
        self._hooks.page_done()
        opened = page.owner
        opened.finished[page.page_index] = finished
        if len(opened.finished) == len(opened.pages):
            self._store(opened)

    def _store(self, opened: OpenDocument) -> None:
        finished = [opened.finished[page.page_index] for page in opened.pages]
        result = self._submit.store(opened.source, finished)
        self._when_done(result, opened, lambda rows: self._on_document_done(opened, rows))

    def _on_document_done(self, opened: OpenDocument, rows: DocumentResult) -> None:
        if not opened.finished:
            self._hooks.page_done()  # its only page, or the one row of a document that could not be opened
        self._close(opened)
        self._results.append(rows)
        self._duplicates.add_rows(opened.document.key, rows.pages)

    def _fail(self, document: Document, reason: str, message: str, n_pages: int) -> None:
        opened = OpenDocument(document, is_alone=False)
        self._open.add(opened)
        result = self._submit.fail(document, reason, message, n_pages)

        def on_end(future: Future) -> None:
            if future.status != "finished":
                raise error_of(future)
            self._tasks.gather(future, lambda rows: self._on_document_done(opened, rows), on_end)

        self._tasks.watch(result, on_end)

    def _on_failed(self, opened: OpenDocument, future: Future) -> None:
        """Sort a failure by who acts: the shard, the user, the document alone once more, or nobody."""
        if opened.is_closed:
            return
        error = error_of(future)
        if isinstance(error, StoreUnavailable | ConfigError | LeaseLost):
            raise error
        if (trouble := host_error_of(error)) is not None:
            raise trouble from error
        document = opened.document
        n_pages = self._suspects.n_pages(document, len(opened.pages))
        self._close(opened)
        if not has_lost_worker(future, error):
            log.error("document %r: %s", document.key, error, exc_info=error)
            self._fail(document, "internal_error", f"{type(error).__name__}: {error}"[:500], n_pages)
        elif not self._suspects.add(document, error):
            message = "the worker process died over this document, also when it had the workers to itself"
            self._fail(document, "worker_killed", message, n_pages)

    def _close(self, opened: OpenDocument) -> None:
        """Release everything that a document holds on the cluster."""
        opened.is_closed = True
        for page in opened.pages:
            self._leave_gate(page)
        opened.pages, opened.finished, opened.source = [], {}, None
        if opened.is_alone:
            self._gate.end_alone(self)
        self._open.discard(opened)

    def _leave_gate(self, page: OpenPage) -> None:
        if page.worker is not None:
            self._gate.leave(page.pixels, page.worker)
            page.worker = None

    def _when_done(
        self, future: Future, opened: OpenDocument, then: Callable[[Any], None], is_gathered: bool = True
    ) -> None:
        """Call `then` with the task's value (None if it is not to be gathered), or handle the failure."""

        def on_end(future: Future) -> None:
            if opened.is_closed:
                return
            if future.status != "finished":
                self._on_failed(opened, future)
            elif is_gathered:
                self._tasks.gather(future, then, on_end)
            else:
                then(None)

        self._tasks.watch(future, on_end)


def _is_probably_short(document: Document) -> bool:
    return document.size_bytes <= _SHORT_BYTES and not document.key.lower().endswith(".pdf")
