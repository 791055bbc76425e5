"""Order the work: page steps, runs on a Dask cluster, Prefect flows, and the command line.

`compress_one` is the whole pipeline for one document, in this process. A run does the same for all documents of an
archive: it cuts the listing into shards, dispatches their documents to a cluster, and commits each shard's rows.
No other package imports Dask. Prefect is imported here and in `foliopress.deployments`, which schedules these flows.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foliopress.flows.steps.document_plan import PageJob
    from foliopress.flows.steps.store_document import DocumentResult
    from foliopress.tasks.storage.source_listing import Document

os.environ.setdefault("DO_NOT_TRACK", "1")  # before anything here imports Prefect: disables its analytics


def compress_one(document: Document, job: PageJob) -> DocumentResult:
    """Compress one document of SOURCE into DEST, and return its rows."""
    from foliopress.flows.steps import steps  # here, as it imports the codecs

    source = steps.fetch_document(document, job)
    prepared = [steps.prepare_page(source, number, job) for number in range(steps.describe(source).n_pages)]
    scores = steps.score_pages([steps.scoring_input(page) for page in prepared], job)
    finished = [steps.finish_page(page, score, source, job) for page, score in zip(prepared, scores, strict=True)]
    return steps.store_document(source, finished, job)
