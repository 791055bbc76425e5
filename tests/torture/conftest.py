"""What the torture tests share: an archive of many small pages, what a run in peace makes of it, and how often to try.

In `make test` each fault is tried once; `make torture` sets FOLIOPRESS_TORTURE and tries it often, the slow ones too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.torture.archives import write_archive
from tests.torture.outcome import Outcome, outcome_of
from tests.torture.runs import SMALL_SHARDS, compress

IS_TORTURE = bool(os.environ.get("FOLIOPRESS_TORTURE"))

os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@dataclass(frozen=True)
class Undisturbed:
    """An archive, what a run over it that nobody disturbs leaves, and how long that takes."""

    source: Path
    outcome: Outcome
    exit_code: int
    seconds: float


@pytest.fixture(scope="session")
def trials() -> int:
    """How often a fault is tried at a moment of its own."""
    return 20 if IS_TORTURE else 1


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    """An archive of 64 pages (12 in `make test`) and what becomes of it in peace."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = write_archive(folder / "source", 64 if IS_TORTURE else 12, scans_if_any())
    ended = compress(source, folder / "dest", *SMALL_SHARDS, folder=folder)
    assert ended.returncode == 3, ended.told  # broken.jpg fails
    return Undisturbed(source, outcome_of(str(folder / "dest")), ended.returncode, ended.seconds)


def scans_if_any() -> Path | None:
    """Return the root of the real scans where they are at hand."""
    root = Path(os.environ.get("FOLIOPRESS_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    return root if (root / "manifest.csv").is_file() else None
