"""Post an alert to a webhook when a flow run fails or crashes."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun, State
    from prefect.flows import Flow

WEBHOOK = "FOLIOPRESS_ALERT_URL"
"""Environment variable of the worker: URL that gets the alert as JSON with a `text`, as chat services expect."""

_TIMEOUT_S = 10.0

log = logging.getLogger(__name__)


def alert(flow: Flow[..., Any], flow_run: FlowRun, state: State[Any]) -> None:  # noqa: ARG001 - Prefect's signature
    """Post the state of a flow run; a hook for a flow's `on_failure` and `on_crashed`."""
    url = os.environ.get(WEBHOOK)
    if not url:
        return
    text = f"Foliopress: {flow_run.name}: {state.name}: {state.message}"
    try:
        httpx.post(url, json={"text": text, "flow_run_id": str(flow_run.id)}, timeout=_TIMEOUT_S).raise_for_status()
    except httpx.HTTPError as error:
        log.error("the alert could not be posted: %s", type(error).__name__)  # the URL may hold a secret
