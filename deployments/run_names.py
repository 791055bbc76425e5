"""Naming: what a run that a server starts is called in its UI, without a secret that one of its parameters holds."""

from __future__ import annotations

from collections.abc import Callable

from prefect.runtime import flow_run

from foliopress.configs.secrets import hide


def named(words: str) -> Callable[[], str]:
    """Return what Prefect asks for a run's name.

    Args:
        words: With the names of parameters in braces, e.g. `{source} with {profile}`.
    """

    def name() -> str:
        return words.format_map({key: hide(str(value)) for key, value in flow_run.parameters.items()})

    return name
