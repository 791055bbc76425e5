"""Test that damaged records of runs are found, and restored from the rows as far as possible."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings, settings_digest
from foliopress.configs.settings import StorageSettings
from foliopress.flows.dest.premis_events import update_events
from foliopress.flows.dest.run_records import (
    find_record_problems,
    record_keys,
    repair_run_records,
    stored_runs,
)
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.run.run_summary import Recipe, RunStart, check_same_recipe, write_start
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import PAGES_SCHEMA
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.storage.store import Store

SETTINGS = load_settings("access")
RECIPE = Recipe(settings_digest(SETTINGS), "model", "litert-cpu")
VERSIONS = {"foliopress": "0.1.0"}


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    """A DEST with the records of two runs, of which the first has a row."""
    store = Store(str(tmp_path / "dest"), StorageSettings())
    store.check_writable()
    for run_id in ("r1", "r2"):
        write_start(store, RunStart(run_id, "2026-01-31T17:59:00+00:00", SETTINGS, RECIPE, VERSIONS))
    row = {"run_id": "r1", "shard_id": "s", "document_key": "a", "page_index": 0, "status": "kept"}
    row |= {"settings_digest": RECIPE.settings_digest, "model_digest": "model", "scorer": "litert-cpu"}
    assert row.keys() <= PageRow.__dataclass_fields__.keys()
    row |= {"source_bytes": 0, "output_bytes": 0}
    footer = Footer("s", (ShardEntry("s", "r1", "a", "a", 1),))
    store.write_bytes(file_key("pages", "s"), table_bytes([row], PAGES_SCHEMA, footer.as_metadata()))
    update_events(store, is_enabled=True)
    return store


def spoil(dest: Store, key: str, how: str) -> None:
    data = dest.read_bytes(key)
    if how == "removed":
        dest.delete(key)
    else:
        dest.write_bytes(key, data[:-7] if how == "cut" else data[:12] + bytes([data[12] ^ 1]) + data[13:])


def mend(dest: Store, recipe: Recipe = RECIPE, is_deep: bool = False) -> None:
    repair_run_records(dest, Ledger(dest, "r3").footers, SETTINGS, recipe, "r3", is_deep=is_deep)


@pytest.mark.parametrize("how", ["removed", "cut", "flipped"])
@pytest.mark.parametrize("form", ["settings.yaml", "run.json"])
def test_a_damaged_record_is_found_and_written_again_by_what_the_rows_say(dest: Store, form: str, how: str) -> None:
    assert find_record_problems(dest, ["r1", "r2"]) == []
    settings = yaml.safe_load(dest.read_bytes("runs/r1/settings.yaml"))
    key = f"runs/r1/{form}"
    spoil(dest, key, how)
    kind = "missing" if how == "removed" else "changed"
    assert [(one.run_id, one.key, one.kind) for one in find_record_problems(dest, ["r1", "r2"])] == [("r1", key, kind)]
    mend(dest)
    assert find_record_problems(dest, ["r1", "r2"]) == []
    assert yaml.safe_load(dest.read_bytes("runs/r1/settings.yaml")) == settings
    record = json.loads(dest.read_bytes("runs/r1/run.json"))
    assert record["settings_digest"] == RECIPE.settings_digest and record["versions"] == VERSIONS
    assert record["status"] == ("written again" if form == "run.json" else "running")


def test_a_record_of_other_settings_cannot_be_written_again(dest: Store) -> None:
    spoil(dest, "runs/r1/settings.yaml", "removed")
    mend(dest, Recipe("other", "model", "litert-cpu"))
    assert [one.key for one in find_record_problems(dest, ["r1"])] == ["runs/r1/settings.yaml"]


def test_a_damaged_record_of_a_run_without_rows_goes_as_soon_as_it_is_read(dest: Store) -> None:
    spoil(dest, "runs/r2/settings.yaml", "flipped")
    mend(dest)
    assert "r2" in stored_runs(dest)
    mend(dest, is_deep=True)
    assert stored_runs(dest) == {"r1": {"settings.yaml", "run.json"}}


@pytest.mark.parametrize("how", ["removed", "cut", "flipped"])
@pytest.mark.parametrize("keys", [record_keys("r2"), record_keys("r1") + record_keys("r2")], ids=["newest", "all"])
def test_other_settings_are_refused_whatever_records_are_damaged(dest: Store, keys: tuple[str, ...], how: str) -> None:
    for key in keys:
        spoil(dest, key, how)
    check_same_recipe(dest, SETTINGS, RECIPE)
    with pytest.raises(ConfigError, match="model there, another now"):
        check_same_recipe(dest, SETTINGS, Recipe(RECIPE.settings_digest, "another", "litert-cpu"))
    with pytest.raises(ConfigError, match="holds pages of other settings"):
        check_same_recipe(dest, SETTINGS, Recipe("other", "model", "litert-cpu"))
