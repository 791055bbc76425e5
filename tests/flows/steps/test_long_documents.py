"""A PDF of a thousand pages: bounded memory, all workers at it, and a run that is killed loses no finished page."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pikepdf
import psutil
import pytest
from PIL import Image

from foliopress.configs.settings import StorageSettings
from foliopress.model.truth import find_scans
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.papers import Sheet, paper
from tests.torture.runs import Run

LIMIT_BYTES = 1500 * 2**20
N_PAGES = 1000


def book_of(scans: Path, path: Path) -> None:
    """Write a PDF of a thousand pages, each a JPEG of the test scans, none of them the object of another page."""
    jpegs = [scan.path for scan in find_scans(scans, "test") if scan.path.suffix == ".jpg" and scan.truth]
    with pikepdf.new() as book:
        for number in range(N_PAGES):
            data = jpegs[number % len(jpegs)].read_bytes()
            with Image.open(jpegs[number % len(jpegs)]) as image:
                size, mode = image.size, image.mode
            page = book.add_blank_page(page_size=(size[0] * 0.24, size[1] * 0.24))
            space = pikepdf.Name.DeviceGray if mode == "L" else pikepdf.Name.DeviceRGB
            keys = {"Width": size[0], "Height": size[1], "ColorSpace": space, "BitsPerComponent": 8}
            keys |= {"Type": pikepdf.Name.XObject, "Subtype": pikepdf.Name.Image, "Filter": pikepdf.Name.DCTDecode}
            page.Resources = pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=book.make_stream(data, **keys)))
            content = f"q {size[0] * 0.24} 0 0 {size[1] * 0.24} 0 0 cm /Im0 Do Q"
            page.Contents = book.make_stream(content.encode())
        book.save(path)


@pytest.mark.slow  # three quarters of an hour
@pytest.mark.timeout(7200)
def test_a_pdf_of_a_thousand_pages(scans: Path, tmp_path: Path) -> None:
    source, dest = tmp_path / "scans", tmp_path / "out"
    source.mkdir()
    book_of(scans, source / "book.pdf")
    (source / "letter.pdf").write_bytes(paper(Sheet(None)))
    options = (source, dest, "--workers", 2, "--json", "--set", f"cluster.memory_per_worker={LIMIT_BYTES}")
    peaks: Counter[int] = Counter()
    seconds: Counter[int] = Counter()
    ended = threading.Event()
    runs = [Run(*options, folder=tmp_path)]

    def watch() -> None:
        while not ended.wait(0.1):
            for worker in runs[-1].processes("worker"):
                with suppress(psutil.NoSuchProcess):
                    peaks[worker.pid] = max(peaks[worker.pid], worker.memory_info().rss)
                    seconds[worker.pid] = round(sum(worker.cpu_times()[:2]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    while len(parked := list((dest / "work").glob("*/*/*"))) < N_PAGES // 4:
        assert runs[0].is_running
        ended.wait(1)
    runs[0].process.kill()
    runs[0].wait(60)
    waiting = {path: path.stat().st_mtime_ns for path in parked}
    runs.append(Run(*options, folder=tmp_path))
    while runs[1].is_running and (dest / "work").exists():
        changed = [path for path, at in waiting.items() if path.exists() and path.stat().st_mtime_ns != at]
        assert changed == [], "a page that was done already was done again"
        if not any(path.exists() for path in waiting):
            break
        ended.wait(1)
    done = runs[1].wait(6000)
    ended.set()
    watcher.join()
    assert done.returncode == 0, done.told
    rows = [row for row in live_rows(Store(str(dest), StorageSettings())) if row["document_key"] == "book.pdf"]
    assert sorted(row["page_index"] for row in rows) == list(range(N_PAGES))
    assert Counter(row["status"] for row in rows)["compressed"] > 0.9 * N_PAGES
    assert not list((dest / "work").glob("**/*.*"))
    assert max(peaks.values()) < LIMIT_BYTES
    busy = sorted(seconds.values())[-4:]  # two workers of each run
    assert min(busy) > 0.2 * max(busy), f"the pages were not spread over the workers: {seconds}"
