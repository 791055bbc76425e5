"""Long and large documents: their pages wait below DEST/work, are found again, and make the same document."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from foliopress.configs.settings import Settings
from foliopress.flows.steps import checkpoints, document_plan, steps
from foliopress.tasks import documents
from foliopress.tasks.errors import PageError, StoreUnavailable
from foliopress.tasks.ocr.recognition import Word
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
    return steps.FinishedPage(
        page_index=3,
        problem=None,
        data=b"\x00\x01 bytes",
        codec="jp2",
        figures={"ocr_words": np.int64(2), "dpi": np.float32(300), "page_kind": "grey", "text_ssim": None},
        words=[{"document_key": "a.pdf", "text": "Schön", "confidence": 91.5}],
        tiles={"importance": [0.25, 1.0], "level": [1, 8]},
        text=(Word(0, 1, 2, 3, 4, "Schön", 91.5),),
    )


def test_what_is_parked_comes_back_as_it_was(archive):
    page = finished_page()
    light = checkpoints.park(page, archive.dest, "work/s/d/")
    assert (light.data, light.words, light.tiles, light.text) == (None, [], None, ())
    assert light.size_bytes == page.size_bytes == 8
    for found in (light, checkpoints.find_parked(archive.dest, "work/s/d/", 3)):
        assert checkpoints.unpark(found, archive.dest) == page
    assert checkpoints.find_parked(archive.dest, "work/s/d/", 4) is None


def test_a_page_that_stays_is_parked_with_its_reason_and_one_to_be_tried_again_is_not(archive):
    for reason, failed, is_parked in (
        ("legibility", False, True),
        ("ocr_timeout", False, False),
        ("damaged", True, False),
    ):
        page = replace(finished_page(), problem=PageError(reason, "because", failed=failed), data=None)
        light = checkpoints.park(page, archive.dest, f"work/s/{reason}/")
        assert (light.parked is not None) == is_parked
        assert (light.problem.reason, light.problem.failed) == (reason, failed)
        whole = checkpoints.unpark(light, archive.dest)
        assert (whole.problem.reason, whole.words) == (reason, page.words)


def test_a_parked_page_that_was_cut_is_done_again(archive):
    checkpoints.park(finished_page(), archive.dest, "work/s/d/")
    archive.dest.write_bytes("work/s/d/000004", archive.dest.read_bytes("work/s/d/000004")[:50])
    assert checkpoints.find_parked(archive.dest, "work/s/d/", 3) is None


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
    assert [page.problem and page.problem.reason for page in pages] == [None, None, "digital_page"]
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
