"""Have independent decoders compare a document with its output before the output is stored."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from time import perf_counter

from foliopress.configs.errors import ConfigError
from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.document_plan import PageJob, SourceDocument
from foliopress.flows.steps.finished_page import PageResult
from foliopress.flows.steps.page_metrics import WitnessMetrics
from foliopress.tasks.errors import PageError, StoreUnavailable
from foliopress.tasks.host_errors import raise_if_host_error
from foliopress.tasks.witness.document_check import (
    DocumentSighting,
    OutputImage,
    compare_images,
    compare_pdf_with_images,
    compare_pdfs,
)

log = logging.getLogger(__name__)


def witness(
    source: SourceDocument, finished: Sequence[PageResult], data: bytes | None, job: PageJob
) -> tuple[list[PageResult], PageError | None]:
    """Compare a document with its output, and add the comparison to the metrics of each page.

    Args:
        source: The document.
        finished: Its pages, each of which has an output unless it stays as it is in a PDF.
        data: The output if that is one document again; otherwise each page is a file of its own.
        job: Job of the shard.

    Returns:
        The pages with their new metrics, and the problem (`seen_otherwise`) that keeps the document whole; None if no
        difference was seen. A page that is to blame has it as its own problem.
    """
    start = perf_counter()
    try:
        seen = _look(source, finished, data, job)
    except (ConfigError, StoreUnavailable):
        raise
    except Exception as error:  # decoders raise nearly anything; whatever cannot be compared is not stored
        raise_if_host_error(error, "comparing a document with its output")
        log.exception("%r could not be compared with its output", source.document.key)
        seen = DocumentSighting(problem=f"it could not be compared ({type(error).__name__}: {error})")
    seconds = (perf_counter() - start) / max(1, len(seen.pages))
    problem: PageError | None = None
    blamed = next((number for number, page in sorted(seen.pages.items()) if page.problem is not None), None)
    if seen.problem is not None:
        problem = PageError("seen_otherwise", f"{seen.problem}; the document is kept whole")
    elif blamed is not None:
        bad = seen.pages[blamed]
        message = f"page {blamed + 1} {bad.problem}, as {bad.decoders} shows it; the document is kept whole"
        problem = PageError("seen_otherwise", message)
    pages: list[PageResult] = []
    for page in finished:
        sighting = seen.pages.get(page.page_index)
        if sighting is None:
            pages.append(page)
            continue
        metrics = WitnessMetrics(sighting.decoders, sighting.error, sighting.worst_block, seconds)
        own = problem if sighting.problem is not None and page.problem is None else page.problem
        pages.append(replace(page, problem=own, metrics=replace(page.metrics, witness=metrics)))
    return pages, problem


def _look(source: SourceDocument, finished: Sequence[PageResult], data: bytes | None, job: PageJob) -> DocumentSighting:
    with source.opened(job) as file:
        if source.written_back == "PDF" and data is not None:
            return compare_pdfs(file, data, [page.page_index for page in finished if _is_changed(page, job)])
        outputs = _output_images(finished, data, job)
        if source.header is not None and source.header.format == "PDF":
            return compare_pdf_with_images(file, outputs)
        return compare_images(file if isinstance(file, bytes) else file.read(), outputs)


def _is_changed(page: PageResult, job: PageJob) -> bool:
    """Return whether a page of a PDF has another image, or may have a text layer."""
    return page.problem is None or (job.settings.documents.text_layer and page.metrics.has_text)


def _output_images(finished: Sequence[PageResult], data: bytes | None, job: PageJob) -> Iterator[OutputImage]:
    for page in finished:
        dpi, output_dpi = _resolutions(page)
        if data is not None:
            yield OutputImage(data, page.page_index, dpi, output_dpi)
        else:
            yield OutputImage(checkpoints.load(page, job.dest).data or b"", 0, dpi, output_dpi)


def _resolutions(page: PageResult) -> tuple[float | None, float | None]:
    """Return the dots per inch of a page and of its output; None if unknown."""
    size, output_size = page.metrics.reading.size, page.metrics.output_size
    if size is None or output_size is None:
        return None, None
    dpi = page.metrics.reading.dpi or output_size.dpi
    return (None, None) if dpi is None else (dpi, dpi * (output_size.height_px / size.height_px))
