"""Define the error raised for unusable settings."""

from __future__ import annotations

from foliopress.configs.secrets import hide


class ConfigError(Exception):
    """A setting, path or model cannot be used; the run stops before its first page."""

    def __str__(self) -> str:
        return hide(super().__str__())  # shown, logged and sent to Prefect
