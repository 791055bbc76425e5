"""Storing: a document's outputs are written, all its pages compressed or the source whole, and its rows made."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import pyarrow as pa

from foliopress.configs.settings import Settings
from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.checkpoints import FinishedPage
from foliopress.flows.steps.document_plan import PageJob, SourceDocument, copy_of, useful_bytes
from foliopress.flows.steps.witness_step import witness
from foliopress.tasks.analysis import resolution
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import NameRefused, PageError, StoreUnavailable
from foliopress.tasks.images import tiff_writer
from foliopress.tasks.ocr import text_export
from foliopress.tasks.pdf import pdf_writer
from foliopress.tasks.pdf.image_streams import CodedImage
from foliopress.tasks.records.rows import PageRow, WrittenFile
from foliopress.tasks.records.schemas import TILES_SCHEMA, WORDS_SCHEMA, as_table
from foliopress.tasks.storage import partial_reads
from foliopress.tasks.storage.key_spelling import ORDINARY, Naming
from foliopress.tasks.storage.output_keys import output_key, text_key
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store


@dataclass(frozen=True)
class DocumentResult:
    """The rows of one document; its outputs are stored.

    Words and tiles, of which a page has hundreds, are tables already, so that the driver need not make them.
    """

    pages: list[dict[str, object]]
    words: pa.Table
    tiles: pa.Table


def store_document(source: SourceDocument, finished: Sequence[FinishedPage], job: PageJob) -> DocumentResult:
    """Write a document's outputs, all its pages compressed or the source whole, and return its rows.

    Of one whose name DEST refuses nothing is written, and its rows are `failed`.
    """
    try:
        return _store_document(source, finished, job)
    except NameRefused as error:
        return _without_output(source, finished, error, job, len(finished))


def _store_document(source: SourceDocument, finished: Sequence[FinishedPage], job: PageJob) -> DocumentResult:
    problem = problem_of(source, finished, job.settings)
    data: bytes | None = None
    if problem is None and source.written_back:
        try:
            with source.watched(job, is_whole=True):
                data = put_together(source, finished, job)
        except PageError as error:
            problem = error
    if problem is None:
        try:
            with source.watched(job, is_whole=True):
                finished, problem = witness(source, finished, data, job)
        except PageError as error:
            problem = error
    if problem is not None:
        return _keep_document(source, finished, problem, job)
    if data is not None:
        return _store_written_back(source, finished, data, job)
    dest = job.dest
    shares = _shares(source.size_bytes, [_pixels_of(page) for page in finished])
    rows: list[dict[str, object]] = []
    beside = _Beside(source, job)
    for page, share in zip(_whole(finished, dest), shares, strict=True):
        assert page.data is not None
        start = perf_counter()
        dest.write_bytes(output_key_of(source, page, job.naming), page.data, is_output=True)
        rows.append(_compressed_row(source, page, share, job, perf_counter() - start))
        beside.add(page, is_kept=False)
    return beside.result(rows)


def problem_of(source: SourceDocument, finished: Sequence[FinishedPage], settings: Settings) -> PageError | None:
    """Return what keeps a document whole: its own problem, that of one of its pages, or that nothing is saved."""
    if source.problem is not None:
        return source.problem
    problems = [page.problem for page in finished if page.problem is not None]
    if source.written_back == "PDF" and len(problems) < len(finished) and not any(one.failed for one in problems):
        return None  # a page that cannot be smaller stays in its document as it is
    problem = next(iter(problems), None)
    if problem is None:
        size_bytes = sum(page.size_bytes for page in finished)
        if size_bytes >= (useful := useful_bytes(source, settings)):
            message = f"compressed it would have {size_bytes} bytes, of use are less than {useful}"
            problem = PageError("no_gain", message)
    return problem


def output_key_of(source: SourceDocument, page: FinishedPage, naming: Naming = ORDINARY) -> str:
    """Return where a compressed page of a document lies, relative to DEST."""
    assert page.codec is not None and source.header is not None
    if source.written_back:
        return output_key(source.document.key, naming=naming)
    number = page.page_index if len(source.header.pages) > 1 else None
    extension = encode.EXTENSIONS[page.codec]
    return output_key(source.document.key, page_index=number, extension=extension, naming=naming)


def page_row(source: SourceDocument, page: FinishedPage, job: PageJob) -> dict[str, object]:
    """Return the row that a page would have if nothing kept its document whole but itself; nothing is stored."""
    share = source_share(source, page.page_index)
    if page.problem is None:
        row = _compressed_row(source, page, share, job, 0.0)
        return row | {"output_sha256": None} if source.written_back else row  # that of the document is not known
    stored: dict[str, object] = {
        "output_key": output_key(source.document.key, naming=job.naming),
        "source_bytes": share,
        "output_bytes": share,
        "output_sha256": source.sha256,
        "seconds_store": 0.0,
    }
    return _kept_row(source, page, page.page_index, page.problem, stored, job)


def source_share(source: SourceDocument, page_index: int) -> int:
    """Return a page's part of its document, in bytes, before any page of it is decoded."""
    assert source.header is not None
    sizes = [one.height_px * one.width_px for one in source.header.pages]
    if source.written_back == "PDF":
        sizes = [(one.stored_bytes or 0) + 1 for one in source.header.pages]
    return _shares(source.size_bytes, sizes)[page_index]


def fail_document(document: Document, job: PageJob, reason: str, message: str, n_pages: int = 1) -> DocumentResult:
    """Return a `failed` row for each page of a document that could not be worked on; its source is copied if it can be.

    `n_pages` is what was known before it failed; a document that was never opened is one row.
    """
    start = perf_counter()
    problem = PageError(reason, message, failed=True)
    data, digest = None, None
    try:
        data = copy_of(document, job)
        digest = hashlib.sha256(data).hexdigest()
    except PageError:
        pass  # the row says why it failed; without bytes there is nothing to copy
    source = SourceDocument(document, data, digest, None, problem, perf_counter() - start)
    try:
        return _keep_document(source, [], problem, job, n_pages)
    except NameRefused as error:
        return _without_output(source, [], error, job, n_pages)


def _without_output(
    source: SourceDocument, finished: Sequence[FinishedPage], refusal: NameRefused, job: PageJob, n_pages: int
) -> DocumentResult:
    """Take back what was written of a document, and return a `failed` row for each of its pages."""
    key = source.document.key
    written = [output_key(key, naming=job.naming)]
    written += [output_key_of(source, page, job.naming) for page in finished if page.codec is not None]
    numbers = (None, *(page.page_index for page in finished))
    written += [
        text_key(key, extension, page_index=number, naming=job.naming)
        for extension in (text_export.EXTENSIONS[form] for form in job.settings.text)
        for number in numbers
    ]
    for place in written:
        job.dest.delete(place)
    problem = PageError("name_refused", f"{refusal}; give the document another name, or take another DEST", failed=True)
    nowhere = dataclasses.replace(source, data=None, is_large=False)
    return _keep_document(nowhere, [], problem, job, max(1, n_pages))


def _whole(finished: Iterable[FinishedPage], dest: Store) -> Iterator[FinishedPage]:
    """Yield pages with their bytes, words and tiles, of which a long document's lie below DEST/work."""
    return (checkpoints.unpark(page, dest) for page in finished)


def put_together(source: SourceDocument, finished: Sequence[FinishedPage], job: PageJob) -> bytes:
    """Return the document with the pages that became smaller.

    Raises:
        PageError: If it cannot be written, or nothing is saved.
    """
    if source.written_back == "TIFF":
        files = (page.data or b"" for page in _whole(finished, job.dest))
        return _of_use(tiff_writer.joined(files, len(finished), job.settings.limits), source, job)
    with_text = job.settings.documents.text_layer
    while True:
        with source.opened(job) as file:
            new = _new_pages(finished, job, with_text=with_text)
            data = pdf_writer.rewritten(file, new, job.settings.encode.largest_profile_bytes)
            if not isinstance(file, bytes) and partial_reads.digest_of(file) != source.sha256:
                raise StoreUnavailable(f"{source.document.key!r} has changed while it was worked on")
        if not with_text or len(data) < useful_bytes(source, job.settings):
            return _of_use(data, source, job)
        with_text = False  # which is what outweighs the gain


def _new_pages(finished: Sequence[FinishedPage], job: PageJob, *, with_text: bool) -> Iterator[pdf_writer.NewPage]:
    """Yield what is new about a PDF's pages: smaller scans, and if wanted the text of those that were read."""
    for page in finished:
        is_smaller = page.problem is None
        has_text = with_text and "ocr_words" in page.figures
        if is_smaller or has_text:
            whole = checkpoints.unpark(page, job.dest)
            text: pdf_writer.NewText | None = None
            if has_text:
                size_px = int(str(page.figures["height_px"])), int(str(page.figures["width_px"]))
                text = pdf_writer.NewText(whole.text, size_px)
            yield pdf_writer.NewPage(page.page_index, _new_image(whole) if is_smaller else None, text)


def _of_use(data: bytes, source: SourceDocument, job: PageJob) -> bytes:
    if len(data) >= (useful := useful_bytes(source, job.settings)):
        raise PageError("no_gain", f"compressed it would have {len(data)} bytes, of use are less than {useful}")
    return data


def _new_image(page: FinishedPage) -> CodedImage:
    assert page.data is not None and page.codec is not None
    return CodedImage(page.data, page.codec)


def _store_written_back(
    source: SourceDocument, finished: Sequence[FinishedPage], data: bytes, job: PageJob
) -> DocumentResult:
    """Write a document of several pages and share out its bytes among them, by what their images take."""
    assert source.header is not None
    start = perf_counter()
    key = output_key(source.document.key, naming=job.naming)
    job.dest.write_bytes(key, data, is_output=True)
    seconds_store = (perf_counter() - start) / len(finished)
    if source.written_back == "PDF":
        source_shares = _with_own(source.size_bytes, [page.stored_bytes or 0 for page in source.header.pages])
    else:
        source_shares = _shares(source.size_bytes, [_pixels_of(page) for page in finished])
    smaller = [page for page in finished if page.problem is None]
    kept_bytes = sum(source_shares[page.page_index] for page in finished if page.problem is not None)
    shares = iter(_with_own(len(data) - kept_bytes, [page.size_bytes for page in smaller]))
    output_shares = [next(shares) if page.problem is None else source_shares[page.page_index] for page in finished]
    digest = hashlib.sha256(data).hexdigest()
    rows = []
    for page, source_bytes, output_bytes in zip(finished, source_shares, output_shares, strict=True):
        stored: dict[str, object] = {
            "output_key": key,
            "source_bytes": source_bytes,
            "output_bytes": output_bytes,
            "output_sha256": digest,
            "seconds_store": seconds_store,
        }
        if page.problem is None:
            rows.append(_row(source, page.page_index, page.figures | stored | {"status": "compressed"}, job))
        else:
            rows.append(_kept_row(source, page, page.page_index, page.problem, stored, job))
    beside = _Beside(source, job)
    for page in _whole(finished, job.dest):
        beside.add(page, is_kept=page.problem is not None)
    return beside.result(rows)


def _keep_document(
    source: SourceDocument, finished: Sequence[FinishedPage], problem: PageError, job: PageJob, n_pages: int = 1
) -> DocumentResult:
    """Copy the source byte for byte and say, page by page, why it was not compressed."""
    start = perf_counter()
    key = source.document.key
    out_key, digest = None, None
    if source.data is not None or source.is_large:
        out_key, digest = output_key(key, naming=job.naming), source.sha256
        with source.opened(job) as file:
            data = file if isinstance(file, bytes) else file.read()
        job.dest.write_bytes(out_key, data, is_output=True)
    seconds_store = perf_counter() - start
    n_pages = max(1, len(finished) or n_pages)
    shares = _shares(source.size_bytes, [_pixels_of(page) for page in finished] or [1] * n_pages)
    one_is_to_blame = any(page.problem is problem for page in finished)
    shared = PageError("document_kept", "another page kept the document whole") if one_is_to_blame else problem
    rows = []
    for number in range(n_pages):
        page = finished[number] if finished else None
        reason = (page.problem if page else None) or shared
        stored: dict[str, object] = {
            "output_key": out_key,
            "source_bytes": shares[number],
            "output_bytes": shares[number] if out_key else 0,
            "output_sha256": digest,
            "seconds_store": seconds_store / n_pages,
        }
        rows.append(_kept_row(source, page, number, reason, stored, job))
    beside = _Beside(source, job)
    for page in _whole(finished, job.dest):
        beside.add(page, is_kept=True)
    return beside.result(rows)


class _Beside:
    """Takes what goes with a document's pages, one after another: their words, tiles and text."""

    def __init__(self, source: SourceDocument, job: PageJob) -> None:
        self._source, self._job = source, job
        self._words = [as_table([], WORDS_SCHEMA)]
        self._tiles = [as_table([], TILES_SCHEMA)]
        self._text: dict[object, list[dict[str, object]] | None] = {}

    def add(self, page: FinishedPage, *, is_kept: bool) -> None:
        """Take a page with all that is known of it."""
        written = _store_text(self._source, page, self._job, is_kept=is_kept)
        self._text[page.page_index] = [dataclasses.asdict(file) for file in written] or None
        self._words.append(as_table(page.words, WORDS_SCHEMA))
        if page.tiles:
            row = _at_full_resolution(page.tiles) if is_kept else page.tiles
            self._tiles.append(as_table([row], TILES_SCHEMA))

    def result(self, rows: list[dict[str, object]]) -> DocumentResult:
        """Return the document's rows, which name the text of their pages."""
        rows = [row | {"text_files": self._text.get(row["page_index"])} for row in rows]
        return DocumentResult(rows, pa.concat_tables(self._words), pa.concat_tables(self._tiles))


def _store_text(source: SourceDocument, page: FinishedPage, job: PageJob, *, is_kept: bool) -> list[WrittenFile]:
    """Write a page's text in the forms that are asked for, its boxes in the pixels of what is stored.

    Returns:
        What was written; nothing if none is asked for, or OCR gave no answer.
    """
    if not job.settings.text or "ocr_words" not in page.figures:
        return []
    if source.header is None:  # a worker has died over the document since the page was read
        return []
    key, number = source.document.key, page.page_index if len(source.header.pages) > 1 else None
    height_px, width_px = (int(str(page.figures[side])) for side in ("height_px", "width_px"))
    stored = key if is_kept else output_key_of(source, page, job.naming)
    rows = cols = 1.0
    if not is_kept:
        rows = int(str(page.figures["output_height_px"])) / height_px
        cols = int(str(page.figures["output_width_px"])) / width_px
    text = text_export.TextPage(
        name=stored.rpartition("/")[2],
        page_index=page.page_index,
        height_px=round(height_px * rows),
        width_px=round(width_px * cols),
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
    return written


def _kept_row(
    source: SourceDocument,
    page: FinishedPage | None,
    number: int,
    reason: PageError,
    stored: dict[str, object],
    job: PageJob,
) -> dict[str, object]:
    figures = dict(page.figures) if page else {}
    # what was tried is not what was stored: a kept page has its full resolution and no codec of ours
    figures |= {"codec": None, "quality": None} | _kept_levels(figures)
    figures |= {"status": "failed" if reason.failed else "kept", "reason": reason.reason, "message": reason.message}
    return _row(source, page.page_index if page else number, figures | stored, job)


def _compressed_row(
    source: SourceDocument, page: FinishedPage, source_bytes: int, job: PageJob, seconds_store: float
) -> dict[str, object]:
    assert page.data is not None
    figures = page.figures | {
        "status": "compressed",
        "output_key": output_key_of(source, page, job.naming),
        "source_bytes": source_bytes,
        "output_bytes": len(page.data),
        "output_sha256": hashlib.sha256(page.data).hexdigest(),
        "seconds_store": seconds_store,
    }
    return _row(source, page.page_index, figures, job)


def _row(source: SourceDocument, page_index: int, figures: dict[str, object], job: PageJob) -> dict[str, object]:
    n_pages = len(source.header.pages) if source.header else 1
    seconds_read = float(str(figures.get("seconds_read", 0.0))) + source.seconds_read / n_pages
    values: dict[str, object] = {
        "run_id": job.run_id,
        "shard_id": job.shard_id,
        "document_key": source.document.key,
        "document_version": source.document.version,
        "page_index": page_index,
        "source_sha256": source.sha256,
        "scorer": job.scorer,
        "model_digest": job.model_digest,
        "settings_digest": job.settings_digest,
        "left_out": _left_out(source, page_index),
    }
    row: dict[str, object] = dataclasses.asdict(PageRow(**{**figures, **values, "seconds_read": seconds_read}))  # type: ignore[arg-type]
    return row


def _left_out(source: SourceDocument, page_index: int) -> str | None:
    pages = source.header.pages if source.header else ()
    return "; ".join(pages[page_index].left_out) or None if page_index < len(pages) else None


def _kept_levels(figures: dict[str, object]) -> dict[str, object]:
    if "n_tiles" not in figures:
        return {}
    rest = {f"tiles_at_level_{level}": 0 for level in resolution.LEVELS[1:]}
    return {"tiles_at_level_1": figures["n_tiles"], **rest}


def _at_full_resolution(row: dict[str, object]) -> dict[str, object]:
    levels = row["level"]
    assert isinstance(levels, list)
    return row | {"level": [1] * len(levels)}


def _pixels_of(page: FinishedPage) -> int:
    return int(str(page.figures.get("height_px", 1))) * int(str(page.figures.get("width_px", 1)))


def _with_own(total_bytes: int, own_bytes: Sequence[int]) -> list[int]:
    """Share out a document's bytes among its pages: to each its own image's, and of all the rest the same.

    >>> _with_own(110, [20, 60])
    [35, 75]
    """
    rest = total_bytes - sum(own_bytes)
    if rest < 0:  # pages that share an image
        return _shares(total_bytes, [own + 1 for own in own_bytes])
    return [own + share for own, share in zip(own_bytes, _shares(rest, [1] * len(own_bytes)), strict=True)]


def _shares(total_bytes: int, weights: Sequence[int]) -> list[int]:
    """Share out bytes by weight, in whole bytes that add up to the total.

    >>> _shares(10, [1, 1, 1])
    [3, 3, 4]
    """
    ends = [total_bytes * sum(weights[: number + 1]) // sum(weights) for number in range(len(weights))]
    return [end - start for start, end in zip([0, *ends], ends, strict=False)]
