"""Test a run with other settings than DEST: the error names each setting that differs, and no other."""

from __future__ import annotations

import uuid

import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings, settings_digest
from foliopress.configs.settings import Settings, StorageSettings
from foliopress.flows.run.run_summary import Recipe, RunStart, check_same_recipe, write_start
from foliopress.tasks.storage.store import Store


def recipe(settings: Settings) -> Recipe:
    return Recipe(settings_digest(settings), "model", "litert-cpu")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("text=[alto]", "text: [] there, ['alto'] now"),
        ("limits.max_page_pixels=5", "limits.max_page_pixels: 120000000 there, 5 now"),
        ("documents.layers=mrc", "documents.layers: one there, mrc now"),
    ],
)
def test_a_refusal_names_what_differs_alone(override: str, told: str) -> None:
    dest = Store(f"memory://{uuid.uuid4().hex}", StorageSettings())
    before, now = load_settings(), load_settings(overrides=[override])
    write_start(dest, RunStart("r1", "2026-01-31T17:59:00+00:00", before, recipe(before), {}))
    with pytest.raises(ConfigError) as caught:
        check_same_recipe(dest, now, recipe(now))
    assert f"(run r1): {told}. Give the same settings" in str(caught.value)
