"""Test the growth benchmark: a virtual listing, replayed steps, and a kill in the middle."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from PIL import Image

import foliopress.flows.run.run
from benchmarks import replay_steps
from benchmarks.bare import main as bare
from benchmarks.extrapolation import as_section, measured
from benchmarks.listing import key_of, listing_server, size_of
from benchmarks.recorded import ON_WORKERS, RecordedDispatcher
from benchmarks.recorded import main as recorded
from benchmarks.replay import read_record
from benchmarks.scale import Phase, call, run_phases
from benchmarks.scale_report import as_markdown, write_plot
from foliopress.configs.settings import Settings, StorageSettings
from foliopress.flows.cluster.dispatcher import ShardDispatcher
from foliopress.flows.steps.document_plan import PageJob
from foliopress.tasks.records.schemas import page_table
from foliopress.tasks.storage.source_listing import Document, ListingCounts, list_documents
from foliopress.tasks.storage.store import Store


def test_a_listing_of_any_length_comes_in_order_and_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "benchmark")
    with listing_server(2500) as listing:
        store = Store("s3://scans", StorageSettings(endpoint_url=listing.endpoint_url, region="us-east-1"))
        store.check_readable()
        found = list(list_documents(store, Settings().scan, ListingCounts()))
        assert [document.key for document in found] == [key_of(number) for number in range(2500)]
        assert [document.size_bytes for document in found] == [size_of(number) for number in range(2500)]
        assert len({document.version for document in found}) == 2500
        listing.n_documents += 1
        assert [document.key for document in islice(store.list_objects(), 2500, None)] == [key_of(2500)]
        assert store.exists(key_of(2500)) and not store.exists(key_of(2501))


@pytest.fixture
def record(tmp_path: Path, draw_page: Callable[[str], Image.Image]) -> Path:
    """Return a finished DEST of two pages."""
    source = tmp_path / "scans"
    source.mkdir()
    for name in ("one.jpg", "two.jpg"):
        draw_page(name).save(source / name, dpi=(100, 100))
    bare(str(source), str(tmp_path / "record"))
    return tmp_path / "record"


def test_replayed_documents_have_the_rows_of_recorded_ones_and_their_own_names(record: Path) -> None:
    found = read_record(str(record))
    assert len(found) == 2 and all(one.words.num_rows and one.tiles.num_rows == 1 for one in found)
    done = []
    dispatcher = RecordedDispatcher(found, lambda: None, lambda: done.append(1))
    job = PageJob("s3://scans", "out", Settings(), "run", "shard", "settings", "model", "litert-cpu")
    documents = [Document(key_of(number), 1000, f"v{number}") for number in range(40)]
    results = list(dispatcher.compress(documents, job))
    assert len(done) == 40
    pages = [page for result in results for page in result.pages]
    assert [page.document_key for page in pages] == [document.key for document in documents]
    assert [page.document_version for page in pages] == [document.version for document in documents]
    assert {(page.run_id, page.shard_id) for page in pages} == {("run", "shard")}
    assert len({page.output_key for page in pages}) == 40 and {page.source_bytes for page in pages} == {1000}
    for result in results:
        for table in (page_table(result.pages), result.words, result.tiles):
            assert set(table.column("document_key").to_pylist()) == {result.document_key}


@pytest.mark.slow  # it starts Prefect and Dask four times
@pytest.mark.timeout(600)
def test_a_run_that_is_killed_goes_on_and_new_documents_are_all_that_is_done(record: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with listing_server(30_000) as listing:
        killed, rest, again, arrived = run_phases(record, work, listing, ["shard.max_documents=400"])
    assert killed.curve[-1][0] < 30_000
    assert "; 0 shards done" in again.said
    assert rest.files == again.files < arrived.files
    assert min(phase.peak_bytes for phase in (killed, rest, again, arrived)) > 50e6
    assert 0 < int(arrived.said.split()[2]) < 3000


def test_on_workers_the_real_spread_runs_with_steps_that_take_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("sys.argv", ["recorded", "record", ON_WORKERS, "compress"])
    monkeypatch.setattr("foliopress.flows.run.run.ShardDispatcher", ShardDispatcher)
    monkeypatch.setattr("foliopress.flows.cli.main", lambda: made.append(foliopress.flows.run.run.ShardDispatcher))
    monkeypatch.setenv(replay_steps.RECORD_VARIABLE, "")
    recorded()
    assert made[0].func is ShardDispatcher and made[0].keywords == {"steps": replay_steps}


@pytest.mark.long
@pytest.mark.timeout(120)
def test_rows_come_from_a_worker_by_real_tasks(record: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    with listing_server(300) as listing:
        phase = call(Phase("through Dask", 300), record, work, listing, (), more=[ON_WORKERS])
    assert "300 pages in" in phase.said and " 0 failed" in phase.said
    assert pq.ParquetDataset(work / "out" / "stats" / "pages").read().num_rows == 300
    assert phase.curve and all(driver_core_s > 0 for *_, driver_core_s in phase.curve)


def test_the_table_tells_what_a_document_costs_where_there_were_many(tmp_path: Path) -> None:
    def phase(name: str, wall_s: float, curve: list[tuple[int, int, float]]) -> dict[str, object]:
        sizes = {"peak_bytes": 3e8, "api_bytes": 2e8, "database_bytes": 4e6, "files": 300, "stats_bytes": 5e7}
        return {"name": name, "documents": 10_000, "wall_s": wall_s, "core_s": 9.0, "curve": curve, **sizes}

    figures = {
        "machine": {"processor": "Some CPU", "cores": 2},
        "through_dask": phase("through Dask", 60.0, [(0, 1, 1.0), (6000, 1, 40.0)]),
        "phases": [
            phase("the rest", 30.0, [(0, 1, 0.5), (5000, 2, 8.0), (10_000, 3, 16.0)]),
            phase("again", 4.0, [(0, 1, 0.5)]),
        ],
    }
    text = as_markdown(figures, write_plot(tmp_path, figures))
    assert "| 10,000 | through Dask | 60 | 9 | 10.00 | 300 | 200 | 4 | 300 | 50 |" in text
    assert "| 10,000 | the rest | 30 | 9 | 3.00 | 300 | 200 | 4 | 300 | 50 |" in text
    assert "| 10,000 | again | 4 | 9 |  | 300 |" in text
    assert (tmp_path / "scale.png").stat().st_size > 1000


def test_what_far_more_documents_need_is_worked_out_by_hand() -> None:
    def phase(name: str, documents: int, **figures: object) -> dict[str, object]:
        rest = {"wall_s": 0.0, "core_s": 0.0, "peak_bytes": 0, "database_bytes": 0, "stats_bytes": 0, "said": ""}
        return {"name": name, "documents": documents, **rest, **figures}

    phases = [
        phase("killed at half", 1000),
        phase("the rest", 1000, peak_bytes=3.1e8, database_bytes=1e6),
        phase("again", 1000, wall_s=10.0, said="0 shards done, 10 passed over, 0 failed"),
        phase("killed at half", 11_000),
        phase("the rest", 11_000, peak_bytes=3.2e8, database_bytes=2e6),
        phase("again", 11_000, wall_s=11.0, stats_bytes=11e6, said="0 shards done, 110 passed over, 0 failed"),
    ]
    through_dask = phase("through Dask", 1100, curve=[(0, 1, 4.0), (100, 1, 19.0), (500, 1, 70.0), (1100, 1, 119.0)])
    one = measured(phases, through_dask, {"contestants": {"Foliopress, 1 worker": {"core_s_per_page": 2.0}}})
    assert (one.shards, one.driver_s, one.page_core_s) == pytest.approx((0.01, 0.1, 2.0))
    assert (one.passing_over_s, one.database_bytes, one.driver_growth_bytes) == pytest.approx((1e-4, 1e4, 1000.0))
    text = "\n".join(as_section(one, 8_640_000))
    assert "| shards, each a Prefect task run | 86,400 |" in text
    assert "| database of the run's own Prefect API, as one run | 0.9 GB |" in text
    assert "| driver memory, as one run | 9.0 GB |" in text  # 0.32 GB and 1 kB a document
    assert "| core-hours | 4,800, at" in text
    # 8.64 million in 30 days are 3 1/3 a second; a driver that spends 0.1 s a page at 80 % does 8
    assert "| to finish in 30 days | 7 workers of one core, one run |" in text
