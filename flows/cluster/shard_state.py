"""Hold the documents and pages of a shard while they are in flight: open, waiting for an original, or for a batch."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from foliopress.flows.cluster.cluster import ClusterShape
from foliopress.flows.cluster.task_events import TaskEvents
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.storage.source_listing import Document

if TYPE_CHECKING:
    from distributed import Future

Rows = Sequence[PageRow]
"""The page rows of one document."""

_TRIES_ALONE = 1
"""Number of tries alone of a document whose worker died, before it is blamed. Dask repeats a task once when its
worker died, so that it takes two deaths alone."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class OpenPage:
    """A page in flight."""

    owner: OpenDocument
    page_index: int
    pixels: int
    is_document: bool = False
    """Stands for a document that is not fetched yet and probably has no other page."""
    worker: str | None = None
    """Worker that it was admitted to; None while it waits at the gate."""
    prepared: Future | None = None
    scoring_input: Future | None = None


@dataclass(eq=False)
class OpenDocument:
    """A document in flight."""

    document: Document
    is_alone: bool
    source: Future | None = None
    pages: list[OpenPage] = field(default_factory=list)
    finished: dict[int, Future] = field(default_factory=dict)
    is_closed: bool = False
    """True once it is done or given up: what its tasks still return is ignored."""


class WaitingDuplicates:
    """The duplicates of a shard, which wait for the rows of their originals.

    Args:
        documents: All documents of the shard.
        find_original: Returns the page rows of a document of another shard; None while it has none.
    """

    def __init__(self, documents: Sequence[Document], find_original: Callable[[str], Rows | None]) -> None:
        keys = {document.key for document in documents}
        self._find_original = find_original
        self._waiting = deque(document for document in documents if document.duplicate_of is not None)
        self._rows_here: dict[str, Rows | None] = {
            document.duplicate_of: None for document in self._waiting if document.duplicate_of in keys
        }

    def __len__(self) -> int:
        return len(self._waiting)

    def add_rows(self, document_key: str, rows: Rows) -> None:
        """Note the rows of a document of this shard."""
        if document_key in self._rows_here:
            self._rows_here[document_key] = rows

    def take_ready(self, has_room_for: Callable[[Document], bool]) -> Iterator[tuple[Document, Rows]]:
        """Take out each duplicate whose original has its rows, with these rows, while there is room for the next."""
        for _ in range(len(self._waiting)):
            if not has_room_for(self._waiting[0]):
                return
            duplicate = self._waiting.popleft()
            original = duplicate.duplicate_of or ""
            is_here = original in self._rows_here
            rows = self._rows_here[original] if is_here else self._find_original(original)
            if rows is None:
                self._waiting.append(duplicate)
            else:
                yield duplicate, rows


class SuspectDocuments:
    """Documents whose worker died while it worked on them; each is tried again, alone, when no other is left."""

    def __init__(self) -> None:
        self._waiting: deque[Document] = deque()
        self._tries: dict[Document, int] = {}
        self._n_pages: dict[Document, int] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def n_pages(self, document: Document, n_open: int) -> int:
        """Return the number of a document's pages, at least 1: the most that were ever seen of it."""
        self._n_pages[document] = max(n_open, self._n_pages.get(document, 1))
        return self._n_pages[document]

    def add(self, document: Document, error: BaseException) -> bool:
        """Add a document whose worker died; return False if it has had its try alone."""
        tries = self._tries.get(document, 0)
        if tries >= _TRIES_ALONE:
            log.warning("document %r: its worker died when the document was alone (%s)", document.key, error)
            return False
        log.warning("document %r: its worker died (%s); it will be tried alone", document.key, error)
        self._tries[document] = tries + 1
        self._waiting.append(document)
        return True

    def pop(self) -> Document:
        """Take out the document that has waited longest."""
        return self._waiting.popleft()


class ScoringBatches:
    """Scores pages together on the workers that offer a GPU.

    A batch that fails is scored page by page, so that one page does not take the others along.

    Args:
        tasks: The tasks of the shard.
        shape: The cluster; its GPUs are kept busy with smaller batches if no full one is ready.
        batch_pages: Maximum number of pages in a batch.
        submit: Submits the scoring of some pages.
        on_scored: Called with each page, the task and the page's place in the batch; the task may have failed.
    """

    def __init__(
        self,
        tasks: TaskEvents,
        shape: ClusterShape,
        batch_pages: int,
        submit: Callable[[list[Future | None]], Future],
        on_scored: Callable[[OpenPage, Future, int], None],
    ) -> None:
        self._tasks, self._shape, self._batch_pages = tasks, shape, batch_pages
        self._submit, self._on_scored = submit, on_scored
        self._ready: list[OpenPage] = []
        self._n_running = 0

    def add(self, page: OpenPage) -> None:
        """Add a page whose scoring input lies on a worker."""
        self._ready.append(page)

    def submit_ready(self) -> None:
        """Submit full batches, and a smaller one rather than let a scoring worker idle."""
        self._ready = [page for page in self._ready if not page.owner.is_closed]
        while self._ready and (len(self._ready) >= self._batch_pages or self._n_running < self._shape.n_gpus):
            batch, self._ready = self._ready[: self._batch_pages], self._ready[self._batch_pages :]
            self._score(batch)

    def _score(self, batch: list[OpenPage]) -> None:
        scores = self._submit([page.scoring_input for page in batch])
        self._n_running += 1
        self._tasks.watch(scores, partial(self._on_end, batch))

    def _on_end(self, batch: list[OpenPage], scores: Future) -> None:
        self._n_running -= 1
        if scores.status != "finished" and len(batch) > 1:
            log.warning("scoring a batch of %d pages failed; scoring each page alone", len(batch))
            for page in batch:
                if not page.owner.is_closed:
                    self._score([page])
            return
        for number, page in enumerate(batch):
            self._on_scored(page, scores, number)
