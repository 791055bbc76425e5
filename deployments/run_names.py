"""Name the flow runs that a server starts, without the secrets that a parameter may hold."""

from __future__ import annotations

from collections.abc import Callable

from prefect.runtime import flow_run

from foliopress.configs.secrets import hide


def run_name(template: str) -> Callable[[], str]:
    """Return a function that returns the name of the current flow run, as Prefect calls it.

    Args:
        template: Name with parameters in braces, e.g. `{source} with {profile}`.
    """

    def name() -> str:
        return template.format_map({key: hide(str(value)) for key, value in flow_run.parameters.items()})

    return name
