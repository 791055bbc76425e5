"""Draw strips: the worst line of each collection as scan, at uniform quality of equal bytes, and compressed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.arms import decode
from benchmarks.curves import Row
from benchmarks.drawing import one_below_another, panel, text_line, window_round, write_webp
from benchmarks.marked import MarkedPage, read_marked
from benchmarks.product import PageArm
from benchmarks.uniform import encode_to_bytes, family_of
from foliopress.model.truth import Scan
from foliopress.tasks.checks.legibility import block_means, block_size, ssim_map
from foliopress.tasks.codecs.luma import luma_of

STRIP_FOLDER = "strips"

_WINDOW_INCH = (0.75, 3.2)
_READING_DPI = 200  # a page as wide as a screen
_WEBP_QUALITY = 85
_LICENCES = {
    "ehri-typed": "FloChiff/ehri-dataset, CC-BY 4.0",
    "stanford-letters": "PSL-Chartes-HTR-Students/HN2021-Memorials_Jane_Lathrop_Stanford, CC-BY 4.0",
    "tapuscorpus": "HTR-United/tapuscorpus, CC-BY 4.0",
    "ocrd-gt": "OCR-D/gt_structure_text, CC-BY-SA 4.0",
    "sroie-receipts": "zzzDavid/ICDAR-2019-SROIE, MIT",
}
"""Source and licence of the collections of which excerpts may be published with attribution."""


@dataclass(frozen=True)
class Strip:
    """A written picture, with the collection and attribution of its scan."""

    name: str
    collection: str
    attribution: str | None


def write_strips(folder: Path, rows: Sequence[Row], scans: Sequence[Scan], arms: Mapping[str, PageArm]) -> list[Strip]:
    """Write `strips/<collection>.webp` for each collection that may be shown: private data, or with a free licence.

    Args:
        folder: Output folder.
        rows: Rows of one arm; for each collection, the page with the lowest text SSIM is shown.
        scans: The scans of these rows.
        arms: The arms, by the scan's key.
    """
    by_key = {scan.key: scan for scan in scans}
    strips = []
    for collection in sorted({row["collection"] for row in rows}):
        marked = [row for row in rows if row["collection"] == collection and row["text_ssim"] is not None]
        if not marked:
            continue
        worst = min(marked, key=lambda row: row["text_ssim"])
        scan = by_key[worst["key"]]
        if scan.split and collection not in _LICENCES:
            continue
        strip = Strip(
            f"{STRIP_FOLDER}/{collection}.webp", collection, _LICENCES.get(collection) if scan.split else None
        )
        write_webp(folder / strip.name, draw_strip(read_marked(scan), arms[scan.key], strip.attribution), _WEBP_QUALITY)
        strips.append(strip)
    return strips


def draw_strip(page: MarkedPage, arm: PageArm, attribution: str | None) -> np.ndarray:
    """Return the worst block of text, three versions one below another, (height, width, 3) uint8 RGB."""
    made = arm.make(page)
    data, quality = encode_to_bytes(page.pixels, "avif", made.size_bytes)
    window = window_round(worst_text(page, made.pixels), _px(_WINDOW_INCH, page.dpi), _shape(page.luma))
    panels = [
        panel(_at_reading_size(pixels[window], page.dpi), caption)
        for pixels, caption in (
            (page.pixels, f"scan, {_kilobytes(page.scan.path.stat().st_size)}"),
            (decode(data, page), f"{family_of('avif')} {quality}, {_kilobytes(len(data))}"),
            (made.pixels, f"{arm.name}, {_kilobytes(made.size_bytes)}"),
        )
    ]
    if attribution:
        panels.append(text_line(f"{attribution}; cropped", panels[0].shape[1]))
    return one_below_another(panels)


def worst_text(page: MarkedPage, decoded: np.ndarray) -> tuple[float, float]:
    """Return the centre (row_px, col_px) of the block with the worst strokes."""
    blocks = block_means(ssim_map(page.luma, luma_of(decoded)), page.strokes, page.dpi)
    row, col = np.unravel_index(int(blocks.argmin()), blocks.shape)
    height_px, width_px = block_size(page.dpi)
    return (float(row) + 0.5) * height_px, (float(col) + 0.5) * width_px


def _at_reading_size(pixels: np.ndarray, dpi: float) -> np.ndarray:
    scale = _READING_DPI / dpi
    size = max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _px(inches: tuple[float, float], dpi: float) -> tuple[float, float]:
    return inches[0] * dpi, inches[1] * dpi


def _shape(luma: np.ndarray) -> tuple[int, int]:
    return luma.shape[0], luma.shape[1]


def _kilobytes(size_bytes: int) -> str:
    return f"{size_bytes / 1000:,.0f} kB"
