"""Test compaction: many small files of statistics become few, and no row is lost or doubled."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.settings import StorageSettings
from foliopress.flows.ledger.compaction import MAX_BYTES, MAX_DOCUMENTS, compact, is_small, plan
from foliopress.flows.ledger.ledger import Ledger
from foliopress.tasks.records.footers import Footer, ShardEntry, read_footers
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key
from foliopress.tasks.storage.store import Store
from tests.flows.ledger.test_ledger import (
    DyingStore,
    Killed,
    commit,
    files_of,
    ledger_of,
    rows_by_document,
    run_over,
    shard,
    stored,
)
from tests.promises import ROWS_ONCE
from tests.torture.peace import IS_TORTURE

SHARDS = {"f": "abc", "g": "de", "h": "fgh"}


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "dest"), StorageSettings())
    store.check_writable()
    return store


def base_of(name: str) -> str:
    return name.partition(".")[0]


def three_shards(dest: Store) -> Ledger:
    ledger = ledger_of(dest)
    for name, keys in SHARDS.items():
        commit(dest, ledger, shard(name, keys))
    return ledger


def test_many_small_files_become_one_with_the_same_rows_and_their_shards_are_done(dest: Store) -> None:
    ledger = three_shards(dest)
    before = {table: list(live_rows(dest, table)) for table in ("pages", "words", "tiles")}
    compact(ledger, dest, most_small=3)
    assert len(read_footers(dest)) == 3  # so many may be
    compact(ledger, dest, most_small=2)
    (part,) = read_footers(dest).values()
    assert [entry.shard_id for entry in part.shards] == ["f", "g", "h"]
    assert {table: list(live_rows(dest, table)) for table in before} == before
    assert {key for key in stored(dest) if key.startswith("stats/")} == files_of(base_of(part.name))
    for known in (ledger, ledger_of(dest)):
        assert all(known.is_done(shard(name, keys), True) for name, keys in SHARDS.items())
    compact(ledger_of(dest), dest, most_small=1)  # nothing left to do
    assert read_footers(dest).keys() == {part.name}


@pytest.mark.parametrize(("together", "groups"), [(1, 3), (2**21, 1)])
def test_small_shards_share_a_group_of_rows_up_to_some_bytes(dest: Store, monkeypatch, together, groups) -> None:
    monkeypatch.setattr("foliopress.flows.ledger.statistics_files._ROW_GROUP_BYTES", together)
    compact(three_shards(dest), dest, most_small=1)
    (part,) = read_footers(dest)
    with dest.open_input(file_key("pages", part)) as file:
        assert pq.ParquetFile(file).num_row_groups == groups
    assert len(list(live_rows(dest))) == sum(map(len, SHARDS.values()))


def test_a_shard_in_a_larger_file_that_is_done_again_leaves_it(dest: Store) -> None:
    compact(three_shards(dest), dest, most_small=1)
    (part,) = read_footers(dest)
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("g", "de"), extension="jpg")
    for table in ("pages", "words", "tiles"):
        assert rows_by_document(dest, table) == {key: ["g" if key in "de" else base_of(part)] for key in "abcdefgh"}
    for known in (ledger, ledger_of(dest)):
        assert known.is_done(shard("g", "de"), True) and known.is_done(shard("f", "abc"), True)
    assert {key for key in stored(dest) if key.startswith("pages/d")} == {"pages/d.jpg"}


def test_shards_of_a_larger_file_that_lose_documents_are_to_be_done_again_and_others_are_not(dest: Store) -> None:
    compact(three_shards(dest), dest, most_small=1)
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("new", "cd"))
    for known in (ledger, ledger_of(dest)):
        done = {
            name: known.is_done(shard(name, keys), False) for name, keys in (("f", "abc"), ("g", "de"), ("h", "fgh"))
        }
        assert done == {"f": False, "g": False, "h": True}
    assert sorted(str(row["document_key"]) for row in live_rows(dest)) == list("abcdefgh")


def test_a_larger_file_of_which_nothing_is_left_goes(dest: Store) -> None:
    compact(three_shards(dest), dest, most_small=1)
    commit(dest, ledger_of(dest), shard("new", "abcdefgh"))
    assert {key for key in stored(dest) if key.startswith("stats/")} == files_of("new")


def test_failed_pages_in_a_larger_file_are_still_to_be_tried_again(dest: Store) -> None:
    ledger = three_shards(dest)
    commit(dest, ledger, shard("i", "i"), status="failed", reason="damaged")
    commit(dest, ledger, shard("j", "j"), status="kept", reason="ocr_timeout")
    compact(ledger, dest, most_small=1)
    again = ledger_of(dest)
    assert again.is_done(shard("i", "i"), retry_failed=False)
    assert not again.is_done(shard("i", "i"), retry_failed=True)
    assert not again.is_done(shard("j", "j"), retry_failed=False)


@pytest.mark.promise(ROWS_ONCE, "the driver ends at each single write and deletion of a compaction")
@pytest.mark.parametrize("changes", range(13))
def test_wherever_a_compaction_is_killed_each_document_has_its_rows_once_and_the_next_run_mends_the_rest(
    changes: int, dest: Store
) -> None:
    three_shards(dest)
    with suppress(Killed):
        compact(ledger_of(DyingStore(dest, changes)), dest, most_small=1)
    for table in ("pages", "words", "tiles"):
        assert sorted(str(row["document_key"]) for row in live_rows(dest, table)) == list("abcdefgh")
    again = ledger_of(dest)
    again.finish_interrupted_commits()
    for table in ("pages", "words", "tiles"):
        assert {key: len(files) for key, files in rows_by_document(dest, table).items()} == dict.fromkeys("abcdefgh", 1)
    assert all(again.is_done(shard(name, keys), True) for name, keys in SHARDS.items())
    compact(again, dest, most_small=1)
    assert len(read_footers(dest)) == 1


@pytest.mark.promise(ROWS_ONCE, "archives that change between runs that put files together, by chance (Hypothesis)")
@settings(max_examples=200 if IS_TORTURE else 12, deadline=None)
@given(
    archives=st.lists(st.sets(st.sampled_from("abcdefghijkl"), min_size=1), min_size=1, max_size=5),
    most=st.integers(1, 5),
    most_small=st.integers(1, 4),
    retried=st.sets(st.sampled_from("abcdefghijkl")),
)
def test_however_an_archive_changes_and_is_put_together_each_document_has_its_rows_in_one_file(
    archives: list[set[str]],
    most: int,
    most_small: int,
    retried: set[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    dest = Store(str(tmp_path_factory.mktemp("dest")), StorageSettings())
    ever: set[str] = set()
    for archive in archives:
        ever |= archive
        ledger = run_over(dest, archive, most, retried)
        compact(ledger, dest, most_small)
        assert ledger.footers == read_footers(dest)  # the end of a run goes by what is in memory
        for table in ("pages", "words", "tiles"):
            held = rows_by_document(dest, table)
            assert {key: len(files) for key, files in held.items()} == dict.fromkeys(ever, 1)
            assert sorted(str(row["document_key"]) for row in live_rows(dest, table)) == sorted(ever)
        outputs = {row["output_key"] for row in live_rows(dest)}
        assert outputs == {key for key in stored(dest) if key.startswith("pages/")}


FOOTERS = st.lists(st.tuples(st.integers(1, MAX_DOCUMENTS), st.integers(1, MAX_BYTES)), max_size=40).map(
    lambda sizes: [
        (Footer(f"{n:03d}", (ShardEntry(f"{n}", "r", f"{n:03d}", f"{n:03d}", docs),)), size)
        for n, (docs, size) in enumerate(sizes)
    ]
)


@given(FOOTERS, st.integers(0, 10))
def test_a_plan_joins_neighbours_up_to_what_a_file_may_be_and_goes_on_the_same_after_a_kill(
    files: list[tuple[Footer, int]], done: int
) -> None:
    sizes = {footer.name: size for footer, size in files}
    footers = [footer for footer, _ in files]
    groups = list(plan(footers, sizes))
    documents = {footer.name: footer.n_documents for footer in footers}
    names = [footer.name for footer in footers]
    for group in groups:
        assert len(group) > 1
        assert sum(documents[name] for name in group) <= MAX_DOCUMENTS
        assert sum(sizes[name] for name in group) <= MAX_BYTES
        assert names[names.index(group[0]) :][: len(group)] == group
        assert all(is_small(footers[names.index(name)], sizes) for name in group)
    assert len({name for group in groups for name in group}) == sum(map(len, groups))
    # a compaction that was killed after some groups cuts the rest as it would have been cut
    made = groups[:done]
    merged = {name for group in made for name in group}
    after = [footer for footer in footers if footer.name not in merged]
    for group in made:
        entries = tuple(entry for name in group for entry in footers[names.index(name)].shards)
        after.append(Footer(group[0] + "+", entries))
        sizes[group[0] + "+"] = sum(sizes[name] for name in group)
    after.sort(key=lambda footer: footer.first_key)
    if all(not is_small(footer, sizes) for footer in after if footer.name.endswith("+")):
        assert list(plan(after, sizes)) == groups[done:]
