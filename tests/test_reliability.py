"""Test the ledger of the fault tests: what it counts, and that an interrupted session keeps it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = """
from tests.reliability import Reliability

def pytest_configure(config):
    config.addinivalue_line("markers", "promise(promise, fault): names a row")
    config.pluginmanager.register(Reliability())
"""
TESTS = """
import os
import signal
import pytest

@pytest.mark.promise("kept", "a case")
@pytest.mark.parametrize("number", [1, 2, 3])
def test_cases(number):
    assert number != 2

@pytest.mark.promise("kept", "a count")
def test_counts(tally):
    tally.add([])
    tally.add(["a page", "a row"], "a fault")

@pytest.mark.promise("kept", "a skip")
def test_skips():
    pytest.skip("no disk to fill")

def test_is_interrupted():
    os.kill(int(os.environ["CONTROLLER"]), signal.SIGINT)
    signal.pause()
"""


def run(command: list[str], folder: Path, ledger: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"FOLIOPRESS_RELIABILITY": str(ledger), "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["one process", "xdist"])
def test_the_ledger_counts_cases_and_tallies_and_is_complete_without_the_end_of_the_session(
    tmp_path: Path, processes: list[str]
) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    ledger = tmp_path / "ledger.json"
    code = f"import os, sys, pytest; os.environ['CONTROLLER'] = str(os.getpid()); sys.exit(pytest.main({processes!r}))"
    done = run([sys.executable, "-c", code], tmp_path, ledger)
    assert "KeyboardInterrupt" in done.stdout, done.stdout
    rows = {row["fault"]: row for row in json.loads(ledger.read_text(encoding="utf-8"))["rows"]}
    counts = {fault: (row["tried"], row["survived"], row["lost"]) for fault, row in rows.items()}
    assert counts == {"a case": (3, 2, 1), "a count": (2, 1, 2)}
    assert rows["a case"]["test"] == "test_it.py::test_cases"


def test_some_tests_alone_replace_their_rows_in_the_ledger_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TESTS, encoding="utf-8")
    ledger = tmp_path / "ledger.json"
    row = {"promise": "kept", "test": "old", "tried": 9, "survived": 9, "lost": 0, "reruns": 0}
    before = {"minutes": 50.0, "cores": 1, "rows": [{**row, "fault": "a count"}, {**row, "fault": "another"}]}
    ledger.write_text(json.dumps(before), encoding="utf-8")
    assert run([sys.executable, "-m", "pytest", "-k", "counts"], tmp_path, ledger).returncode == 0
    after = json.loads(ledger.read_text(encoding="utf-8"))
    assert {row["fault"]: row["tried"] for row in after["rows"]} == {"a count": 2, "another": 9}
    assert after["minutes"] >= 50
