"""Build the rows of pages, words and tiles: the one place where measurements become columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foliopress.flows.steps.document_plan import PageJob, SourceDocument
from foliopress.flows.steps.finished_page import PageResult
from foliopress.flows.steps.page_metrics import PageMetrics
from foliopress.tasks.analysis.resolution import LevelCounts
from foliopress.tasks.analysis.tiles import TileGrid
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.naming.key_spelling import ORDINARY, Naming
from foliopress.tasks.naming.output_keys import output_key
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.records.rows import PageRow, TileRow, WordRow


@dataclass(frozen=True)
class StoredShare:
    """A page's share of what was stored of its document; no key and no digest if nothing was written."""

    output_key: str | None
    source_bytes: int
    output_bytes: int
    output_sha256: str | None
    seconds_store: float


def compressed_row(source: SourceDocument, page: PageResult, stored: StoredShare, job: PageJob) -> PageRow:
    """Return the row of a page that is stored compressed."""
    fit = page.metrics.fit
    return _row(source, page.page_index, page.metrics, _Status("compressed", fit.codec, fit.quality), stored, job)


def kept_row(
    source: SourceDocument, page: PageResult | int, problem: PageError, stored: StoredShare, job: PageJob
) -> PageRow:
    """Return the row of a page that stays as it is; `page` is its index if nothing else is known of it.

    The attempts are not what is stored: a kept page has its full resolution, and no codec of ours.
    """
    index, metrics = (page, PageMetrics()) if isinstance(page, int) else (page.page_index, page.metrics)
    status = _Status("failed" if problem.failed else "kept", None, None, problem.reason, problem.message)
    return _row(source, index, metrics, status, stored, job)


@dataclass(frozen=True)
class _Status:
    status: str
    codec: str | None
    quality: int | None
    reason: str | None = None
    message: str | None = None


def _row(
    source: SourceDocument, page_index: int, metrics: PageMetrics, status: _Status, stored: StoredShare, job: PageJob
) -> PageRow:
    reading, scoring, fit, witness = metrics.reading, metrics.scoring, metrics.fit, metrics.witness
    size, output_size = reading.size, metrics.output_size
    tiles = fit.tiles_per_level
    if status.status != "compressed":
        tiles = None if reading.n_tiles is None else LevelCounts(reading.n_tiles, 0, 0, 0)
    return PageRow(
        run_id=job.run_id,
        shard_id=job.shard_id,
        document_key=source.document.key,
        page_index=page_index,
        status=status.status,
        reason=status.reason,
        page_kind=reading.page_kind,
        output_key=stored.output_key,
        codec=status.codec,
        quality=status.quality,
        source_bytes=stored.source_bytes,
        output_bytes=stored.output_bytes,
        source_sha256=source.sha256,
        output_sha256=stored.output_sha256,
        width_px=size.width_px if size else None,
        height_px=size.height_px if size else None,
        dpi=reading.dpi,
        output_width_px=output_size.width_px if output_size else None,
        output_height_px=output_size.height_px if output_size else None,
        output_dpi=output_size.dpi if output_size else None,
        n_tiles=reading.n_tiles,
        tiles_at_level_1=tiles.level_1 if tiles else None,
        tiles_at_level_2=tiles.level_2 if tiles else None,
        tiles_at_level_4=tiles.level_4 if tiles else None,
        tiles_at_level_8=tiles.level_8 if tiles else None,
        mean_importance=scoring.mean_importance if scoring else None,
        ocr_words=reading.ocr_words,
        attempts=fit.attempts,
        scorer=job.scorer,
        model_digest=job.model_digest,
        settings_digest=job.settings_digest,
        seconds_read=reading.seconds_read + source.seconds_read / max(1, len(source.pages)),
        seconds_ocr=reading.seconds_ocr,
        seconds_score=scoring.seconds_score if scoring else None,
        seconds_encode=reading.seconds_encode if fit.seconds_encode is None else fit.seconds_encode,
        seconds_check=fit.seconds_check,
        seconds_store=stored.seconds_store,
        message=status.message,
        document_version=source.document.version,
        seconds_reread=fit.seconds_reread,
        quarter_turns=reading.quarter_turns,
        left_out=_left_out(source, page_index),
        **vars(fit.legibility),  # its fields are columns, and so are the witness's
        **(vars(witness) if witness else {}),
    )


def _left_out(source: SourceDocument, page_index: int) -> str | None:
    pages = source.pages
    return "; ".join(pages[page_index].left_out) or None if page_index < len(pages) else None


def output_key_of(source: SourceDocument, page: PageResult, naming: Naming = ORDINARY) -> str:
    """Return the key of a compressed page, relative to DEST.

    Raises:
        ValueError: If it would be a file of its own and has no encoding.
    """
    if source.written_back:
        return output_key(source.document.key, naming=naming)
    if page.codec is None:
        raise ValueError(f"page {page.page_index} of {source.document.key!r} has no encoding")
    number = page.page_index if len(source.pages) > 1 else None
    extension = encode.EXTENSIONS[page.codec]
    return output_key(source.document.key, page_index=number, extension=extension, naming=naming)


def word_rows(words: tuple[Word, ...], key: str, page_index: int, wanted: str) -> tuple[WordRow, ...]:
    """Return the rows of a page's words: with text if `wanted` is `full`, without if `boxes`, none if `off`."""
    if wanted == "off":
        return ()
    return tuple(
        WordRow(
            document_key=key,
            page_index=page_index,
            word_index=number,
            line_index=word.line_index,
            row_px=word.row_px,
            col_px=word.col_px,
            height_px=word.height_px,
            width_px=word.width_px,
            text=word.text if wanted == "full" else None,
            confidence=word.confidence,
            quarter_turns=word.quarter_turns,
        )
        for number, word in enumerate(words)
    )


def tile_row(grid: TileGrid, key: str, page_index: int, importance: np.ndarray, levels: np.ndarray) -> TileRow:
    """Return the row of a page's tiles."""
    return TileRow(
        document_key=key,
        page_index=page_index,
        tile_px=grid.tile_px,
        n_rows=grid.n_rows,
        n_cols=grid.n_cols,
        importance=tuple(importance.ravel().tolist()),
        level=tuple(levels.ravel().tolist()),
    )
