"""Log a user's run to one file, and nothing to the terminal."""

from __future__ import annotations

import errno
import logging
import os
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import hide, keep_secrets_of_environment

_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
_VERBOSE_LOGGERS = (
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

_DESCRIPTOR = re.compile(r"/dev/(?:(stdin|stdout|stderr)|fd/(\d+))|/proc/self/fd/(\d+)")
_NAMED = {"stdin": 0, "stdout": 1, "stderr": 2}
_COPIED_EVERY_S, _LAST_WAIT_S = 0.2, 2.0

log = logging.getLogger(__name__)


class _HidingFormatter(logging.Formatter):
    """A formatter that removes secrets from the messages and tracebacks of libraries."""

    def format(self, record: logging.LogRecord) -> str:
        return hide(super().format(record))


def new_log_file(run_id: str) -> Path:
    """Return the default log path of a run, in a folder of temporary files that only this user can read.

    Raises:
        OSError: If the folder cannot be created.
    """
    user = os.getuid() if hasattr(os, "getuid") else None
    folder = Path(tempfile.gettempdir()) / f"foliopress-logs-{'user' if user is None else user}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if user is not None and (folder.is_symlink() or folder.stat().st_uid != user):
        folder = Path(tempfile.mkdtemp(prefix=folder.name))  # another user holds this predictable name
    return folder / f"{run_id}.log"


@contextmanager
def open_log(wanted: Path | None, run_id: str, say: Callable[[str], None]) -> Iterator[Path]:
    """Send this process's log to a file, and yield its path for other processes to append to; see `log_to_file`.

    If a stream, pipe or device is requested, the log is written to a temporary file and copied from there as it grows,
    so that a slow or closed reader blocks nothing.

    Args:
        wanted: Path given by the user, or None.
        run_id: ID of the run.
        say: Called with one line if no log can be written, since a full disk must not end a run.

    Raises:
        ConfigError: If the path given by the user cannot be written.
    """
    target = None if wanted is None else _stream_of(wanted)
    path = Path(os.devnull)
    try:
        path = new_log_file(run_id) if wanted is None or target is not None else wanted.absolute()
        log_to_file(path)
    except OSError as error:
        if wanted is not None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            advice = "choose another file, or omit --log-file"
            raise ConfigError(f"--log-file {wanted} cannot be written: {error.strerror or error}; {advice}") from error
        say(f"there is no log: {path} cannot be written: {error.strerror or error}")
        path, target = Path(os.devnull), None
        log_to_file(path)
    if target is None:
        yield path
        return
    with _Copy(path, target):
        yield path


def _stream_of(wanted: Path) -> int | Path | None:
    """Return the descriptor, pipe or device that a path refers to; None for a regular file and for /dev/null."""
    if found := _DESCRIPTOR.fullmatch(str(wanted)):
        name, *numbers = found.groups()
        number = _NAMED[name] if name else int(next(filter(None, numbers)))
        with suppress(OSError):
            os.fstat(number)
            return number
        raise ConfigError(f"--log-file {wanted} cannot be written: no such stream is open; choose a file")
    try:
        mode = wanted.stat().st_mode
    except OSError:
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)) or wanted.samefile(os.devnull) or not os.access(wanted, os.W_OK):
        return None
    return wanted


class _Copy:
    """Copy what is appended to a file to a stream while the context is open."""

    def __init__(self, file: Path, target: int | Path) -> None:
        self._file, self._target = file, target if isinstance(target, Path) else os.dup(target)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._copy, name="log", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(_LAST_WAIT_S)

    def _copy(self) -> None:
        try:
            target = self._target if isinstance(self._target, int) else os.open(self._target, os.O_WRONLY | os.O_NOCTTY)
            with self._file.open("rb") as file, open(target, "wb", buffering=0) as stream:
                is_last = False
                while not is_last:
                    is_last = self._ended.wait(_COPIED_EVERY_S)
                    shutil.copyfileobj(file, stream)
        except OSError as error:
            log.info("the log is no longer copied to --log-file: %s", error)


def log_to_file(path: str | Path) -> None:
    """Append this process's log to a file instead of printing it to the terminal; drop lines that cannot be written.

    Raises:
        OSError: If the file cannot be opened for writing.
    """
    keep_secrets_of_environment()
    logging.raiseExceptions = False  # otherwise a full disk is reported on stderr
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(_HidingFormatter(_FORMAT))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in _VERBOSE_LOGGERS:
            # keep Prefect's handler that sends a run's log to its API
            logger.handlers[:] = [held for held in logger.handlers if not isinstance(held, logging.StreamHandler)]
            logger.propagate = True
            logger.setLevel(logging.NOTSET)
    for name in _VERBOSE_LOGGERS:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def send_output_to_file(path: str | Path) -> None:
    """Append everything that this process and its libraries print to a file."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.close(file)
