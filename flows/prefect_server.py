"""Check before a run that the user's own Prefect server can be used."""

from __future__ import annotations

import time

from foliopress.configs.errors import ConfigError

_TRIES, _PAUSE_S, _TIMEOUT_S = 3, 1.0, 15.0


def check_settings() -> None:
    """Import Prefect, which reads its settings.

    Raises:
        ConfigError: If they cannot be read.
    """
    try:
        import prefect.context  # noqa: F401 - reads the settings
    except ValueError as error:  # from pydantic, or from TOML
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ConfigError(
            f"Prefect cannot read its settings (PREFECT_…, prefect.toml): {' '.join(lines[:3])}"
        ) from error


def check_answers(name: str) -> None:
    """Send the configured API a request that needs the same rights as a run.

    Args:
        name: URL of the API, without a password.

    Raises:
        ConfigError: If it does not answer, refuses, or is not a Prefect API.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    advice = "start it, or unset PREFECT_API_URL and the profile to run without a server"
    for attempt in range(_TRIES):
        try:
            with get_client(httpx_settings={"timeout": _TIMEOUT_S}, sync_client=True) as client:
                client.read_flows(limit=1)
            return
        except PrefectHTTPStatusError as error:
            code = error.response.status_code
            if code in (401, 403):
                raise ConfigError(
                    f"the Prefect API at {name} refuses this user ({code}); "
                    "set PREFECT_API_AUTH_STRING or PREFECT_API_KEY as the server requires"
                ) from error
            if code < 500:
                raise ConfigError(f"there is no Prefect API at {name} ({code}); its URL ends in /api") from error
            fault: Exception = error
        except (httpx.HTTPError, OSError) as error:
            fault = error
        except (
            httpx.InvalidURL,
            ValueError,
            TypeError,
            ImportError,
        ) as error:  # no URL, a web page, an unknown proxy
            raise ConfigError(f"the Prefect API at {name} cannot be used: {type(error).__name__}: {error}") from error
        if attempt < _TRIES - 1:
            time.sleep(_PAUSE_S)
    words = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
    raise ConfigError(f"the Prefect API at {name} does not answer ({words}); {advice}") from fault
