"""Run a command and wait for the processes that outlive it, so that its caller gets all their processor seconds.

python benchmarks/reaper.py COMMAND …

Linux reports a process's time to the process that reaps it. If the parent has ended, init reaps it and the time is
lost: Tesseract's process outlives the worker that started it by a moment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): orphaned descendants become children of this process
_LONGEST_END_S = 60


def main() -> int:
    """Return the command's exit code, in shell convention if a signal ended it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    code = subprocess.run(sys.argv[1:], check=False).returncode
    signal.alarm(_LONGEST_END_S)  # also ends this process
    with suppress(ChildProcessError):
        while True:
            os.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
