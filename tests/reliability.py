"""Collect the results of the fault tests by promise: faults tried, faults survived, data lost.

A test names its promise with `@pytest.mark.promise(promise, fault)`; tests with the same two share a row. Each of their
cases counts as one fault; a test that tries many counts them itself with the fixture `tally`. If
`FOLIOPRESS_RELIABILITY` names a file, the ledger is written there as JSON. Running only some tests replaces their rows
in an existing ledger, and adds their minutes.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

COUNTS = ("tried", "survived", "lost", "reruns")


@dataclass
class Tally:
    """Counts of one row: faults tried and survived, losses, and reruns needed."""

    promise: str
    fault: str
    test: str
    tried: int = 0
    survived: int = 0
    lost: int = 0
    reruns: int = 0

    def add(self, losses: list[str], what: str = "") -> None:
        """Count a fault and its losses, in words; an empty list means that it was survived."""
        self.tried += 1
        if losses:
            self.lost += len(losses)
            print(f"{what}: {losses[:20]}")
        else:
            self.survived += 1


class Reliability:
    """Pytest plugin that collects the tallies of a session from all its processes.

    Each test's report carries its tally. The ledger is written anew after every test, so that one that is interrupted
    keeps the counts so far.
    """

    def __init__(self) -> None:
        self._own: dict[str, Tally] = {}
        self._rows: dict[tuple[str, str], Tally] = {}
        self._begun = time.monotonic()
        self._path: Path | None = None
        self._before: dict[str, Any] = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        path = os.environ.get("FOLIOPRESS_RELIABILITY")
        if path and not hasattr(config, "workerinput"):  # only the process that sees all reports
            self._path = Path(path)
            self._before = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}

    @pytest.fixture
    def tally(self, request: pytest.FixtureRequest) -> Tally:
        """Return the counts of this test, to be increased by the test."""
        empty = _empty_tally(request.node)
        assert empty is not None, "a test that tallies has a promise"
        return self._own.setdefault(request.node.nodeid, empty)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        empty = _empty_tally(item)
        if empty is None or report.skipped or not (report.when == "call" or report.failed):
            return report
        tally = self._own.pop(item.nodeid, empty)
        if tally is empty:
            tally.add([] if report.passed else [item.nodeid], item.nodeid)
        elif report.failed and not tally.lost:
            tally.lost += 1
        report.__dict__["tally"] = asdict(tally)  # pytest-xdist sends all attributes
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add a test's counts to the ledger; the report may come from another process (pytest-xdist)."""
        found = getattr(report, "tally", None)
        if found is None or self._path is None:
            return
        tally = Tally(**found)
        row = self._rows.setdefault((tally.promise, tally.fault), Tally(tally.promise, tally.fault, tally.test))
        for name in COUNTS:
            setattr(row, name, getattr(row, name) + getattr(tally, name))
        if row.test != tally.test:
            row.test = tally.test.partition("::")[0]  # several tests of one module share the row
        self._write(self._path)

    def _write(self, path: Path) -> None:
        others = [row for row in self._before.get("rows", []) if (row["promise"], row["fault"]) not in self._rows]
        minutes = (time.monotonic() - self._begun) / 60 + (self._before["minutes"] if others else 0)
        rows = [*others, *map(asdict, self._rows.values())]
        ledger = {"minutes": round(minutes, 1), "cores": os.cpu_count(), "rows": rows}
        path.write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")


def _empty_tally(item: pytest.Item) -> Tally | None:
    mark = item.get_closest_marker("promise")
    if mark is None:
        return None
    promise, fault = mark.args
    return Tally(promise, fault, item.nodeid.partition("[")[0])
