"""Write synthetic scans with ground truth, and the output of a run over them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import PAGES_SCHEMA, TILES_SCHEMA, WORDS_SCHEMA
from foliopress.tasks.records.table_files import table_bytes

HEIGHT_PX, WIDTH_PX = 240, 360
LINE = (60, 100)
"""Rows of the marked line of text."""
STAMP = (160, 210, 200, 300)
"""Rows and columns of an unmarked drawing."""
TEXT = "alpha bravo 7 charlie delta echo foxtrot golf hotel india"
TILE_PX = 60


def drawn_page(seed: int = 1) -> np.ndarray:
    """(240, 360) uint8: grainy paper, a line of strokes like letters, and a hatched drawing."""
    rng = np.random.default_rng(seed)
    page = np.clip(rng.normal(225, 3, (HEIGHT_PX, WIDTH_PX)), 0, 255).astype(np.uint8)
    for col in range(20, WIDTH_PX - 20, 8):
        top = LINE[0] + int(rng.integers(4, 12))
        page[top : LINE[1] - 6, col : col + 3] = 30
        page[top : top + 3, col : col + 7] = 30
    for row in range(STAMP[0], STAMP[1], 8):
        cv2.line(page, (STAMP[2], row), (STAMP[3], row + 6), 60, 3)
    return page


def truth_csv() -> str:
    """Return the line's box in SROIE format."""
    top, bottom = LINE
    return f"10,{top},{WIDTH_PX - 10},{top},{WIDTH_PX - 10},{bottom},10,{bottom},{TEXT}\n"


def write_scans(folder: Path, names: tuple[str, ...] = ("c/a.png",)) -> None:
    """Write scans, each with its ground truth in a folder next to it."""
    for number, name in enumerate(names, start=1):
        path = folder / name
        (path.parent / "truth").mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), drawn_page(number))
        (path.parent / "truth" / f"{path.stem}.csv").write_text(truth_csv())


def write_run(dest: Path, outputs: Mapping[str, np.ndarray], status: str = "compressed") -> None:
    """Write a run's files: outputs by document key as PNG, rows of pages, and of tiles at levels 1, 2, 4, 8."""
    pages, tiles = [], []
    for key, pixels in outputs.items():
        output_key = f"pages/{key}.png"
        path = dest / output_key
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
        row = PageRow(
            run_id="r",
            shard_id="s",
            document_key=key,
            page_index=0,
            status=status,
            page_kind="grey",
            output_key=output_key,
            output_bytes=path.stat().st_size,
            output_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            dpi=100.0,
            seconds_read=0.25,
            seconds_encode=0.5,
        )
        pages.append(vars(row))
        n_rows, n_cols = HEIGHT_PX // TILE_PX, WIDTH_PX // TILE_PX
        level = [(1, 2, 4, 8)[row] for row in range(n_rows) for _ in range(n_cols)]
        grid = {"tile_px": TILE_PX, "n_rows": n_rows, "n_cols": n_cols}
        importance = [0.0] * len(level)
        tiles.append({"document_key": key, "page_index": 0, **grid, "importance": importance, "level": level})
    entry = ShardEntry("s", "r", min(outputs), max(outputs), len(outputs), n_failed=0, n_again=0)
    metadata = Footer("s", (entry,)).as_metadata()
    for table, rows, schema in (
        ("words", [], WORDS_SCHEMA),
        ("tiles", tiles, TILES_SCHEMA),
        ("pages", pages, PAGES_SCHEMA),
    ):
        place = dest / "stats" / table / "s.parquet"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(table_bytes(rows, schema, metadata))
