"""A DEST that commit f439fc8 wrote is read, verified and continued; what is done is not done again."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from distributed import LocalCluster
from prefect.utilities.annotations import quote

from foliopress.app.finished_run import open_run
from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import Settings
from foliopress.flows.compress import compress_archive
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.older.older_dest import OlderShards, continue_dest
from foliopress.flows.older.older_records import add_digests
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.run.run_summary import RunSummary
from foliopress.flows.verify import Verification, verify_archive
from foliopress.flows.views.report import report_on
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.records.fences import write_fence
from foliopress.tasks.records.footers import read_footers
from foliopress.tasks.records.overview import find_page, read_overview
from foliopress.tasks.records.schemas import SCHEMA_VERSION, SCHEMAS
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.promises import RERUN, VERIFY

ARCHIVE = Path(__file__).parent / "fixtures" / "f439fc8.tar.gz"
TEXTS = ("text=[alto, txt]", "scan.version=content")
"""Settings of `texts/`."""
SINCE = {
    *("witness", "witness_error", "witness_worst_block", "seconds_witness", "quarter_turns", "left_out"),
    *("mark_chroma_error", "text_files", "words_sure", "words_reread", "words_unrepeatable", "words_lost"),
    *("word_change", "stroke_change"),
}
"""Columns of pages that schema 4 does not have."""

Compress = Callable[..., RunSummary]
Verify = Callable[..., Verification]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A folder with SOURCE and two DESTs, their times as they were."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


def settings_of(scheduler: str, *overrides: str) -> Settings:
    return load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=4", *overrides])


@pytest.fixture
def compress(prefect_api: None, scheduler: str, older: Path) -> Compress:
    def run(dest: str = "out", *overrides: str, **options: bool) -> RunSummary:
        settings = settings_of(scheduler, *overrides)
        return compress_archive(quote(RunRequest(str(older / "scans"), str(older / dest), settings, **options)))

    return run


@pytest.fixture
def verify(prefect_api: None, scheduler: str, older: Path) -> Verify:
    def run(dest: str = "out", *, look: bool = False) -> Verification:
        settings = settings_of(scheduler)
        return verify_archive(str(older / dest), quote(settings), source=str(older / "scans"), look=look)

    return run


def store(folder: Path) -> Store:
    return Store(str(folder), load_settings().storage)


def rows_of(folder: Path, table: str = "pages") -> list[dict[str, object]]:
    return sorted(live_rows(store(folder), table), key=lambda row: (str(row["document_key"]), str(row["page_index"])))


def outputs(folder: Path) -> dict[str, tuple[bytes, int]]:
    """The bytes and times of outputs and text."""
    paths = [path for place in ("pages", "text") for path in (folder / place).rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def counts(summary: RunSummary) -> tuple[int, int, int]:
    return summary.shards_done, summary.shards_passed_over, summary.shards_failed


def found(verification: Verification) -> list[tuple[str, str]]:
    return [(damage.kind, damage.key) for damage in verification.damages]


def file_of(folder: Path, document_key: str) -> str:
    """The name of the file of statistics that holds a document."""
    for path in (folder / "stats/pages").glob("*.parquet"):
        if document_key in pq.read_table(path).column("document_key").to_pylist():
            return path.stem
    raise AssertionError(document_key)


@pytest.mark.parametrize("dest", ["out", "texts"])
def test_rows_are_read_and_columns_of_today_are_null(older: Path, dest: str) -> None:
    rows = rows_of(older / dest)
    assert len(rows) == 8
    assert all(list(row) == SCHEMAS["pages"].names for row in rows)
    assert {name for row in rows for name in row if all(one[name] is None for one in rows)} >= SINCE
    assert {row["status"] for row in rows} == {"compressed", "failed"}
    words = rows_of(older / dest, "words")
    assert words
    assert all(word["text"] and word["quarter_turns"] is None for word in words)
    assert all(row["importance"] for row in rows_of(older / dest, "tiles"))
    kept = [{name: value for name, value in row.items() if name not in SINCE} for row in rows]
    raw = pq.read_table(older / dest / "stats/pages").to_pylist()
    assert kept == sorted(raw, key=lambda row: (row["document_key"], row["page_index"]))


@pytest.mark.parametrize("dest", ["out", "texts"])
def test_the_overview_the_window_and_the_report_read_it(older: Path, dest: str) -> None:
    assert read_overview(store(older / dest)).num_rows == 8
    page = find_page(store(older / dest), "book.tif", 1)
    assert page is not None
    assert (page.row.status, page.row.witness) == ("compressed", None)
    assert page.words[0].quarter_turns is None
    archive = open_run(str(older / dest))
    assert (archive.pages.num_rows, archive.source) == (8, "scans")
    report = report_on(str(older / dest), load_settings())
    assert "7 pages not compared, because an older version wrote them" in report
    assert "compared with their sources" not in report


@pytest.mark.promise(VERIFY, "a DEST that an older version wrote")
@pytest.mark.parametrize(("dest", "n_outputs", "n_files"), [("out", 8, 6), ("texts", 7, 1)])
def test_what_nobody_touched_is_sound(verify: Verify, dest: str, n_outputs: int, n_files: int) -> None:
    verification = verify(dest)
    assert found(verification) == []
    assert (verification.documents, verification.pages, verification.outputs) == (7, 8, n_outputs)
    assert (verification.older_files, verification.other_files) == (n_files, 0)
    assert f"{n_files} files of page rows are of an older version" in verification.as_text()


@pytest.mark.promise(VERIFY, "a DEST that an older version wrote, damaged")
def test_damage_is_found(older: Path, verify: Verify) -> None:
    dest = older / "texts"
    (dest / "pages/map.png.avif").unlink()
    (dest / "text/book.tif/0002.txt").unlink()
    (dest / "pages/stranger.txt").write_text("a stranger's")
    (dest / "text/stranger.txt").write_text("a stranger's")
    (words,) = (dest / "stats/words").iterdir()
    words.write_bytes(words.read_bytes()[:-100])
    _, second = sorted((dest / "runs").iterdir())
    changed = (second / "settings.yaml").read_text().replace("threshold: 0.044", "threshold: 0.045")
    (second / "settings.yaml").write_text(changed)
    events = next((dest / "evidence/events").iterdir())
    events.unlink()
    names = {path: str(path.relative_to(dest)) for path in (words, second, events)}
    assert sorted(found(verify("texts"))) == sorted(
        [
            ("missing", "pages/map.png.avif"),
            ("missing", "text/book.tif/0002.txt"),
            ("missing", names[events]),
            ("extra", "pages/stranger.txt"),
            ("statistics", names[words]),
            ("changed", f"{names[second]}/settings.yaml"),
            ("changed", f"{names[second]}/run.json"),
            ("extra", "text/stranger.txt"),
        ]
    )


@pytest.mark.promise(RERUN, "a DEST that an older version wrote")
@pytest.mark.parametrize(("dest", "settings"), [("out", ()), ("texts", TEXTS)])
def test_a_rerun_passes_over_what_is_done(
    older: Path, compress: Compress, verify: Verify, dest: str, settings: tuple[str, ...]
) -> None:
    before, rows, words = outputs(older / dest), rows_of(older / dest), rows_of(older / dest, "words")
    summary = compress(dest, *settings)
    assert (counts(summary), summary.exit_code, summary.run.pages) == ((0, 6, 0), 3, 0)
    assert outputs(older / dest) == before
    after = rows_of(older / dest)
    assert [row | {"text_files": None} for row in after] == rows
    assert rows_of(older / dest, "words") == words
    footers = read_footers(store(older / dest))
    assert {footer.schema_version for footer in footers.values()} == {SCHEMA_VERSION}
    assert all(len(footer.files) == 2 for footer in footers.values())
    named = {file["key"] for row in after for file in row["text_files"] or ()}
    assert named == {name for name in before if name.startswith("text/")}
    verification = verify(dest, look=True)
    assert found(verification) == []
    assert (verification.older_files, verification.looked_at_pages) == (0, 7)
    assert verification.other_files > 0
    assert counts(compress(dest, *settings)) == (0, 6, 0)
    assert outputs(older / dest) == before
    assert counts(compress(dest, *settings, is_deep=True)) == (0, 6, 0)


def test_compacted_statistics_still_tell_older_shards(older: Path, compress: Compress, verify: Verify) -> None:
    assert counts(compress("out", "stats.most_small_files=1")) == (0, 6, 0)
    assert len(read_footers(store(older / "out"))) == 1
    assert counts(compress("out")) == (0, 6, 0)
    assert counts(compress("out", retry_failed=True)) == (1, 5, 0)
    assert found(verify("out")) == []


@pytest.mark.promise(RERUN, "a DEST that an older version was stopped at")
def test_a_run_that_was_stopped_half_way_is_continued(older: Path, compress: Compress, verify: Verify) -> None:
    before = {key: data for key, (data, _) in outputs(older / "out").items()}
    for key in ("book.tif", "letters/a.jpg"):
        (older / "out/stats/pages" / f"{file_of(older / 'out', key)}.parquet").unlink()
    (older / "out/pages/letters/a.jpg.avif").unlink()
    for run in (older / "out/runs").iterdir():
        values = json.loads((run / "run.json").read_text()) | {"status": "running"}
        (run / "run.json").write_text(json.dumps(values, indent=1) + "\n")
    summary = compress("out")
    assert (counts(summary), summary.run.pages, summary.whole.pages) == ((2, 4, 0), 3, 8)
    assert outputs(older / "out").keys() == before.keys()
    witnesses = {row["document_key"]: row["witness"] for row in rows_of(older / "out")}
    assert {key for key, witness in witnesses.items() if witness} == {"book.tif", "letters/a.jpg"}
    assert found(verify("out")) == []
    assert "4 pages not compared" in report_on(str(older / "out"), load_settings())
    assert counts(compress("out")) == (0, 6, 0)


def test_new_and_changed_documents_are_done_and_no_other(older: Path, compress: Compress, verify: Verify) -> None:
    before = outputs(older / "out")
    shutil.copyfile(older / "scans/letters/b.jpg", older / "scans/zoo.jpg")
    os.utime(older / "scans/letters/b.jpg", (1_800_000_000, 1_800_000_000))
    summary = compress("out")
    assert summary.shards_passed_over == 4
    assert summary.run.documents == 1 + 3  # b.jpg by itself; the new one in a shard with those before it
    after = outputs(older / "out")
    assert after.keys() == before.keys() | {"pages/zoo.jpg.avif"}
    assert after["pages/letters/a.jpg.avif"] == before["pages/letters/a.jpg.avif"]
    assert found(verify("out")) == []
    assert counts(compress("out")) == (0, 6, 0)


def test_other_settings_are_refused_and_nothing_is_rewritten(older: Path, compress: Compress, verify: Verify) -> None:
    for override, told in (
        ("encode.quality=40", "encode.quality: None there, 40 now"),
        ("encode.drop_colour=never", "encode.drop_colour: unseen there, never now"),
    ):
        with pytest.raises(ConfigError, match=rf"\(run 2026[^)]*\): {told}\. Give the same"):
            compress("out", override)
    assert {footer.schema_version for footer in read_footers(store(older / "out")).values()} == {"4"}
    assert found(verify("out")) == []
    assert counts(compress("out")) == (0, 6, 0)


def test_overwrite_with_other_settings_does_all_anew(older: Path, compress: Compress, verify: Verify) -> None:
    summary = compress("texts", *TEXTS, "encode.quality=40", "text=[txt]", overwrite=True)
    assert (counts(summary), summary.run.pages) == ((6, 0, 0), 8)
    rows = rows_of(older / "texts")
    assert {row["settings_digest"] for row in rows} == {summary.recipe.settings_digest}
    assert not list((older / "texts/text").rglob("*.xml"))
    assert found(verify("texts")) == []


def test_overwrite_and_deep_with_the_same_settings_pass_over(compress: Compress) -> None:
    assert counts(compress("out", overwrite=True, is_deep=True)) == (0, 6, 0)


def test_a_file_whose_rows_are_damaged_is_done_again(older: Path, compress: Compress, verify: Verify) -> None:
    path = older / "out/stats/pages" / f"{file_of(older / 'out', 'map.png')}.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    data = bytearray(path.read_bytes())
    data[column.dictionary_page_offset + column.total_compressed_size - 1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is damaged"):
        read_overview(store(older / "out"))
    assert (("statistics", str(path.relative_to(older / "out")))) in found(verify("out"))
    assert counts(compress("out")) == (1, 5, 0)
    assert found(verify("out")) == []


def test_a_shard_that_lacks_something_is_done_again(older: Path, compress: Compress, verify: Verify) -> None:
    (older / "texts/pages/letters/b.jpg.avif").unlink()
    (older / "texts/text/act.pdf.txt").unlink()
    assert counts(compress("texts", *TEXTS)) == (2, 4, 0)
    (older / "out/stats/words" / f"{file_of(older / 'out', 'letters/a.jpg')}.parquet").unlink()
    assert counts(compress("out")) == (1, 5, 0)
    assert found(verify("texts")) == found(verify("out")) == []


def test_text_stays_where_no_record_tells_of_it(older: Path, compress: Compress, verify: Verify) -> None:
    """The source is gone as well, so that its document is not done again."""
    first, _ = sorted((older / "texts/runs").iterdir())
    (first / "settings.yaml").unlink()
    (older / "scans/act.pdf").unlink()
    assert counts(compress("texts", *TEXTS)) == (0, 5, 0)
    assert (older / "texts/text/act.pdf.txt").exists()
    assert ("missing", f"runs/{first.name}/settings.yaml") in found(verify("texts"))


def test_a_run_that_is_killed_while_it_rewrites_is_continued(
    older: Path, compress: Compress, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, write, n_written = outputs(older / "out"), Store.write_bytes, 0

    def killed(self: Store, key: str, data: bytes, **more: bool) -> None:
        nonlocal n_written
        n_written += key.startswith("stats/")
        if n_written == 8:  # words and tiles of the third file stand, its pages do not
            raise StoreUnavailable("killed")
        write(self, key, data, **more)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "write_bytes", killed)
        with pytest.raises(StoreUnavailable):
            compress("out")
    assert len(rows_of(older / "out")) == 8
    versions = [footer.schema_version for footer in read_footers(store(older / "out")).values()]
    assert sorted(versions) == ["4"] * 4 + [SCHEMA_VERSION] * 2
    assert counts(compress("out")) == (0, 6, 0)
    assert outputs(older / "out") == before
    assert found(verify("out")) == []


def test_rows_that_a_newer_shard_holds_stay_void(older: Path, compress: Compress, verify: Verify) -> None:
    """An older run was killed after it had committed a shard, before it took the documents out of the older file."""
    dest, names = store(older / "out"), [file_of(older / "out", key) for key in ("letters/a.jpg", "letters/copy.jpg")]
    path = older / "out/stats/pages" / f"{names[0]}.parquet"
    table = pq.read_table(path)
    metadata = table.schema.metadata | {b"foliopress.supersedes": json.dumps([names[1]]).encode()}
    keys = table.set_column(2, "document_key", [["letters/copy.jpg"]]).cast(table.schema.with_metadata(metadata))
    pq.write_table(keys, path)
    assert [row["document_key"] for row in rows_of(older / "out")].count("letters/copy.jpg") == 1
    ledger = Ledger(dest, "r2")
    add_digests(dest, ledger.footers)
    continue_dest(dest, ledger, Nothing(), load_settings(), "a b c", print)  # type: ignore[arg-type]
    assert [row["document_key"] for row in rows_of(older / "out")].count("letters/copy.jpg") == 1
    (entry,) = [footer.shards[0] for footer in ledger.footers.values() if footer.last_key == "map.png"]
    assert (entry.partial, entry.n_documents) == (True, 2)


class Nothing:
    """An inventory that has looked everything up."""

    def defect_of(self, _shard_id: str) -> None:
        return None


def test_what_an_older_run_writes_after_a_fence_does_not_count(older: Path) -> None:
    dest, name = store(older / "out"), file_of(older / "out", "map.png")
    run_id = next(path.name for path in (older / "out/runs").iterdir())
    counted = sorted(read_footers(dest).keys() - {name})
    write_fence(dest, run_id, counted, "r2")
    assert sorted(read_footers(dest)) == counted


def test_a_file_of_today_without_a_column_or_seal_is_damaged_as_before(older: Path, compress: Compress) -> None:
    compress("out")
    path = next((older / "out/stats/pages").iterdir())
    pq.write_table(pq.read_table(path).drop_columns(["witness"]), path)
    with pytest.raises(ConfigError, match="is damaged"):
        read_overview(store(older / "out"))


def test_nothing_is_read_of_a_dest_that_no_older_version_wrote() -> None:
    class Untouched:
        def __getattr__(self, name: str) -> object:
            raise AssertionError(name)

    ledger = SimpleNamespace(footers={})
    add_digests(Untouched(), {})  # type: ignore[arg-type]
    shards = continue_dest(Untouched(), ledger, Untouched(), load_settings(), "a b c", print)  # type: ignore[arg-type]
    assert shards == OlderShards()
