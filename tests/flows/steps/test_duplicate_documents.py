"""Duplicates: the same bytes are worked once, and no document's output ever hangs on what becomes of another."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st
from prefect.utilities.annotations import quote

from foliopress.configs.loading import load_settings
from foliopress.flows.compress import compress_archive
from foliopress.flows.run.duplicate_index import DuplicateIndex
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.run.run_summary import RunSummary
from foliopress.flows.steps import steps
from foliopress.flows.verify import verify_archive
from foliopress.tasks.naming.output_keys import duplicate_key, output_key, page_in_output
from foliopress.tasks.records.overview import find_page
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store
from tests.servers import S3Server

pytestmark = pytest.mark.usefixtures("prefect_api")

KEYS = st.text(min_size=1, max_size=12)
BLOCKS = st.integers(1, 5)


@pytest.fixture(scope="module")
def scheduler(s3_process: S3Server) -> Iterator[str]:
    known = {"env": s3_process.environment}
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", **known) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def compress(scheduler: str, tmp_path: Path) -> Callable[..., RunSummary]:
    def run(source: object, *overrides: str, dest: object = None, **options: object) -> RunSummary:
        settings = load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=2", *overrides])
        summary = compress_archive(quote(RunRequest(str(source), str(dest or tmp_path / "out"), settings, **options)))
        found = verify_archive(str(dest or tmp_path / "out"), quote(settings))
        assert found.is_sound, found.as_text()
        return summary

    return run


@pytest.fixture
def source(tmp_path: Path, draw_page) -> Path:
    """Two different letters and a book; the second letter is there three times, the book twice."""
    folder = tmp_path / "scans"
    for name in ("a", "b", "c"):
        (folder / name).mkdir(parents=True)
    draw_page("Letter one").save(folder / "a" / "1.png", dpi=(100, 100))
    draw_page("Letter two").save(folder / "a" / "2.png", dpi=(100, 100))
    leaves = [draw_page(f"Leaf {number}").convert("L") for number in range(2)]
    leaves[0].save(folder / "a" / "3.tif", save_all=True, append_images=leaves[1:], dpi=(100, 100))
    shutil.copyfile(folder / "a" / "2.png", folder / "b" / "two.png")
    shutil.copyfile(folder / "a" / "3.tif", folder / "b" / "book.tif")
    shutil.copyfile(folder / "a" / "2.png", folder / "c" / "again.png")
    return folder


def rows_of(dest: object) -> dict[str, list[dict[str, object]]]:
    found: dict[str, list[dict[str, object]]] = {}
    for row in live_rows(Store(str(dest), load_settings().storage)):
        found.setdefault(str(row["document_key"]), []).append(row)
    return found


def outputs_in(dest: Path) -> set[str]:
    return {str(path.relative_to(dest)) for path in dest.glob("pages/**/*") if path.is_file()}


@given(st.lists(st.tuples(KEYS, st.sampled_from(["x", "y", "z", None])), unique_by=lambda pair: pair[0]), BLOCKS)
def test_the_first_with_the_same_bytes_is_the_first_of_the_listing(
    pairs: list[tuple[str, str | None]], looked_up_together: int
) -> None:
    documents = [Document(key, 1, "v", identity) for key, identity in pairs]
    with patch("foliopress.flows.run.duplicate_index._BLOCK", looked_up_together), DuplicateIndex() as duplicate_index:
        mark_duplicates = list(duplicate_index.mark_duplicates(iter(documents)))
    seen: dict[str | None, str] = {}
    for document in mark_duplicates:
        first = document.key if document.identity is None else seen.setdefault(document.identity, document.key)
        assert document.duplicate_of == (None if first == document.key else first)


@given(KEYS, KEYS, st.sampled_from([None, "avif", "tif"]), st.sampled_from([None, 0, 12]))
def test_an_output_of_its_own_lies_where_it_would_have_lain(first, second, extension, number) -> None:
    number = None if extension is None else number
    theirs, ours = (output_key(key, page_index=number, extension=extension) for key in (first, second))
    assert duplicate_key(second, first, theirs) == ours
    assert page_in_output(second, 5 if extension is None else number or 0, ours) == (5 if extension is None else 0)


def test_the_same_bytes_are_worked_once_and_totals_stay_honest(
    source: Path, compress: Callable[..., RunSummary], tmp_path: Path
) -> None:
    summary = compress(source, "scan.version=content")
    rows = rows_of(tmp_path / "out")
    assert {key: found[0]["duplicate_of"] for key, found in rows.items()} == {
        "a/1.png": None,
        "a/2.png": None,
        "a/3.tif": None,
        "b/book.tif": "a/3.tif",
        "b/two.png": "a/2.png",
        "c/again.png": "a/2.png",
    }
    for key, found in rows.items():
        first = rows[str(found[0]["duplicate_of"] or key)]
        assert [row["output_key"] for row in found] == [row["output_key"] for row in first]
        assert [row["page_index"] for row in found] == list(range(len(first)))
        assert sum(row["source_bytes"] for row in found) == (source / key).stat().st_size
        assert found[0]["duplicate_of"] is None or {row["output_bytes"] for row in found} == {0}
    outputs = outputs_in(tmp_path / "out")
    assert len(outputs) == 4
    assert summary.whole.output_bytes == sum((tmp_path / "out" / key).stat().st_size for key in outputs)
    assert (summary.whole.documents, summary.whole.pages, summary.whole.unread_bytes) == (6, 8, 0)
    assert compress(source, "scan.version=content").shards_done == 0


def test_a_duplicate_of_what_has_changed_gets_an_output_of_its_own(
    source: Path, compress: Callable[..., RunSummary], tmp_path: Path, draw_page
) -> None:
    compress(source, "scan.version=content")
    draw_page("Letter two, another day").save(source / "a" / "2.png", dpi=(100, 100))
    compress(source, "scan.version=content")
    rows = rows_of(tmp_path / "out")
    assert rows["b/two.png"][0]["duplicate_of"] is None
    assert rows["c/again.png"][0]["duplicate_of"] == "b/two.png"
    assert rows["b/two.png"][0]["output_sha256"] != rows["a/2.png"][0]["output_sha256"]


@pytest.mark.parametrize("documents_in_shard", [2, 9])
def test_what_a_source_that_is_gone_became_stays_though_its_first_changes(
    source: Path, compress: Callable[..., RunSummary], tmp_path: Path, draw_page, documents_in_shard: int
) -> None:
    how = "scan.version=content", "text=[txt]", f"shard.max_documents={documents_in_shard}"
    dest = Store(str(tmp_path / "out"), load_settings().storage)
    compress(source, *how)
    before, shared = find_page(dest, "c/again.png", 0), find_page(dest, "a/2.png", 0)
    text = dest.read_bytes("text/a/2.png.txt")
    assert before is not None and shared is not None and (before.words, before.tiles) == (shared.words, shared.tiles)
    assert before.words and before.row.duplicate_of == "a/2.png"
    (source / "c" / "again.png").unlink()
    (source / "b" / "two.png").unlink()
    draw_page("Letter two, another day").save(source / "a" / "2.png", dpi=(100, 100))
    compress(source, *how)
    after = find_page(dest, "c/again.png", 0)
    assert after is not None and after.tiles is not None
    assert (after.row.output_key, after.row.duplicate_of) == ("pages/c/again.png.avif", None)
    assert after.row.output_sha256 == before.row.output_sha256
    assert after.row.output_bytes == (tmp_path / "out" / "pages/c/again.png.avif").stat().st_size
    assert [word.text for word in after.words] == [word.text for word in before.words]
    assert dest.read_bytes("text/c/again.png.txt") == text
    assert not dest.exists("text/b/book.tif.txt")


def test_other_settings_leave_every_duplicate_with_an_output(
    source: Path, compress: Callable[..., RunSummary], tmp_path: Path
) -> None:
    compress(source, "scan.version=content")
    compress(source, "scan.version=content", "encode.quality=40", overwrite=True)
    assert rows_of(tmp_path / "out")["c/again.png"][0]["duplicate_of"] == "a/2.png"
    assert len(outputs_in(tmp_path / "out")) == 4


@pytest.mark.long
def test_on_a_disk_duplicates_are_not_looked_for_unless_bytes_are_read(
    source: Path, compress: Callable[..., RunSummary], tmp_path: Path
) -> None:
    compress(source)
    assert all(row["duplicate_of"] is None for found in rows_of(tmp_path / "out").values() for row in found)
    compress(source, "scan.version=content", "scan.duplicates=each", dest=tmp_path / "each")
    assert len(outputs_in(tmp_path / "each")) == len(outputs_in(tmp_path / "out")) == 8


def test_in_a_bucket_the_etag_tells(
    source: Path, compress: Callable[..., RunSummary], s3_server: S3Server, tmp_path: Path
) -> None:
    bucket = s3_server.new_bucket()
    place = Store(f"{bucket}/in", load_settings().storage)
    for path in source.glob("*/*"):
        place.write_bytes(str(path.relative_to(source)), path.read_bytes())
    compress(f"{bucket}/in")
    assert rows_of(tmp_path / "out")["c/again.png"][0]["duplicate_of"] == "a/2.png"


def test_an_etag_that_two_documents_share_by_chance_costs_neither(tmp_path: Path, draw_page) -> None:
    (tmp_path / "in").mkdir()
    draw_page("One").save(tmp_path / "in" / "a.png")
    draw_page("Other").save(tmp_path / "in" / "b.png")
    settings = load_settings()
    job = steps.PageJob(
        str(tmp_path / "in"), str(tmp_path / "out"), settings, "run", "shard", "settings", "model", "litert-cpu"
    )
    row = PageRow(run_id="r", shard_id="s", document_key="a.png", page_index=0, status="kept", source_sha256="0" * 64)
    twin = steps.fetch_document(Document("b.png", 1, "v", "etag", "a.png"), job)
    assert steps.point_to(twin, [row], job) is None
