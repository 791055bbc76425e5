"""Compare the settings that an older version stored with today's.

An older version had fewer settings, and other defaults of some. A setting that it did not have counts as today's
default. One that was at its default then, and is at its default now, counts as the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from foliopress.configs.loading import SettingValues, digested_settings, digested_values, load_settings, profile_names
from foliopress.configs.settings import Settings

_DEFAULTS_THEN = {"legibility.max_attempts": (4, 5)}
"""Earlier defaults of settings, those of commit f439fc8 first."""


def is_older(stored: Mapping[str, Any]) -> bool:
    """Return whether stored settings lack one of today's.

    Args:
        stored: By section, as `settings.yaml` holds them.
    """
    return bool(stored) and bool(settings_since(stored, Settings()))


def settings_since(stored: Mapping[str, Any], settings: Settings) -> SettingValues:
    """Return the settings that an older version did not have, as they stand in today's."""
    then = digested_values(stored)
    return {key: value for key, value in digested_settings(settings).items() if key not in then}


def differences(stored: Mapping[str, Any], settings: Settings) -> list[str]:
    """Return how today's settings differ from those that an older version stored: each key with both values.

    >>> from foliopress.configs.loading import public_settings
    >>> stored = public_settings(Settings())
    >>> del stored["stats"]["words_of_kept"]
    >>> differences(stored, Settings()), differences(stored | {"text": ["txt"]}, Settings())
    ([], ["text: ['txt'] there, [] now"])
    """
    then, defaults = digested_values(stored), digested_settings(Settings())
    profile = stored.get("profile")
    of_profile = digested_settings(load_settings(profile)) if profile in profile_names() else defaults
    found = []
    for key, now in digested_settings(settings).items():
        if key not in then:
            if now not in (of_profile[key], defaults[key]):
                found.append(f"{key}: {of_profile[key]} there, {now} now")
        elif then[key] != now and not (then[key] in _DEFAULTS_THEN.get(key, ()) and now == defaults[key]):
            found.append(f"{key}: {then[key]} there, {now} now")
    return found
