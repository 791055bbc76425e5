"""Store a document: write its outputs, all pages compressed or the source unchanged, and return its rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import pyarrow as pa

from foliopress.configs.settings import Settings
from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.byte_shares import share_by_own, share_by_weight
from foliopress.flows.steps.document_plan import PageJob, SourceDocument, copy_of, useful_bytes
from foliopress.flows.steps.finished_page import FinishedPage, PageResult
from foliopress.flows.steps.page_rows import StoredShare, compressed_row, kept_row, output_key_of
from foliopress.flows.steps.page_text import store_text
from foliopress.flows.steps.witness_step import witness
from foliopress.tasks.errors import NameRefused, PageError, StoreUnavailable
from foliopress.tasks.images import tiff_writer
from foliopress.tasks.naming.output_keys import output_key, text_key
from foliopress.tasks.ocr import text_export
from foliopress.tasks.pdf import pdf_writer
from foliopress.tasks.pdf.image_streams import CodedImage
from foliopress.tasks.records.rows import PageRow, TileRow, WrittenFile
from foliopress.tasks.records.schemas import tile_table, word_table
from foliopress.tasks.storage import partial_reads
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store


@dataclass(frozen=True)
class DocumentResult:
    """The rows of one document whose outputs are stored.

    Words and tiles, of which a page has hundreds, are tables already, so that the driver need not build them.
    """

    pages: tuple[PageRow, ...]
    words: pa.Table
    tiles: pa.Table

    @property
    def document_key(self) -> str:
        """Key of the document."""
        return self.pages[0].document_key

    @property
    def source_bytes(self) -> int:
        """Bytes of the source."""
        return sum(page.source_bytes for page in self.pages)

    @property
    def output_bytes(self) -> int:
        """Bytes of the output."""
        return sum(page.output_bytes for page in self.pages)


def store_document(source: SourceDocument, finished: Sequence[PageResult], job: PageJob) -> DocumentResult:
    """Write a document's outputs, all pages compressed or the source unchanged, and return its rows.

    If DEST refuses the document's name, nothing is written and its rows are `failed`.
    """
    try:
        return _store_document(source, finished, job)
    except NameRefused as error:
        return _without_output(source, finished, error, job, len(finished))


def _store_document(source: SourceDocument, finished: Sequence[PageResult], job: PageJob) -> DocumentResult:
    problem = problem_of(source, finished, job.settings)
    data: bytes | None = None
    if problem is None:
        try:
            with source.watched(job, is_whole=True):
                if source.written_back:
                    data = assemble(source, finished, job)
            with source.watched(job, is_whole=True):
                finished, problem = witness(source, finished, data, job)
        except PageError as error:
            problem = error
    if problem is not None:
        return _keep_document(source, finished, problem, job)
    if data is not None:
        return _store_written_back(source, finished, data, job)
    dest, rows, content = job.dest, list[PageRow](), _Content(source, job)
    shares = share_by_weight(source.size_bytes, [page.metrics.n_pixels for page in finished])
    for page, share in zip(_loaded(finished, dest), shares, strict=True):
        start, data = perf_counter(), page.output.data
        key = output_key_of(source, page, job.naming)
        dest.write_bytes(key, data, is_output=True)
        digest = hashlib.sha256(data).hexdigest()
        stored = StoredShare(key, share, len(data), digest, perf_counter() - start)
        rows.append(compressed_row(source, page, stored, job))
        content.add(page, is_kept=False)
    return content.result(rows)


def problem_of(source: SourceDocument, finished: Sequence[PageResult], settings: Settings) -> PageError | None:
    """Return the problem that keeps a whole document: its own, that of one of its pages, or too little gain."""
    if source.problem is not None:
        return source.problem
    problems = [page.problem for page in finished if page.problem is not None]
    if source.written_back == "PDF" and len(problems) < len(finished) and not any(one.failed for one in problems):
        return None  # a page that cannot be smaller stays in its document as it is
    problem = next(iter(problems), None)
    if problem is None:
        size_bytes = sum(page.size_bytes for page in finished)
        problem = _gain_problem(size_bytes, source, settings)
    return problem


def page_row(source: SourceDocument, page: FinishedPage, job: PageJob) -> PageRow:
    """Return the row that a page would have if only its own problem could keep its document; nothing is stored."""
    share = source_share(source, page.page_index)
    if page.problem is not None:
        key = output_key(source.document.key, naming=job.naming)
        return kept_row(source, page, page.problem, StoredShare(key, share, share, source.sha256, 0.0), job)
    data = page.output.data
    digest = None if source.written_back else hashlib.sha256(data).hexdigest()  # that of the document is not known
    stored = StoredShare(output_key_of(source, page, job.naming), share, len(data), digest, 0.0)
    return compressed_row(source, page, stored, job)


def source_share(source: SourceDocument, page_index: int) -> int:
    """Return a page's share of its document, in bytes, before any page of it is decoded."""
    sizes = [one.height_px * one.width_px for one in source.pages]
    if source.written_back == "PDF":
        sizes = [(one.stored_bytes or 0) + 1 for one in source.pages]
    return share_by_weight(source.size_bytes, sizes)[page_index]


def fail_document(document: Document, job: PageJob, reason: str, message: str, n_pages: int = 1) -> DocumentResult:
    """Return a `failed` row for each page of a document that could not be processed; its source is copied if possible.

    `n_pages` is the number known before it failed; a document that was never opened is one row.
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
    source: SourceDocument, finished: Sequence[PageResult], refusal: NameRefused, job: PageJob, n_pages: int
) -> DocumentResult:
    """Delete what was written of a document, and return a `failed` row for each of its pages."""
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
    nowhere = replace(source, data=None, is_large=False)
    return _keep_document(nowhere, [], problem, job, max(1, n_pages))


def _loaded(finished: Iterable[PageResult], dest: Store) -> Iterator[FinishedPage]:
    """Yield pages with their encodings, words and tiles, read from the checkpoints of a long document."""
    return (checkpoints.load(page, dest) for page in finished)


def assemble(source: SourceDocument, finished: Sequence[PageResult], job: PageJob) -> bytes:
    """Return the document with the pages that became smaller.

    Raises:
        PageError: If it cannot be written, or saves too little.
    """
    if source.written_back == "TIFF":
        files = (page.data or b"" for page in _loaded(finished, job.dest))
        return _checked_gain(tiff_writer.joined(files, len(finished), job.settings.limits), source, job)
    with_text = job.settings.documents.text_layer
    while True:
        with source.opened(job) as file:
            new = _new_pages(finished, job, with_text=with_text)
            data = pdf_writer.rewrite_pdf(file, new, job.settings.encode.largest_profile_bytes)
            if not isinstance(file, bytes) and partial_reads.digest_of(file) != source.sha256:
                raise StoreUnavailable(f"{source.document.key!r} has changed while it was worked on")
        if not with_text or len(data) < useful_bytes(source, job.settings):
            return _checked_gain(data, source, job)
        with_text = False  # the text layer outweighs the gain


def _new_pages(finished: Sequence[PageResult], job: PageJob, *, with_text: bool) -> Iterator[pdf_writer.NewPage]:
    """Yield the changes to a PDF's pages: smaller scans, and if wanted the text of those that were read."""
    for page in finished:
        is_smaller = page.problem is None
        size = page.metrics.reading.size
        has_text = with_text and page.metrics.has_text and size is not None
        if is_smaller or has_text:
            loaded = checkpoints.load(page, job.dest)
            image = CodedImage(loaded.output.data, loaded.output.codec) if is_smaller else None
            text: pdf_writer.NewText | None = None
            if has_text and size is not None:
                text = pdf_writer.NewText(loaded.text, (size.height_px, size.width_px))
            yield pdf_writer.NewPage(page.page_index, image, text)


def _gain_problem(size_bytes: int, source: SourceDocument, settings: Settings) -> PageError | None:
    if size_bytes < (useful := useful_bytes(source, settings)):
        return None
    return PageError("no_gain", f"compressed it would have {size_bytes} bytes, of use are less than {useful}")


def _checked_gain(data: bytes, source: SourceDocument, job: PageJob) -> bytes:
    if (problem := _gain_problem(len(data), source, job.settings)) is not None:
        raise problem
    return data


def _store_written_back(
    source: SourceDocument, finished: Sequence[PageResult], data: bytes, job: PageJob
) -> DocumentResult:
    """Write a document of several pages, and divide its bytes among them by the size of their images."""
    start = perf_counter()
    key = output_key(source.document.key, naming=job.naming)
    job.dest.write_bytes(key, data, is_output=True)
    seconds_store = (perf_counter() - start) / len(finished)
    if source.written_back == "PDF":
        source_shares = share_by_own(source.size_bytes, [page.stored_bytes or 0 for page in source.pages])
    else:
        source_shares = share_by_weight(source.size_bytes, [page.metrics.n_pixels for page in finished])
    smaller = [page for page in finished if page.problem is None]
    kept_bytes = sum(source_shares[page.page_index] for page in finished if page.problem is not None)
    shares = iter(share_by_own(len(data) - kept_bytes, [page.size_bytes for page in smaller]))
    output_shares = [next(shares) if page.problem is None else source_shares[page.page_index] for page in finished]
    digest = hashlib.sha256(data).hexdigest()
    rows = []
    for page, source_bytes, output_bytes in zip(finished, source_shares, output_shares, strict=True):
        stored = StoredShare(key, source_bytes, output_bytes, digest, seconds_store)
        if page.problem is None:
            rows.append(compressed_row(source, page, stored, job))
        else:
            rows.append(kept_row(source, page, page.problem, stored, job))
    content = _Content(source, job)
    for loaded in _loaded(finished, job.dest):
        content.add(loaded, is_kept=loaded.problem is not None)
    return content.result(rows)


def _keep_document(
    source: SourceDocument, finished: Sequence[PageResult], problem: PageError, job: PageJob, n_pages: int = 1
) -> DocumentResult:
    """Copy the source byte for byte, and return a row for each page with the reason why it was not compressed."""
    start = perf_counter()
    key = source.document.key
    out_key, digest = None, None
    if source.data is not None or source.is_large:
        out_key, digest = output_key(key, naming=job.naming), source.sha256
        with source.opened(job) as file:
            data = file if isinstance(file, bytes) else file.read()
        job.dest.write_bytes(out_key, data, is_output=True)
    seconds_store = perf_counter() - start
    pages: Sequence[PageResult | int] = finished or range(max(1, n_pages))
    weights = [1 if isinstance(page, int) else page.metrics.n_pixels for page in pages]
    shares = share_by_weight(source.size_bytes, weights)
    one_is_to_blame = any(page.problem is problem for page in finished)
    shared = PageError("document_kept", "another page kept the document whole") if one_is_to_blame else problem
    rows = []
    for page, share in zip(pages, shares, strict=True):
        reason = shared if isinstance(page, int) else page.problem or shared
        stored = StoredShare(out_key, share, share if out_key else 0, digest, seconds_store / len(pages))
        rows.append(kept_row(source, page, reason, stored, job))
    content = _Content(source, job)
    for loaded in _loaded(finished, job.dest):
        content.add(loaded, is_kept=True)
    return content.result(rows)


class _Content:
    """Collects the words, tiles and text of a document's pages, one page after another."""

    def __init__(self, source: SourceDocument, job: PageJob) -> None:
        self._source, self._job = source, job
        self._words = [word_table(())]
        self._tiles = [tile_table(())]
        self._text: dict[int, tuple[WrittenFile, ...] | None] = {}

    def add(self, page: FinishedPage, *, is_kept: bool) -> None:
        """Take the words and tiles of a page, and write its text."""
        self._text[page.page_index] = store_text(self._source, page, self._job, is_kept=is_kept) or None
        self._words.append(word_table(page.words))
        if page.tiles is not None:
            self._tiles.append(tile_table([_at_full_resolution(page.tiles) if is_kept else page.tiles]))

    def result(self, rows: Sequence[PageRow]) -> DocumentResult:
        """Return the document's rows, with the text files of their pages."""
        pages = tuple(replace(row, text_files=self._text.get(row.page_index)) for row in rows)
        return DocumentResult(pages, pa.concat_tables(self._words), pa.concat_tables(self._tiles))


def _at_full_resolution(tiles: TileRow) -> TileRow:
    return replace(tiles, level=(1,) * len(tiles.level))
