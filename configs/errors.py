"""The error that says a setting cannot be used."""

from __future__ import annotations

from foliopress.configs.secrets import hide


class ConfigError(Exception):
    """A setting, path or model cannot be used; the run stops before its first page."""

    def __str__(self) -> str:
        return hide(super().__str__())  # it is shown, logged and told to Prefect
