"""Logging of a run that a user started: everything goes to one file, nothing to the terminal."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
_TALKATIVE = (
    "distributed",
    "prefect",
    "bokeh",
    "tornado",
    "fsspec",
    "botocore",
    "aiobotocore",
    "s3fs",
    "httpx",
    "httpcore",
)


def new_log_file(run_id: str) -> Path:
    """Return where the log of a run goes when the user named no file: a folder of temporary files."""
    folder = Path(tempfile.gettempdir()) / f"foliopress-logs-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder / f"{run_id}.log"


def log_to_file(path: str | Path) -> None:
    """Send this process's log to the end of a file, and no longer to the terminal.

    Raises:
        OSError: If the file cannot be written.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    logging.captureWarnings(True)
