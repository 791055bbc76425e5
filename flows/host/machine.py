"""Measure the cores and memory of this machine or container, and divide them among local workers.

Dask's own values are not used: it takes a cgroup's `memory.low`, which is a guarantee, for a limit, ignores the limits
of parent groups, and knows two of the names that version 1 uses for the CPU group.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foliopress.configs.errors import ConfigError

BYTES_PER_PIXEL = 41
"""Peak memory of a page in process, per pixel: measured on colour pages of 6 to 26 megapixels through all steps,
rereading included; grey pages take 28 bytes, bitonal pages 15."""
WORKER_BYTES = 300 * 2**20
"""Memory of a worker process before its first page, with the network loaded, plus a margin."""

ROOM_FOR_WORKER = 1536 * 2**20
"""Free memory per local worker started: two A4 colour pages at 300 dpi, and the worker itself."""
MIN_WORKER_BYTES = WORKER_BYTES + 9_000_000 * BYTES_PER_PIXEL
"""Minimum memory of a worker; with less it would be killed by one such page."""

_GIB = 2**30
_PROCESSOR_GROUPS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")
"""Parts of a group's memory that the kernel reclaims on demand: cached file contents."""
_NO_LIMIT = 2**60
"""Version 1 cannot express `no limit`, and reports nearly 2**63."""


@dataclass(frozen=True)
class Machine:
    """Resources available to this process."""

    cores: int
    memory_bytes: int
    available_bytes: int
    """Memory that is free or can be reclaimed."""


@dataclass(frozen=True)
class WorkerAllocation:
    """Number of local workers, and the memory limit of each."""

    n_workers: int
    memory_bytes: int


def allocate_workers(machine: Machine, workers: int | None, useful_bytes: int) -> WorkerAllocation:
    """Return the number of workers that cores and free memory allow, or the requested one, and the memory limit of
    each.

    The free memory is divided equally, but a worker gets no more than its part of the whole machine or the memory it
    can use, whichever is larger: one runaway page must not take everything.

    Args:
        machine: Available resources.
        workers: Requested number; None for as many as fit.
        useful_bytes: Memory that a worker can use.

    Raises:
        ConfigError: If not even one worker, or not the requested number, would have enough memory for a page.

    >>> allocate_workers(Machine(16, 8 * 2**30, 8 * 2**30), None, 6 * 2**30)
    WorkerAllocation(n_workers=5, memory_bytes=1717986918)
    """
    n_workers = workers or max(1, min(machine.cores, machine.available_bytes // ROOM_FOR_WORKER))
    part = machine.memory_bytes // max(machine.cores, n_workers)
    allocation = WorkerAllocation(n_workers, min(machine.available_bytes // n_workers, max(part, useful_bytes)))
    if allocation.memory_bytes < MIN_WORKER_BYTES:
        raise ConfigError(_not_enough_memory(machine, n_workers))
    return allocation


def _not_enough_memory(machine: Machine, n_workers: int) -> str:
    free, need = f"{machine.available_bytes / _GIB:.1f} GiB", f"{MIN_WORKER_BYTES / _GIB:.1f} GiB"
    most = machine.available_bytes // MIN_WORKER_BYTES
    if most:
        return (
            f"cluster.workers: {n_workers} workers need {need} of memory each for an A4 page in colour, and {free} is "
            f"free; request at most {most}"
        )
    return (
        f"cluster.workers: a worker needs {need} of memory for an A4 page in colour, and {free} is free; give this "
        "machine or its container more memory, or wait until other processes have ended"
    )


def this_machine(root: Path = Path("/")) -> Machine:
    """Return the resources of this process: the minimum of the machine, the CPU affinity and the cgroups.

    Args:
        root: Folder that contains `proc/self/cgroup` and `sys/fs/cgroup`.
    """
    import psutil

    memory = psutil.virtual_memory()
    groups = [_memory_of(folder) for folder in (*_groups(root, "memory"), *_groups(root, ""))]
    return Machine(
        cores=min([_affinity(), *filter(None, map(_quota_of, _processor_groups(root)))]),
        memory_bytes=min([memory.total, *(limit for limit, _ in groups)]),
        available_bytes=max(0, min([memory.available, *(limit - used for limit, used in groups)])),
    )


def _affinity() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_groups(root: Path) -> Iterator[Path]:
    yield from _groups(root, "")
    for name in _PROCESSOR_GROUPS:
        yield from _groups(root, name)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup and its parents, up to the mounted one.

    Args:
        root: See `this_machine`.
        controller: Folder name of a version 1 controller; empty for version 2, which has one tree for all.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux, or hidden
        return
    mounted = root / "sys/fs/cgroup" / controller
    wanted = set(filter(None, controller.split(",")))
    for line in lines:
        _, names, path = line.split(":", 2)
        if set(filter(None, names.split(","))) >= wanted and bool(names) == bool(controller):
            place = Path(os.path.normpath("/" + path.strip()))
            for above in (place, *place.parents):
                folder = mounted / str(above).lstrip("/")
                if folder.is_dir():  # a container sees its own group as the root, but may read the path on the host
                    yield folder


def _quota_of(folder: Path) -> int | None:
    """Return the number of cores a group may use, rounded up; None without a limit."""
    numbers = _words(folder / "cpu.max") or [
        *_words(folder / "cpu.cfs_quota_us"),
        *_words(folder / "cpu.cfs_period_us"),
    ]
    if len(numbers) != 2 or not numbers[0].isdigit() or not int(numbers[1]):  # `max`, or -1
        return None
    return max(1, math.ceil(int(numbers[0]) / int(numbers[1])))


def _memory_of(folder: Path) -> tuple[int, int]:
    """Return a group's memory limit and its memory that cannot be reclaimed, in bytes."""
    limits = [
        int(word)
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes")
        for word in _words(folder / name)
        if word.isdigit() and int(word) < _NO_LIMIT
    ]
    if not limits:
        return _NO_LIMIT, 0
    used = [*_words(folder / "memory.current"), *_words(folder / "memory.usage_in_bytes"), "0"]
    words = _words(folder / "memory.stat")
    stat = dict(zip(words[::2], map(int, words[1::2]), strict=False))
    # version 1 reports totals that include child groups under separate names
    reclaimable = sum(stat.get(f"total_{name}", stat.get(name, 0)) for name in _RECLAIMABLE)
    return min(limits), max(0, int(used[0]) - reclaimable)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
