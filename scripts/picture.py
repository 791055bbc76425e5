"""Draw a page of a finished run before and after, with its importance: `picture.py SOURCE DEST KEY OUT.webp`."""

from __future__ import annotations

import sys

import cv2
import numpy as np

from foliopress.configs.loading import load_settings
from foliopress.tasks.codecs.encode import CarriedMetadata, encode
from foliopress.tasks.images.image_reader import read_page
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store

WIDTH_PX, GAP_PX = 520, 12


def heatmap(page: np.ndarray, tiles: dict[str, object]) -> np.ndarray:
    """Return the page with each tile tinted by its importance, from blue (paper) to red (text)."""
    side, rows, cols = (int(str(tiles[name])) for name in ("tile_px", "n_rows", "n_cols"))
    scores = np.asarray(tiles["importance"], np.float32).reshape(rows, cols)
    tinted = cv2.applyColorMap((np.sqrt(scores) * 255).astype(np.uint8), cv2.COLORMAP_JET)[..., ::-1]
    large = cv2.resize(tinted, (cols * side, rows * side), interpolation=cv2.INTER_NEAREST)
    return cv2.addWeighted(page, 0.55, np.ascontiguousarray(large[: page.shape[0], : page.shape[1]]), 0.45, 0)


def panel(pixels: np.ndarray, caption: str) -> np.ndarray:
    """Return a page, resized to the panel width, under a caption."""
    height_px = round(pixels.shape[0] * WIDTH_PX / pixels.shape[1])
    small = cv2.resize(pixels, (WIDTH_PX, height_px), interpolation=cv2.INTER_AREA)
    head = np.full((44, WIDTH_PX, 3), 255, np.uint8)
    cv2.putText(head, caption, (4, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([head, small])


def main(source: str, dest: str, key: str, out: str) -> None:
    """Write the image for the first page of the document `key`."""
    settings = load_settings()
    target = Store(dest, settings.storage)
    row = next(row for row in live_rows(target) if row["document_key"] == key)
    tiles = next(row for row in live_rows(target, "tiles") if row["document_key"] == key)
    before, after = (
        read_page(data, 0, settings.limits).pixels
        for data in (Store(source, settings.storage).read_bytes(key), target.read_bytes(str(row["output_key"])))
    )
    before, after = (cv2.cvtColor(page, cv2.COLOR_GRAY2RGB) if page.ndim == 2 else page for page in (before, after))
    sizes = [f"{int(str(row[name])) / 1000:,.0f} kB" for name in ("source_bytes", "output_bytes")]
    panels = [
        panel(before, f"before: {sizes[0]}"),
        panel(heatmap(before, tiles), "importance of each tile"),
        panel(after, f"after: {sizes[1]}"),
    ]
    gap = np.full((panels[0].shape[0], GAP_PX, 3), 255, np.uint8)
    picture = np.hstack([panels[0], gap, panels[1], gap, panels[2]])
    data = encode(picture, "webp", 82, CarriedMetadata(), settings.encode)
    Store(".", settings.storage).write_bytes(out, data)


if __name__ == "__main__":
    main(*sys.argv[1:5])
