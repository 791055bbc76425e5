"""Fetch a document, read its header and decide what it becomes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import BinaryIO, Literal

from foliopress.configs.settings import Settings
from foliopress.flows.cluster.shared_places import SharedPlaces, check_shared_places
from foliopress.flows.run.lease import check_held
from foliopress.flows.steps import checkpoints
from foliopress.model.scoring import ScorerName
from foliopress.tasks import documents
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit import fit_page
from foliopress.tasks.images import image_reader
from foliopress.tasks.naming.key_spelling import ORDINARY, Naming
from foliopress.tasks.pdf import pdf_reader, pdf_writer
from foliopress.tasks.storage import partial_reads
from foliopress.tasks.storage.backend import ObjectArchived, ObjectChanged
from foliopress.tasks.storage.source_listing import UNREADABLE, Document
from foliopress.tasks.storage.store import Store
from foliopress.tasks.watchdog import watched
from foliopress.tasks.work_budget import seconds_for

_LARGE_BYTES = 2**26
"""A larger PDF is not copied: its pages are read from the store. Smaller ones travel between workers."""

_READ_FOR_TEXT = frozenset(("composed_page", "shared_image", "already_compressed"))
"""Reasons of pages that stay as they are but are read if their text is wanted."""


@dataclass(frozen=True)
class PageJob:
    """Context of a shard, sent to workers with each of its pages."""

    source_url: str
    dest_url: str
    settings: Settings
    run_id: str
    shard_id: str
    settings_digest: str
    model_digest: str
    scorer: ScorerName
    is_leased: bool = False
    """Whether outputs may be written only while the run holds the lease on DEST."""
    naming: Naming = ORDINARY
    """Spelling of names in DEST."""
    shared_places: SharedPlaces | None = None
    """Token that a worker must see before it uses either place; None in the driver itself."""

    @property
    def source(self) -> Store:
        """Store of the documents.

        Raises:
            ConfigError: If this process sees another place than the driver does.
        """
        self._see()
        return Store(self.source_url, self.settings.storage)

    @property
    def dest(self) -> Store:
        """Store of the outputs.

        Raises:
            ConfigError: If this process sees another place than the driver does.
        """
        self._see()
        if not self.is_leased:
            return Store(self.dest_url, self.settings.storage)
        guard = partial(check_held, self.dest_url, self.settings.storage, self.run_id)
        return Store(self.dest_url, self.settings.storage, guard)

    def watch_name(self, document: Document, step: str) -> str:
        """Return the name of a step on a document, unique among steps, documents and runs."""
        return f"{self.run_id} {step} {document.key}"

    def _see(self) -> None:
        if self.shared_places is not None:
            check_shared_places(self.shared_places, self.settings.storage, self.settings.ocr)


@dataclass(frozen=True)
class SourceDocument:
    """A document's bytes and header, or the problem that prevents them.

    `codec` is that of its grey and colour pages; `written_back` the format of its output if that is one document again,
    not a file for each page. The bytes of an `is_large` document are read from its store piece by piece.
    `read_for_text` has the indices of pages whose images stay as they are, but whose text is wanted.
    """

    document: Document
    data: bytes | None = field(repr=False)
    sha256: str | None
    header: image_reader.DocumentHeader | None
    problem: PageError | None
    seconds_read: float
    codec: encode.Codec | None = None
    written_back: Literal["PDF", "TIFF"] | None = None
    is_large: bool = False
    read_for_text: frozenset[int] = frozenset()

    @property
    def pages(self) -> tuple[image_reader.PageHeader, ...]:
        """Headers of the pages; none if the document could not be opened."""
        return () if self.header is None else self.header.pages

    @property
    def size_bytes(self) -> int:
        """Bytes of the document."""
        return self.document.size_bytes if self.data is None else len(self.data)

    @contextmanager
    def opened(self, job: PageJob) -> Iterator[bytes | BinaryIO]:
        """Yield the document's bytes, or an open file of them.

        Raises:
            PageError: If it is gone or may not be read any more.
            StoreUnavailable: If it has changed since it was fetched, or its store does not answer.
        """
        if not self.is_large:
            yield self.data or b""
            return
        with (
            _explained(),
            partial_reads.opened(job.source, self.document.key, self.sha256, self.document.listed) as file,
        ):
            yield file

    @contextmanager
    def watched(self, job: PageJob, *, is_whole: bool = False) -> Iterator[None]:
        """End this worker if the block takes far longer than the limits allow.

        Args:
            job: Job of the shard.
            is_whole: Whether the block processes all pages, or one.

        Raises:
            PageError: If a worker was ended by it before (`out_of_time`).
        """
        n_pages = len(self.pages) if is_whole else 0
        with watched(job.watch_name(self.document, "use"), seconds_for(n_pages, job.settings.limits)):
            yield

    def checkpoint_place(self, job: PageJob) -> str | None:
        """Return the prefix of its checkpoints in DEST; None if it is too short for them, or there is no DEST."""
        if not job.dest_url or len(self.pages) < checkpoints.LONG_DOCUMENT_PAGES:
            return None
        return checkpoints.place_of(job.shard_id, self.document.key, self.sha256 or "")

    def settings_for(self, settings: Settings) -> Settings:
        """Return the settings with the codec for this document, and with layers only if they can be written."""
        if self.codec is not None and self.codec != settings.encode.codec:
            encoding = settings.encode.model_copy(update={"codec": self.codec})
            settings = settings.model_copy(update={"encode": encoding})
        if self.written_back != "PDF" and settings.documents.layers != "one":
            in_one = settings.documents.model_copy(update={"layers": "one"})
            settings = settings.model_copy(update={"documents": in_one})
        return settings


@dataclass(frozen=True)
class DocumentShape:
    """Number and sizes of a document's pages, for the driver to plan them."""

    n_pages: int
    pixels: tuple[int, ...]
    problem: str | None


def fetch_document(document: Document, job: PageJob) -> SourceDocument:
    """Return a document with its bytes and header; a missing source becomes a problem, `StoreUnavailable` is raised."""
    start = perf_counter()
    try:
        if _may_be_large(document, job.settings):
            with _explained(), partial_reads.opened(job.source, document.key, listed=document.listed) as file:
                if pdf_reader.is_pdf(file):
                    return _open_watched(document, file, job, perf_counter() - start)
        data = copy_of(document, job)
    except PageError as error:
        return SourceDocument(document, None, None, None, error, perf_counter() - start)
    return _open_watched(document, data, job, perf_counter() - start)


def _open_watched(document: Document, data: bytes | BinaryIO, job: PageJob, seconds_read: float) -> SourceDocument:
    try:
        with watched(job.watch_name(document, "open"), job.settings.limits.max_document_seconds):
            return _as_digested(open_document(document, data, job.settings, seconds_read), job)
    except PageError as error:  # a worker was ended by it
        held = data if isinstance(data, bytes) else None
        return SourceDocument(document, held, _digest_of(data), None, error, seconds_read, is_large=held is None)


def _as_digested(source: SourceDocument, job: PageJob) -> SourceDocument:
    """Return a document, with a problem if its version is its digest and the digest has changed."""
    if job.settings.scan.version != "content" or source.document.version in (source.sha256, UNREADABLE):
        return source
    return SourceDocument(source.document, None, None, None, _changed(), source.seconds_read)


def _changed() -> PageError:
    message = "the source has changed since it was listed, or is being written; run again when it is whole"
    return PageError("source_changed", message, failed=True)


def open_document(
    document: Document, data: bytes | BinaryIO, settings: Settings, seconds_read: float = 0.0
) -> SourceDocument:
    """Return a document with its header; `seconds_read` is the time it took to fetch `data`."""
    start = perf_counter()
    is_large = not isinstance(data, bytes)
    header: image_reader.DocumentHeader | None = None
    problem: PageError | None = None
    codec: encode.Codec | None = None
    written_back: Literal["PDF", "TIFF"] | None = None
    read_for_text: frozenset[int] = frozenset()
    try:
        if (
            size_bytes := len(data) if isinstance(data, bytes) else document.size_bytes
        ) > settings.limits.max_document_bytes:
            raise PageError("too_large", f"{size_bytes} bytes exceed limits.max_document_bytes")
        header = documents.read_header(data, settings.limits, as_drawn=settings.documents.pdf == "pages")
        if header.is_ours:
            raise PageError("already_compressed", "Foliopress wrote this document; it is kept as it is")
        if header.format == "PDF" and settings.documents.pdf == "same":
            codec, written_back = _pdf_codec(data, settings), "PDF"
        elif header.format == "TIFF" and settings.documents.tiff == "same":
            codec, written_back = "tiff", "TIFF"
        if is_text_wanted(settings, written_back):
            read_for_text = _read_for_text(header, settings)
    except PageError as error:
        problem = error
    digest = _digest_of(data)
    held = data if isinstance(data, bytes) else None
    seconds_read += perf_counter() - start
    return SourceDocument(
        document, held, digest, header, problem, seconds_read, codec, written_back, is_large, read_for_text
    )


def describe(source: SourceDocument) -> DocumentShape:
    """Return the number of a document's pages and their pixels; none if the document has a problem."""
    if source.problem or not source.header:
        return DocumentShape(0, (), source.problem.reason if source.problem else None)
    sizes = tuple(
        1 if page.problem and page.page_index not in source.read_for_text else page.height_px * page.width_px
        for page in source.header.pages
    )
    return DocumentShape(len(sizes), sizes, None)


def is_text_wanted(settings: Settings, written_back: str | None) -> bool:
    """Return whether a document's words are written anywhere, whatever happens to its pages.

    Args:
        settings: Forms of text, and text layers.
        written_back: Format of its output if that is one document again.
    """
    return bool(settings.text) or (settings.documents.text_layer and written_back == "PDF")


def useful_bytes(source: SourceDocument, settings: Settings) -> int:
    """Return the size gate of a document: an output of this size or more saves too little."""
    size_bytes = source.size_bytes
    is_lossy = any(page.is_lossy for page in source.pages)
    is_g4 = bool(source.pages) and all(page.is_g4 for page in source.pages)
    return fit_page.useful_bytes(size_bytes, is_lossy or is_g4, settings.encode)


def useful_page_bytes(source: SourceDocument, page_index: int, settings: Settings) -> int:
    """Return the size gate of a page; that of an image which is written back into its PDF depends on the image."""
    page = source.pages[page_index]
    if source.written_back != "PDF" or page.stored_bytes is None:
        return useful_bytes(source, settings)
    return fit_page.useful_bytes(page.stored_bytes, page.is_lossy or page.is_g4, settings.encode)


def copy_of(document: Document, job: PageJob) -> bytes:
    """Return the bytes of a document.

    Raises:
        PageError: If it is gone, may not be read, or has changed since it was listed.
        StoreUnavailable: If its store does not answer.
    """
    with _explained():
        if document.listed is None:
            return job.source.read_bytes(document.key)
        return job.source.read_listed(document.listed)


@contextmanager
def _explained() -> Iterator[None]:
    """Turn errors of a source that cannot be read into a PageError that says what to do."""
    try:
        yield
    except FileNotFoundError as error:
        raise PageError("source_missing", "the source was listed but is gone", failed=True) from error
    except ObjectChanged as error:
        raise _changed() from error
    except ObjectArchived as error:
        message = "the source is archived (Glacier-class); restore it, then run with --retry-failed"
        raise PageError("source_archived", message, failed=True) from error
    except PermissionError as error:
        raise PageError("source_unreadable", "the source may not be read (permissions)", failed=True) from error
    except OSError as error:
        message = f"the source cannot be read: {error.strerror or type(error).__name__}"
        raise PageError("source_unreadable", message, failed=True) from error


def _read_for_text(header: image_reader.DocumentHeader, settings: Settings) -> frozenset[int]:
    """Return the indices of pages that are read although they stay as they are.

    None if only a text layer is wanted and all pages stay: nothing is saved then, and the document is kept.
    """
    if not settings.text and all(page.problem for page in header.pages):
        return frozenset()
    return frozenset(
        page.page_index
        for page in header.pages
        if page.problem and page.problem.reason in _READ_FOR_TEXT and _has_a_size_to_read(page, settings)
    )


def _has_a_size_to_read(page: image_reader.PageHeader, settings: Settings) -> bool:
    try:
        image_reader.check_size(page.height_px, page.width_px, settings.limits)
    except PageError:
        return False
    return True


def _may_be_large(document: Document, settings: Settings) -> bool:
    is_pdf_by_name = document.key.lower().endswith(".pdf")
    return is_pdf_by_name and _LARGE_BYTES < document.size_bytes <= settings.limits.max_document_bytes


def _digest_of(data: bytes | BinaryIO) -> str:
    return hashlib.sha256(data).hexdigest() if isinstance(data, bytes) else partial_reads.digest_of(data)


def _pdf_codec(data: bytes | BinaryIO, settings: Settings) -> encode.Codec:
    wanted = settings.documents.pdf_codec
    return wanted if wanted == "jpeg" or pdf_writer.allows_jp2(data) else "jpeg"
