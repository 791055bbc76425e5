"""Test giant pages among small ones: pages are admitted by size, so that no worker exceeds its memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.torture.runs import Run

Image.MAX_IMAGE_PIXELS = None

LIMIT_BYTES = 3500 * 2**20
NEWSPAPER_PX = (9600, 7200)  # 600 dpi, as newspapers are scanned


def newspaper(path: Path, mode: str, seed: int) -> None:
    """Write a page of 69 megapixels with some columns of print; of one bit, or grey."""
    height_px, width_px = NEWSPAPER_PX
    page = Image.new("L", (width_px, height_px), 235)
    pen, chance = ImageDraw.Draw(page), np.random.default_rng(seed)
    font = ImageFont.load_default(90)
    words = ["council", "mayor", "1898", "of", "the", "paid", "winter", "railway", "harbour", "to", "27"]
    for column in range(3):
        for line in range(12):
            text = " ".join(chance.choice(words, 5))
            pen.text((400 + 2200 * column, 500 + 150 * line), text, fill=25, font=font)
    if mode == "1":
        page.convert("1").save(path, compression="group4", dpi=(600, 600))
    else:
        page.save(path, compression="tiff_lzw", dpi=(600, 600))


@pytest.mark.slow  # a page of 69 megapixels takes half a minute
@pytest.mark.timeout(1500)
def test_giant_pages_among_small_ones_stay_within_each_workers_memory(
    draw_page: Callable[[str], Image.Image], tmp_path: Path
) -> None:
    source = tmp_path / "scans"
    source.mkdir()
    for number in range(6):
        newspaper(source / f"{2 * number:02d} paper.tif", "1" if number % 3 else "L", number)
        draw_page(f"Page {number}").save(source / f"{2 * number + 1:02d} letter.jpg", dpi=(100, 100))
    run = Run(
        *(source, tmp_path / "out", "--workers", 2, "--json"),
        *("--set", f"cluster.memory_per_worker={LIMIT_BYTES}"),
        folder=tmp_path,
    )
    peaks: Counter[int] = Counter()
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for worker in run.processes("worker"):
                with suppress(psutil.NoSuchProcess):
                    peaks[worker.pid] = max(peaks[worker.pid], worker.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    done = run.wait(1400)
    ended.set()
    watcher.join()
    assert done.returncode == 0, done.told
    rows = list(live_rows(Store(str(tmp_path / "out"), StorageSettings())))
    assert Counter(row["status"] for row in rows) == {"compressed": 12}
    busy = {pid: peak for pid, peak in peaks.items() if peak > 200 * 2**20}
    assert len(busy) == 2, f"workers died or never worked: {peaks}"  # each worker is one process from start to end
    assert max(busy.values()) < LIMIT_BYTES
    assert max(busy.values()) > 1000 * 2**20  # a giant page was really in there
