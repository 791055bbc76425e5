"""Test sources that change: a row has the version of the bytes that were read, or a rerun does the document."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest
from prefect.utilities.annotations import quote

from foliopress.configs.loading import load_settings
from foliopress.configs.settings import ScanSettings, Settings
from foliopress.flows.compress import compress_archive
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.steps import document_plan, steps
from foliopress.flows.steps.document_plan import PageJob, fetch_document
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.source_listing import Document, ListingCounts, list_documents
from foliopress.tasks.storage.store import Store
from tests.scripted_s3 import Reply, Request, ScriptedS3, scripted_s3


@pytest.fixture
def s3() -> Iterator[ScriptedS3]:
    with scripted_s3() as running:
        running.etag = lambda _: '"always"'
        yield running


class Place:
    """Where scans are put, on a disk or in a bucket whose ETag never changes."""

    def __init__(self, kind: str, folder: Path, s3: ScriptedS3, version: str) -> None:
        self._folder, self._s3 = folder, s3
        scan = ScanSettings(version=version)  # type: ignore[arg-type]
        self.settings = Settings(scan=scan, storage=s3.storage()) if kind == "bucket" else Settings(scan=scan)
        self.url = f"{s3.url}/in" if kind == "bucket" else str(folder)
        self.is_bucket = kind == "bucket"
        self._seconds = 1_700_000_000

    def put(self, key: str, data: bytes) -> None:
        if self.is_bucket:
            self._s3.put(f"in/{key}", data)
        else:
            (self._folder / key).write_bytes(data)
            self._seconds += 1  # as an upload takes
            os.utime(self._folder / key, (self._seconds, self._seconds))

    @property
    def job(self) -> PageJob:
        return PageJob(self.url, "", self.settings, "run", "shard", "settings", "model", "litert-cpu")

    def listed(self) -> list[Document]:
        return list(list_documents(Store(self.url, self.settings.storage), self.settings.scan, ListingCounts()))


@pytest.fixture(params=["disk", "bucket"])
def place_of(request: pytest.FixtureRequest, tmp_path: Path, s3: ScriptedS3) -> Callable[[str], Place]:
    (tmp_path / "in").mkdir()
    return lambda version: Place(request.param, tmp_path / "in", s3, version)


@pytest.mark.parametrize("version", ["auto", "size_mtime", "content"])
@pytest.mark.parametrize("later", [b"full", b"much more of it"], ids=["same size", "longer"])
def test_a_scan_that_changed_after_it_was_listed_is_one_failed_row(
    place_of: Callable[[str], Place], version: str, later: bytes
) -> None:
    place = place_of(version)
    place.put("a.jpg", b"half")
    [before] = place.listed()
    assert fetch_document(before, place.job).problem.reason == "unreadable"  # type: ignore[union-attr]
    place.put("a.jpg", later)
    found = fetch_document(before, place.job)
    assert found.problem is not None and found.data is None and found.sha256 is None
    assert (found.problem.reason, found.problem.failed) == ("source_changed", True)
    [after] = place.listed()
    assert after.version != before.version
    assert fetch_document(after, place.job).data == later


@pytest.mark.parametrize("version", ["auto", "content"])
def test_a_large_document_that_changed_after_it_was_listed_is_one_failed_row(
    place_of: Callable[[str], Place], version: str
) -> None:
    place = place_of(version)
    with patch.object(document_plan, "_LARGE_BYTES", 10):
        place.put("a.pdf", b"%PDF-1.7 the first half, and more")
        [before] = place.listed()
        assert fetch_document(before, place.job).is_large
        place.put("a.pdf", b"%PDF-1.7 another, and of one size")
        found = fetch_document(before, place.job)
    assert found.problem is not None and found.problem.reason == "source_changed"


def test_a_large_document_that_changes_between_two_pages_is_fetched_again(place_of: Callable[[str], Place]) -> None:
    place = place_of("auto")
    with patch.object(document_plan, "_LARGE_BYTES", 10):
        place.put("a.pdf", b"%PDF-1.7 the first half, and more")
        [document] = place.listed()
        source = fetch_document(document, place.job)
        with source.opened(place.job) as file:
            assert file.read(8) == b"%PDF-1.7"  # type: ignore[union-attr]
        place.put("a.pdf", b"%PDF-1.7 another, and of one size")
        if place.is_bucket:
            with source.opened(place.job) as file:  # from the copy
                assert b"first half" in file.read()  # type: ignore[union-attr]
        else:
            with pytest.raises(StoreUnavailable, match="changed"), source.opened(place.job):
                pass


def test_a_file_that_is_written_while_it_is_read_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"half")
    os.utime(path, (1_700_000_000, 1_700_000_000))
    store = Store(str(tmp_path), Settings().storage)
    [document] = list_documents(store, ScanSettings(), ListingCounts())
    real = io.BufferedReader.read

    class Slow:
        def __init__(self, file: io.BufferedReader) -> None:
            self._file = file

        def __enter__(self) -> Slow:
            return self

        def __exit__(self, *_: object) -> None:
            self._file.close()

        def fileno(self) -> int:
            return self._file.fileno()

        def read(self) -> bytes:
            data = real(self._file)
            path.write_bytes(b"full")
            return data

    opened = store._backend.open_input
    job = PageJob(str(tmp_path), "", Settings(), "run", "shard", "settings", "model", "litert-cpu")
    with patch.object(type(store._backend), "open_input", lambda _, key: Slow(opened(key))):  # type: ignore[arg-type]
        found = fetch_document(document, job)
    assert found.problem is not None and found.problem.reason == "source_changed"


def test_a_document_that_was_made_without_a_listing_is_read_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    job = PageJob(str(tmp_path), "", Settings(), "run", "shard", "settings", "model", "litert-cpu")
    assert fetch_document(Document("a.jpg", 9, "v"), job).data == b"1"


def test_an_etag_of_many_scans_makes_no_twins_of_them(s3: ScriptedS3, tmp_path: Path) -> None:
    place = Place("bucket", tmp_path, s3, "auto")
    for key, data in (("a.jpg", b"one"), ("b.jpg", b"two"), ("c.jpg", b"one")):
        place.put(key, data)
    documents = [replace(one, duplicate_of="a.jpg") for one in place.listed()]
    sha256 = fetch_document(documents[0], place.job).sha256
    row = PageRow(run_id="r", shard_id="s", document_key="a.jpg", page_index=0, status="kept", source_sha256=sha256)
    pointed = [steps.point_to(fetch_document(one, place.job), [row], place.job) for one in documents]
    assert [isinstance(one, DocumentResult) for one in pointed] == [True, False, True]


@pytest.mark.long
@pytest.mark.usefixtures("prefect_api")
def test_a_bucket_whose_etag_never_changes_gives_each_scan_its_own_output_and_a_new_scan_a_new_one(
    s3: ScriptedS3, tmp_path: Path, draw_page: Callable[[str], object]
) -> None:
    def png(text: str, size: int = 400_000) -> bytes:
        out = io.BytesIO()
        draw_page(text).save(out, "PNG", dpi=(100, 100))  # type: ignore[attr-defined]
        return out.getvalue() + b"\0" * (size - len(out.getvalue()))  # all of one size

    s3.put("in/a.png", png("Letter one"))
    s3.put("in/b.png", png("Letter two"))
    s3.put("in/c.png", png("Letter one"))
    storage = [f"storage.endpoint_url={s3.endpoint_url}", "storage.region=us-east-1"]
    keys = ["storage.access_key_id=testkey", "storage.secret_access_key=testsecret"]
    settings = load_settings("access", [*storage, *keys, "cluster.workers=1"])
    dest = str(tmp_path / "out")

    def rows() -> dict[str, dict[str, object]]:
        return {str(row["document_key"]): row for row in live_rows(Store(dest, settings.storage))}

    compress_archive(quote(RunRequest(f"{s3.url}/in", dest, settings)))
    first = rows()
    assert {key: row["duplicate_of"] for key, row in first.items()} == {"a.png": None, "b.png": None, "c.png": "a.png"}
    assert first["a.png"]["output_sha256"] != first["b.png"]["output_sha256"]

    s3.put("in/b.png", png("Letter six"))
    once = [True]

    def replaced_once(request: Request) -> Reply | None:
        is_whole = "range" not in request.headers  # the driver takes a piece first, to know the place by
        if request.method == "GET" and request.key == "in/b.png" and is_whole and once:
            once.pop()
            s3.put("in/b.png", png("Letter ten"))  # while it is read
        return None

    s3.script = replaced_once
    compress_archive(quote(RunRequest(f"{s3.url}/in", dest, settings)))
    changed = rows()["b.png"]
    assert (changed["status"], changed["reason"]) == ("failed", "source_changed")
    compress_archive(quote(RunRequest(f"{s3.url}/in", dest, settings)))
    last = rows()["b.png"]
    assert last["status"] == "compressed" and last["document_version"] != changed["document_version"]
    assert compress_archive(quote(RunRequest(f"{s3.url}/in", dest, settings))).shards_done == 0
