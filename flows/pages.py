"""A page's way from end to end: the step functions in their order, as Dask workers and the window run them.

Nothing here knows Prefect or Dask, and no function raises PageError: what goes wrong with a page becomes its row.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter
from typing import Protocol

import numpy as np
import pyarrow as pa

from configs.settings import OcrSettings, Settings
from model.scoring import ScorerName, load_scorer, score_planes
from tasks import documents, encode, fitting, kinds, ocr, pages, pdf_writer, reading, resolution, searchable, tiles
from tasks.errors import PageError
from tasks.findings import Findings
from tasks.keys import output_key, text_key
from tasks.scan import Document
from tasks.statistics import TILES_SCHEMA, WORDS_SCHEMA, PageRow, as_table
from tasks.store import ObjectArchived, Store


class WholePageReader(Protocol):
    """`tasks.ocr.read_words`, or what remembers its answers."""

    def __call__(self, pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[ocr.Word, ...]:
        """Return the words of a page, in reading order."""


_MASKED_TILE = 1 / 32  # share of a tile that words must cover for OCR alone to keep it: half a letter


@dataclass(frozen=True)
class PageJob:
    """What a worker must know beside the page itself; the same for every page of a shard."""

    source_url: str
    dest_url: str
    settings: Settings
    run_id: str
    shard_id: str
    settings_digest: str
    model_digest: str
    scorer: ScorerName


@dataclass(frozen=True)
class SourceDocument:
    """A document's bytes and header, or the problem that keeps it from having them.

    `codec` is what its grey and colour pages become; `is_written_back` says that its output is the same document, not a
    file for each page.
    """

    document: Document
    data: bytes | None = field(repr=False)
    sha256: str | None
    header: pages.DocumentHeader | None
    problem: PageError | None
    seconds_read: float
    codec: encode.Codec | None = None
    is_written_back: bool = False

    def settings_for(self, settings: Settings) -> Settings:
        """Return the settings with the codec that this document takes."""
        if self.codec is None or self.codec == settings.encode.codec:
            return settings
        return settings.model_copy(update={"encode": settings.encode.model_copy(update={"codec": self.codec})})


@dataclass(frozen=True)
class DocumentShape:
    """The little of a document that the driver needs to plan its pages."""

    n_pages: int
    pixels: tuple[int, ...]
    problem: str | None


@dataclass(frozen=True)
class PreparedPage:
    """A page read, sorted and searched for text; it stays on the worker that made it."""

    page_index: int
    problem: PageError | None = None
    page: pages.Page | None = field(default=None, repr=False)
    kind: kinds.PageKind | None = None
    dpi: float = 0.0
    words: tuple[ocr.Word, ...] = field(default=(), repr=False)
    grid: tiles.TileGrid | None = None
    plane: np.ndarray | None = field(default=None, repr=False)
    masked: np.ndarray | None = field(default=None, repr=False)
    seconds_read: float = 0.0
    seconds_ocr: float = 0.0


@dataclass(frozen=True)
class ScoringInput:
    """What travels to the worker that scores: the page at 150 dpi with its mask."""

    plane: np.ndarray
    grid: tiles.TileGrid


@dataclass(frozen=True)
class FinishedPage:
    """An encoded page that passed its check, or the problem that keeps it from being one."""

    page_index: int
    problem: PageError | None
    data: bytes | None = field(repr=False)
    codec: encode.Codec | None
    figures: dict[str, object] = field(repr=False)
    words: list[dict[str, object]] = field(repr=False)
    tiles: dict[str, object] | None = field(repr=False)
    text: tuple[ocr.Word, ...] = field(default=(), repr=False)
    """What is written below DEST/text, boxes in the source's pixels; nothing where no text is asked for."""


@dataclass(frozen=True)
class DocumentResult:
    """The rows of one document; its outputs are stored.

    Words and tiles, of which a page has hundreds, are tables already, so that the driver need not make them.
    """

    pages: list[dict[str, object]]
    words: pa.Table
    tiles: pa.Table


def fetch_document(document: Document, job: PageJob) -> SourceDocument:
    """Read a document's bytes and header. `StoreUnavailable` passes through; a missing source is a problem."""
    start = perf_counter()
    try:
        data = _source_bytes(document, job)
    except PageError as error:
        return SourceDocument(document, None, None, None, error, perf_counter() - start)
    return open_document(document, data, job.settings, perf_counter() - start)


def open_document(document: Document, data: bytes, settings: Settings, seconds_read: float = 0.0) -> SourceDocument:
    """Read the header of a document whose bytes are there; `seconds_read` is what it took to have them."""
    start = perf_counter()
    header: pages.DocumentHeader | None = None
    problem: PageError | None = None
    codec, is_written_back = None, False
    try:
        if len(data) > settings.limits.max_document_bytes:
            raise PageError("too_large", f"{len(data)} bytes exceed limits.max_document_bytes")
        header = documents.read_header(data, settings.limits, as_drawn=settings.documents.pdf == "pages")
        if header.is_ours:
            raise PageError("already_compressed", "Foliopress wrote this document; it is kept as it is")
        if header.format == "PDF" and settings.documents.pdf == "same":
            codec, is_written_back = _pdf_codec(data, settings), True
    except PageError as error:
        problem = error
    digest = hashlib.sha256(data).hexdigest()
    seconds_read += perf_counter() - start
    return SourceDocument(document, data, digest, header, problem, seconds_read, codec, is_written_back)


def _pdf_codec(data: bytes, settings: Settings) -> encode.Codec:
    wanted = settings.documents.pdf_codec
    return wanted if wanted == "jpeg" or pdf_writer.takes_jp2(data) else "jpeg"


def describe(source: SourceDocument) -> DocumentShape:
    """Return the number of a document's pages and their pixels; none where it has a problem."""
    if source.problem or not source.header:
        return DocumentShape(0, (), source.problem.reason if source.problem else None)
    sizes = tuple(1 if page.problem else page.height_px * page.width_px for page in source.header.pages)
    return DocumentShape(len(sizes), sizes, None)


def prepare_page(
    source: SourceDocument, page_index: int, job: PageJob, read_words: WholePageReader | None = None
) -> PreparedPage:
    """Read, sort and tile one page and find its text."""
    start = perf_counter()
    settings = source.settings_for(job.settings)
    try:
        page = _read_page(source, page_index, settings)
    except PageError as error:
        return PreparedPage(page_index, error, seconds_read=perf_counter() - start)
    height_px, width_px = page.pixels.shape[:2]
    kind = kinds.page_kind(page)
    read_at = perf_counter()
    try:
        words = (read_words or ocr.read_words)(page.pixels, ocr.guess_dpi(height_px, width_px, page.dpi), settings.ocr)
    except PageError as error:
        return PreparedPage(page_index, error, page, kind, seconds_read=read_at - start)
    ocr_at = perf_counter()
    dpi = ocr.estimate_dpi(height_px, width_px, words, page.dpi)
    grid = tiles.tile_grid(height_px, width_px, dpi)
    mask = ocr.text_mask(words, height_px, width_px)
    plane = tiles.work_plane(page.pixels, mask, grid)
    return PreparedPage(
        page_index,
        page=page,
        kind=kind,
        dpi=dpi,
        words=words,
        grid=grid,
        plane=plane,
        masked=(tiles.masked_fraction(mask, grid) >= _MASKED_TILE) & resolution.has_strokes(plane),
        seconds_read=read_at - start,
        seconds_ocr=ocr_at - read_at,
    )


def _read_page(source: SourceDocument, page_index: int, settings: Settings) -> pages.Page:
    assert source.header is not None
    if (problem := source.header.pages[page_index].problem) is not None:
        raise problem
    page = documents.read_page(
        source.data or b"",
        page_index,
        settings.limits,
        keep_deep=not settings.encode.deep_to_eight_bits,
        as_drawn=settings.documents.pdf == "pages",
    )
    if source.is_written_back:
        return pages.with_document_profile(page)
    can_carry = encode.CODECS[settings.encode.codec].can_carry
    return pages.with_profile_for(page, can_carry, settings.encode.largest_profile_bytes)


def scoring_input(prepared: PreparedPage) -> ScoringInput | None:
    """Return the small part of a page that the network sees; None where the page has a problem."""
    if prepared.plane is None or prepared.grid is None:
        return None
    return ScoringInput(prepared.plane, prepared.grid)


def score_pages(inputs: Sequence[ScoringInput | None], job: PageJob) -> list[tuple[np.ndarray, float] | None]:
    """Score the tiles of several pages in common batches.

    Returns:
        For each page (n_tiles,) float32 and its share of the seconds; None for a page with a problem.
    """
    present = [item for item in inputs if item is not None]
    if not present:
        return [None] * len(inputs)
    scorer = load_scorer(job.settings.importance.model, job.scorer)
    start = perf_counter()
    scores = score_planes(scorer, [(item.plane, item.grid) for item in present])
    per_tile = (perf_counter() - start) / max(1, sum(item.grid.n_tiles for item in present))
    found = iter([(score, per_tile * len(score)) for score in scores])
    return [None if item is None else next(found) for item in inputs]


def findings_of(prepared: PreparedPage, scored: tuple[np.ndarray, float] | None) -> Findings | None:
    """Return what is known of a page before it is compressed; None of one with a problem."""
    page, grid = prepared.page, prepared.grid
    if prepared.problem or page is None or grid is None or scored is None:
        return None
    assert prepared.kind is not None and prepared.masked is not None
    importance = scored[0].reshape(grid.n_rows, grid.n_cols)
    return Findings(page, prepared.kind, prepared.dpi, prepared.words, grid, prepared.masked, importance)


def finish_page(
    prepared: PreparedPage,
    scored: tuple[np.ndarray, float] | None,
    source: SourceDocument,
    job: PageJob,
    read_words: WholePageReader | None = None,
    found: Findings | None = None,
) -> FinishedPage:
    """Plan, rescale, encode and check one page: the strongest attempt that passes, or the reason why none did.

    `found` is what `findings_of` made of the two, where that is there already.
    """
    figures = _page_figures(prepared, scored)
    settings = source.settings_for(job.settings)
    found = found or findings_of(prepared, scored)
    text = prepared.words if job.settings.text else ()
    if found is None:
        problem = prepared.problem or PageError("internal_error", "the page was not scored", failed=True)
        return FinishedPage(prepared.page_index, problem, None, None, figures, [], None, text)
    page = found.page
    height_px, width_px = page.pixels.shape[:2]
    reader = reading.Reader(
        partial(
            read_words or ocr.read_words,
            dpi=ocr.guess_dpi(height_px, width_px, page.dpi),
            settings=settings.ocr,
        ),
        partial(ocr.read_lines, dpi=prepared.dpi, settings=settings.ocr),
    )
    try:
        outcome = fitting.fit_page(found, _useful_page_bytes(source, prepared.page_index, settings), reader, settings)
    except PageError as error:  # reading again gave no answer
        return FinishedPage(prepared.page_index, error, None, None, figures, [], None, text)
    figures |= outcome.figures
    return FinishedPage(
        prepared.page_index,
        outcome.problem,
        outcome.data,
        outcome.codec,
        figures,
        _word_rows(prepared, source.document.key, job.settings.stats.words),
        _tile_row(prepared, source.document.key, found.importance, outcome.levels),
        text,
    )


def store_document(source: SourceDocument, finished: Sequence[FinishedPage], job: PageJob) -> DocumentResult:
    """Write a document's outputs, all its pages compressed or the source whole, and return its rows."""
    problem = problem_of(source, finished, job.settings)
    data: bytes | None = None
    if problem is None and source.is_written_back:
        try:
            data = _written_back(source, finished, job.settings)
        except PageError as error:
            problem = error
    dest = Store(job.dest_url, job.settings.storage)
    for page in finished:
        _store_text(source, page, dest, job, is_kept=problem is not None or page.data is None)
    if problem is not None:
        return _keep_document(source, finished, problem, job)
    if data is not None:
        return _store_written_back(source, finished, data, job)
    shares = _shares(len(source.data or b""), [_pixels_of(page) for page in finished])
    rows: list[dict[str, object]] = []
    for page, share in zip(finished, shares, strict=True):
        assert page.data is not None
        out_key = output_key_of(source, page)
        start = perf_counter()
        dest.write_bytes(out_key, page.data, is_output=True)
        seconds_store = perf_counter() - start
        rows.append(_compressed_row(source, page, share, job, seconds_store))
    return _result(rows, finished, [page.tiles for page in finished if page.tiles])


def problem_of(source: SourceDocument, finished: Sequence[FinishedPage], settings: Settings) -> PageError | None:
    """Return what keeps a document whole: its own problem, that of one of its pages, or that nothing is saved."""
    if source.problem is not None:
        return source.problem
    problems = [page.problem for page in finished if page.problem is not None]
    if source.is_written_back and len(problems) < len(finished) and not any(one.failed for one in problems):
        return None  # a page that cannot be smaller stays in its document as it is
    problem = next(iter(problems), None)
    if problem is None:
        size_bytes = sum(len(page.data or b"") for page in finished)
        if size_bytes >= (useful := _useful_bytes(source, settings)):
            message = f"compressed it would have {size_bytes} bytes, of use are less than {useful}"
            problem = PageError("no_gain", message)
    return problem


def output_key_of(source: SourceDocument, page: FinishedPage) -> str:
    """Return where a compressed page of a document lies, relative to DEST."""
    assert page.codec is not None and source.header is not None
    if source.is_written_back:
        return output_key(source.document.key)
    number = page.page_index if len(source.header.pages) > 1 else None
    return output_key(source.document.key, page_index=number, extension=encode.EXTENSIONS[page.codec])


def _written_back(source: SourceDocument, finished: Sequence[FinishedPage], settings: Settings) -> bytes:
    """Return the document with the pages that became smaller.

    Raises:
        PageError: If it cannot be written, or nothing is saved.
    """
    images: dict[int, pdf_writer.NewImage] = {}
    for page in finished:
        if page.problem is None:
            assert page.data is not None and page.codec is not None
            images[page.page_index] = pdf_writer.NewImage(page.data, page.codec)
    data = pdf_writer.rewritten(source.data or b"", images)
    if len(data) >= (useful := _useful_bytes(source, settings)):
        raise PageError("no_gain", f"compressed it would have {len(data)} bytes, of use are less than {useful}")
    return data


def _store_written_back(
    source: SourceDocument, finished: Sequence[FinishedPage], data: bytes, job: PageJob
) -> DocumentResult:
    """Write a document of several pages and share out its bytes among them, by what their images take."""
    assert source.header is not None
    start = perf_counter()
    key = output_key(source.document.key)
    Store(job.dest_url, job.settings.storage).write_bytes(key, data, is_output=True)
    seconds_store = (perf_counter() - start) / len(finished)
    source_shares = _with_own(len(source.data or b""), [page.stored_bytes or 0 for page in source.header.pages])
    smaller = [page for page in finished if page.problem is None]
    kept_bytes = sum(source_shares[page.page_index] for page in finished if page.problem is not None)
    shares = iter(_with_own(len(data) - kept_bytes, [len(page.data or b"") for page in smaller]))
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
    tiled = [(page.tiles, page.problem) for page in finished if page.tiles]
    return _result(rows, finished, [_at_full_resolution(row) if problem else row for row, problem in tiled])


def page_row(source: SourceDocument, page: FinishedPage, job: PageJob) -> dict[str, object]:
    """Return the row that a page would have if nothing kept its document whole but itself; nothing is stored."""
    assert source.header is not None
    sizes = [one.height_px * one.width_px for one in source.header.pages]
    if source.is_written_back:
        sizes = [(one.stored_bytes or 0) + 1 for one in source.header.pages]
    share = _shares(len(source.data or b""), sizes)[page.page_index]
    if page.problem is None:
        row = _compressed_row(source, page, share, job, 0.0)
        return row | {"output_sha256": None} if source.is_written_back else row  # that of the document is not known
    stored: dict[str, object] = {
        "output_key": output_key(source.document.key),
        "source_bytes": share,
        "output_bytes": share,
        "output_sha256": source.sha256,
        "seconds_store": 0.0,
    }
    return _kept_row(source, page, page.page_index, page.problem, stored, job)


def fail_document(document: Document, job: PageJob, reason: str, message: str, n_pages: int = 1) -> DocumentResult:
    """Return a `failed` row for each page of a document that could not be worked on; its source is copied if it can be.

    `n_pages` is what was known before it failed; a document that was never opened is one row.
    """
    start = perf_counter()
    problem = PageError(reason, message, failed=True)
    data, digest = None, None
    try:
        data = _source_bytes(document, job)
        digest = hashlib.sha256(data).hexdigest()
    except PageError:
        pass  # the row says why it failed; without bytes there is nothing to copy
    source = SourceDocument(document, data, digest, None, problem, perf_counter() - start)
    return _keep_document(source, [], problem, job, n_pages)


def _useful_bytes(source: SourceDocument, settings: Settings) -> int:
    """Return the size from which a document's output is of no use."""
    size_bytes = source.document.size_bytes if source.data is None else len(source.data)
    is_lossy = source.header is not None and any(page.is_lossy for page in source.header.pages)
    return fitting.useful_bytes(size_bytes, is_lossy, settings.encode)


def _useful_page_bytes(source: SourceDocument, page_index: int, settings: Settings) -> int:
    """Return the size from which a page's output is of no use: of one that goes back where it was, its image's."""
    assert source.header is not None
    page = source.header.pages[page_index]
    if not source.is_written_back or page.stored_bytes is None:
        return _useful_bytes(source, settings)
    return fitting.useful_bytes(page.stored_bytes, page.is_lossy, settings.encode)


def _source_bytes(document: Document, job: PageJob) -> bytes:
    try:
        return Store(job.source_url, job.settings.storage).read_bytes(document.key)
    except FileNotFoundError as error:
        raise PageError("source_missing", "the source was listed but is gone", failed=True) from error
    except ObjectArchived as error:
        message = "the source is archived (Glacier-class); restore it, then run with --retry-failed"
        raise PageError("source_archived", message, failed=True) from error
    except PermissionError as error:
        raise PageError("source_unreadable", "the source may not be read (permissions)", failed=True) from error
    except OSError as error:
        message = f"the source cannot be read: {error.strerror or type(error).__name__}"
        raise PageError("source_unreadable", message, failed=True) from error


def _keep_document(
    source: SourceDocument, finished: Sequence[FinishedPage], problem: PageError, job: PageJob, n_pages: int = 1
) -> DocumentResult:
    """Copy the source byte for byte and say, page by page, why it was not compressed."""
    start = perf_counter()
    key = source.document.key
    out_key, digest = None, None
    if source.data is not None:
        out_key, digest = output_key(key), source.sha256
        Store(job.dest_url, job.settings.storage).write_bytes(out_key, source.data, is_output=True)
    seconds_store = perf_counter() - start
    n_pages = max(1, len(finished) or n_pages)
    size_bytes = len(source.data) if source.data is not None else source.document.size_bytes
    shares = _shares(size_bytes, [_pixels_of(page) for page in finished] or [1] * n_pages)
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
    tile_rows = [_at_full_resolution(page.tiles) for page in finished if page.tiles]
    return _result(rows, finished, tile_rows)


def _store_text(source: SourceDocument, page: FinishedPage, dest: Store, job: PageJob, *, is_kept: bool) -> None:
    """Write a page's text in the forms that are asked for, its boxes in the pixels of what is stored."""
    if not job.settings.text or "ocr_words" not in page.figures:  # not asked for, or OCR gave no answer
        return
    assert source.header is not None
    key, number = source.document.key, page.page_index if len(source.header.pages) > 1 else None
    height_px, width_px = (int(str(page.figures[side])) for side in ("height_px", "width_px"))
    stored = key if is_kept else output_key_of(source, page)
    rows = cols = 1.0
    if not is_kept:
        rows = int(str(page.figures["output_height_px"])) / height_px
        cols = int(str(page.figures["output_width_px"])) / width_px
    text = searchable.TextPage(
        name=stored.rpartition("/")[2],
        page_index=page.page_index,
        height_px=round(height_px * rows),
        width_px=round(width_px * cols),
        words=searchable.scaled(page.text, rows, cols),
        language=job.settings.ocr.language,
        engine="Tesseract",
    )
    for form in job.settings.text:
        place = text_key(key, searchable.EXTENSIONS[form], page_index=number)
        dest.write_bytes(place, searchable.written(text, form), is_output=True)


def _result(
    rows: list[dict[str, object]], finished: Sequence[FinishedPage], tile_rows: Sequence[dict[str, object]]
) -> DocumentResult:
    words = [word for page in finished for word in page.words]
    return DocumentResult(rows, as_table(words, WORDS_SCHEMA), as_table(tile_rows, TILES_SCHEMA))


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
        "output_key": output_key_of(source, page),
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
    }
    row: dict[str, object] = dataclasses.asdict(PageRow(**{**figures, **values, "seconds_read": seconds_read}))  # type: ignore[arg-type]
    return row


def _page_figures(prepared: PreparedPage, scored: tuple[np.ndarray, float] | None) -> dict[str, object]:
    figures: dict[str, object] = {"seconds_read": prepared.seconds_read, "seconds_ocr": prepared.seconds_ocr}
    if prepared.page is not None:
        height_px, width_px = prepared.page.pixels.shape[:2]
        figures |= {
            "page_kind": str(prepared.kind),
            "height_px": height_px,
            "width_px": width_px,
            "output_height_px": height_px,
            "output_width_px": width_px,
            "output_dpi": prepared.page.dpi,  # what the file says; `dpi` is what the page was judged at
        }
    if prepared.grid is not None:
        figures |= {
            "dpi": prepared.dpi,
            "ocr_words": len(prepared.words),
            "n_tiles": prepared.grid.n_tiles,
        }
    if scored is not None:
        figures |= {"mean_importance": float(scored[0].mean()), "seconds_score": scored[1]}
    return figures


def _kept_levels(figures: dict[str, object]) -> dict[str, object]:
    if "n_tiles" not in figures:
        return {}
    rest = {f"tiles_at_level_{level}": 0 for level in resolution.LEVELS[1:]}
    return {"tiles_at_level_1": figures["n_tiles"], **rest}


def _at_full_resolution(row: dict[str, object]) -> dict[str, object]:
    levels = row["level"]
    assert isinstance(levels, list)
    return row | {"level": [1] * len(levels)}


def _word_rows(prepared: PreparedPage, key: str, wanted: str) -> list[dict[str, object]]:
    if wanted == "off":
        return []
    return [
        {
            "document_key": key,
            "page_index": prepared.page_index,
            "word_index": number,
            **dataclasses.asdict(word),
            "text": word.text if wanted == "full" else None,
        }
        for number, word in enumerate(prepared.words)
    ]


def _tile_row(prepared: PreparedPage, key: str, importance: np.ndarray, levels: np.ndarray) -> dict[str, object]:
    assert prepared.grid is not None
    return {
        "document_key": key,
        "page_index": prepared.page_index,
        "tile_px": prepared.grid.tile_px,
        "n_rows": prepared.grid.n_rows,
        "n_cols": prepared.grid.n_cols,
        "importance": importance.ravel().tolist(),
        "level": levels.ravel().tolist(),
    }


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
