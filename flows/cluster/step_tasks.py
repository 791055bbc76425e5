"""Submit the page steps of one shard as Dask tasks, each with its priority."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from foliopress.flows.cluster.cluster import ClusterShape
from foliopress.flows.cluster.page_functions import (
    DocumentFunctions,
    PageFunctions,
    PageSteps,
    finish_scored_page,
    run_document,
    run_page,
)
from foliopress.flows.cluster.shard_state import Rows
from foliopress.flows.cluster.task_events import TaskEvents
from foliopress.flows.steps.document_plan import PageJob
from foliopress.tasks.storage.source_listing import Document

if TYPE_CHECKING:
    from distributed import Future

# Dask runs what is nearly done first, so that pages leave the workers' memory before new ones come in.
_FETCH, _PREPARE, _SCORE, _FINISH, _STORE = 5, 0, 10, 20, 30


class StepTasks:
    """Submits the steps of a shard; values go from task to task on the workers, and the driver holds futures.

    Args:
        tasks: The tasks of the shard.
        steps: The page steps.
        job: What workers need to know of the shard.
        shape: The cluster, for the resources that scoring asks for.
    """

    def __init__(self, tasks: TaskEvents, steps: PageSteps, job: PageJob, shape: ClusterShape) -> None:
        self._submit, self._steps, self._job, self._shape = tasks.submit, steps, job, shape
        self._page, self._document = PageFunctions.of(steps), DocumentFunctions.of(steps)

    def document(self, document: Document, max_pixels: int, where: Mapping[str, Any]) -> Future:
        """Take a document from its key to its rows in one task, if it has one page of no more pixels.

        A task costs driver and worker 14 ms, however little it does; one for each step cost 1 % of a core more for
        each worker.
        """
        return self._submit(run_document, self._document, document, self._job, max_pixels, priority=_PREPARE, **where)

    def page(self, source: Future | None, page_index: int, where: Mapping[str, Any]) -> Future:
        """Prepare, score and finish a page in one task."""
        return self._submit(run_page, self._page, source, page_index, self._job, priority=_PREPARE, **where)

    def fetch(self, document: Document) -> Future:
        """Read a document's bytes and header."""
        return self._submit(self._steps.fetch_document, document, self._job, priority=_FETCH)

    def describe(self, source: Future | None) -> Future:
        """Return a document's shape."""
        return self._submit(self._steps.describe, source, priority=_FETCH)

    def compare(self, source: Future | None, original: Rows) -> Future:
        """Return rows that point to the output of a document's original; None if their bytes differ."""
        return self._submit(self._steps.point_to, source, original, self._job, priority=_STORE)

    def prepare(self, source: Future | None, page_index: int, where: Mapping[str, Any]) -> Future:
        """Decode and analyse a page."""
        return self._submit(self._steps.prepare_page, source, page_index, self._job, priority=_PREPARE, **where)

    def scoring_input(self, prepared: Future) -> Future:
        """Return what the network sees of a page."""
        return self._submit(self._steps.scoring_input, prepared, priority=_PREPARE + 1)

    def score(self, inputs: Sequence[Future | None]) -> Future:
        """Score some pages together, on a worker that offers a GPU."""
        resources = self._shape.scoring_resources
        return self._submit(self._steps.score_pages, list(inputs), self._job, priority=_SCORE, resources=resources)

    def finish(self, prepared: Future | None, scores: Future, number: int, source: Future | None) -> Future:
        """Encode and check a page, whose scores stand at `number` in its batch."""
        arguments = (self._steps.finish_page, prepared, scores, number, source, self._job)
        return self._submit(finish_scored_page, *arguments, priority=_FINISH)

    def store(self, source: Future | None, finished: Sequence[Future]) -> Future:
        """Store a document's outputs."""
        return self._submit(self._steps.store_document, source, list(finished), self._job, priority=_STORE)

    def fail(self, document: Document, reason: str, message: str, n_pages: int) -> Future:
        """Return the rows of a document that cannot be worked on."""
        return self._submit(self._steps.fail_document, document, self._job, reason, message, n_pages, priority=_STORE)
