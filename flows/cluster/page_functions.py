"""Run the page steps on a worker: one page, or a whole document of one page, in one Dask task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from foliopress.flows.steps.document_plan import DocumentShape, PageJob, SourceDocument
from foliopress.flows.steps.finished_page import FinishedPage
from foliopress.flows.steps.page_steps import PreparedPage
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.storage.source_listing import Document


class PageSteps(Protocol):
    """The steps of a page, as `flows.steps.steps` has them; tests and benchmarks bring their own."""

    fetch_document: Callable[..., Any]
    describe: Callable[..., Any]
    prepare_page: Callable[..., Any]
    scoring_input: Callable[..., Any]
    score_pages: Callable[..., Any]
    finish_page: Callable[..., Any]
    store_document: Callable[..., Any]
    fail_document: Callable[..., Any]
    point_to: Callable[..., Any]


@dataclass(frozen=True)
class PageFunctions:
    """The steps between a fetched document and its finished pages, as they travel to a worker."""

    prepare_page: Callable[..., PreparedPage]
    scoring_input: Callable[..., Any]
    score_pages: Callable[..., Sequence[Any]]
    finish_page: Callable[..., FinishedPage]

    @classmethod
    def of(cls, steps: PageSteps) -> PageFunctions:
        """Return those of some steps."""
        return cls(steps.prepare_page, steps.scoring_input, steps.score_pages, steps.finish_page)


@dataclass(frozen=True)
class DocumentFunctions:
    """All steps of a document, as they travel to a worker."""

    fetch_document: Callable[..., SourceDocument]
    describe: Callable[..., DocumentShape]
    page: PageFunctions
    store_document: Callable[..., DocumentResult]

    @classmethod
    def of(cls, steps: PageSteps) -> DocumentFunctions:
        """Return those of some steps."""
        return cls(steps.fetch_document, steps.describe, PageFunctions.of(steps), steps.store_document)


def run_page(functions: PageFunctions, source: SourceDocument, page_index: int, job: PageJob) -> FinishedPage:
    """Prepare, score and finish one page."""
    prepared = functions.prepare_page(source, page_index, job)
    (scores,) = functions.score_pages([functions.scoring_input(prepared)], job)
    return functions.finish_page(prepared, scores, source, job)


def run_document(
    functions: DocumentFunctions, document: Document, job: PageJob, max_pixels: int
) -> DocumentResult | DocumentShape:
    """Return a document's rows; return its shape alone if it has several pages or too many pixels."""
    source = functions.fetch_document(document, job)
    shape = functions.describe(source)
    if shape.n_pages > 1 or sum(shape.pixels) > max_pixels:
        return shape
    pages = [run_page(functions.page, source, number, job) for number in range(shape.n_pages)]
    return functions.store_document(source, pages, job)


def finish_scored_page(
    finish_page: Callable[..., FinishedPage],
    prepared: PreparedPage,
    scores: Sequence[Any],
    number: int,
    source: SourceDocument,
    job: PageJob,
) -> FinishedPage:
    """Finish a page with its scores, which stand at `number` among those of its batch."""
    return finish_page(prepared, scores[number], source, job)
