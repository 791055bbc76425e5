"""Run the command in its own process, and find its child processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]

LONGEST_RUN_S = 240.0
"""No run over a torture archive takes this long; one that does hangs."""

SMALL_SHARDS = ("--set", "shard.max_documents=6", "--set", "stats.most_small_files=2", "--workers", "2")
"""Many shards, and statistics that are compacted at the end, so that kills hit the middle of both."""


@dataclass(frozen=True)
class Ended:
    """A finished run."""

    returncode: int
    told: str
    seconds: float

    @property
    def summary(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.told[self.told.index("\n{\n") :])
        return found


class Run:
    """A started `foliopress compress`; its output goes to a file in `folder`."""

    def __init__(
        self,
        *arguments: object,
        folder: Path,
        command: str = "compress",
        module: str = "foliopress.flows.cli",
        **environment: str,
    ) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT", "AWS"))}
        clean |= {"PREFECT_HOME": str(folder / "no-prefect"), "PYTHONPATH": str(ROOT), "TMPDIR": str(folder)}
        self._told = folder / f"told-{time.monotonic_ns()}.txt"
        self._begun = time.monotonic()
        with self._told.open("wb") as output:
            self.process = psutil.Popen(
                [sys.executable, "-m", module, command, *map(str, arguments)],
                env=clean | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                # a background test suite ignores SIGINT, and children would inherit that
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )

    def wait(self, seconds: float = LONGEST_RUN_S) -> Ended:
        """Wait for its end.

        Raises:
            AssertionError: If it hangs; it is then killed with all its processes.
        """
        try:
            returncode = self.process.wait(seconds)
        except psutil.TimeoutExpired:
            family = [self.process, *self.process.children(recursive=True)]
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            raise AssertionError(f"the run hangs; it said:\n{self._told.read_text()[-3000:]}") from None
        return Ended(returncode, self._told.read_text(), time.monotonic() - self._begun)

    def processes(self, kind: str) -> list[psutil.Process]:
        """Return this run's living processes of one kind, ordered by id.

        Args:
            kind: `worker`, `tesseract` or `api` (the run's own Prefect API).
        """
        mark = {
            "worker": "spawn_main",
            "tesseract": "foliopress.tasks.ocr.tesseract_worker",
            "api": "foliopress.flows.prefect_api",
        }[kind]
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self.process.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if any(mark in word for word in child.cmdline()):
                        found.append(child)
        return sorted(found, key=lambda process: process.pid)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None


def compress(*arguments: object, folder: Path, **environment: str) -> Ended:
    """Run the command to its end."""
    return Run(*arguments, folder=folder, **environment).wait()
