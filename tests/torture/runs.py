"""The command in a process of its own, and the processes that work for it."""

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
"""No run over a torture archive takes as long; one that does hangs."""

SMALL_SHARDS = ("--set", "shard.max_documents=6", "--set", "stats.most_small_files=2", "--workers", "2")
"""Many shards, and their statistics put together at the end, so that kills come in the middle of both."""


@dataclass(frozen=True)
class Ended:
    """A run that has ended."""

    returncode: int
    told: str
    seconds: float

    @property
    def summary(self) -> dict[str, object]:
        found: dict[str, object] = json.loads(self.told[self.told.index("\n{\n") :])
        return found


class Run:
    """`foliopress compress`, started; what it says goes to a file in `folder`."""

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
                # a suite that runs in the background ignores interrupts, and would hand that down
                preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
            )

    def wait(self, seconds: float = LONGEST_RUN_S) -> Ended:
        """Wait for its end.

        Raises:
            AssertionError: If it hangs; it is killed then, with all that works for it.
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
        """Return the living processes of one kind that work for this run, in the order of their ids.

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
