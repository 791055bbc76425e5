"""Witness: have other eyes compare a document with its output before the output is stored."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator, Sequence
from time import perf_counter

from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.checkpoints import FinishedPage
from foliopress.flows.steps.document_plan import PageJob, SourceDocument
from foliopress.tasks.errors import ConfigError, PageError, StoreUnavailable
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
    source: SourceDocument, finished: Sequence[FinishedPage], data: bytes | None, job: PageJob
) -> tuple[list[FinishedPage], PageError | None]:
    """Compare a document with its output, and note in each page's figures what was seen.

    Args:
        source: The document.
        finished: Its pages, each of which has an output unless it stays as it is in a PDF.
        data: The output where that is one file again; else each page is a file of its own.
        job: Of the shard.

    Returns:
        The pages with their new figures, and the problem (`seen_otherwise`) that keeps the document whole; None if
        all that could be seen is the same. A page that is to blame has it as its own problem.
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
        message = f"page {blamed + 1} {bad.problem}, as {bad.eye} shows it; the document is kept whole"
        problem = PageError("seen_otherwise", message)
    pages = []
    for page in finished:
        sighting = seen.pages.get(page.page_index)
        if sighting is None:
            pages.append(page)
            continue
        figures = sighting.as_figures() | {"seconds_witness": seconds}
        own = problem if sighting.problem is not None and page.problem is None else page.problem
        pages.append(dataclasses.replace(page, problem=own, figures=page.figures | figures))
    return pages, problem


def _look(
    source: SourceDocument, finished: Sequence[FinishedPage], data: bytes | None, job: PageJob
) -> DocumentSighting:
    if source.written_back == "PDF":
        assert data is not None
        with source.opened(job) as file:
            return compare_pdfs(file, data, [page.page_index for page in finished if _is_changed(page, job)])
    outputs = _output_images(finished, data, job)
    assert source.header is not None
    with source.opened(job) as file:
        if source.header.format == "PDF":
            return compare_pdf_with_images(file, outputs)
        return compare_images(file if isinstance(file, bytes) else file.read(), outputs)


def _is_changed(page: FinishedPage, job: PageJob) -> bool:
    """Return whether a page of a PDF has another image, or may have a text layer."""
    return page.problem is None or (job.settings.documents.text_layer and "ocr_words" in page.figures)


def _output_images(finished: Sequence[FinishedPage], data: bytes | None, job: PageJob) -> Iterator[OutputImage]:
    for page in finished:
        dpi, output_dpi = _resolutions(page)
        if data is not None:
            yield OutputImage(data, page.page_index, dpi, output_dpi)
        else:
            yield OutputImage(checkpoints.unpark(page, job.dest).data or b"", 0, dpi, output_dpi)


def _resolutions(page: FinishedPage) -> tuple[float | None, float | None]:
    """Return dots per inch of a page and of its output; None where nobody knows."""
    figures = page.figures
    dpi = figures.get("dpi") or figures.get("output_dpi")
    if dpi is None or not figures.get("height_px"):
        return None, None
    scale = float(str(figures["output_height_px"])) / float(str(figures["height_px"]))
    return float(str(dpi)), float(str(dpi)) * scale
