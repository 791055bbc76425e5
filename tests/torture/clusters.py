"""Run a Dask scheduler and its workers as separate processes, as an operator does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.servers import free_port, wait_for_port
from tests.torture.runs import ROOT

_END_WAIT_S = 15.0


class Cluster:
    """A scheduler with two workers, each with a nanny."""

    def __init__(self, folder: Path, memory_limit: str) -> None:
        self.port = free_port()
        self._output = (folder / f"cluster-{self.port}.txt").open("wb")
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder), "OMP_THREAD_LIMIT": "1"}
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        wait_for_port(self.port, self.scheduler)
        self.workers = [
            self._start(
                *("worker", self.address, "--nthreads", "1", "--memory-limit", memory_limit, "--no-dashboard"),
                *("--death-timeout", "10", "--local-directory", str(folder)),
            )
            for _ in range(2)
        ]

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self.port}"

    def stop(self) -> list[psutil.Process]:
        """End all processes and return those that had to be killed."""
        family: list[psutil.Process] = []
        for process in (*self.workers, self.scheduler):
            if process.poll() is None:
                family += [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
                process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, _END_WAIT_S)
        for process in left:
            process.kill()
        self._output.close()
        return left

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            env=self._environment,
            stdout=self._output,
            stderr=self._output,
        )


@contextmanager
def cluster(folder: Path, memory_limit: str = "2GiB") -> Iterator[Cluster]:
    """Run a cluster on loopback inside the block."""
    running = Cluster(folder, memory_limit)
    try:
        yield running
    finally:
        running.stop()
