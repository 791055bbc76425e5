"""Settings of an older version: what it did not have counts as today's default, and old defaults as today's."""

from __future__ import annotations

from typing import Any

import pytest

from foliopress.configs.loading import load_settings, public_settings
from foliopress.configs.older_settings import differences, is_older, settings_since
from foliopress.configs.settings import Settings

NEW = {
    "limits": ("max_document_operations", "max_unpacked_bytes", "max_document_seconds"),
    "encode": ("avif_chroma", "drop_colour"),
    "legibility": ("max_mark_chroma_error",),
    "stats": ("words_of_kept",),
}
"""Settings that commit f439fc8 did not have, of those that can change a page's output."""


def stored(profile: str = "access", **changes: object) -> dict[str, Any]:
    """Return a profile as commit f439fc8 stored it."""
    values: dict[str, Any] = public_settings(load_settings(profile))
    for section, names in NEW.items():
        for name in names:
            del values[section][name]
    values["legibility"]["max_attempts"] = 4
    for key, value in changes.items():
        section, _, name = key.partition("__")
        values[section][name] = value
    return values


@pytest.mark.parametrize("profile", ["access", "compatible", "preservation", "smallest"])
def test_the_same_profile_is_the_same(profile: str) -> None:
    assert is_older(stored(profile))
    assert differences(stored(profile), load_settings(profile)) == []


def test_today_s_settings_are_not_older() -> None:
    assert not is_older(public_settings(Settings()))
    assert not is_older({})


def test_the_old_default_given_by_hand_is_the_same() -> None:
    assert differences(stored(), load_settings(overrides=["legibility.max_attempts=4"])) == []


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("legibility.max_attempts=3", "legibility.max_attempts: 4 there, 3 now"),
        ("encode.quality=40", "encode.quality: None there, 40 now"),
        ("encode.drop_colour=never", "encode.drop_colour: unseen there, never now"),
        ("stats.words_of_kept=true", "stats.words_of_kept: False there, True now"),
        ("text=[txt]", "text: [] there, ['txt'] now"),
    ],
)
def test_a_difference_is_named_alone(override: str, told: str) -> None:
    assert differences(stored(), load_settings(overrides=[override])) == [told]


def test_a_changed_default_that_was_set_then_differs() -> None:
    assert differences(stored(legibility__max_attempts=2), Settings()) == ["legibility.max_attempts: 2 there, 8 now"]


def test_settings_since_are_those_that_did_not_exist() -> None:
    names = {f"{section}.{name}" for section, names in NEW.items() for name in names}
    assert settings_since(stored(), Settings()).keys() == names
    assert settings_since(stored(), Settings())["encode.drop_colour"] == "unseen"
