"""Runs a command and waits for what its processes leave behind, so that who waits for this one has all their seconds.

python benchmarks/reaper.py COMMAND …

Linux tells what a process took to who reaps it. One whose parent has ended is reaped by the system, and its seconds are
nobody's: Tesseract's process outlives the worker that asked it by a moment.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import suppress

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2): processes below this one whose parent has ended become its children
_LONGEST_END_S = 60


def main() -> int:
    """Return the command's exit code, that of a shell for one that a signal ended."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    code = subprocess.run(sys.argv[1:], check=False).returncode
    signal.alarm(_LONGEST_END_S)  # ends this process, too
    with suppress(ChildProcessError):
        while True:
            os.wait()
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
