"""This machine, or the container that we run in: its cores and memory, and each local worker's share of them.

Dask's own figures are not used: it takes a cgroup's `memory.low`, which is a promise, for a limit, does not see the
limits of the groups above its own, and knows two of the names that version 1 has for the group of the processor.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foliopress.tasks.errors import ConfigError

BYTES_PER_PIXEL = 41
"""What a page takes at most while it is worked on: measured on colour pages of 6 to 26 megapixels through all steps,
the reading again included; grey ones take 28, bitonal ones 15."""
WORKER_BYTES = 300 * 2**20
"""What a worker process takes before its first page, with the network loaded, and some room."""

ROOM_FOR_WORKER = 1536 * 2**20
"""Free memory that a local worker is started for: two A4 pages in colour at 300 dpi, and itself."""
LEAST_MEMORY = WORKER_BYTES + 9_000_000 * BYTES_PER_PIXEL
"""Below it a worker would be killed over the first such page."""

_GIB = 2**30
_PROCESSOR_GROUPS = ("cpu", "cpu,cpuacct", "cpuacct,cpu")
_RECLAIMABLE = ("inactive_file", "active_file", "slab_reclaimable")
"""What of a group's memory the kernel takes back when somebody needs it: copies of what lies on a disk."""
_NO_LIMIT = 2**60
"""Version 1 has no word for it, and says nearly 2**63."""


@dataclass(frozen=True)
class Machine:
    """What there is to share out."""

    cores: int
    memory_bytes: int
    available_bytes: int
    """What is free now, or would be if it were asked for."""


@dataclass(frozen=True)
class WorkerAllocation:
    """How many local workers there are, and the memory limit of each."""

    n_workers: int
    memory_bytes: int


def allocate_workers(machine: Machine, workers: int | None, useful_bytes: int) -> WorkerAllocation:
    """Return as many workers as cores and free memory allow, or so many, and the memory limit of each.

    A worker gets what is free in equal parts, but no more than its part of the whole machine and what it has a use for,
    whichever is larger: a page that runs wild shall not take all.

    Args:
        machine: What there is.
        workers: How many were asked for; None for as many as there is room for.
        useful_bytes: What a worker can have a use for.

    Raises:
        ConfigError: If not even one worker, or not as many as were asked for, would have room for a page.

    >>> allocate_workers(Machine(16, 8 * 2**30, 8 * 2**30), None, 6 * 2**30)
    WorkerAllocation(n_workers=5, memory_bytes=1717986918)
    """
    n_workers = workers or max(1, min(machine.cores, machine.available_bytes // ROOM_FOR_WORKER))
    part = machine.memory_bytes // max(machine.cores, n_workers)
    share = WorkerAllocation(n_workers, min(machine.available_bytes // n_workers, max(part, useful_bytes)))
    if share.memory_bytes < LEAST_MEMORY:
        raise ConfigError(_too_little(machine, n_workers))
    return share


def _too_little(machine: Machine, n_workers: int) -> str:
    free, need = f"{machine.available_bytes / _GIB:.1f} GiB", f"{LEAST_MEMORY / _GIB:.1f} GiB"
    most = machine.available_bytes // LEAST_MEMORY
    if most:
        return (
            f"cluster.workers: {n_workers} workers need {need} of memory each for an A4 page in colour, and {free} is "
            f"free; ask for {most} at most"
        )
    return (
        f"cluster.workers: a worker needs {need} of memory for an A4 page in colour, and {free} is free; give this "
        "machine or its container more memory, or wait until other work here has ended"
    )


def this_machine(root: Path = Path("/")) -> Machine:
    """Return what this process may use: of the machine, of its affinity and of its cgroups, whichever is least.

    Args:
        root: Folder that holds `proc/self/cgroup` and `sys/fs/cgroup`.
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
    """Yield the folders of this process's group and of those above it, up to the one that is mounted.

    Args:
        root: See `this_machine`.
        controller: Of version 1, as its folder is called; empty for version 2, which has one tree for all.
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
                if folder.is_dir():  # a container sees its own group as the root, and may be told the path outside
                    yield folder


def _quota_of(folder: Path) -> int | None:
    """Return how many cores a group may use, begun ones included; None where it has no limit."""
    numbers = _words(folder / "cpu.max") or [
        *_words(folder / "cpu.cfs_quota_us"),
        *_words(folder / "cpu.cfs_period_us"),
    ]
    if len(numbers) != 2 or not numbers[0].isdigit() or not int(numbers[1]):  # `max`, or -1
        return None
    return max(1, math.ceil(int(numbers[0]) / int(numbers[1])))


def _memory_of(folder: Path) -> tuple[int, int]:
    """Return how much memory a group may have and how much of it is taken for good, in bytes."""
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
    # version 1 counts those below it under names of their own
    reclaimable = sum(stat.get(f"total_{name}", stat.get(name, 0)) for name in _RECLAIMABLE)
    return min(limits), max(0, int(used[0]) - reclaimable)


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
