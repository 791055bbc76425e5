"""Rows: what is measured, kept in a file line by line as it comes, so that a stopped benchmark goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.arms import Arm


class RowFile:
    """Rows of pages and arms in a JSON Lines file; of a page and arm the newest counts.

    Rows are those of `benchmarks.judgement.judge_arm`; one with an `error` is not done and is tried again.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            for row in _whole_lines(path):
                self._rows[row["key"], row["arm"]] = row

    def has(self, key: str, arm: Arm) -> bool:
        """Return whether a page's arm is done: measured on this very result, its words counted if they are wanted."""
        row = self._rows.get((key, arm.name))
        if row is None or "error" in row or row["digest"] != arm.digest:
            return False
        return bool(row["read"]) or not arm.reads_words

    def add(self, row: Mapping[str, Any]) -> None:
        """Write a row down."""
        self._rows[row["key"], row["arm"]] = dict(row)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def row(self, key: str, arm: Arm) -> dict[str, Any]:
        """Return the newest row of a page's arm.

        Raises:
            KeyError: If it has none.
        """
        return self._rows[key, arm.name]


def _whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file; a line that was cut off is cut away, so that the next one does not follow on it."""
    text = path.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        path.write_text(whole, encoding="utf-8")
    for line in whole.splitlines():
        yield json.loads(line)
