"""How often to try, and what a run in peace makes of an archive: the measure for runs that were disturbed."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.torture.outcome import Outcome

IS_TORTURE = bool(os.environ.get("FOLIOPRESS_TORTURE"))


@dataclass(frozen=True)
class Undisturbed:
    """An archive, what a run over it that nobody disturbs leaves, and how long that takes."""

    source: Path
    outcome: Outcome
    exit_code: int
    seconds: float


def scans_if_any() -> Path | None:
    """Return the root of the real scans where they are at hand."""
    root = Path(os.environ.get("FOLIOPRESS_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    return root if (root / "manifest.csv").is_file() else None
