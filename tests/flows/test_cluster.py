"""Reaching a Dask cluster, and saying clearly why not."""

from __future__ import annotations

import os

import pytest

from configs.settings import ClusterSettings
from flows import cluster as cluster_module
from flows.cluster import ClusterShape, open_cluster
from tasks.errors import ConfigError


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "no address", "nope://host:1"])
def test_a_scheduler_that_does_not_answer_is_a_wrong_setting(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module, "_CONNECT_WAIT_S", 1)
    with pytest.raises(ConfigError, match=r"cluster\.scheduler: no Dask scheduler answers at"):
        open_cluster(ClusterSettings(scheduler=address), None).__enter__()


def test_a_memory_limit_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(ConfigError, match=r"cluster\.memory_per_worker: 'lots' is not possible"):
        open_cluster(ClusterSettings(memory_per_worker="lots"), None).__enter__()


def test_local_workers_are_processes_of_one_thread_each() -> None:
    with open_cluster(ClusterSettings(workers=2), None) as client:
        assert ClusterShape(client).n_workers == 2
        processes = client.run(os.getpid)
        threads = client.run(os.getenv, "OMP_THREAD_LIMIT")
        assert len({*processes.values(), os.getpid()}) == 3
        assert set(threads.values()) == {"1"}
        assert set(client.nthreads().values()) == {1}
