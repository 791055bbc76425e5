"""Test the detection of cores and memory, also in containers, and their division among workers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from foliopress.configs.errors import ConfigError
from foliopress.flows.host.machine import MIN_WORKER_BYTES, Machine, allocate_workers, this_machine

ROOT = Path(__file__).resolve().parents[3]
GIB = 2**30
USEFUL = 6 * GIB


@pytest.mark.parametrize(
    ("cores", "memory_gib", "workers", "n_workers", "least_gib"),
    [
        (1, 1, None, 1, 1.0),
        (1, 2, None, 1, 2.0),
        (2, 8, None, 2, 4.0),
        (4, 4, None, 2, 2.0),
        (4, 64, None, 4, 16.0),
        (16, 1, None, 1, 1.0),
        (16, 4, 4, 4, 1.0),
        (16, 8, None, 5, 1.6),
        (16, 8, 1, 1, 6.0),  # 512 MiB for each core would be too little for a page
        (16, 8, 2, 2, 4.0),
        (64, 32, None, 21, 1.5),
        (64, 32, 4, 4, 6.0),
        (64, 32, 1, 1, 6.0),
        (96, 768, None, 96, 8.0),
        (2, 16, 8, 8, 2.0),
    ],
)
def test_what_fits_runs(cores: int, memory_gib: int, workers: int | None, n_workers: int, least_gib: float) -> None:
    machine = Machine(cores, memory_gib * GIB, memory_gib * GIB)
    share = allocate_workers(machine, workers, USEFUL)
    assert share.n_workers == n_workers
    assert share.memory_bytes >= least_gib * GIB * 0.99
    assert share.n_workers * share.memory_bytes <= machine.available_bytes


@pytest.mark.parametrize("cores", [1, 2, 16, 64, 256])
@pytest.mark.parametrize("memory_gib", [0.7, 1, 2, 8, 32, 512])
@pytest.mark.parametrize("free", [1.0, 0.5, 0.1])
@pytest.mark.parametrize("workers", [None, 1, 4, 16])
def test_workers_are_refused_only_where_a_page_has_no_room(
    cores: int, memory_gib: float, free: float, workers: int | None
) -> None:
    machine = Machine(cores, int(memory_gib * GIB), int(free * memory_gib * GIB))
    if machine.available_bytes < (workers or 1) * MIN_WORKER_BYTES:
        with pytest.raises(ConfigError, match=r"^cluster\.workers: "):
            allocate_workers(machine, workers, USEFUL)
        return
    share = allocate_workers(machine, workers, USEFUL)
    assert share.memory_bytes >= MIN_WORKER_BYTES
    assert share.n_workers * share.memory_bytes <= machine.available_bytes
    assert workers is not None or share.n_workers <= cores


@pytest.mark.parametrize(
    ("free_gib", "workers", "message"),
    [
        (4, 8, r"8 workers need 0\.6 GiB of memory each .* 4\.0 GiB is free; request at most 6"),
        (1, 2, r"1\.0 GiB is free; request at most 1"),
        (0.4, None, r"a worker needs 0\.6 GiB .* 0\.4 GiB is free; give this machine or its container more memory"),
        (0.4, 4, r"a worker needs 0\.6 GiB .* 0\.4 GiB is free; give this machine or its container more memory"),
    ],
)
def test_a_refusal_names_what_would_run(free_gib: float, workers: int | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        allocate_workers(Machine(16, 128 * GIB, int(free_gib * GIB)), workers, USEFUL)


def test_a_page_that_runs_wild_does_not_take_all() -> None:
    assert allocate_workers(Machine(16, 128 * GIB, 100 * GIB), 1, USEFUL).memory_bytes == 8 * GIB


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty root for the kernel's files, on a machine with 64 cores and 256 GiB, 200 of them free."""
    memory = SimpleNamespace(total=256 * GIB, available=200 * GIB)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    monkeypatch.setattr("foliopress.flows.host.machine._affinity", lambda: 64)
    return tmp_path


def files(root: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_machine_without_groups_has_all_that_it_has(root: Path) -> None:
    assert this_machine(root) == Machine(64, 256 * GIB, 200 * GIB)


STAT = f"anon {3 * GIB}\nfile {2 * GIB}\ninactive_file {GIB}\nactive_file {GIB}\nslab_reclaimable 0\n"


@pytest.mark.parametrize(
    ("cpu", "memory", "expected"),
    [
        ("max 100000", "max", (64, 256, 200)),
        ("1600000 100000", f"{8 * GIB}", (16, 8, 5)),
        ("150000 100000", f"{8 * GIB}", (2, 8, 5)),
        ("5000 100000", f"{32 * GIB}", (1, 32, 29)),
        ("9900000 100000", f"{512 * GIB}", (64, 256, 200)),  # more than the machine has
    ],
)
@pytest.mark.parametrize("group", ["/", "/kubepods/pod7", "/../../outside"])
def test_a_container_of_version_2_has_what_its_group_may_have(
    root: Path, cpu: str, memory: str, expected: tuple[int, int, int], group: str
) -> None:
    place = "sys/fs/cgroup" if ".." in group else f"sys/fs/cgroup{group}"
    group_files = {"cpu.max": cpu, "memory.max": memory, "memory.current": f"{5 * GIB}", "memory.stat": STAT}
    files(root, {f"{place}/{name}": text for name, text in group_files.items()})
    files(root, {f"{place}/memory.low": f"{GIB}", "proc/self/cgroup": f"0::{group}\n"})
    assert this_machine(root) == Machine(expected[0], expected[1] * GIB, expected[2] * GIB)


def test_a_limit_of_a_group_above_holds_too(root: Path) -> None:
    files(
        root,
        {
            "proc/self/cgroup": "0::/pod/container\n",
            "sys/fs/cgroup/pod/cpu.max": "400000 100000",
            "sys/fs/cgroup/pod/memory.high": f"{16 * GIB}",
            "sys/fs/cgroup/pod/memory.current": f"{4 * GIB}",
            "sys/fs/cgroup/pod/container/cpu.max": "max 100000",
            "sys/fs/cgroup/pod/container/memory.max": "max",
        },
    )
    assert this_machine(root) == Machine(4, 16 * GIB, 12 * GIB)


@pytest.mark.parametrize("processor", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
@pytest.mark.parametrize("is_seen", [True, False])
def test_a_container_of_version_1_has_what_its_groups_may_have(root: Path, processor: str, is_seen: bool) -> None:
    below = "/docker/abc" if is_seen else ""  # it sees the root alone, but may read its path on the host
    files(
        root,
        {
            "proc/self/cgroup": f"4:memory:/docker/abc\n3:{processor}:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n",
            f"sys/fs/cgroup/{processor}{below}/cpu.cfs_quota_us": "800000",
            f"sys/fs/cgroup/{processor}{below}/cpu.cfs_period_us": "100000",
            f"sys/fs/cgroup/memory{below}/memory.limit_in_bytes": f"{32 * GIB}",
            f"sys/fs/cgroup/memory{below}/memory.usage_in_bytes": f"{6 * GIB}",
            f"sys/fs/cgroup/memory{below}/memory.stat": f"inactive_file 5\ntotal_inactive_file {2 * GIB}\n",
        },
    )
    assert this_machine(root) == Machine(8, 32 * GIB, 28 * GIB)


def test_no_limit_of_version_1_is_none(root: Path) -> None:
    files(
        root,
        {
            "proc/self/cgroup": "4:memory:/\n3:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{6 * GIB}",
        },
    )
    assert this_machine(root) == Machine(64, 256 * GIB, 200 * GIB)


@pytest.fixture
def real_group() -> Iterator[Path]:
    """A cgroup of this kernel with 1 GiB of memory."""
    version_1 = Path("/sys/fs/cgroup/memory")
    above = version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if (":memory:" in line) == version_1.is_dir() and (above / line.split(":", 2)[2].lstrip("/")).is_dir():
            above = above / line.split(":", 2)[2].lstrip("/")
    group = above / f"foliopress-test-{os.getpid()}"
    limit = group / ("memory.limit_in_bytes" if version_1.is_dir() else "memory.max")
    try:
        group.mkdir()
        limit.write_text(str(GIB))
    except OSError as error:
        pytest.skip(f"no group can be made here: {error}")
    yield group
    group.rmdir()


def test_the_kernel_s_own_group_is_seen(real_group: Path) -> None:
    script = (
        f"open({str(real_group / 'cgroup.procs')!r}, 'w').write(str(__import__('os').getpid()))\n"
        "from foliopress.flows.host.machine import this_machine as machine\n"
        "print(machine().memory_bytes, machine().available_bytes)"
    )
    output = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    memory_bytes, available_bytes = map(int, output.stdout.split())
    assert memory_bytes == GIB
    assert GIB / 2 < available_bytes <= GIB


def test_an_affinity_is_seen() -> None:
    script = (
        "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\n"
        "from foliopress.flows.host.machine import this_machine\nprint(this_machine().cores)"
    )
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system has no affinity")
    output = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "1"
