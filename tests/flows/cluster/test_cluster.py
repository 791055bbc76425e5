"""Test how a Dask cluster is reached, and the errors if it cannot be."""

from __future__ import annotations

import importlib
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest
from distributed import LocalCluster
from pydantic import ValidationError

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ClusterSettings
from foliopress.flows.cluster import cluster as cluster_module
from foliopress.flows.cluster.cluster import ClusterShape, _share_of_machine, open_cluster
from foliopress.flows.host.machine import BYTES_PER_PIXEL, WORKER_BYTES, Machine


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "127.0.0.1:1", "ws://127.0.0.1:1"])
def test_a_scheduler_that_does_not_answer_is_a_wrong_setting(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_WAIT_S", 1)
    with pytest.raises(ConfigError, match=r"cluster\.scheduler: no Dask scheduler answers at"):
        open_cluster(ClusterSettings(scheduler=address), None).__enter__()


def test_a_memory_limit_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.memory_per_worker: 'lots' is invalid"):
        open_cluster(ClusterSettings(memory_per_worker="lots"), None).__enter__()


def test_local_workers_are_processes_of_one_thread_each() -> None:
    with open_cluster(ClusterSettings(workers=2), None) as client:
        assert ClusterShape(client).n_workers == 2
        processes = client.run(os.getpid)
        threads = client.run(os.getenv, "OMP_THREAD_LIMIT")
        assert len({*processes.values(), os.getpid()}) == 3
        assert set(threads.values()) == {"1"}
        assert set(client.nthreads().values()) == {1}


def test_a_limit_that_somebody_set_is_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "this_machine", lambda: Machine(16, 128 * 2**30, 2**30))
    assert _share_of_machine(ClusterSettings(workers=9, memory_per_worker="2GiB")) == (9, "2GiB")


def test_pixels_fit_into_the_worker_with_the_least_memory() -> None:
    with open_cluster(ClusterSettings(workers=1, memory_per_worker="1GiB"), None) as client:
        assert ClusterShape(client).pixels_that_fit == (2**30 - WORKER_BYTES) // BYTES_PER_PIXEL


@pytest.mark.parametrize(("limit", "heaps"), [("1GiB", "1"), ("4GiB", None)])
def test_threads_of_a_worker_with_little_memory_share_one_heap(
    limit: str, heaps: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_"):  # a nanny sets them for its own process as well
        monkeypatch.delenv(name, raising=False)
    with open_cluster(ClusterSettings(workers=1, memory_per_worker=limit), None) as client:
        assert list(client.run(os.environ.get, "MALLOC_ARENA_MAX").values()) == [heaps]
        assert list(client.run(os.environ.get, "MALLOC_TRIM_THRESHOLD_").values()) == [None]


def test_a_worker_is_not_busy_with_looking_at_itself() -> None:
    def intervals_ms(dask_worker: Any) -> dict[str, float]:
        return {name: callback.callback_time for name, callback in dask_worker.periodic_callbacks.items()}

    with open_cluster(ClusterSettings(workers=1), None) as client:
        end = time.monotonic() + 20
        while (often := next(iter(client.run(intervals_ms).values())))["heartbeat"] < 3000 and time.monotonic() < end:
            time.sleep(0.2)
    assert "profile" not in often
    assert (often["heartbeat"], often["tick"], often["monitor"]) == (3000, 2000, 5000)


def test_libraries_of_a_worker_have_one_thread() -> None:
    def threads() -> tuple[int, int]:
        import cv2
        from PIL import AvifImagePlugin

        importlib.import_module("foliopress.tasks.images.image_reader")  # the door to Pillow's decoders
        return cv2.getNumThreads(), AvifImagePlugin.DEFAULT_MAX_THREADS

    with open_cluster(ClusterSettings(workers=1), None) as client:
        assert list(client.run(threads).values()) == [(1, 1)]


KIND = "dask_jobqueue.SLURMCluster"


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> type[LocalCluster]:
    """A package with a cluster that is named like one of a batch system, and is local."""

    class SLURMCluster(LocalCluster):
        def __init__(self, queue: str = "", memory: str | None = None) -> None:
            if memory == "1B":
                raise ValueError("too little for a job")
            self.queue = queue
            super().__init__(0, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0")

    monkeypatch.setitem(sys.modules, "dask_jobqueue", SimpleNamespace(SLURMCluster=SLURMCluster))
    return SLURMCluster


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("grows", [False, True])
def test_a_cluster_of_a_class_that_is_named_is_started_with_workers_and_ended(grows: bool) -> None:
    size = {"most_workers": 2} if grows else {"workers": 2}
    settings = ClusterSettings(kind=KIND, options={"queue": "long"}, **size)
    with open_cluster(settings, None) as client:
        client.wait_for_workers(1 if grows else 2, timeout=60)
        assert client.submit(lambda: 6 * 7).result() == 42
        assert client.cluster.queue == "long"
        address = client.scheduler_info()["address"]
    with (
        pytest.raises(ConfigError, match="no Dask scheduler answers"),
        open_cluster(ClusterSettings(scheduler=address), None),
    ):
        pass


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match="pip install dask-jobqueue"), open_cluster(ClusterSettings(kind=KIND), None):
        pass


@pytest.mark.usefixtures("queue")
def test_a_cluster_that_cannot_be_started_is_a_wrong_setting() -> None:
    settings = ClusterSettings(kind=KIND, options={"memory": "1B"})
    with (
        pytest.raises(ConfigError, match="cannot be started with cluster.options: ValueError: too little"),
        open_cluster(settings, None),
    ):
        pass


@pytest.mark.parametrize(
    "values",
    [
        {"kind": KIND, "scheduler": "tcp://somewhere:8786"},
        {"options": {"n_workers": 2}},
        {"kind": KIND, "workers": 3, "most_workers": 2},
    ],
    ids=["two clusters", "options of none", "fewer than at first"],
)
def test_what_names_no_cluster_or_two_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClusterSettings(**values)
