"""A page's way from end to end: the step functions in their order, as Dask workers and the window run them.

Nothing here knows Prefect or Dask, and no function raises PageError: what goes wrong with a page becomes its row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import numpy as np

from foliopress.configs.settings import Settings
from foliopress.flows.steps import checkpoints
from foliopress.flows.steps.checkpoints import FinishedPage
from foliopress.flows.steps.document_plan import PageJob, SourceDocument, is_text_wanted, useful_page_bytes
from foliopress.model.scoring import load_scorer, score_planes
from foliopress.tasks import documents
from foliopress.tasks.analysis import page_kinds, resolution, tiles
from foliopress.tasks.analysis.page_analysis import Findings
from foliopress.tasks.checks import rereading
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import ConfigError, PageError
from foliopress.tasks.fit import fit_page
from foliopress.tasks.fit.outcome import no_gain
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import orientation, recognition
from foliopress.tasks.ocr.orientation import WholePageReader
from foliopress.tasks.pdf import multi_image

_MASKED_TILE = 1 / 32  # share of a tile that words must cover for OCR alone to keep it: half a letter


@dataclass(frozen=True)
class PreparedPage:
    """A page read, sorted and searched for text; it stays on the worker that made it."""

    page_index: int
    problem: PageError | None = None
    page: image_reader.Page | None = field(default=None, repr=False)
    kind: page_kinds.PageKind | None = None
    dpi: float = 0.0
    words: tuple[recognition.Word, ...] = field(default=(), repr=False)
    grid: tiles.TileGrid | None = None
    plane: np.ndarray | None = field(default=None, repr=False)
    masked: np.ndarray | None = field(default=None, repr=False)
    seconds_read: float = 0.0
    seconds_ocr: float = 0.0
    coded: fit_page.CodedBitonal | None = field(default=None, repr=False)
    """Its encoding in one bit a pixel; None unless it is bitonal. Needs no words."""
    parked: FinishedPage | None = field(default=None, repr=False)
    """What an earlier run made of it already."""


@dataclass(frozen=True)
class ScoringInput:
    """What travels to the worker that scores: the page at 150 dpi with its mask."""

    plane: np.ndarray
    grid: tiles.TileGrid


def prepare_page(
    source: SourceDocument, page_index: int, job: PageJob, read_words: WholePageReader | None = None
) -> PreparedPage:
    """Read, sort and tile one page and find its text.

    A page that stays as it is, but whose text is wanted, is read for that alone and keeps its problem.
    """
    start = perf_counter()
    settings = source.settings_for(job.settings)
    if (place := source.parking_place(job)) is not None:
        parked = checkpoints.find_parked(job.dest, place, page_index)
        if parked is not None:
            return PreparedPage(page_index, parked=parked)
    if source.header is None:  # it was described before, and its worker has died over it since
        return PreparedPage(page_index, source.problem, seconds_read=perf_counter() - start)
    stays = source.header.pages[page_index].problem
    if stays is not None and page_index not in source.read_for_text:
        return PreparedPage(page_index, stays, seconds_read=perf_counter() - start)
    try:
        page = _read_page(source, page_index, settings, job)
    except PageError as error:
        return PreparedPage(page_index, stays or error, seconds_read=perf_counter() - start)
    height_px, width_px = page.pixels.shape[:2]
    kind = page_kinds.page_kind(page)
    read_at = perf_counter()
    coded: fit_page.CodedBitonal | None = None
    if kind is page_kinds.PageKind.BITONAL and not _parts(source, page_index):
        coded = fit_page.code_bitonal(page, settings.encode)
        most_bytes = useful_page_bytes(source, page_index, settings)
        if len(coded.data) >= most_bytes and not (
            is_text_wanted(settings, source.written_back) or settings.stats.words_of_kept
        ):
            problem = no_gain("CCITT G4", len(coded.data), most_bytes)
            return PreparedPage(page_index, problem, page, kind, seconds_read=read_at - start, coded=coded)
    coded_at = perf_counter()
    try:
        guessed_dpi = recognition.guess_dpi(height_px, width_px, page.dpi)
        words = orientation.find_words(page.pixels, guessed_dpi, settings.ocr, read_words or recognition.read_words)
    except PageError as error:
        return PreparedPage(page_index, stays or error, page, kind, seconds_read=read_at - start)
    ocr_at = perf_counter()
    dpi = recognition.estimate_dpi(height_px, width_px, words, page.dpi)
    grid = tiles.tile_grid(height_px, width_px, dpi)
    if stays is not None:
        seconds_read, seconds_ocr = read_at - start, ocr_at - read_at
        return PreparedPage(
            page_index, stays, page, kind, dpi, words, grid, seconds_read=seconds_read, seconds_ocr=seconds_ocr
        )
    mask = recognition.text_mask(words, height_px, width_px)
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
        seconds_ocr=ocr_at - coded_at,
        coded=coded,
    )


def scoring_input(prepared: PreparedPage) -> ScoringInput | None:
    """Return the small part of a page that the network sees; None where the page has a problem."""
    if prepared.plane is None or prepared.grid is None:
        return None
    return ScoringInput(prepared.plane, prepared.grid)


def score_pages(inputs: Sequence[ScoringInput | None], job: PageJob) -> list[tuple[np.ndarray, float] | None]:
    """Score the tiles of several pages in common batches.

    Returns:
        For each page (n_tiles,) float32 and its share of the seconds; None for a page with a problem.

    Raises:
        ConfigError: If this worker has another model than those that were asked.
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
    watch: fit_page.Watch | None = None,
) -> FinishedPage:
    """Plan, rescale, encode and check one page: the strongest attempt that passes, or the reason why none did.

    A page of a long document is parked below DEST/work. `found` is what `findings_of` made of the two, where that is
    there already; `watch` is told of each attempt.
    """
    if prepared.parked is not None:
        return prepared.parked
    finished = _finish_page(prepared, scored, source, job, read_words, found, watch)
    place = source.parking_place(job)
    return finished if place is None else checkpoints.park(finished, job.dest, place)


def _finish_page(
    prepared: PreparedPage,
    scored: tuple[np.ndarray, float] | None,
    source: SourceDocument,
    job: PageJob,
    read_words: WholePageReader | None,
    found: Findings | None,
    watch: fit_page.Watch | None,
) -> FinishedPage:
    figures = _page_figures(prepared, scored)
    settings = source.settings_for(job.settings)
    found = found or findings_of(prepared, scored)
    text = prepared.words if is_text_wanted(settings, source.written_back) else ()
    if found is None:
        problem = prepared.problem or PageError("internal_error", "the page was not scored", failed=True)
        word_rows = _word_rows(prepared, source.document.key, settings.stats.words)
        return FinishedPage(prepared.page_index, problem, None, None, figures, word_rows, None, text)
    page = found.page
    height_px, width_px = page.pixels.shape[:2]
    read_page = partial(
        read_words or recognition.read_words,
        dpi=recognition.guess_dpi(height_px, width_px, page.dpi),
        settings=settings.ocr,
    )
    turns = orientation.turns_of(prepared.words)
    reader = rereading.Reader(
        lambda pixels: orientation.read_turned(pixels, turns, read_page),
        partial(recognition.read_lines, dpi=prepared.dpi, settings=settings.ocr),
    )
    most_bytes = useful_page_bytes(source, prepared.page_index, settings)
    try:
        if parts := _parts(source, prepared.page_index):
            with source.watched(job), source.opened(job) as file:
                alone = multi_image.page_alone(file, prepared.page_index, parts, page.dpi or prepared.dpi)
            outcome = multi_image.fit_images(alone, Check(found, reader, settings), most_bytes, settings)
        else:
            outcome = fit_page.fit_page(found, most_bytes, reader, settings, watch, prepared.coded)
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


def _parts(source: SourceDocument, page_index: int) -> tuple[int, ...]:
    """Return the numbers of the images that are coded anew one by one; none where the page is one image."""
    assert source.header is not None
    return source.header.pages[page_index].parts if source.written_back == "PDF" else ()


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
    if prepared.coded is not None:
        figures["seconds_encode"] = prepared.coded.seconds
    if prepared.grid is not None:
        figures |= {
            "dpi": prepared.dpi,
            "ocr_words": len(prepared.words),
            "quarter_turns": orientation.turns_of(prepared.words),
            "n_tiles": prepared.grid.n_tiles,
        }
    if scored is not None:
        figures |= {"mean_importance": float(scored[0].mean()), "seconds_score": scored[1]}
    return figures


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
