"""Test that outputs of a stopped run are deleted once another run has done their documents."""

from __future__ import annotations

from pathlib import Path

import pytest

from foliopress.configs.settings import StorageSettings
from foliopress.flows.dest.inventory import Inventory
from foliopress.flows.dest.orphaned_outputs import delete_orphaned_outputs
from foliopress.flows.ledger.ledger import Ledger
from foliopress.tasks.naming.key_spelling import ORDINARY
from foliopress.tasks.storage.store import Store
from tests.flows.ledger.test_ledger import commit, shard, stored

LEFT = ("pages/a.jpg.webp", "pages/b.tif/0002.avif", "pages/a.jpg", "text/a.jpg.alto.xml", "text/b.tif/0001.txt")
OTHERS = ("pages/gone.jpg.webp", "pages/notes", "text/README.txt", "pages/a.jpg.webp/deep/er.jpg")


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    store = Store(str(tmp_path / "dest"), StorageSettings())
    store.check_writable()
    commit(store, Ledger(store, "run"), shard("f", ["a.jpg", "b.tif"]), output_bytes=len("a.jpg by f"))
    return store


def outputs(dest: Store) -> set[str]:
    return {key for key in stored(dest) if key.startswith(("pages/", "text/"))}


@pytest.mark.parametrize("left", LEFT)
def test_an_output_that_no_row_names_goes_if_its_document_has_another(dest: Store, left: str) -> None:
    before = outputs(dest)
    dest.write_bytes(left, b"of a run that was killed")
    footers = Ledger(dest, "next").footers
    assert Inventory(dest, footers).has_unreferenced
    assert delete_orphaned_outputs(dest, footers, ORDINARY) == 1
    assert outputs(dest) == before
    assert not Inventory(dest, footers).has_unreferenced


@pytest.mark.parametrize("other", OTHERS)
def test_what_belongs_to_no_document_that_has_rows_may_be_all_that_is_left_of_it(dest: Store, other: str) -> None:
    dest.write_bytes(other, b"precious")
    footers = Ledger(dest, "next").footers
    assert Inventory(dest, footers).has_unreferenced
    assert delete_orphaned_outputs(dest, footers, ORDINARY) == 0
    assert dest.read_bytes(other) == b"precious"


def test_where_nothing_is_committed_all_outputs_are_unnamed_and_none_is_deleted(dest: Store) -> None:
    before = outputs(dest)
    assert Inventory(dest, {}).has_unreferenced
    assert delete_orphaned_outputs(dest, {}, ORDINARY) == 0
    assert outputs(dest) == before
