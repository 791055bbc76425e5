"""Run the steps of a page in their order, on Dask workers and in the window.

Nothing here knows Prefect or Dask, and no function raises PageError: the problem of a page becomes its row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter
from typing import NamedTuple

import numpy as np

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import Settings
from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.document_plan import PageJob, SourceDocument, is_text_wanted, useful_page_bytes
from foliopress.flows.steps.finished_page import CheckpointedPage, FinishedPage, PageResult
from foliopress.flows.steps.page_metrics import PageMetrics, ReadingMetrics, ScoringMetrics
from foliopress.flows.steps.page_rows import tile_row, word_rows
from foliopress.model.scoring import load_scorer, score_planes
from foliopress.tasks import documents
from foliopress.tasks.analysis import page_kinds, resolution, tiles
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.checks import rereading
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit import fit_bitonal, fit_images, fit_page
from foliopress.tasks.fit.fit_loop import Watch
from foliopress.tasks.fit.outcome import Outcome, PageSize, no_gain
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import orientation, recognition
from foliopress.tasks.ocr.orientation import WholePageReader
from foliopress.tasks.pdf import multi_image

_WORD_TILE_SHARE = 1 / 32  # share of a tile that words must cover for OCR alone to keep it: half a letter


@dataclass(frozen=True)
class UndecodedPage:
    """A page that was not decoded: it cannot be, or it stays as it is."""

    page_index: int
    problem: PageError
    seconds_read: float = 0.0


@dataclass(frozen=True)
class PageText:
    """Words of a page, the resolution that they indicate, and the tile grid at this resolution."""

    words: tuple[recognition.Word, ...] = field(repr=False)
    dpi: float
    grid: tiles.TileGrid
    seconds_ocr: float


@dataclass(frozen=True)
class KeptPage:
    """A decoded page that stays as it is; `text` is None if it was not searched for text or OCR failed."""

    page_index: int
    problem: PageError
    page: image_reader.Page = field(repr=False)
    kind: page_kinds.PageKind
    text: PageText | None = None
    seconds_read: float = 0.0
    bitonal: fit_bitonal.BitonalEncoding | None = field(default=None, repr=False)


@dataclass(frozen=True)
class DecodedPage:
    """A page decoded, classified and searched for text; it stays on the worker that made it.

    `plane` is the page at 150 dpi with its text mask, from `tasks.analysis.tiles.work_plane`; `word_tiles`
    (n_rows, n_cols) bool; `bitonal` the one-bit encoding of a bitonal page, which needs no text.
    """

    page_index: int
    page: image_reader.Page = field(repr=False)
    kind: page_kinds.PageKind
    text: PageText
    plane: np.ndarray = field(repr=False)
    word_tiles: np.ndarray = field(repr=False)
    seconds_read: float
    bitonal: fit_bitonal.BitonalEncoding | None = field(default=None, repr=False)


ReadPage = UndecodedPage | KeptPage | DecodedPage
"""A page as it was read from its source."""
PreparedPage = ReadPage | CheckpointedPage
"""A page before scoring, or one that an earlier run has finished."""


@dataclass(frozen=True)
class ScoringInput:
    """Input of the scoring worker: the page at 150 dpi with its text mask, and its grid."""

    plane: np.ndarray
    grid: tiles.TileGrid


class TileScores(NamedTuple):
    """Importance of a page's tiles, (n_tiles,) float32, and the page's share of the time to score them."""

    importance: np.ndarray
    seconds: float


@dataclass(frozen=True)
class StepHooks:
    """Functions through which the window takes part in the steps.

    read_words: OCR in place of `tasks.ocr.recognition.read_words`. watch: Called with each encoding before it is
    judged; an exception that it raises ends the step.
    """

    read_words: WholePageReader | None = None
    watch: Watch | None = None


def prepare_page(source: SourceDocument, page_index: int, job: PageJob) -> PreparedPage:
    """Return a page read from its source, or the result that an earlier run saved of it."""
    if (place := source.checkpoint_place(job)) is not None:
        saved = checkpoints.find(job.dest, place, page_index)
        if saved is not None:
            return saved
    return prepare_from_source(source, page_index, job)


def prepare_from_source(
    source: SourceDocument, page_index: int, job: PageJob, read_words: WholePageReader | None = None
) -> ReadPage:
    """Decode, classify and tile one page and find its text.

    A page that stays as it is, but whose text is wanted, is read for that alone and keeps its problem.
    """
    start = perf_counter()
    settings = source.settings_for(job.settings)
    if source.problem is not None:  # its worker has died since it was described
        return UndecodedPage(page_index, source.problem, perf_counter() - start)
    stays = source.pages[page_index].problem
    if stays is not None and page_index not in source.read_for_text:
        return UndecodedPage(page_index, stays, perf_counter() - start)
    try:
        page = _read_page(source, page_index, settings, job)
    except PageError as error:
        return UndecodedPage(page_index, stays or error, perf_counter() - start)
    kind = page_kinds.page_kind(page)
    seconds_read = perf_counter() - start
    bitonal: fit_bitonal.BitonalEncoding | None = None
    if kind is page_kinds.PageKind.BITONAL and not _parts(source, page_index):
        bitonal = fit_bitonal.encode_bitonal(page, settings.encode)
        size_bytes, most_bytes = len(bitonal.data), useful_page_bytes(source, page_index, settings)
        is_text_needed = is_text_wanted(settings, source.written_back) or settings.stats.words_of_kept
        if size_bytes >= most_bytes and not is_text_needed:
            problem = no_gain("CCITT G4", size_bytes, most_bytes)
            return KeptPage(page_index, problem, page, kind, None, seconds_read, bitonal)
    try:
        text = _find_text(page, settings, read_words or recognition.read_words)
    except PageError as error:
        return KeptPage(page_index, stays or error, page, kind, None, seconds_read)
    if stays is not None:
        return KeptPage(page_index, stays, page, kind, text, seconds_read)
    mask = recognition.text_mask(text.words, *page.pixels.shape[:2])
    plane = tiles.work_plane(page.pixels, mask, text.grid)
    has_words = tiles.masked_fraction(mask, text.grid) >= _WORD_TILE_SHARE
    word_tiles = has_words & resolution.has_strokes(plane)
    return DecodedPage(page_index, page, kind, text, plane, word_tiles, seconds_read, bitonal)


def _find_text(page: image_reader.Page, settings: Settings, read_words: WholePageReader) -> PageText:
    start = perf_counter()
    height_px, width_px = page.pixels.shape[:2]
    guessed_dpi = recognition.guess_dpi(height_px, width_px, page.dpi)
    words = orientation.find_words(page.pixels, guessed_dpi, settings.ocr, read_words)
    seconds_ocr = perf_counter() - start
    dpi = recognition.estimate_dpi(height_px, width_px, words, page.dpi)
    return PageText(words, dpi, tiles.tile_grid(height_px, width_px, dpi), seconds_ocr)


def scoring_input(prepared: PreparedPage) -> ScoringInput | None:
    """Return the small part of a page that the network scores; None for a page that is not scored."""
    return ScoringInput(prepared.plane, prepared.text.grid) if isinstance(prepared, DecodedPage) else None


def score_pages(inputs: Sequence[ScoringInput | None], job: PageJob) -> list[TileScores | None]:
    """Return the scores of several pages' tiles, scored in common batches; None for a page that is not scored.

    Raises:
        ConfigError: If this worker has another model than the driver.
    """
    present = [item for item in inputs if item is not None]
    if not present:
        return [None] * len(inputs)
    scorer = load_scorer(job.settings.importance.model, job.scorer)
    if job.shared_places is not None and scorer.digest != job.model_digest:
        raise ConfigError(
            "importance.model: this worker has another model than the others; use one image for all of them"
        )
    start = perf_counter()
    scores = score_planes(scorer, [(item.plane, item.grid) for item in present])
    per_tile = (perf_counter() - start) / max(1, sum(item.grid.n_tiles for item in present))
    found = iter([TileScores(score, per_tile * len(score)) for score in scores])
    return [None if item is None else next(found) for item in inputs]


def analyse_page(prepared: ReadPage, scores: TileScores | None) -> PageAnalysis | None:
    """Return the analysis of a page; None for a page that was not scored."""
    if not isinstance(prepared, DecodedPage) or scores is None:
        return None
    text, grid = prepared.text, prepared.text.grid
    importance = scores.importance.reshape(grid.n_rows, grid.n_cols)
    return PageAnalysis(prepared.page, prepared.kind, text.dpi, text.words, grid, prepared.word_tiles, importance)


def finish_page(prepared: PreparedPage, scores: TileScores | None, source: SourceDocument, job: PageJob) -> PageResult:
    """Compress one page, and save its checkpoint if its document is long."""
    if isinstance(prepared, CheckpointedPage):
        return prepared
    finished = compress_page(prepared, scores, source, job)
    place = source.checkpoint_place(job)
    return finished if place is None else checkpoints.save(finished, job.dest, place)


def compress_page(
    prepared: ReadPage,
    scores: TileScores | None,
    source: SourceDocument,
    job: PageJob,
    analysis: PageAnalysis | None = None,
    hooks: StepHooks = StepHooks(),
) -> FinishedPage:
    """Plan, resize, encode and check one page: the smallest attempt that passes, or the reason why none did.

    Args:
        prepared: The page.
        scores: Scores of its tiles.
        source: Its document.
        job: Job of the shard.
        analysis: From `analyse_page`, if that was called before.
        hooks: OCR and observer of the window.
    """
    settings = source.settings_for(job.settings)
    analysis = analysis or analyse_page(prepared, scores)
    metrics, index, key = _metrics_of(prepared, scores), prepared.page_index, source.document.key
    found = () if isinstance(prepared, UndecodedPage) or prepared.text is None else prepared.text.words
    text = found if is_text_wanted(settings, source.written_back) else ()
    if analysis is None or not isinstance(prepared, DecodedPage):
        problem = PageError("internal_error", "the page was not scored", failed=True)
        problem = problem if isinstance(prepared, DecodedPage) else prepared.problem
        words = word_rows(found, key, index, settings.stats.words)
        return FinishedPage(index, problem, None, metrics, words, None, text)
    reader = reader_of(prepared, settings, hooks.read_words or recognition.read_words)
    try:
        outcome = _fit(prepared, Check(analysis, reader, settings), source, job, hooks.watch)
    except PageError as error:  # OCR of the output gave no answer
        return FinishedPage(index, error, None, metrics, (), None, text)
    return FinishedPage(
        index,
        outcome.problem,
        outcome.encoded,
        replace(metrics, fit=outcome.metrics),
        word_rows(found, key, index, job.settings.stats.words),
        tile_row(analysis.grid, key, index, analysis.importance, outcome.levels),
        text,
    )


def _fit(prepared: DecodedPage, check: Check, source: SourceDocument, job: PageJob, watch: Watch | None) -> Outcome:
    most_bytes = useful_page_bytes(source, prepared.page_index, check.settings)
    parts = _parts(source, prepared.page_index)
    if not parts:
        return fit_page.fit_page(check, most_bytes, watch, prepared.bitonal)
    with source.watched(job), source.opened(job) as file:
        dpi = prepared.page.dpi or prepared.text.dpi
        page = multi_image.extract_page(file, prepared.page_index, parts, dpi)
    return fit_images.fit_images(page, check, most_bytes)


def reader_of(prepared: DecodedPage, settings: Settings, read_words: WholePageReader) -> rereading.Reader:
    """Return the functions that read an output as its source was read."""
    page = prepared.page
    guessed_dpi = recognition.guess_dpi(page.pixels.shape[0], page.pixels.shape[1], page.dpi)
    read_page = partial(read_words, dpi=guessed_dpi, settings=settings.ocr)
    turns = orientation.turns_of(prepared.text.words)
    return rereading.Reader(
        lambda pixels: orientation.read_turned(pixels, turns, read_page),
        partial(recognition.read_lines, dpi=prepared.text.dpi, settings=settings.ocr),
    )


def _parts(source: SourceDocument, page_index: int) -> tuple[int, ...]:
    """Return the numbers of the images that are re-encoded one by one; none for a page that is one image."""
    return source.pages[page_index].parts if source.written_back == "PDF" else ()


def _read_page(source: SourceDocument, page_index: int, settings: Settings, job: PageJob) -> image_reader.Page:
    with source.watched(job), source.opened(job) as data:
        page = documents.read_page(
            data,
            page_index,
            settings.limits,
            keep_deep=not settings.encode.deep_to_eight_bits,
            as_drawn=settings.documents.pdf == "pages",
        )
    if source.written_back == "PDF":
        return image_reader.with_document_profile(page)
    can_carry = encode.CODECS[settings.encode.codec].can_carry
    return image_reader.with_profile_for(page, can_carry, settings.encode.largest_profile_bytes)


def _metrics_of(prepared: ReadPage, scores: TileScores | None) -> PageMetrics:
    """Return the measurements of a page up to its scores."""
    if isinstance(prepared, UndecodedPage):
        return PageMetrics(ReadingMetrics(seconds_read=prepared.seconds_read, seconds_ocr=0.0))
    page, text = prepared.page, prepared.text
    height_px, width_px = page.pixels.shape[:2]
    reading = ReadingMetrics(
        page_kind=str(prepared.kind),
        size=PageSize(height_px, width_px, page.dpi),
        dpi=text.dpi if text else None,
        ocr_words=len(text.words) if text else None,
        quarter_turns=orientation.turns_of(text.words) if text else None,
        n_tiles=text.grid.n_tiles if text else None,
        seconds_read=prepared.seconds_read,
        seconds_ocr=text.seconds_ocr if text else 0.0,
        seconds_encode=prepared.bitonal.seconds if prepared.bitonal else None,
    )
    scoring = ScoringMetrics(float(scores.importance.mean()), scores.seconds) if scores is not None else None
    return PageMetrics(reading, scoring)
