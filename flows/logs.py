"""Logging of a run that a user started: everything goes to one file, nothing to the terminal."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from configs.secrets import hide, keep_secrets_of_environment

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


class _HidingFormatter(logging.Formatter):
    """A formatter that takes secrets out of what libraries have to say, their tracebacks too."""

    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))


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
    keep_secrets_of_environment()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_HidingFormatter(_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _TALKATIVE:
            # Prefect's handler that sends a run's log to its API stays
            logger.handlers[:] = [held for held in logger.handlers if not isinstance(held, logging.StreamHandler)]
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def send_output_to_file(path: str | Path) -> None:
    """Send all that this process and its libraries print to the end of a file."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
