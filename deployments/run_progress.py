"""Watching: what a run says of its shards and documents is shown beside it in the Prefect UI."""

from __future__ import annotations

import logging

from prefect.logging.handlers import APILogHandler

_PACKAGES = ("deployments", "flows", "model", "tasks")


def show_log() -> None:
    """Send what these packages log, from INFO on, to the Prefect API; to be called before a flow begins its work."""
    for name in _PACKAGES:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        if not any(isinstance(handler, APILogHandler) for handler in logger.handlers):
            logger.addHandler(APILogHandler())
