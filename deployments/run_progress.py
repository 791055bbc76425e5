"""Show the log of a run in the Prefect UI."""

from __future__ import annotations

import logging

from prefect.logging.handlers import APILogHandler


def show_log() -> None:
    """Send the log lines of this package, from INFO on, to the Prefect API. Call it before a flow begins its work."""
    logger = logging.getLogger("foliopress")
    logger.setLevel(logging.INFO)
    if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
        logger.addHandler(APILogHandler())
