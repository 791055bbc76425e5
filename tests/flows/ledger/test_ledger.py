"""Test which shards count as committed, and how a newer shard replaces older ones."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.settings import ShardSettings, StorageSettings
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.ledger.shard_rows import ShardRows
from foliopress.flows.run.shards import Shard, cut_shards
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import LeaseLost
from foliopress.tasks.records.footers import Footer, read_footers
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import TILES_SCHEMA, WORDS_SCHEMA, as_table
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store
from tests.promises import ONE_RUN, ROWS_ONCE


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "dest"), StorageSettings())
    store.check_writable()
    return store


_RUNS = count()


def ledger_of(dest: Store) -> Ledger:
    """The ledger of another run."""
    return Ledger(dest, f"run {next(_RUNS)}")


def shard(name: str, keys: Iterable[str]) -> Shard:
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
    return DocumentResult((row,), as_table([word], WORDS_SCHEMA), as_table([tiles], TILES_SCHEMA))


def commit(dest: Store, ledger: Ledger, done: Shard, **more) -> None:
    rows = ShardRows()
    for document in reversed(done.documents):
        rows.add(result(dest, document.key, done.shard_id, **more))
    ledger.commit(done, rows)


def stored(dest: Store) -> set[str]:
    """The keys of all objects, those of statistics without the mark of their run."""
    return {
        re.sub(r"^(stats/.*?)\.[0-9a-f]{8}(-\d+)?\.parquet$", r"\1.parquet", one.key) for one in dest.list_objects()
    }


def footer_of(dest: Store, shard_id: str) -> Footer:
    """The footer of the one file that holds a shard alone."""
    (footer,) = [one for name, one in read_footers(dest).items() if name.partition(".")[0] == shard_id]
    return footer


def files_of(shard_id: str) -> set[str]:
    return {file_key(table, shard_id) for table in ("pages", "words", "tiles")}


def rows_by_document(dest: Store, table: str = "pages") -> dict[str, list[str]]:
    """The shard files that hold rows of a document, dead rows included."""
    found: dict[str, list[str]] = {}
    for one in dest.list_objects(f"stats/{table}/"):
        with dest.open_input(one.key) as file:
            for key in pq.read_table(file).column("document_key").to_pylist():
                found.setdefault(key, []).append(one.key.rpartition("/")[2].partition(".")[0])
    return found


def run_over(dest: Store, archive: set[str], max_documents: int, retried: Collection[str] = ()) -> Ledger:
    """Do what a run does to the ledger: commit the shards that are not done, and those whose first key is retried."""
    ledger = ledger_of(dest)
    ledger.finish_interrupted_commits()
    listing = [Document(key, 10, "1") for key in sorted(archive)]
    for piece in cut_shards(listing, ShardSettings(max_documents=max_documents), "recipe"):
        if not ledger.is_done(piece, retry_failed=False) or piece.first_key in retried:
            commit(dest, ledger, piece)
        assert ledger.is_done(piece, retry_failed=False)
    return ledger


def test_a_committed_shard_is_done_for_this_ledger_and_the_next(dest: Store) -> None:
    ledger = Ledger(dest, "run")
    assert ledger.is_empty
    done = shard("f", "abc")
    assert not ledger.is_done(done, retry_failed=False)
    commit(dest, ledger, done)
    assert ledger.is_done(done, retry_failed=True)
    assert ledger_of(dest).is_done(done, retry_failed=True)
    assert not ledger_of(dest).is_empty
    footer = footer_of(dest, "f")
    assert (footer.first_key, footer.last_key, footer.n_documents) == ("a", "c", 3)
    assert [(entry.shard_id, entry.run_id) for entry in footer.shards] == [("f", "run")]
    assert [row["document_key"] for row in live_rows(dest)] == ["a", "b", "c"]
    assert [row["text"] for row in live_rows(dest, "words")] == ["a", "b", "c"]


def test_failed_pages_are_done_unless_they_are_to_be_tried_again(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "ab"), status="failed", reason="damaged")
    assert ledger.is_done(shard("f", "ab"), retry_failed=False)
    assert not ledger.is_done(shard("f", "ab"), retry_failed=True)


def test_pages_kept_since_ocr_gave_no_answer_in_time_are_tried_by_every_rerun(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "ab"), status="kept", reason="ocr_timeout")
    assert not ledger.is_done(shard("f", "ab"), retry_failed=False)


def test_a_shard_whose_documents_all_lie_in_a_new_one_is_deleted(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "bc"))
    commit(dest, ledger, shard("g", "abc"))
    assert stored(dest) == files_of("g") | {f"pages/{key}.avif" for key in "abc"}
    assert [name.partition(".")[0] for name in footer_of(dest, "g").supersedes] == ["f"]
    assert dest.read_bytes("pages/b.avif") == b"b by g"


def test_documents_that_moved_to_a_new_shard_leave_the_rest_of_the_old_one(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "abcd"))
    commit(dest, ledger, shard("g", "ab"))
    for table in ("pages", "words", "tiles"):
        assert rows_by_document(dest, table) == {"a": ["g"], "b": ["g"], "c": ["f"], "d": ["f"]}
    assert footer_of(dest, "f").shards[0].partial
    assert not ledger_of(dest).is_done(shard("f", "abcd"), retry_failed=False)
    commit(dest, ledger, shard("h", "cd"))
    assert rows_by_document(dest) == {"a": ["g"], "b": ["g"], "c": ["h"], "d": ["h"]}
    assert not files_of("f") & stored(dest)


def test_outputs_that_the_new_rows_do_not_use_are_deleted_and_others_are_not(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "abc"), extension="jpg")
    commit(dest, ledger, shard("g", "ab"), extension="avif")
    assert {key for key in stored(dest) if key.startswith("pages/")} == {"pages/a.avif", "pages/b.avif", "pages/c.jpg"}


def test_a_shard_done_again_leaves_no_output_of_its_first_life(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "a"), status="failed", reason="damaged")
    commit(dest, ledger, shard("f", "a"))
    assert {key for key in stored(dest) if key.startswith("pages/")} == {"pages/a.avif"}


def test_a_document_that_came_back_brings_its_old_shard_back_to_life(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "abc"))
    commit(dest, ledger, shard("g", "ac"))  # b was gone from the source
    assert rows_by_document(dest) == {"a": ["g"], "b": ["f"], "c": ["g"]}
    commit(dest, ledger_of(dest), shard("f", "abc"))
    assert rows_by_document(dest) == {"a": ["f"], "b": ["f"], "c": ["f"]}
    assert [row["document_key"] for row in live_rows(dest)] == ["a", "b", "c"]
    assert not files_of("g") & stored(dest)


def test_a_shard_between_whose_documents_others_lie_leaves_those_alone(dest: Store) -> None:
    ledger = ledger_of(dest)
    commit(dest, ledger, shard("f", "ace"))
    commit(dest, ledger, shard("g", "bd"))
    assert footer_of(dest, "g").supersedes == ()
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
    first = ledger_of(dest)
    commit(dest, first, shard("f", "bcd"), extension="jpg")
    commit(dest, first, shard("h", "ef"))
    new = shard("g", "abcde")
    rows = ShardRows()
    for document in new.documents:
        rows.add(result(dest, document.key, "g"))
    try:
        ledger_of(DyingStore(dest, changes)).commit(new, rows)
    except Killed:
        seen = sorted(str(row["document_key"]) for row in live_rows(dest))
        assert seen in (list("bcdef"), list("abcdef"))
    again = ledger_of(dest)
    again.finish_interrupted_commits()
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


class PausedStore(Store):
    """A store whose process is paused within its n-th change, which comes through late, and none after it."""

    def __init__(self, store: Store, changes: int, meanwhile: Callable[[], None]) -> None:
        super().__init__(store.url, StorageSettings(), self._check)
        self.changes, self.meanwhile = changes, meanwhile

    def _check(self) -> None:
        if self.changes < 0:
            raise LeaseLost("the lease was lost")

    def _is_late(self) -> bool:
        self.changes -= 1
        if self.changes == -1:
            self.meanwhile()
        return self.changes == -1

    def write_bytes(self, key: str, data: bytes) -> None:
        (Store(self.url, self.storage) if self._is_late() else super()).write_bytes(key, data)

    def delete(self, key: str) -> None:
        (Store(self.url, self.storage) if self._is_late() else super()).delete(key)


@pytest.mark.promise(ONE_RUN, "a run is paused within each single write and deletion of a commit or a compaction")
@pytest.mark.parametrize("changes", range(22))
@pytest.mark.parametrize("taker", ["the same shard", "other settings"])
def test_wherever_a_run_is_paused_and_taken_over_from_its_last_late_change_does_not_count(
    changes: int, taker: str, dest: Store
) -> None:
    first = Ledger(dest, "first")
    commit(dest, first, shard("f", "bcd"), extension="jpg")
    commit(dest, first, shard("h", "ef"))
    commit(dest, first, shard("i", "g"))
    mine = "g" if taker == "the same shard" else "other"
    left: list[object] = []

    def take_over() -> None:
        ledger = Ledger(dest, "taker")
        ledger.fence_off(["paused"])
        ledger.finish_interrupted_commits()
        if not ledger.is_done(shard(mine, "abcde"), retry_failed=False):
            commit(dest, ledger, shard(mine, "abcde"))
        left.append({table: list(live_rows(dest, table)) for table in ("pages", "words", "tiles")})

    rows = ShardRows()
    new = shard("g", "abcde")
    for document in new.documents:
        rows.add(result(dest, document.key, "g"))
    with suppress(LeaseLost):
        paused = Ledger(PausedStore(dest, changes, take_over), "paused")
        paused.commit(new, rows)
        paused.merge_files(list(paused.footers))
    if not left:
        take_over()
    assert {table: list(live_rows(dest, table)) for table in ("pages", "words", "tiles")} == left[0]
    again = ledger_of(dest)
    again.finish_interrupted_commits()
    assert again.is_done(shard(mine, "abcde"), retry_failed=False)
    assert {table: list(live_rows(dest, table)) for table in ("pages", "words", "tiles")} == left[0]
    held = rows_by_document(dest)
    assert {key: len(files) for key, files in held.items()} == dict.fromkeys("abcdefg", 1)
    assert {row["output_key"] for row in live_rows(dest)} <= stored(dest)


def test_a_damaged_fence_lets_nothing_through(dest: Store) -> None:
    commit(dest, Ledger(dest, "paused"), shard("f", "ab"))
    Ledger(dest, "taker").fence_off(["paused"])
    assert ledger_of(dest).is_done(shard("f", "ab"), retry_failed=False)
    (fence,) = dest.list_objects("runs/fences/")
    dest.write_bytes(fence.key, b"{")
    assert ledger_of(dest).is_empty


@pytest.mark.long
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
        run_over(dest, archive, most)
        held = rows_by_document(dest)
        assert {key: len(shards) for key, shards in held.items()} == dict.fromkeys(ever, 1)
        assert sorted(str(row["document_key"]) for row in live_rows(dest)) == sorted(ever)


def test_a_run_that_was_fenced_off_commits_nothing_though_it_believes_that_it_holds_the_lease(dest: Store) -> None:
    paused = Ledger(dest, "paused")
    Ledger(dest, "taker").fence_off(["paused"])
    before = stored(dest)
    with pytest.raises(LeaseLost):
        paused.commit(shard("f", ()), ShardRows())
    assert stored(dest) == before
