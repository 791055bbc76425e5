"""Store measured rows line by line in a file, so that an interrupted benchmark can be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.arms import Arm


class RowFile:
    """Rows of pages and arms in a JSON Lines file; for a page and arm the newest row counts.

    Rows come from `benchmarks.judgement.judge_arm`; a row with an `error` is not complete and is tried again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            for row in _whole_lines(path):
                self._rows[row["key"], row["arm"]] = row

    def has(self, key: str, arm: Arm) -> bool:
        """Return whether a page's arm is complete: measured on this very result, with words counted if requested."""
        row = self._rows.get((key, arm.name))
        if row is None or "error" in row or row["digest"] != arm.digest:
            return False
        return bool(row["read"]) or not arm.reads_words

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        self._rows[row["key"], row["arm"]] = dict(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def row(self, key: str, arm: Arm) -> dict[str, Any]:
        """Return the newest row of a page's arm.

        Raises:
            KeyError: If there is none.
        """
        return self._rows[key, arm.name]


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; an incomplete last line is removed, so that the next row starts on its own line."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    for line in whole.splitlines():
        yield json.loads(line)
