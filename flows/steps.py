"""The page steps in their order, as `flows.spread` runs them on the cluster, and the window for a single page."""

from __future__ import annotations

from flows.pages import (
    PreparedPage,
    ScoringInput,
    findings_of,
    finish_page,
    prepare_page,
    score_pages,
    scoring_input,
)
from flows.parking import FinishedPage
from flows.sources import DocumentShape, PageJob, SourceDocument, describe, fetch_document, open_document
from flows.storing import (
    DocumentResult,
    fail_document,
    output_key_of,
    page_row,
    put_together,
    source_share,
    store_document,
)
from flows.twins import point_to

__all__ = [
    "DocumentResult",
    "DocumentShape",
    "FinishedPage",
    "PageJob",
    "PreparedPage",
    "ScoringInput",
    "SourceDocument",
    "describe",
    "fail_document",
    "fetch_document",
    "findings_of",
    "finish_page",
    "open_document",
    "output_key_of",
    "page_row",
    "point_to",
    "prepare_page",
    "put_together",
    "score_pages",
    "scoring_input",
    "source_share",
    "store_document",
]
