"""Check that this host offers what a process needs, and raise an error with advice if not.

A container may have a user without a name or home, a read-only root, and little shared memory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from foliopress.configs.errors import ConfigError
from foliopress.tasks.child_processes import keep_to_installed_packages

_MIN_FREE_BYTES = 48 * 2**20
"""Free bytes needed for temporary files: images for Tesseract, the log and the run's own Prefect database."""
_TEST_BYTES = 2**20
"""Bytes written as a test, because a quota may refuse space that is reported as free."""
_LOCKS_PER_WORKER = 8
"""Six for the two queues between a worker and its nanny, plus a margin."""


def prepare_host() -> None:
    """Set a home folder if this process has none, and check its folder for temporary files.

    Call it before importing Prefect, Dask and the window, which read their settings from the home folder.

    Raises:
        ConfigError: If no folder for temporary files is writable, or its free space is too small.
    """
    keep_to_installed_packages()
    check_temporary_folder()
    with suppress(RuntimeError):
        if str(Path("~").expanduser()) != "~":
            return
    home = Path(tempfile.gettempdir()) / f"foliopress-home-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    os.environ["HOME"] = str(home)


def check_temporary_folder() -> None:
    """Raise ConfigError, with advice, if no folder for temporary files is writable or its free space is too small."""
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        raise ConfigError(
            f"no folder for temporary files is writable ({error.strerror or error}); mount one at /tmp or set TMPDIR"
        ) from error
    advice = "free some space, mount a larger volume, or set TMPDIR to another folder"
    try:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes >= _MIN_FREE_BYTES:
            with tempfile.TemporaryFile() as file:
                file.write(bytes(_TEST_BYTES))
            return
    except OSError as error:
        raise ConfigError(f"the folder for temporary files, {folder}, cannot be used: {error}; {advice}") from error
    raise ConfigError(
        f"the folder for temporary files, {folder}, has {free_bytes / 1e6:.0f} MB free, but at least "
        f"{_MIN_FREE_BYTES / 1e6:.0f} MB are needed; {advice}"
    )


def check_shared_memory(n_workers: int) -> None:
    """Raise ConfigError, with advice, if there is too little shared memory to start the local workers."""
    import multiprocessing

    if "fork" not in multiprocessing.get_all_start_methods():
        return
    make = multiprocessing.get_context("fork").Lock
    try:
        held = [make() for _ in range(_LOCKS_PER_WORKER * n_workers)]
        del held
    except OSError as error:
        raise ConfigError(
            f"this machine's shared memory (/dev/shm) cannot hold the locks of {n_workers} workers "
            f"({error.strerror or error}); mount a tmpfs of at least 1 MB there, writable by this user"
        ) from error
