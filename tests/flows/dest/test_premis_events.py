"""Test that each document has one event, after runs that stopped, redid documents or merged files."""

from __future__ import annotations

import gzip
import hashlib
import json
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.settings import StorageSettings
from foliopress.flows.dest.premis_events import INDEX_KEY, LINES, TABLE, has_current_events, update_events
from foliopress.flows.ledger.compaction import compact
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.ledger.shard_rows import ShardRows
from foliopress.flows.run.shards import Shard
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.naming.output_keys import output_key
from foliopress.tasks.records.footers import read_footers
from foliopress.tasks.records.premis import as_premis, verdict_of
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import TILES_SCHEMA, WORDS_SCHEMA, as_table
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store
from tests.flows.ledger.test_ledger import DyingStore, Killed

RUN = "20260131T175900Z-3f9c2a"


def rows_of(dest: Store, key: str, shard_id: str, status: str, run_id: str, n_pages: int) -> list[dict[str, object]]:
    """The rows of a document whose outputs are really there; a book is kept and failed as one file."""
    source = f"{key} as it came".encode()
    rows = []
    for number in range(n_pages):
        one_file = status != "compressed"
        place = output_key(key) if one_file else output_key(key, page_index=number, extension="avif")
        data = source if one_file else f"{key} {number} by {run_id}".encode()
        dest.write_bytes(place, data)
        row = PageRow(
            run_id=run_id,
            shard_id=shard_id,
            document_key=key,
            page_index=number,
            status=status,
            reason=None if status == "compressed" else "damaged",
            output_key=place,
            source_bytes=len(source) if number == 0 else 0,
            output_bytes=0 if one_file and number else len(data),
            source_sha256=hashlib.sha256(source).hexdigest(),
            output_sha256=hashlib.sha256(data).hexdigest(),
            settings_digest="5e",
            model_digest="30",
            scorer="litert-cpu",
        )
        rows.append(row)
    return rows


def commit(
    dest: Store, name: str, statuses: dict[str, str], run_id: str = RUN, n_pages: int = 2, ledger: Ledger | None = None
) -> None:
    """Commit a shard of documents, each with its status."""
    results = ShardRows()
    for key, status in statuses.items():
        pages = rows_of(dest, key, name, status, run_id, n_pages)
        results.add(DocumentResult(tuple(pages), as_table([], WORDS_SCHEMA), as_table([], TILES_SCHEMA)))
    documents = tuple(Document(key, 10, "1") for key in sorted(statuses, key=str.encode))
    (ledger or Ledger(dest, run_id)).commit(Shard(name, documents), results)


def name_of(dest: Store, shard_id: str) -> str:
    """The name of the one file of statistics that a shard stands in alone."""
    (name,) = [name for name in read_footers(dest) if name.partition(".")[0] == shard_id]
    return name


def finished_run(dest: Store, run_id: str = RUN, status: str = "finished") -> None:
    record = {"run_id": run_id, "status": status, "versions": {"foliopress": "0.1.0", "pillow": "12.0"}}
    dest.write_bytes(f"runs/{run_id}/run.json", json.dumps(record).encode())


def events_of(dest: Store) -> list[dict[str, object]]:
    events = []
    for found in dest.list_objects("evidence/events/"):
        with dest.open_input(found.key) as file:
            events += pq.read_table(file).to_pylist()
    return sorted(events, key=lambda event: str(event["document_key"]))


def lines_of(dest: Store) -> list[dict[str, object]]:
    found = [dest.read_bytes(one.key) for one in dest.list_objects("evidence/premis/")]
    return [json.loads(line) for data in found for line in gzip.decompress(data).splitlines()]


def told_by_rows(dest: Store) -> dict[object, tuple[object, ...]]:
    """Verdict, run and digests of each document, worked out from its rows by themselves."""
    rows: dict[object, list[dict[str, object]]] = {}
    for row in live_rows(dest):
        rows.setdefault(row["document_key"], []).append(row)
    return {
        key: (
            verdict_of([row["status"] for row in pages]),
            pages[0]["run_id"],
            pages[0]["source_sha256"],
            {(row["output_key"], row["output_sha256"]) for row in pages},
        )
        for key, pages in rows.items()
    }


def told_by_events(dest: Store) -> dict[object, tuple[object, ...]]:
    events = events_of(dest)
    told = {
        event["document_key"]: (
            event["verdict"],
            event["run_id"],
            event["source_sha256"],
            {(output["output_key"], output["output_sha256"]) for output in event["outputs"]},
        )
        for event in events
    }
    assert len(told) == len(events)  # no document has two
    return told


def changes_of(dest: Store) -> dict[str, str]:
    return {found.key: found.version for found in dest.list_objects("evidence/")}


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "dest"), StorageSettings())
    store.check_writable()
    finished_run(store)
    return store


def test_each_document_has_one_event_that_says_what_its_rows_say(dest: Store) -> None:
    commit(dest, "s1", {"a.tif": "compressed", "b.tif": "kept"})
    commit(dest, "s2", {"c.tif": "failed"}, n_pages=300)
    update_events(dest, is_enabled=True)
    assert told_by_events(dest) == told_by_rows(dest)
    assert [(event["document_key"], event["verdict"], event["n_pages"]) for event in events_of(dest)] == [
        ("a.tif", "compressed", 2),
        ("b.tif", "kept", 2),
        ("c.tif", "failed", 300),
    ]
    assert {json.loads(str(event["versions"]))["pillow"] for event in events_of(dest)} == {"12.0"}
    assert has_current_events(dest)


def test_the_lines_of_premis_say_what_the_table_says(dest: Store) -> None:
    commit(dest, "s1", {"a.tif": "compressed", "b.tif": "kept", "ü\n%.tif": "failed"})
    update_events(dest, is_enabled=True)
    lines = {json.dumps(line, sort_keys=True) for line in lines_of(dest)}
    assert lines == {json.dumps(as_premis(event), sort_keys=True) for event in events_of(dest)}
    assert len(lines) == 3


def test_an_event_tells_when_its_shard_was_committed(dest: Store) -> None:
    commit(dest, "s1", {"a.tif": "compressed"})
    update_events(dest, is_enabled=True)
    (entry,) = read_footers(dest)[name_of(dest, "s1")].shards
    assert events_of(dest)[0]["event_date_time"] == entry.committed_at
    assert entry.committed_at is not None and entry.committed_at.endswith("+00:00")


def test_where_nothing_is_new_nothing_is_written_and_what_is_new_alone_is(dest: Store) -> None:
    commit(dest, "s1", {"a.tif": "compressed"})
    update_events(dest, is_enabled=True)
    before = changes_of(dest)
    update_events(DyingStore(dest, 0), is_enabled=True)  # a first change would kill it
    assert changes_of(dest) == before
    commit(dest, "s2", {"b.tif": "kept"})
    assert not has_current_events(dest)
    update_events(dest, is_enabled=True)
    after = changes_of(dest)
    new = {key for key in after if after[key] != before.get(key)}
    assert new == {INDEX_KEY, *(form.format(name_of(dest, "s2")) for form in (TABLE, LINES))}


def test_a_document_that_a_later_run_did_again_has_the_event_of_that_run(dest: Store) -> None:
    commit(dest, "s1", {"a.tif": "failed", "b.tif": "compressed"})
    update_events(dest, is_enabled=True)
    finished_run(dest, "later")
    commit(dest, "s1", {"a.tif": "compressed", "b.tif": "compressed"}, run_id="later")  # the same shard, tried again
    commit(dest, "s2", {"b.tif": "compressed", "c.tif": "kept"}, run_id="later")  # b.tif lies in another one now
    update_events(dest, is_enabled=True)
    assert told_by_events(dest) == told_by_rows(dest)
    assert {event["run_id"] for event in events_of(dest)} == {"later"}


def test_events_of_files_that_were_put_together_lie_in_one_file(dest: Store) -> None:
    for number in range(3):
        commit(dest, f"s{number}", {f"{number}.tif": "compressed"})
    update_events(dest, is_enabled=True)
    before = events_of(dest)
    compact(Ledger(dest, "next"), dest, most_small=1)
    update_events(dest, is_enabled=True)
    assert events_of(dest) == before
    assert len(list(dest.list_objects("evidence/events/"))) == len(list(dest.list_objects("evidence/premis/"))) == 1


def test_where_none_are_wanted_those_that_are_no_longer_true_go(dest: Store) -> None:
    update_events(dest, is_enabled=False)
    commit(dest, "s1", {"a.tif": "compressed"})
    commit(dest, "s2", {"b.tif": "compressed"})
    update_events(dest, is_enabled=False)
    assert changes_of(dest) == {}
    update_events(dest, is_enabled=True)
    commit(dest, "s2", {"b.tif": "kept"})
    update_events(dest, is_enabled=False)
    assert told_by_events(dest).keys() == {"a.tif"}
    before = changes_of(dest)
    update_events(DyingStore(dest, 0), is_enabled=False)
    assert changes_of(dest) == before


@pytest.mark.parametrize("spoil", ["index", "table", "lines"])
def test_events_that_somebody_deleted_or_spoiled_are_written_again(dest: Store, spoil: str) -> None:
    commit(dest, "s1", {"a.tif": "compressed"})
    update_events(dest, is_enabled=True)
    if spoil == "index":
        dest.write_bytes(INDEX_KEY, b"[1, 2")
    else:
        dest.delete({"table": TABLE, "lines": LINES}[spoil].format(name_of(dest, "s1")))
    update_events(dest, is_enabled=True)
    assert told_by_events(dest) == told_by_rows(dest)
    assert len(lines_of(dest)) == 1


def test_what_somebody_put_beside_them_is_left_alone(dest: Store) -> None:
    for place in ("evidence/notes.txt", "evidence/events/notes.txt"):
        dest.write_bytes(place, b"mine")
    commit(dest, "s1", {"a.tif": "compressed"})
    for wanted in (True, False):
        update_events(dest, wanted)
    assert dest.exists("evidence/notes.txt") and dest.exists("evidence/events/notes.txt")


def test_rows_of_a_run_without_a_record_have_events_all_the_same(dest: Store) -> None:
    commit(dest, "s1", {"a.tif": "compressed"}, run_id="gone")
    update_events(dest, is_enabled=True)
    assert [event["versions"] for event in events_of(dest)] == ["{}"]


@pytest.mark.parametrize("changes", range(7))
def test_wherever_the_writing_is_killed_the_next_run_leaves_each_document_one_event(changes: int, dest: Store) -> None:
    commit(dest, "s1", {"a.tif": "failed"})
    commit(dest, "s2", {"b.tif": "compressed"})
    update_events(dest, is_enabled=True)
    commit(dest, "s1", {"a.tif": "compressed"}, run_id="later")
    compact(Ledger(dest, "next"), dest, most_small=1)
    with suppress(Killed):
        update_events(DyingStore(dest, changes), is_enabled=True)
    update_events(dest, is_enabled=True)
    assert told_by_events(dest) == told_by_rows(dest)
    assert len(lines_of(dest)) == 2 and has_current_events(dest)


@pytest.mark.parametrize("changes", range(9))
def test_wherever_a_commit_is_killed_no_document_has_two_events(changes: int, dest: Store) -> None:
    commit(dest, "old", {"a.tif": "compressed", "b.tif": "compressed"})
    update_events(dest, is_enabled=True)
    with suppress(Killed):
        ledger = Ledger(DyingStore(dest, changes), "later")
        commit(dest, "new", {"b.tif": "kept", "c.tif": "kept"}, run_id="later", ledger=ledger)
    update_events(dest, is_enabled=True)  # as `foliopress bag` may, before the next run has mended what is left
    assert told_by_events(dest) == told_by_rows(dest)
    Ledger(dest, "next").finish_interrupted_commits()
    update_events(dest, is_enabled=True)
    assert told_by_events(dest) == told_by_rows(dest)
    assert has_current_events(dest)


@settings(max_examples=15, deadline=None)
@given(
    runs=st.lists(
        st.tuples(
            st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["compressed", "kept", "failed"]), min_size=1),
            st.integers(1, 3),
            st.booleans(),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_however_runs_follow_each_other_events_say_what_the_rows_say(runs, tmp_path_factory) -> None:
    dest = Store(str(tmp_path_factory.mktemp("dest")), StorageSettings())
    for number, (statuses, most_small, wanted) in enumerate(runs):
        commit(dest, f"s{number % 2}", statuses, run_id=f"r{number}", n_pages=1)
        compact(Ledger(dest, "next"), dest, most_small)
        update_events(dest, wanted)
        told = told_by_events(dest)
        rows = told_by_rows(dest)
        assert told == (rows if wanted else {key: rows[key] for key in told})
