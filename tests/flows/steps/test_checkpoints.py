"""Long and large documents: their pages wait below DEST/work, are found again, and make the same document."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from foliopress.configs.settings import Settings
from foliopress.flows.steps import checkpoints, document_plan, steps
from foliopress.flows.steps.page_metrics import PageMetrics, ReadingMetrics, ScoringMetrics, WitnessMetrics
from foliopress.tasks import documents
from foliopress.tasks.analysis.resolution import LevelCounts
from foliopress.tasks.checks.page_check import LegibilityMetrics
from foliopress.tasks.errors import PageError, StoreUnavailable
from foliopress.tasks.fit.outcome import EncodedPage, FitMetrics, PageSize
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.records.rows import TileRow, WordRow
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store
from tests.flows.steps.test_page_steps import Archive, scan
from tests.papers import Sheet, flate, jpeg, paper, shown

BOOK = paper(
    Sheet(jpeg(scan(("Leaf 1",), shape=(300, 400)), 95)),
    Sheet(flate(scan(("Leaf 2",), shape=(300, 400), colour=False))),
    Sheet(None, above=shown("typed")),
)


@pytest.fixture
def archive(tmp_path):
    return Archive(tmp_path)


@pytest.fixture
def long_from_2_pages(monkeypatch):
    monkeypatch.setattr(checkpoints, "LONG_DOCUMENT_PAGES", 2)


@pytest.fixture
def large_from_1_byte(monkeypatch):
    monkeypatch.setattr(document_plan, "_LARGE_BYTES", 0)


def finished_page():
    row = {"document_key": "a.pdf", "page_index": 3}
    box = {"row_px": 1, "col_px": 2, "height_px": 3, "width_px": 4}
    reading = ReadingMetrics("grey", PageSize(300, 400, None), np.float32(300), np.int64(2), 0, 2, 0.5, 1.5)
    legibility = LegibilityMetrics(text_ssim=np.float64(0.9))
    fit = FitMetrics("jp2", 40, 2, LevelCounts(1, 0, 0, 1), PageSize(300, 400, 150.0), legibility, 1.0, 2.0, 3.0)
    return steps.FinishedPage(
        page_index=3,
        problem=None,
        encoded=EncodedPage(b"\x00\x01 bytes", "jp2"),
        metrics=PageMetrics(reading, ScoringMetrics(0.5, 0.25), fit, WitnessMetrics("pdfium", 0.5, None, 0.125)),
        words=(WordRow(**row, **box, word_index=0, line_index=0, text="Schön", confidence=91.5, quarter_turns=1),),
        tiles=TileRow(**row, tile_px=64, n_rows=1, n_cols=2, importance=(0.25, 1.0), level=(1, 8)),
        text=(Word(0, 1, 2, 3, 4, "Schön", 91.5),),
    )


def test_a_saved_page_comes_back_as_it_was(archive):
    page = finished_page()
    light = checkpoints.save(page, archive.dest, "work/s/d/")
    assert isinstance(light, steps.CheckpointedPage)
    assert (light.codec, light.size_bytes, light.metrics) == ("jp2", page.size_bytes, page.metrics)
    for found in (light, checkpoints.find(archive.dest, "work/s/d/", 3)):
        assert checkpoints.load(found, archive.dest) == page
    assert checkpoints.find(archive.dest, "work/s/d/", 4) is None


def test_a_page_that_stays_is_saved_with_its_reason_and_one_to_be_tried_again_is_not(archive):
    for reason, failed, is_saved in (
        ("legibility", False, True),
        ("ocr_timeout", False, False),
        ("damaged", True, False),
    ):
        page = replace(finished_page(), problem=PageError(reason, "because", failed=failed), encoded=None)
        light = checkpoints.save(page, archive.dest, f"work/s/{reason}/")
        assert isinstance(light, steps.CheckpointedPage) == is_saved
        assert (light.problem.reason, light.problem.failed) == (reason, failed)
        loaded = checkpoints.load(light, archive.dest)
        assert (loaded.problem.reason, loaded.words, loaded.encoded) == (reason, page.words, None)


def test_a_checkpoint_that_was_cut_is_ignored(archive):
    checkpoints.save(finished_page(), archive.dest, "work/s/d/")
    archive.dest.write_bytes("work/s/d/000004", archive.dest.read_bytes("work/s/d/000004")[:50])
    assert checkpoints.find(archive.dest, "work/s/d/", 3) is None


@pytest.mark.parametrize(
    "head", [{}, {"page_index": 3, "problem": None, "codec": "jp2", "figures": {}}, {"format": 1}, []]
)
def test_a_checkpoint_of_another_version_is_ignored(archive, head):
    content = json.dumps(head).encode()
    archive.dest.write_bytes("work/s/d/000004", len(content).to_bytes(8, "big") + content + b"bytes")
    assert checkpoints.find(archive.dest, "work/s/d/", 3) is None


@pytest.mark.usefixtures("long_from_2_pages")
def test_a_run_that_was_killed_finds_the_pages_that_were_done(archive, monkeypatch):
    read, read_page = [], documents.read_page

    def count(data, page_index, *given, **named):
        read.append(page_index)
        if len(read) == 2:
            raise KeyboardInterrupt
        return read_page(data, page_index, *given, **named)

    monkeypatch.setattr(documents, "read_page", count)
    with pytest.raises(KeyboardInterrupt):
        archive.run("a.pdf", BOOK)
    assert [key.rpartition("/")[2] for key in archive.stored()] == ["000001"]
    result = archive.run("a.pdf", BOOK)
    assert read == [0, 1, 1]
    assert [row["status"] for row in result.pages] == ["compressed", "compressed", "kept"]
    assert {word["page_index"] for word in result.words.to_pylist()} == {0, 1}
    checkpoints.clear(archive.dest, "shard")
    assert archive.stored() == ["pages/a.pdf"]


def test_a_document_is_the_same_however_long_or_large_it_is_taken_to_be(archive, monkeypatch):
    rows = []
    for long_from, large_from in ((99, 2**40), (2, 2**40), (2, 0)):
        monkeypatch.setattr(checkpoints, "LONG_DOCUMENT_PAGES", long_from)
        monkeypatch.setattr(document_plan, "_LARGE_BYTES", large_from)
        result = archive.run("a.pdf", BOOK)
        checkpoints.clear(archive.dest)
        told = [{name: value for name, value in row.items() if "seconds" not in name} for row in result.pages]
        rows.append((told, result.words.to_pylist(), result.tiles.to_pylist()))
    assert rows[0] == rows[1] == rows[2]
    assert rows[0][0][0]["output_sha256"] == hashlib.sha256(archive.dest.read_bytes("pages/a.pdf")).hexdigest()


@pytest.mark.usefixtures("large_from_1_byte")
def test_a_large_document_in_a_bucket_is_copied_once_and_known_by_its_bytes(s3_url, tmp_path, monkeypatch):
    source = Store(s3_url, Settings().storage)
    source.write_bytes("a.pdf", BOOK)
    pieces = []
    read_range = Store.read_range
    monkeypatch.setattr(Store, "read_range", lambda *given: pieces.append(given[2:]) or read_range(*given))
    job = steps.PageJob(s3_url, str(tmp_path / "dest"), Settings(), "run", "shard", "settings", "model", "litert-cpu")
    opened = steps.fetch_document(Document("a.pdf", len(BOOK), "v1"), job)
    assert opened.data is None
    pages = [steps.prepare_page(opened, number, job) for number in range(3)]
    assert [getattr(page, "problem", None) and page.problem.reason for page in pages] == [None, None, "digital_page"]
    assert len(pieces) == 2  # the document, and that nothing is behind it
    source.write_bytes("a.pdf", BOOK + b"%")
    other = replace(opened, sha256="0" * 64)
    with pytest.raises(StoreUnavailable, match="changed"):
        steps.prepare_page(other, 0, job)


@pytest.mark.usefixtures("large_from_1_byte", "long_from_2_pages")
def test_a_document_that_changes_while_it_is_worked_on_is_not_written(archive, monkeypatch):
    finish = steps.finish_page

    def change_then_finish(*given):
        (archive.folder / "source" / "a.pdf").write_bytes(BOOK + b"%")
        return finish(*given)

    monkeypatch.setattr(steps, "finish_page", change_then_finish)
    with pytest.raises(StoreUnavailable, match="changed"):
        archive.run("a.pdf", BOOK)
    assert "pages/a.pdf" not in archive.stored()


@pytest.mark.usefixtures("large_from_1_byte")
def test_a_large_document_that_is_kept_stands_in_the_output_byte_for_byte(archive):
    data = paper(Sheet(None, above=shown("typed")))
    assert [row["reason"] for row in archive.run("a.pdf", data).pages] == ["digital_page"]
    assert archive.dest.read_bytes("pages/a.pdf") == data
    assert [row["reason"] for row in archive.run("b.pdf", b"%PDF-1.7 no more").pages] == ["damaged"]
    assert archive.dest.read_bytes("pages/b.pdf") == b"%PDF-1.7 no more"
