"""A run on a cluster of processes, as an operator starts them: a scheduler and workers, one of which offers a GPU.

TensorFlow scores there; where the machine has no GPU it does so on the CPU, which the worker is told to take for one.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest
from distributed import Client

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.flows.test_cli import foliopress
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[3]

CPU_AS_GPU = "from foliopress.model import scoring\nscoring._has_gpu = lambda: True\n"


class Operator:
    """Starts the processes of a cluster and ends them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._processes = folder, []
        self.port = free_port()
        scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port), "--no-dashboard")
        wait_for_port(self.port, scheduler)

    def start_worker(self, name: str, *more: str) -> psutil.Popen:
        address = f"tcp://127.0.0.1:{self.port}"
        options = ("--nthreads", "1", "--no-dashboard", "--local-directory", str(self._folder), "--name", name)
        return self._start("worker", address, *options, "--death-timeout", "10", *more)

    def _start(self, *arguments: str) -> psutil.Popen:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(self._folder), "OMP_THREAD_LIMIT": "1"}
        with (self._folder / "cluster.txt").open("ab") as output:
            process = psutil.Popen(
                [sys.executable, "-m", "dask", *arguments], env=environment, stdout=output, stderr=output
            )
        self._processes.append(process)
        return process

    def end(self) -> None:
        for process in reversed(self._processes):
            end_family(process)


def end_family(process: psutil.Popen) -> None:
    """Kill a process and its children; a worker's nanny would start it anew otherwise."""
    with suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for member in family:
            with suppress(psutil.NoSuchProcess):
                member.send_signal(signal.SIGKILL)
        process.wait(10)


class Wiretap:
    """Passes on what goes between a client and a port of loopback, and counts the bytes."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._upstream, self.passed = port, 0
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                there = socket.create_connection(("127.0.0.1", self._upstream))
                for source, sink in ((here, there), (there, here)):
                    threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError), closing(sink):
            while data := source.recv(65536):
                self.passed += len(data)
                sink.sendall(data)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def operator(tmp_path: Path) -> Iterator[Operator]:
    running = Operator(tmp_path)
    yield running
    running.end()


def modules_loaded() -> list[str]:
    """Run on a worker: say which of these it has had a use for."""
    return sorted({"foliopress.tasks.fit.fit_page", "tensorflow", "ai_edge_litert.interpreter"} & set(sys.modules))


@pytest.mark.slow  # four workers and TensorFlow
def test_a_run_on_a_cluster_scores_on_the_gpu_worker_survives_a_lost_one_and_uses_a_late_one(
    operator: Operator, archive: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "cpu_as_gpu.py").write_text(CPU_AS_GPU)
    names = [f"box {number % 3}/{number:02d}.jpg" for number in range(60)]
    source, dest = archive(*names), tmp_path / "out"
    operator.start_worker("gpu", "--resources", "GPU=1", "--preload", str(tmp_path / "cpu_as_gpu.py"))
    operator.start_worker("steady")
    to_be_lost = operator.start_worker("lost")
    with Client(f"tcp://127.0.0.1:{operator.port}", set_as_default=False) as client:
        client.wait_for_workers(3, timeout=60)
        wire = Wiretap(operator.port)
        run = foliopress(
            *("compress", source, dest, "--scheduler", f"tcp://127.0.0.1:{wire.port}", "--json"),
            folder=tmp_path,
            start=True,
        )
        deadline = time.monotonic() + 120
        while not list(dest.glob("pages/**/*.avif")):
            assert run.poll() is None and time.monotonic() < deadline, run.communicate()[0]
            time.sleep(0.05)
        operator.start_worker("late")
        client.wait_for_workers(4, timeout=60)
        end_family(to_be_lost)
        told, _ = run.communicate(timeout=200)
        wire.close()
        assert run.returncode == 0, told
        loaded = client.run(modules_loaded)
        names_of = {address: info["name"] for address, info in client.scheduler_info(n_workers=-1)["workers"].items()}
    by_name = {names_of[address]: modules for address, modules in loaded.items()}
    assert by_name.keys() == {"gpu", "steady", "late"}
    assert [name for name in by_name if "tensorflow" in by_name[name]] == ["gpu"]
    assert not any("ai_edge_litert.interpreter" in modules for modules in by_name.values())
    assert "foliopress.tasks.fit.fit_page" in by_name["steady"] and "foliopress.tasks.fit.fit_page" in by_name["late"]
    rows = list(live_rows(Store(str(dest), StorageSettings())))
    assert sorted(str(row["document_key"]) for row in rows) == sorted(names)
    assert {(row["status"], row["scorer"]) for row in rows} == {("compressed", "tf-gpu")}
    pixel_bytes = sum(int(str(row["width_px"])) * int(str(row["height_px"])) * 3 for row in rows)
    source_bytes = sum(int(str(row["source_bytes"])) for row in rows)
    assert wire.passed < min(pixel_bytes / 10, source_bytes)
