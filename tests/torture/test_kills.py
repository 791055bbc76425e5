"""Kill any process at any time: after at most one rerun the DEST must equal that of an undisturbed run."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import cloudpickle
import numpy as np
import psutil
import pytest
from distributed import Client

from tests.promises import NOTHING_LOST
from tests.reliability import Tally
from tests.servers import prefect_server_process
from tests.torture.clusters import cluster
from tests.torture.outcome import outcome_of
from tests.torture.peace import Undisturbed
from tests.torture.runs import SMALL_SHARDS, Ended, Run, compress

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

_LAST_MOMENT = 0.95  # of the duration of an undisturbed run
_ORPHANS_END_WITHIN_S = 10.0


def moments(seed: int, trials: int, seconds: float, first: float = 0.0) -> Iterator[tuple[int, float]]:
    """Yield the number of each trial and its moment, in seconds from the start of a run."""
    chance = np.random.default_rng([seed, trials])
    for trial in range(trials):
        yield trial, first + float(chance.random()) * (_LAST_MOMENT * seconds - first)


def in_peace(source: Path, dest: Path) -> Ended:
    """Run the command again, undisturbed."""
    return compress(source, dest, *SMALL_SHARDS, folder=dest.parent)


def on_a_fresh_cluster(source: Path, dest: Path) -> Ended:
    """Run the command again, with another scheduler and other workers."""
    with cluster(dest.parent) as fresh:
        return compress(source, dest, *SMALL_SHARDS, "--scheduler", fresh.address, folder=dest.parent)


def check(
    undisturbed: Undisturbed, tally: Tally, ended: Ended, dest: Path, again: Callable[[Path, Path], Ended], what: str
) -> None:
    """Check the state after a kill, rerun unless everything was done, and count all differences."""
    found = outcome_of(str(dest)) if (dest / "stats").exists() else None
    whole = undisturbed.outcome.objects
    losses = [
        f"half-written before the rerun: {key}"
        for key, digest in (found.objects.items() if found else ())
        if whole.get(key) != digest
    ]
    if ended.returncode != undisturbed.exit_code or found is None or undisturbed.outcome.differences(found):
        ended = again(undisturbed.source, dest)
        if ended.returncode != undisturbed.exit_code:
            losses.append(f"the rerun ended with {ended.returncode}: {ended.told[-1000:]}")
        found = outcome_of(str(dest))
        tally.reruns += 1
    tally.add(losses + undisturbed.outcome.differences(found), what)


def kill_in_turn(kind: str, seed: int, undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    """Kill one process of one kind in each of many runs."""
    for trial, moment in moments(seed, trials, undisturbed.seconds):
        dest = tmp_path / f"{kind}-{trial}"
        run, others = run_and_kill(kind, trial, moment, undisturbed.source, dest, tmp_path)
        ended = run.wait()
        if kind == "driver":
            _, orphans = psutil.wait_procs(others, _ORPHANS_END_WITHIN_S)
            assert not orphans, "workers outlive their driver"
        check(undisturbed, tally, ended, dest, in_peace, f"{kind} killed after {moment:.2f} s")
    assert (tally.tried, tally.survived, tally.lost) == (trials, trials, 0)


def run_and_kill(
    kind: str, trial: int, moment: float, source: Path, dest: Path, folder: Path
) -> tuple[Run, list[psutil.Process]]:
    """Start a run and kill one of its processes at a moment; wait for processes that live only briefly.

    Returns:
        The run, and the processes that worked for the killed one.
    """
    while True:
        run = Run(source, dest, *SMALL_SHARDS, folder=folder)
        time.sleep(moment)
        while run.is_running:
            found = [run.process] if kind == "driver" else run.processes(kind)
            with suppress(psutil.NoSuchProcess):
                if found:
                    victim = found[trial % len(found)]
                    others = victim.children(recursive=True)
                    victim.kill()
                    return run, others
        run.wait()  # it was done already: repeat, and kill earlier
        shutil.rmtree(dest)
        moment *= 0.8


@pytest.mark.slow  # tests/flows/test_cli.py kills one in `make test`
@pytest.mark.promise(NOTHING_LOST, "driver killed (SIGKILL)")
def test_a_killed_driver(undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    kill_in_turn("driver", 1, undisturbed, trials, tmp_path, tally)


@pytest.mark.promise(NOTHING_LOST, "Dask worker killed (SIGKILL)")
def test_a_killed_worker(undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    kill_in_turn("worker", 2, undisturbed, trials, tmp_path, tally)


@pytest.mark.promise(NOTHING_LOST, "Tesseract killed (SIGKILL)")
def test_a_killed_tesseract(undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    kill_in_turn("tesseract", 3, undisturbed, trials, tmp_path, tally)


@pytest.mark.promise(NOTHING_LOST, "the run's own Prefect API killed (SIGKILL)")
def test_a_killed_prefect_api(undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    kill_in_turn("api", 4, undisturbed, trials, tmp_path, tally)


@pytest.mark.slow
@pytest.mark.promise(NOTHING_LOST, "a Prefect server that serves others too killed (SIGKILL), for good")
def test_a_killed_prefect_server(undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    for trial, moment in moments(7, max(1, trials // 5), undisturbed.seconds):
        dest = tmp_path / f"server-{trial}"
        with prefect_server_process(tmp_path) as server:
            run = Run(
                undisturbed.source,
                dest,
                *SMALL_SHARDS,
                folder=tmp_path,
                PREFECT_API_URL=server.url,
                PREFECT_CLIENT_MAX_RETRIES="1",  # Prefect's default of five takes three minutes
            )
            time.sleep(moment)
            server.kill()
            ended = run.wait()
        if ended.returncode == 1:
            assert "does not answer" in ended.told
            assert "Traceback" not in ended.told
        check(undisturbed, tally, ended, dest, in_peace, f"server killed after {moment:.2f} s")
    assert (tally.survived, tally.lost) == (tally.tried, 0)


@pytest.mark.slow
@pytest.mark.promise(NOTHING_LOST, "Dask scheduler killed (SIGKILL)")
def test_a_killed_scheduler(undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    for trial, moment in moments(5, trials, undisturbed.seconds):
        dest = tmp_path / f"scheduler-{trial}"
        with cluster(tmp_path) as running:
            run = Run(undisturbed.source, dest, *SMALL_SHARDS, "--scheduler", running.address, folder=tmp_path)
            time.sleep(moment)
            running.scheduler.kill()
            ended = run.wait()
        assert "Traceback" not in ended.told
        check(undisturbed, tally, ended, dest, on_a_fresh_cluster, f"scheduler killed after {moment:.2f} s")
    assert (tally.tried, tally.survived, tally.lost) == (trials, trials, 0)


@pytest.mark.promise(NOTHING_LOST, "a worker killed by its nanny for want of memory")
def test_a_worker_beyond_its_memory_limit(undisturbed: Undisturbed, trials: int, tmp_path: Path, tally: Tally) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    for trial, moment in moments(6, trials, undisturbed.seconds, first=0.3 * undisturbed.seconds):
        dest = tmp_path / f"memory-{trial}"
        with cluster(tmp_path, memory_limit="700MiB") as running:
            run = Run(undisturbed.source, dest, *SMALL_SHARDS, "--scheduler", running.address, folder=tmp_path)
            time.sleep(moment)
            with Client(running.address, set_as_default=False) as client:
                client.wait_for_workers(1, timeout=60)
                before = client.run(os.getpid)
                victim = sorted(before)[trial % len(before)]
                client.run(hog_memory, workers=[victim])
                assert gone(before[victim]), "the nanny let a worker have more memory than it may"
            ended = run.wait()
        check(undisturbed, tally, ended, dest, on_a_fresh_cluster, f"out of memory after {moment:.2f} s")
    assert (tally.tried, tally.survived, tally.lost) == (trials, trials, 0)
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def hog_memory() -> None:
    """Exceed a worker's memory limit in a thread next to the page in progress."""

    def take() -> None:
        held = []
        for _ in range(40):
            held.append(np.ones(25_000_000, np.uint8))
            time.sleep(0.02)
        time.sleep(60)

    threading.Thread(target=take, daemon=True).start()


def gone(pid: int, within_s: float = 30.0) -> bool:
    try:
        psutil.Process(pid).wait(within_s)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True
