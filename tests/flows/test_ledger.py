"""Commit marks: which shards are done, and what becomes of those that a newer one replaces."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.settings import ShardSettings, StorageSettings
from flows.ledger import Ledger, ShardRows
from flows.shards import Shard, cut_shards
from flows.storing import DocumentResult
from tasks.scan import Document
from tasks.statistics import TILES_SCHEMA, WORDS_SCHEMA, PageRow, as_table, file_key, live_rows, read_footer
from tasks.store import Store
from tests.promises import ROWS_ONCE


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "dest"), StorageSettings())
    store.check_writable()
    return store


def shard(name: str, keys: str) -> Shard:
    return Shard(name, tuple(Document(key, 10, "1") for key in keys))


def result(
    dest: Store, key: str, shard_id: str, status: str = "compressed", extension: str = "avif", **more
) -> DocumentResult:
    """The rows of a one-page document whose output is really there."""
    output = f"pages/{key}.{extension}" if status == "compressed" else f"pages/{key}"
    dest.write_bytes(output, f"{key} by {shard_id}".encode())
    row = PageRow(
        run_id="run", shard_id=shard_id, document_key=key, page_index=0, status=status, output_key=output, **more
    )
    word = {"document_key": key, "page_index": 0, "word_index": 0, "text": key, "confidence": 90.0}
    tiles = {"document_key": key, "page_index": 0, "tile_px": 32, "n_rows": 1, "n_cols": 1}
    tiles |= {"importance": [0.5], "level": [1]}
    return DocumentResult([dataclasses.asdict(row)], as_table([word], WORDS_SCHEMA), as_table([tiles], TILES_SCHEMA))


def commit(dest: Store, ledger: Ledger, done: Shard, **more) -> None:
    rows = ShardRows()
    for document in reversed(done.documents):
        rows.add(result(dest, document.key, done.shard_id, **more))
    ledger.commit(done, "run", rows)


def stored(dest: Store) -> set[str]:
    return {found.key for found in dest.list_objects()}


def files_of(shard_id: str) -> set[str]:
    return {file_key(table, shard_id) for table in ("pages", "words", "tiles")}


def rows_by_document(dest: Store, table: str = "pages") -> dict[str, list[str]]:
    """The shard files that hold rows of a document, dead rows included."""
    found: dict[str, list[str]] = {}
    for one in dest.list_objects(f"stats/{table}/"):
        with dest.open_input(one.key) as file:
            for key in pq.read_table(file).column("document_key").to_pylist():
                found.setdefault(key, []).append(one.key.rpartition("/")[2].removesuffix(".parquet"))
    return found


def test_a_committed_shard_is_done_for_this_ledger_and_the_next(dest: Store) -> None:
    ledger = Ledger(dest)
    assert ledger.is_empty
    done = shard("f", "abc")
    assert not ledger.is_done(done, retry_failed=False)
    commit(dest, ledger, done)
    assert ledger.is_done(done, retry_failed=True)
    assert Ledger(dest).is_done(done, retry_failed=True)
    assert not Ledger(dest).is_empty
    footer = read_footer(dest, "f")
    assert (footer.first_key, footer.last_key, footer.n_documents) == ("a", "c", 3)
    assert [(entry.shard_id, entry.run_id) for entry in footer.shards] == [("f", "run")]
    assert [row["document_key"] for row in live_rows(dest)] == ["a", "b", "c"]
    assert [row["text"] for row in live_rows(dest, "words")] == ["a", "b", "c"]


def test_failed_pages_are_done_unless_they_are_to_be_tried_again(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "ab"), status="failed", reason="damaged")
    assert ledger.is_done(shard("f", "ab"), retry_failed=False)
    assert not ledger.is_done(shard("f", "ab"), retry_failed=True)


def test_pages_kept_since_ocr_gave_no_answer_in_time_are_tried_by_every_rerun(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "ab"), status="kept", reason="ocr_timeout")
    assert not ledger.is_done(shard("f", "ab"), retry_failed=False)


def test_a_shard_whose_documents_all_lie_in_a_new_one_is_deleted(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "bc"))
    commit(dest, ledger, shard("g", "abc"))
    assert stored(dest) == files_of("g") | {f"pages/{key}.avif" for key in "abc"}
    assert read_footer(dest, "g").supersedes == ("f",)
    assert dest.read_bytes("pages/b.avif") == b"b by g"


def test_documents_that_moved_to_a_new_shard_leave_the_rest_of_the_old_one(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "abcd"))
    commit(dest, ledger, shard("g", "ab"))
    for table in ("pages", "words", "tiles"):
        assert rows_by_document(dest, table) == {"a": ["g"], "b": ["g"], "c": ["f"], "d": ["f"]}
    assert read_footer(dest, "f").shards[0].partial
    assert not Ledger(dest).is_done(shard("f", "abcd"), retry_failed=False)
    commit(dest, ledger, shard("h", "cd"))
    assert rows_by_document(dest) == {"a": ["g"], "b": ["g"], "c": ["h"], "d": ["h"]}
    assert not files_of("f") & stored(dest)


def test_outputs_that_the_new_rows_do_not_use_are_deleted_and_others_are_not(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "abc"), extension="jpg")
    commit(dest, ledger, shard("g", "ab"), extension="avif")
    assert {key for key in stored(dest) if key.startswith("pages/")} == {"pages/a.avif", "pages/b.avif", "pages/c.jpg"}


def test_a_shard_done_again_leaves_no_output_of_its_first_life(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "a"), status="failed", reason="damaged")
    commit(dest, ledger, shard("f", "a"))
    assert {key for key in stored(dest) if key.startswith("pages/")} == {"pages/a.avif"}


def test_a_document_that_came_back_brings_its_old_shard_back_to_life(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "abc"))
    commit(dest, ledger, shard("g", "ac"))  # b was gone from the source
    assert rows_by_document(dest) == {"a": ["g"], "b": ["f"], "c": ["g"]}
    commit(dest, Ledger(dest), shard("f", "abc"))
    assert rows_by_document(dest) == {"a": ["f"], "b": ["f"], "c": ["f"]}
    assert [row["document_key"] for row in live_rows(dest)] == ["a", "b", "c"]
    assert not files_of("g") & stored(dest)


def test_a_shard_between_whose_documents_others_lie_leaves_those_alone(dest: Store) -> None:
    ledger = Ledger(dest)
    commit(dest, ledger, shard("f", "ace"))
    commit(dest, ledger, shard("g", "bd"))
    assert read_footer(dest, "g").supersedes == ()
    assert rows_by_document(dest) == {key: ["g" if key in "bd" else "f"] for key in "abcde"}


class Killed(Exception):
    pass


class DyingStore(Store):
    """A store whose process dies just before its n-th change."""

    def __init__(self, store: Store, changes: int) -> None:
        super().__init__(store.url, StorageSettings())
        self.changes = changes

    def _count(self) -> None:
        self.changes -= 1
        if self.changes < 0:
            raise Killed

    def write_bytes(self, key: str, data: bytes) -> None:
        self._count()
        super().write_bytes(key, data)

    def delete(self, key: str) -> None:
        self._count()
        super().delete(key)


@pytest.mark.promise(
    ROWS_ONCE,
    "the driver ends at each single write and deletion of a commit",
)
@pytest.mark.parametrize("changes", range(16))
def test_wherever_a_commit_is_killed_the_next_run_finds_each_document_once_and_mends_the_rest(
    changes: int, dest: Store
) -> None:
    first = Ledger(dest)
    commit(dest, first, shard("f", "bcd"), extension="jpg")
    commit(dest, first, shard("h", "ef"))
    new = shard("g", "abcde")
    rows = ShardRows()
    for document in new.documents:
        rows.add(result(dest, document.key, "g"))
    try:
        Ledger(DyingStore(dest, changes)).commit(new, "run", rows)
    except Killed:
        seen = sorted(str(row["document_key"]) for row in live_rows(dest))
        assert seen in (list("bcdef"), list("abcdef"))
    again = Ledger(dest)
    again.finish_leftovers()
    held = rows_by_document(dest)
    assert all(len(shards) == 1 for shards in held.values())
    assert {table: set(rows_by_document(dest, table)) for table in ("words", "tiles")} == {
        "words": set(held),
        "tiles": set(held),
    }
    if not again.is_done(new, retry_failed=False):
        commit(dest, again, new)
    assert rows_by_document(dest) == {key: ["h" if key == "f" else "g"] for key in "abcdef"}
    outputs = {row["output_key"] for row in live_rows(dest)}
    assert outputs == {key for key in stored(dest) if key.startswith("pages/")}


@pytest.mark.promise(
    ROWS_ONCE,
    "archives that change between runs, by chance (Hypothesis)",
)
@settings(max_examples=40, deadline=None)
@given(
    archives=st.lists(st.sets(st.sampled_from("abcdefghijkl"), min_size=1), min_size=1, max_size=5),
    most=st.integers(1, 5),
)
def test_however_an_archive_changes_each_document_ever_seen_has_its_rows_in_one_file(
    archives: list[set[str]], most: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dest = Store(str(tmp_path_factory.mktemp("dest")), StorageSettings())
    ever: set[str] = set()
    for archive in archives:
        ever |= archive
        ledger = Ledger(dest)
        ledger.finish_leftovers()
        listing = [Document(key, 10, "1") for key in sorted(archive)]
        for piece in cut_shards(listing, ShardSettings(max_documents=most), "recipe"):
            if not ledger.is_done(piece, retry_failed=False):
                commit(dest, ledger, piece)
        held = rows_by_document(dest)
        assert {key: len(shards) for key, shards in held.items()} == dict.fromkeys(ever, 1)
        assert sorted(str(row["document_key"]) for row in live_rows(dest)) == sorted(ever)
