"""Page steps that take workers no time: `flows.cluster.dispatcher` runs them in place of `flows.steps.steps`.

The driver's work for a page is that of a real run: the same tasks, and rows of the same size.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

from benchmarks.replay import read_record, replayed, stand_in
from foliopress.flows.steps.document_plan import DocumentShape, PageJob, SourceDocument
from foliopress.flows.steps.duplicates import point_to
from foliopress.flows.steps.store_document import DocumentResult, fail_document
from foliopress.tasks.storage.source_listing import Document

__all__ = [
    "RECORD_VARIABLE",
    "describe",
    "fail_document",
    "fetch_document",
    "finish_page",
    "point_to",
    "prepare_page",
    "score_pages",
    "scoring_input",
    "store_document",
]

RECORD_VARIABLE = "FOLIOPRESS_RECORD"
"""Environment variable with the finished DEST, for workers."""


def fetch_document(document: Document, _job: PageJob) -> SourceDocument:
    """Return a document without bytes."""
    return SourceDocument(document, b"", None, None, None, 0.0)


def describe(source: SourceDocument) -> DocumentShape:
    """Return the shape of the stand-in, with one pixel a page."""
    n_pages = len(stand_in(_record(), source.document).pages)
    return DocumentShape(n_pages, (1,) * n_pages, None)


def prepare_page(*_: object) -> None:
    """Do nothing."""


def scoring_input(_prepared: None) -> None:
    """Do nothing."""


def score_pages(inputs: Sequence[None], _job: PageJob) -> list[None]:
    """Return nothing for each page."""
    return [None] * len(inputs)


def finish_page(*_: object) -> None:
    """Do nothing."""


def store_document(source: SourceDocument, _finished: Sequence[None], job: PageJob) -> DocumentResult:
    """Return the rows of the stand-in."""
    return replayed(_record(), source.document, job)


@lru_cache(maxsize=1)
def _record() -> list[DocumentResult]:
    return read_record(os.environ[RECORD_VARIABLE])
