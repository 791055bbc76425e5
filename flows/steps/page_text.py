"""Write the text of a page below DEST/text."""

from __future__ import annotations

from foliopress.flows.steps.document_plan import PageJob, SourceDocument
from foliopress.flows.steps.finished_page import FinishedPage
from foliopress.flows.steps.page_rows import output_key_of
from foliopress.tasks.naming.output_keys import text_key
from foliopress.tasks.ocr import text_export
from foliopress.tasks.records.rows import WrittenFile


def store_text(source: SourceDocument, page: FinishedPage, job: PageJob, *, is_kept: bool) -> tuple[WrittenFile, ...]:
    """Write a page's text in the forms asked for, boxes in the pixels of the stored page.

    Returns:
        The files; none if no form is asked for, or OCR gave no answer.
    """
    size, output_size = page.metrics.reading.size, page.metrics.output_size
    if not job.settings.text or not page.metrics.has_text or size is None or output_size is None:
        return ()
    if not source.pages:  # a worker has died over the document since the page was read
        return ()
    key, number = source.document.key, page.page_index if len(source.pages) > 1 else None
    stored = key if is_kept else output_key_of(source, page, job.naming)
    rows = cols = 1.0
    if not is_kept:
        rows, cols = output_size.height_px / size.height_px, output_size.width_px / size.width_px
    text = text_export.TextPage(
        name=stored.rpartition("/")[2],
        page_index=page.page_index,
        height_px=round(size.height_px * rows),
        width_px=round(size.width_px * cols),
        words=text_export.scaled(page.text, rows, cols),
        language=job.settings.ocr.language,
        engine="Tesseract",
    )
    written = []
    for form in job.settings.text:
        place = text_key(key, text_export.EXTENSIONS[form], page_index=number, naming=job.naming)
        data = text_export.written(text, form)
        job.dest.write_bytes(place, data, is_output=True)
        written.append(WrittenFile.of(place, data))
    return tuple(written)
