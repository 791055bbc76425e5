"""Define the number of trials, and the result of an undisturbed run: the reference for disturbed runs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tests.torture.outcome import Outcome

IS_TORTURE = bool(os.environ.get("FOLIOPRESS_TORTURE"))


@dataclass(frozen=True)
class Undisturbed:
    """An archive, the result of an undisturbed run over it, and its duration."""

    source: Path
    outcome: Outcome
    exit_code: int
    seconds: float


def scans_if_any() -> Path | None:
    """Return the root of the real scans, or None."""
    root = Path(os.environ.get("FOLIOPRESS_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    return root if (root / "manifest.csv").is_file() else None
