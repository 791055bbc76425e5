"""The page steps in their order: `flows.cluster.dispatcher` runs them on the cluster, the window for a single page."""

from __future__ import annotations

from foliopress.flows.steps.document_plan import (
    DocumentShape,
    PageJob,
    SourceDocument,
    describe,
    fetch_document,
    open_document,
)
from foliopress.flows.steps.duplicates import point_to
from foliopress.flows.steps.finished_page import CheckpointedPage, FinishedPage, PageResult
from foliopress.flows.steps.page_rows import output_key_of
from foliopress.flows.steps.page_steps import (
    DecodedPage,
    KeptPage,
    PageText,
    PreparedPage,
    ReadPage,
    ScoringInput,
    StepHooks,
    TileScores,
    UndecodedPage,
    analyse_page,
    compress_page,
    finish_page,
    prepare_from_source,
    prepare_page,
    reader_of,
    score_pages,
    scoring_input,
)
from foliopress.flows.steps.store_document import (
    DocumentResult,
    assemble,
    fail_document,
    page_row,
    source_share,
    store_document,
)

__all__ = [
    "CheckpointedPage",
    "DecodedPage",
    "DocumentResult",
    "DocumentShape",
    "FinishedPage",
    "KeptPage",
    "PageJob",
    "PageResult",
    "PageText",
    "PreparedPage",
    "ReadPage",
    "ScoringInput",
    "SourceDocument",
    "StepHooks",
    "TileScores",
    "UndecodedPage",
    "analyse_page",
    "assemble",
    "compress_page",
    "describe",
    "fail_document",
    "fetch_document",
    "finish_page",
    "open_document",
    "output_key_of",
    "page_row",
    "point_to",
    "prepare_from_source",
    "prepare_page",
    "reader_of",
    "score_pages",
    "scoring_input",
    "source_share",
    "store_document",
]
