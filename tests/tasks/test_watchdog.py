"""Watchdog: a process that a document occupies is ended whatever code it runs, and the next attempt reports it once."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from foliopress.tasks import watchdog
from foliopress.tasks.errors import PageError

ROOT = Path(__file__).resolve().parents[2]

STUCK = {
    "in Python": "while True: pass",
    "in C that holds the lock": "import re; re.match('(a+)+$', 'a' * 60 + 'b')",
    "in C that lets it go": "import hashlib; hashlib.pbkdf2_hmac('sha256', b'x', b'y', 10**9)",
}


def child(folder: Path, code: str, armed: bool = True) -> subprocess.CompletedProcess:
    script = f"""
import sys
from tasks import watchdog
watchdog._ROOM_S = 0.2
{"watchdog.arm()" if armed else ""}
with watchdog.watched("run document", 0.15):
    {code}
print("through")
"""
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("where", STUCK)
def test_a_process_that_is_stuck_is_ended_and_the_next_one_says_so_at_once(where, tmp_path):
    assert child(tmp_path, STUCK[where]).returncode < 0
    (mark,) = tmp_path.glob("*/*")
    assert "File" in mark.read_text()  # where it was
    again = child(tmp_path, "print('begun')")
    assert "out_of_time" in again.stderr or "max_document_seconds" in again.stderr
    assert "begun" not in again.stdout


def test_a_block_in_time_leaves_nothing_and_a_process_that_is_not_armed_is_never_ended(tmp_path):
    assert child(tmp_path, "pass").stdout == "through\n"
    assert list(tmp_path.glob("*/*")) == []
    busy = "import time\n    while time.process_time() < 1.5: pass"
    assert child(tmp_path, busy, armed=False).stdout == "through\n"


def test_waiting_and_looking_at_the_own_clock_are_no_reason_to_end_a_process(tmp_path):
    assert child(tmp_path, "import time; time.sleep(1.5)").stdout == "through\n"
    busy = "import time\n    while time.process_time() < 1.5: watchdog.restart()"
    assert child(tmp_path, busy).stdout == "through\n"


def test_a_mark_speaks_of_its_own_name_and_run_alone_and_not_for_ever(tmp_path, monkeypatch):
    child(tmp_path, STUCK["in Python"])
    monkeypatch.setattr(watchdog.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(watchdog, "_armed", False)
    try:
        watchdog.arm()
        with watchdog.watched("another run document", 5):
            pass
        with pytest.raises(PageError) as caught, watchdog.watched("run document", 5):
            pass
        assert (caught.value.reason, caught.value.failed) == ("out_of_time", True)
        monkeypatch.setattr(watchdog, "_KEPT_S", -1.0)
        time.sleep(0.01)
        watchdog.arm()
        with watchdog.watched("run document", 5):
            pass
    finally:
        watchdog.disarm()
