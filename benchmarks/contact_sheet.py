"""Draw a contact sheet of a finished run: each page next to its source, with its levels and its worst places.

python -m benchmarks.contact_sheet SRC DST --out FOLDER
"""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import cv2
import numpy as np
import typer

from benchmarks.drawing import as_rgb, one_below_another, panel, side_by_side, window_round, write_webp
from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import LimitSettings, StorageSettings
from foliopress.tasks.analysis.strokes import find_ink
from foliopress.tasks.checks.legibility import block_means, block_size, ssim_map
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import image_reader
from foliopress.tasks.ocr import recognition
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store

logger = logging.getLogger(__name__)

LEVEL_COLOURS = {2: (255, 214, 0), 4: (255, 120, 0), 8: (150, 60, 220)}
"""RGB tint of the tiles of each level; level 1 is not tinted."""

_TINT = 0.45
_OVERVIEW_PX = 700
_FRAME_COLOUR, _FRAME_PX = (220, 0, 0), 2  # around the enlarged places
_ZOOM = 2
_CROP_PX = (200, 520)  # of the page, before enlarging
_PLACE_INCH = 0.15  # averaging window for differences: a speck does not count as a place, a smear does
_MARGIN_INCH = 0.02  # around a stroke, where a difference counts as part of the stroke
_WEBP_QUALITY = 92
_FIGURES = (
    *("status", "reason", "page_kind", "codec", "quality", "source_bytes", "output_bytes", "text_ssim"),
    *("worst_block_ssim", "chroma_error", "attempts", "words_kept_fraction"),
)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Sheet:
    """Data shown for one page.

    `row` is its row of `stats/pages`, `tiles` that of `stats/tiles` (None for a kept page), `words` those of
    `stats/words`. Source and output are files.
    """

    name: str
    row: Mapping[str, Any]
    tiles: Mapping[str, Any] | None
    words: tuple[recognition.Word, ...] = field(repr=False)
    source: Path
    output: Path


@app.command()
def main(
    source: Annotated[Path, typer.Argument(help="Folder of the scans.")],
    dest: Annotated[Path, typer.Argument(help="Output folder of foliopress compress.")],
    out: Annotated[Path, typer.Option(help="Folder for the pictures and index.html.", metavar="FOLDER")],
    jobs: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
) -> None:
    """Draw each page as scan, output and heat map of levels, with the two most changed places at 200 %."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        sheets = list(find_sheets(source, dest))
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    if not sheets:
        raise typer.BadParameter(f"{dest} contains no page written by foliopress compress")
    out.mkdir(parents=True, exist_ok=True)
    drawn = []
    for sheet, problem in zip(sheets, _each(sheets, out, jobs), strict=True):
        logger.info("%s%s", sheet.name, f": {problem}" if problem else "")
        drawn.append((sheet, problem))
    (out / "index.html").write_text(index(drawn), encoding="utf-8")
    logger.info("%s", out / "index.html")


def find_sheets(source: Path, dest: Path) -> Iterator[Sheet]:
    """Yield the data of each page of a run, in the order of keys and pages; pages without output are skipped."""
    store = Store(str(dest), StorageSettings())
    tiles = {(row["document_key"], row["page_index"]): row for row in live_rows(store, "tiles")}
    words: dict[tuple[object, object], list[recognition.Word]] = {}
    for row in live_rows(store, "words"):
        words.setdefault((row["document_key"], row["page_index"]), []).append(_word(row))
    rows = sorted(live_rows(store), key=lambda row: (str(row["document_key"]), int(str(row["page_index"]))))
    for number, row in enumerate(rows, start=1):
        place = row["document_key"], row["page_index"]
        if row["output_key"]:
            yield Sheet(
                name=f"{number:04d}-{Path(str(row['document_key'])).stem[:60]}-{int(str(row['page_index'])) + 1}",
                row=row,
                tiles=tiles.get(place),
                words=tuple(words.get(place, ())),
                source=source / str(row["document_key"]),
                output=dest / str(row["output_key"]),
            )


def draw_sheet(sheet: Sheet) -> np.ndarray:
    """Return a page's picture, (height, width, 3) uint8 RGB.

    Raises:
        PageError: If the source or the output cannot be decoded.
    """
    page, made = _decoded(sheet)
    shape = page.shape[0], page.shape[1]
    dpi = recognition.guess_dpi(*shape, sheet.row["dpi"])
    places = {
        "largest change outside strokes": most_changed(page, made, dpi),
        "worst text": worst_ink(page, made, sheet.words, dpi),
    }
    windows = {name: window_round(place, _CROP_PX, shape) for name, place in places.items() if place is not None}
    levels = heat_map(page, sheet.tiles)
    for rows, cols in windows.values():
        width_px = max(1, round(shape[1] / _OVERVIEW_PX * _FRAME_PX))
        cv2.rectangle(levels, (cols.start, rows.start), (cols.stop, rows.stop), _FRAME_COLOUR, width_px)
    overviews = {"source": page, "output": made, "levels: yellow 1/2, orange 1/4, violet 1/8": levels}
    crops = [
        side_by_side([panel(_enlarged(page[window]), name), panel(_enlarged(made[window]), "output")])
        for name, window in windows.items()
    ]
    first = side_by_side([panel(_overview(pixels), caption) for caption, pixels in overviews.items()])
    return one_below_another([first, *crops])


def heat_map(page: np.ndarray, tiles: Mapping[str, Any] | None) -> np.ndarray:
    """Return the page with every tile tinted by its level, (height, width, 3) uint8 RGB.

    Args:
        page: uint8, (height, width) or (height, width, 3) RGB.
        tiles: `tile_px`, `n_rows`, `n_cols` and `level`; without them the whole page is at level 1.
    """
    result = as_rgb(page).copy()
    if tiles is None:
        return result
    levels = np.asarray(tiles["level"]).reshape(tiles["n_rows"], tiles["n_cols"])
    of_pixel = np.kron(levels, np.ones((tiles["tile_px"],) * 2, np.int8))[: result.shape[0], : result.shape[1]]
    for level, colour in LEVEL_COLOURS.items():
        there = of_pixel == level
        tinted = result[there] * (1 - _TINT) + np.array(colour, np.float32) * _TINT
        result[there] = np.round(tinted).astype(np.uint8)
    return result


def most_changed(page: np.ndarray, made: np.ndarray, dpi: float) -> tuple[float, float] | None:
    """Return the (row_px, col_px) around which luma differs most outside strokes; None if nothing differs."""
    luma = luma_of(page)
    side_px = 2 * max(1, round(_MARGIN_INCH * dpi)) + 1
    strokes = find_ink(luma, dpi).plain.astype(np.uint8)
    away = cv2.dilate(strokes, np.ones((side_px, side_px), np.uint8)) == 0
    difference = cv2.absdiff(luma, luma_of(made)).astype(np.float32) * away
    place_px = max(3, round(_PLACE_INCH * dpi))
    mean = cv2.blur(difference, (place_px, place_px))
    return _highest(mean) if mean.any() else None


def worst_ink(
    page: np.ndarray, made: np.ndarray, words: Sequence[recognition.Word], dpi: float
) -> tuple[float, float] | None:
    """Return the centre of the block with the worst strokes, of words if there are any; None without strokes."""
    luma = luma_of(page)
    strokes = find_ink(luma, dpi).plain
    similarity = ssim_map(luma, luma_of(made))
    height_px, width_px = block_size(dpi)
    for ink in (strokes & recognition.text_mask(words, *luma.shape), strokes):
        blocks = block_means(similarity, ink, dpi)
        if np.isfinite(blocks).any():
            row, col = _highest(-blocks)
            return (row + 0.5) * height_px, (col + 0.5) * width_px
    return None


def index(drawn: Sequence[tuple[Sheet, str | None]]) -> str:
    """Return an HTML page with every sheet and its values."""
    parts = ["<!doctype html><meta charset=utf-8><title>Contact sheet</title>", _STYLE]
    for sheet, problem in drawn:
        figures = " · ".join(f"{name} {_shown(sheet.row[name])}" for name in _FIGURES if sheet.row[name] is not None)
        parts.append(f"<h2>{html.escape(str(sheet.row['document_key']))}, page {sheet.row['page_index'] + 1}</h2>")
        parts.append(f"<p>{html.escape(figures)}</p>")
        if problem:
            parts.append(f"<p>{html.escape(problem)}</p>")
        else:
            name = quote(f"{sheet.name}.webp")
            parts.append(f'<a href="{name}"><img loading=lazy src="{name}"></a>')
    return "\n".join(parts) + "\n"


_STYLE = "<style>body{font:14px sans-serif;margin:1em}img{max-width:100%}h2{font-size:1.1em;margin-top:2em}</style>"


def _each(sheets: Sequence[Sheet], out: Path, jobs: int) -> Iterator[str | None]:
    if jobs == 1:
        yield from (_draw(sheet, out) for sheet in sheets)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_draw, sheets, [out] * len(sheets))


def _draw(sheet: Sheet, out: Path) -> str | None:
    """Write a sheet's picture; return the error if it cannot be drawn."""
    try:
        write_webp(out / f"{sheet.name}.webp", draw_sheet(sheet), _WEBP_QUALITY)
    except (PageError, OSError) as error:
        return f"cannot be drawn: {error}"
    return None


def _decoded(sheet: Sheet) -> tuple[np.ndarray, np.ndarray]:
    """Return source and output at the source's size; the output of a kept document is one file with all pages."""
    page_index = int(sheet.row["page_index"])
    page = _pixels(sheet.source, page_index)
    made = _pixels(sheet.output, 0 if sheet.row["status"] == "compressed" else page_index)
    if made.shape[:2] != page.shape[:2]:
        made = cv2.resize(made, page.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    return page, made


def _pixels(path: Path, page_index: int) -> np.ndarray:
    """Return a page as displayed: colours converted with its ICC profile."""
    return image_reader.to_srgb(image_reader.read_page(path.read_bytes(), page_index, LimitSettings())).pixels


def _overview(pixels: np.ndarray) -> np.ndarray:
    height_px, width_px = pixels.shape[:2]
    size = _OVERVIEW_PX, max(1, round(height_px * _OVERVIEW_PX / width_px))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)


def _enlarged(pixels: np.ndarray) -> np.ndarray:
    return as_rgb(cv2.resize(pixels, None, fx=_ZOOM, fy=_ZOOM, interpolation=cv2.INTER_NEAREST))


def _highest(plane: np.ndarray) -> tuple[float, float]:
    row, col = np.unravel_index(int(plane.argmax()), plane.shape)
    return float(row), float(col)


def _word(row: Mapping[str, Any]) -> recognition.Word:
    names = ("line_index", "row_px", "col_px", "height_px", "width_px")
    text = row["text"] or "word"  # the text may have been left out of the statistics; the box still counts
    return recognition.Word(**{name: int(row[name]) for name in names}, text=text, confidence=row["confidence"])


def _shown(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


if __name__ == "__main__":
    app()
