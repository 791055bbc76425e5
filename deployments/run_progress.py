"""Show the log of a run in the Prefect UI."""

from __future__ import annotations

import logging

from prefect.logging.handlers import APILogHandler

_PACKAGE = "foliopress"


def show_log() -> None:
    """Send what Foliopress logs, from INFO on, to the Prefect API; to be called when a flow begins."""
    logger = logging.getLogger(_PACKAGE)
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(APILogHandler())
