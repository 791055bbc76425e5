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
from collections.abc import Iterator
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
    """Pytest plugin that collects the tallies of a session from all its processes."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str], Tally] = {}
        self._counts_itself: set[str] = set()
        self._begun = time.monotonic()

    @pytest.fixture
    def tally(self, request: pytest.FixtureRequest) -> Tally:
        """Return the counts of this test's row, to be increased by the test."""
        found = self._of(request.node)
        assert found is not None, "a test that tallies has a promise"
        self._counts_itself.add(request.node.nodeid)
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        report = yield
        if report.skipped or not (report.when == "call" or report.failed):
            return report
        tally = self._of(item)
        if tally is not None:
            if item.nodeid not in self._counts_itself:
                tally.add([] if report.passed else [item.nodeid], item.nodeid)
            elif report.failed and not tally.lost:
                tally.lost += 1
        return report

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Merge the counts of another process that ran part of the tests (pytest-xdist)."""
        for row in getattr(node, "workeroutput", {}).get("tallies", []):
            key = row["promise"], row["fault"]
            found = self._tallies.setdefault(key, Tally(*key, row["test"]))
            for name in COUNTS:
                setattr(found, name, getattr(found, name) + row[name])

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        rows = [asdict(tally) for tally in self._tallies.values()]
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["tallies"] = rows
            return
        path = os.environ.get("FOLIOPRESS_RELIABILITY")
        if path and rows:
            there = json.loads(Path(path).read_text(encoding="utf-8")) if Path(path).exists() else {}
            others = [row for row in there.get("rows", []) if (row["promise"], row["fault"]) not in self._tallies]
            minutes = (time.monotonic() - self._begun) / 60 + (there["minutes"] if others else 0)
            ledger = {"minutes": round(minutes, 1), "cores": os.cpu_count(), "rows": [*others, *rows]}
            Path(path).write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")

    def _of(self, item: pytest.Item) -> Tally | None:
        mark = item.get_closest_marker("promise")
        if mark is None:
            return None
        test = item.nodeid.partition("[")[0]
        found = self._tallies.setdefault(mark.args, Tally(*mark.args, test))
        if found.test != test:
            found.test = test.partition("::")[0]  # several tests of one module share the row
        return found
