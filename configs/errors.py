"""The error that says a setting cannot be used."""

from __future__ import annotations


class ConfigError(Exception):
    """A setting, path or model cannot be used; the run stops before its first page."""
