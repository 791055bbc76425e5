"""Start child processes that import this package, and nothing from the folder they are started in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import foliopress


def command(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of this package, such as `tasks.ocr.tesseract_worker`.

    `-P` keeps the current folder out of the child's search path: a user's own `logging.py` there must not be imported.
    """
    return [sys.executable, "-P", "-m", f"foliopress.{module}", *arguments]


def search_path() -> str:
    """Return a PYTHONPATH under which a child finds this package: its folder, then the absolute paths of our own."""
    here = str(Path(foliopress.__file__).absolute().parents[1])
    further = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return os.pathsep.join([here, *map(os.path.abspath, further)])


def keep_to_installed_packages() -> None:
    """Make all Python processes started from now on, Dask workers included, ignore the current folder."""
    os.environ["PYTHONSAFEPATH"] = "1"
