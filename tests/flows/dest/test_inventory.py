"""Test the inventory of DEST: a shard whose files are incomplete is redone, and no other; no defect breaks a run."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.settings import StorageSettings
from foliopress.flows.dest.inventory import Inventory, ObjectSet
from foliopress.flows.ledger.compaction import compact
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.ledger.shard_rows import ShardRows
from foliopress.flows.run.shards import Shard
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.records.footers import read_footers
from foliopress.tasks.records.rows import PageRow, WrittenFile
from foliopress.tasks.records.schemas import TILES_SCHEMA, WORDS_SCHEMA, as_table
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store
from tests.promises import RERUN

pytestmark = pytest.mark.promise(RERUN, "a file of each kind is missing, cut or changed, before a rerun")

SHARDS = {"f": "abc", "g": "de", "h": "fgh"}
TABLES = ("pages", "words", "tiles")


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "dest"), StorageSettings())
    store.check_writable()
    return store


def shard(name: str) -> Shard:
    return Shard(name, tuple(Document(key, 10, "1") for key in SHARDS[name]))


def document(dest: Store, key: str, shard_id: str, original: str | None = None) -> DocumentResult:
    """The rows of a document of two pages, its outputs and texts really there; or of one that points to another's."""
    rows, words, tiles = [], [], []
    for number in range(2):
        owner = original or key
        output = WrittenFile.of(f"pages/{owner}/{number + 1:04d}.avif", f"{owner} {number}".encode())
        text = WrittenFile.of(f"text/{key}/{number + 1:04d}.txt", b"read")
        if original is None:
            dest.write_bytes(output.key, f"{owner} {number}".encode())
            dest.write_bytes(text.key, b"read")
            words.append({"document_key": key, "page_index": number, "word_index": 0, "text": "read"})
            more = {"page_index": number, "tile_px": 32, "n_rows": 1, "n_cols": 1, "importance": [0.5], "level": [1]}
            tiles.append({"document_key": key, **more})
        row = PageRow(
            run_id="run",
            shard_id=shard_id,
            document_key=key,
            page_index=number,
            status="compressed",
            output_key=output.key,
            output_bytes=0 if original else output.size_bytes,
            output_sha256=output.sha256,
            duplicate_of=original,
            text_files=None if original else (text,),
        )
        rows.append(row)
    return DocumentResult(tuple(rows), as_table(words, WORDS_SCHEMA), as_table(tiles, TILES_SCHEMA))


def commit(dest: Store, ledger: Ledger, name: str, duplicates: dict[str, str] | None = None) -> None:
    duplicates = duplicates or {}
    rows = ShardRows()
    documents = tuple(Document(key, 10, "1", duplicate_of=duplicates.get(key)) for key in SHARDS[name])
    for one in documents:
        rows.add(document(dest, one.key, name, duplicates.get(one.key)))
    ledger.commit(Shard(name, documents), rows)


def committed(dest: Store, together: bool = False) -> Ledger:
    ledger = Ledger(dest, "run")
    for name in SHARDS:
        commit(dest, ledger, name)
    if together:
        compact(ledger, dest, most_small=1)
    return ledger


def undone(dest: Store, is_deep: bool = False) -> set[str]:
    ledger = Ledger(dest, "later", is_deep=is_deep)
    inventory = Inventory(dest, ledger.footers, is_deep=is_deep)
    return {name for name in SHARDS if not ledger.is_done(shard(name), False, inventory)}


def rerun(dest: Store, is_deep: bool = False) -> set[str]:
    """Do what a rerun does with its ledger, and return what it did again."""
    ledger = Ledger(dest, "later", is_deep=is_deep)
    inventory = Inventory(dest, ledger.footers, is_deep=is_deep)
    ledger.finish_interrupted_commits()
    again = {name for name in SHARDS if not ledger.is_done(shard(name), False, inventory)}
    for name in sorted(again):
        ledger.detach_duplicates(shard(name))
        commit(dest, ledger, name)
    compact(ledger, dest, most_small=1)
    assert ledger.n_lost == 0
    return again


def damage(dest: Store, key: str, how: str) -> None:
    data = dest.read_bytes(key)
    if how == "removed":
        dest.delete(key)
    elif how == "cut":
        dest.write_bytes(key, data[: len(data) // 2])
    else:
        dest.write_bytes(key, data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 4]) + data[len(data) // 2 + 1 :])


def file_of(dest: Store, shard_id: str) -> str:
    """The name of the file that holds a shard's rows."""
    footers = read_footers(dest).values()
    (name,) = (footer.name for footer in footers if shard_id in {entry.shard_id for entry in footer.shards})
    return name


def contents(dest: Store) -> dict[str, list[dict[str, object]]]:
    """The rows of each table, in the order of documents and pages."""
    order = itemgetter("document_key", "page_index")
    return {table: sorted(({**row, "run_id": ""} for row in live_rows(dest, table)), key=order) for table in TABLES}


@pytest.mark.parametrize("how", ["removed", "cut", "flipped"])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
@pytest.mark.parametrize("kind", ["output", "text", *TABLES])
def test_what_is_damaged_makes_its_shard_undone_and_a_rerun_mends_it(
    dest: Store, kind: str, together: bool, how: str
) -> None:
    committed(dest, together)
    before = contents(dest)
    objects = {one.key: dest.read_bytes(one.key) for one in dest.list_objects() if not one.key.startswith("stats/")}
    key = {"output": "pages/e/0002.avif", "text": "text/e/0002.txt"}.get(kind) or file_key(kind, file_of(dest, "g"))
    damage(dest, key, how)
    whole_file = set(SHARDS) if together and kind in TABLES else {"g"}
    if how != "flipped":
        assert undone(dest) == whole_file
    assert undone(dest, is_deep=True) == whole_file
    assert rerun(dest, is_deep=how == "flipped") == whole_file
    assert undone(dest, is_deep=True) == set()
    assert contents(dest) == before
    assert objects == {
        one.key: dest.read_bytes(one.key) for one in dest.list_objects() if not one.key.startswith("stats/")
    }


@pytest.mark.parametrize("kind", ["words", "tiles"])
@pytest.mark.parametrize("together", [False, True], ids=["apart", "together"])
def test_what_was_lost_is_not_forgotten_when_a_run_is_killed_after_one_shard(
    dest: Store, kind: str, together: bool
) -> None:
    committed(dest, together)
    dest.delete(file_key(kind, file_of(dest, "f")))
    ledger = Ledger(dest, "killed")
    commit(dest, ledger, "f" if not together else "g")  # and no more: what is left of the larger file lacks its words
    assert undone(dest) == ({"f", "h"} if together else set())
    assert rerun(dest) == ({"f", "h"} if together else set())
    assert undone(dest, is_deep=True) == set()


@pytest.mark.parametrize("kind", TABLES)
def test_files_that_cannot_be_read_are_not_put_together_for_good(dest: Store, kind: str) -> None:
    """Nobody lists before this compaction, as when a file is damaged in the middle of a run."""
    ledger = committed(dest)
    before = contents(dest)
    damage(dest, file_key(kind, file_of(dest, "g")), "cut")
    compact(ledger, dest, most_small=1)
    assert (ledger.n_lost == 1) == (kind == "pages")
    assert undone(dest) == {"g"}
    rerun(dest)
    assert contents(dest) == before


def test_a_shard_whose_rows_point_to_an_output_that_is_missing_is_done_again_with_the_one_that_made_it(
    dest: Store,
) -> None:
    ledger = committed(dest)
    commit(dest, ledger, "h", duplicates={"f": "a", "h": "d"})
    assert undone(dest) == set()
    dest.delete("pages/d/0001.avif")
    assert undone(dest) == {"g", "h"}
    dest.write_bytes("pages/d/0001.avif", b"d 0")
    assert undone(dest) == set()
    dest.delete(file_key("pages", file_of(dest, "f")))
    assert undone(dest) == {"f", "h"}


def test_a_shard_of_which_documents_are_gone_from_the_source_is_left_and_told(dest: Store) -> None:
    ledger = committed(dest)
    dest.delete("pages/e/0001.avif")
    inventory = Inventory(dest, ledger.footers)
    assert list(inventory.unrepaired(ledger.footers.values(), "later")) == ["g"]
    assert inventory.unrepaired(ledger.footers.values(), "run") == {}


@given(
    st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 5), max_size=30),
    st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 5), max_size=30),
)
def test_a_listing_holds_what_was_listed_in_its_size_and_nothing_else(there: dict, asked: dict) -> None:
    listing = ObjectSet(there.items())
    wanted = [*asked.items(), *there.items()]
    expected = [there.get(key) == size for key, size in wanted]
    assert listing.contains(wanted).tolist() == expected
    assert isinstance(listing.contains([]), np.ndarray)
