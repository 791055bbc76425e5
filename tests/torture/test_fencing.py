"""Pause a run while another takes over its DEST: after it resumes, the DEST must be as the other run left it."""

from __future__ import annotations

import hashlib
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.promises import ONE_RUN
from tests.reliability import Tally
from tests.torture.archives import write_archive
from tests.torture.outcome import outcome_of
from tests.torture.peace import IS_TORTURE, Undisturbed, scans_if_any
from tests.torture.runs import SMALL_SHARDS, Ended, Run, compress

pytestmark = [pytest.mark.long, pytest.mark.timeout(7200)]

WAYS = ("driver before", "driver within", "worker within", "driver at a moment", "all at a moment")
"""Before a write, within it, or at any moment; `all` are the driver and its workers."""
OTHERS = ("--overwrite", "--set", "encode.codec=webp", "--set", "text=[txt]")
TAKERS = {"the same command": (), "other settings": OTHERS}

TRIALS = 60 if IS_TORTURE else len(WAYS)
_MOST_CHANGES = {"driver before": 60, "driver within": 30, "worker within": 6}
"""Number of writes and deletions of such a run, or of one of its workers."""


@pytest.fixture(scope="module")
def peace(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Undisturbed]:
    """Return the result of an undisturbed run over a small archive, for the settings of each new owner."""
    folder = tmp_path_factory.mktemp("peace")
    source = write_archive(folder / "source", 12, scans_if_any())
    found = {}
    for number, (taker, settings) in enumerate(TAKERS.items()):
        dest = folder / f"dest {number}"
        ended = compress(source, dest, *SMALL_SHARDS, *settings, folder=folder)
        assert ended.returncode == 3, ended.told  # broken.jpg fails
        found[taker] = Undisturbed(source, outcome_of(str(dest)), 3, ended.seconds)
    return found


def short(source: Path, dest: Path, *arguments: object, **environment: str) -> Run:
    return Run(
        source,
        dest,
        *SMALL_SHARDS,
        *arguments,
        folder=dest.parent,
        module="tests.torture.short_lease",
        **environment,
    )


def paused(way: str, chance: np.random.Generator, seconds: float, source: Path, dest: Path) -> tuple[Run, list[int]]:
    """Start a run and pause it in the given way.

    Returns:
        The run, and the ids of its processes, some of which are stopped.
    """
    share = float(chance.uniform(0.02, 1.0))
    while True:
        shutil.rmtree(dest, ignore_errors=True)
        if way in _MOST_CHANGES:
            place = max(1, round(share * _MOST_CHANGES[way]))
            run = short(source, dest, **{f"PAUSE_{way.replace(' ', '_').upper()}": str(place)})
            while run.is_running and run.process.status() != psutil.STATUS_STOPPED:
                time.sleep(0.05)
        else:
            run = short(source, dest)
            time.sleep(share * seconds)
            with suppress(psutil.NoSuchProcess):
                family = run.process.children(recursive=True) if way.startswith("all") else []
                for process in [run.process, *family]:
                    with suppress(psutil.NoSuchProcess):
                        process.suspend()
        if run.is_running:
            # all of them: a process in a system call stops a little later
            return run, [one.pid for one in [run.process, *run.process.children(recursive=True)]]
        share *= 0.8  # it had ended already


def everything(dest: Path) -> dict[str, str]:
    """Return each file of a DEST, except those of single runs, with its digest."""
    return {
        path.relative_to(dest).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in dest.rglob("*")
        if path.is_file() and not path.relative_to(dest).as_posix().startswith("runs/")
    }


def differences(before: dict[str, str], after: dict[str, str]) -> Iterator[str]:
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            kind = "lost" if key not in after else "extra" if key not in before else "changed"
            yield f"{kind} by the run that woke up: {key}"


@pytest.mark.promise(ONE_RUN, "a run is paused past its lease, DEST is taken over, the run wakes up")
def test_a_run_that_wakes_up_leaves_dest_as_its_taker_left_it(
    peace: dict[str, Undisturbed], tmp_path: Path, tally: Tally
) -> None:
    for trial in range(TRIALS):
        way, taker = WAYS[trial % len(WAYS)], list(TAKERS)[trial // len(WAYS) % 2 if IS_TORTURE else trial % 2]
        wanted = peace[taker]
        dest = tmp_path / f"dest {trial}"
        run, family = paused(way, np.random.default_rng([31, trial]), wanted.seconds, wanted.source, dest)
        took = short(wanted.source, dest, *TAKERS[taker]).wait()
        losses = told_of(took, wanted, dest, "taker")
        left = everything(dest)
        for process in family:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(process).send_signal(signal.SIGCONT)
        woken = run.wait()
        losses += differences(left, everything(dest))
        if "Traceback" in woken.told:
            losses.append(f"the run that woke up said: {woken.told[-500:]}")
        again = short(wanted.source, dest, *(one for one in TAKERS[taker] if one != "--overwrite")).wait()
        losses += told_of(again, wanted, dest, "rerun")
        tally.add(losses, f"trial {trial}: {way}, taken over by {taker}")
        shutil.rmtree(dest)
    assert (tally.tried, tally.survived, tally.lost) == (TRIALS, TRIALS, 0)


def told_of(ended: Ended, wanted: Undisturbed, dest: Path, who: str) -> list[str]:
    """Return the errors of a run that should have produced the undisturbed result."""
    losses = [f"{who} {one}" for one in wanted.outcome.differences(outcome_of(str(dest)))]
    if ended.returncode != wanted.exit_code:
        losses.append(f"the {who} ended with {ended.returncode}: {ended.told[-1000:]}")
    return losses
