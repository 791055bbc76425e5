"""Report how often the legibility check caught planted damage, and how often it refused sound copies."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from foliopress.configs.settings import LegibilitySettings

FIT, OUTPUT = "fit", "output"
JSON_FILE, TABLE_FILE, PLOT_FILE = "gate.json", "gate.md", "gate.png"

_HANDWRITING = ("wills", "notary", "court", "letters", "maps")
_DPI = 110
_WORD_CASES = ("diacritic", "point", "digit", "smeared word", "thin strokes", "line")
_WRITING_CASES = ("written stroke",)


@dataclass(frozen=True)
class Verdict:
    """Verdict on one page: `case` is a kind of damage, or `sound: …` for a copy without damage.

    `fit` has the attempts that the page's own output took, and `output` is that output, judged again.

    `is_refused`: The check did not pass. `is_strengthened`: It passed with reservations, or after other attempts.
    `word_change` and `stroke_change` are the largest in words and in other writing, as in the page's row.
    """

    key: str
    collection: str
    case: str
    is_refused: bool
    is_strengthened: bool
    message: str
    seconds: float
    word_change: float = 0.0
    stroke_change: float = 0.0

    @property
    def is_sound(self) -> bool:
        """Whether the page has no damage."""
        return self.case in (FIT, OUTPUT) or self.case.startswith("sound")

    @property
    def writing(self) -> str:
        """`handwriting` or `print and type`, by the collection."""
        return "handwriting" if any(part in self.collection for part in _HANDWRITING) else "print and type"


def write_report(folder: Path, verdicts: Sequence[Verdict], limits: LegibilitySettings) -> None:
    """Write all verdicts as JSON, their counts as a table, and the size of changes as a plot.

    Args:
        folder: Is created if need be.
        verdicts: Of all pages.
        limits: The limits that the check applied, to draw them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = json.dumps([asdict(verdict) for verdict in verdicts], indent=1)
    (folder / JSON_FILE).write_text(rows + "\n", encoding="utf-8")
    (folder / TABLE_FILE).write_text(markdown(verdicts), encoding="utf-8")
    figure(verdicts, limits).savefig(folder / PLOT_FILE, dpi=_DPI)


def markdown(verdicts: Sequence[Verdict]) -> str:
    """Return both tables as Markdown."""
    n_pages = len({verdict.key for verdict in verdicts})
    n_plants = sum(not verdict.is_sound for verdict in verdicts)
    lines = ["# The legibility check, examined", "", f"{n_plants:,} plants on {n_pages} scans.", ""]
    for header, rows in (_damage(verdicts), _sound(verdicts)):
        lines += [" | ".join(("", *header, "")).strip(), "| --- | --- |" + " ---: |" * (len(header) - 2)]
        lines += [" | ".join(("", *row, "")).strip() for row in rows] + [""]
    return "\n".join(lines)


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """Print how many plants were caught, and how many sound copies were not passed at once."""
    for header, rows in (_damage(verdicts), _sound(verdicts)):
        table = Table(*header)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    seconds = [verdict.seconds for verdict in verdicts if verdict.seconds]
    console.print(f"{np.mean(seconds):.2f} s for a verdict on average" if seconds else "no verdict")


def figure(verdicts: Sequence[Verdict], limits: LegibilitySettings) -> Figure:
    """Draw the largest change in each output and in each damaged page, as cumulative shares, with the limits."""
    drawn = Figure(figsize=(10, 4), layout="constrained")
    axes: Sequence[Axes] = drawn.subplots(1, 2)
    words, writing = axes
    _draw(words, {case: _changes(verdicts, case, "word_change") for case in (OUTPUT, *_WORD_CASES)})
    _draw(writing, {case: _changes(verdicts, case, "stroke_change") for case in (OUTPUT, *_WRITING_CASES)})
    for one, limit, title in ((words, limits.max_word_change, "words"), (writing, limits.max_stroke_change, "writing")):
        one.axvline(limit, color="black", linestyle=":", label="limit")
        one.set(xlabel=f"largest change in {title}", ylabel="share of pages", xlim=(0, 1), ylim=(0, 1))
        one.legend(fontsize="small")
    return drawn


def _draw(axes: Axes, changes: Mapping[str, np.ndarray]) -> None:
    for case, found in changes.items():
        if len(found):
            axes.ecdf(found, label=f"{case} ({len(found):,})", linewidth=2 if case == OUTPUT else 1)


def _changes(verdicts: Sequence[Verdict], case: str, field: str) -> np.ndarray:
    return np.array([getattr(verdict, field) for verdict in verdicts if verdict.case == case])


_Rows = tuple[tuple[str, ...], list[tuple[str, ...]]]


def _damage(verdicts: Sequence[Verdict]) -> _Rows:
    rows: list[tuple[str, ...]] = []
    for (case, writing), found in _by_case(verdicts, is_sound=False):
        caught = sum(verdict.is_refused for verdict in found)
        rows.append((case, writing, f"{len(found):,}", f"{caught:,}", f"{caught / len(found):.1%}"))
    return ("damage", "pages of", "plants", "caught", "share"), rows


def _sound(verdicts: Sequence[Verdict]) -> _Rows:
    rows: list[tuple[str, ...]] = []
    for (case, writing), found in _by_case(verdicts, is_sound=True):
        refused = sum(verdict.is_refused for verdict in found)
        strengthened = sum(verdict.is_strengthened for verdict in found)
        rows.append((case, writing, f"{len(found):,}", f"{refused:,}", f"{strengthened:,}"))
    return ("copy", "pages of", "pages", "refused", "strengthened"), rows


def _by_case(verdicts: Sequence[Verdict], *, is_sound: bool) -> list[tuple[tuple[str, str], list[Verdict]]]:
    found: Mapping[tuple[str, str], list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.is_sound == is_sound:
            found[verdict.case, verdict.writing].append(verdict)
    return sorted(found.items())
