"""Footing: what a process must find on its machine before it can work, and what is said where it is missing.

A container may have a user without a name or a home, a root that cannot be written, and little shared memory.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from foliopress.tasks.child_processes import keep_to_installed_packages
from foliopress.tasks.errors import ConfigError

_LEAST_BYTES = 48 * 2**20
"""Room for temporary files: for the pictures that Tesseract reads, the log and the run's own Prefect database."""
_TRIED_BYTES = 2**20
"""Written to see that what is said to be free is given, which a quota may not."""
_LOCKS_PER_WORKER = 8
"""Six for the two queues between a worker and the process that looks after it, and room."""


def prepare_host() -> None:
    """Give this process a home if it has none, and look at its folder for temporary files.

    To be called before Prefect, Dask and the window are imported, which look for their settings in the home.

    Raises:
        ConfigError: If no folder for temporary files can be written, or it has too little room.
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
    """Raise ConfigError, with what to do, if there is no folder for temporary files or too little room in it."""
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        raise ConfigError(
            f"there is no folder for temporary files that can be written ({error.strerror or error}); mount one at "
            "/tmp or name one with TMPDIR"  # noqa: S108
        ) from error
    advice = "make room there, mount a larger one, or name another folder with TMPDIR"
    try:
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes >= _LEAST_BYTES:
            with tempfile.TemporaryFile() as file:
                file.write(bytes(_TRIED_BYTES))
            return
    except OSError as error:
        raise ConfigError(f"the folder for temporary files, {folder}, cannot be used: {error}; {advice}") from error
    raise ConfigError(
        f"the folder for temporary files, {folder}, has {free_bytes / 1e6:.0f} MB of room, and at least "
        f"{_LEAST_BYTES / 1e6:.0f} MB are needed; {advice}"
    )


def check_shared_memory(n_workers: int) -> None:
    """Raise ConfigError, with what to do, if local workers could not be started for want of shared memory."""
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
            f"({error.strerror or error}); mount a tmpfs of 1 MB or more there that this user can write"
        ) from error
