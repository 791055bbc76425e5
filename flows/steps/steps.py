"""The page steps in their order: `flows.cluster.dispatcher` runs them on the cluster, the window for a single page."""

from __future__ import annotations

from foliopress.flows.steps.checkpoints import FinishedPage
from foliopress.flows.steps.document_plan import (
    DocumentShape,
    PageJob,
    SourceDocument,
    describe,
    fetch_document,
    open_document,
)
from foliopress.flows.steps.duplicates import point_to
from foliopress.flows.steps.page_steps import (
    PreparedPage,
    ScoringInput,
    findings_of,
    finish_page,
    prepare_page,
    score_pages,
    scoring_input,
)
from foliopress.flows.steps.store_document import (
    DocumentResult,
    fail_document,
    output_key_of,
    page_row,
    put_together,
    source_share,
    store_document,
)

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
