"""Test that the driver's threads share one heap, and that other processes are unaffected."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pyarrow as pa
import pytest

SCRIPT = """
import ctypes, os, sys, threading
from foliopress.flows.cluster.driver_memory import use_one_heap

if sys.argv[1] == "shared":
    use_one_heap()
import pyarrow as pa

libc, together = ctypes.CDLL(None), threading.Barrier(6)
libc.malloc.restype = ctypes.c_void_p

def take():
    together.wait()
    libc.malloc(100_000)
    together.wait()

threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
pool, left = pa.default_memory_pool().backend_name, os.environ.get("ARROW_DEFAULT_MEMORY_POOL")
print(open(sys.argv[2]).read().count("<heap nr="), pool, left)
"""


FREED = """
import ctypes, sys
from foliopress.flows.cluster.driver_memory import use_one_heap

if sys.argv[1] == "shared":
    use_one_heap()

class Heap(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena a b c d e f g h keepcost").split()]

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.free.argtypes, libc.mallinfo2.restype = ctypes.c_void_p, [ctypes.c_void_p], Heap
libc.free(libc.malloc(30_000_000))  # from here on glibc takes such sizes from the heap, unless it is told
taken = (ctypes.c_void_p * 300)()
for number in range(300):
    taken[number] = libc.malloc(100_000)
for number in reversed(range(300)):
    libc.free(taken[number])
print(libc.mallinfo2().keepcost)
"""
READS = """
import io, sys

exec(sys.argv[1])
import pyarrow as pa
import pyarrow.parquet as pq

file = io.BytesIO()
pq.write_table(pa.table({"figure": list(range(200_000))}), file)
file.seek(0)
pq.read_table(file, use_threads=False)  # a process that ends with Arrow's threads just begun aborts (arrow#34314)
heaps_of_its_own = set(pa.supported_memory_backends()) - {"system"}
print(max((getattr(pa, name + "_memory_pool")().max_memory() for name in heaps_of_its_own), default=0))
"""
UNTOLD = {
    name: value
    for name, value in os.environ.items()
    if name not in ("MALLOC_ARENA_MAX", "ARROW_DEFAULT_MEMORY_POOL")  # the first by nannies of other tests in here
}


def said_by(script: str, *words: str) -> list[str]:
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, env=UNTOLD, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="heaps are counted by glibc")
def test_all_threads_of_a_driver_and_arrow_share_one_heap_and_other_processes_keep_theirs(tmp_path) -> None:
    assert said_by(SCRIPT, "shared", str(tmp_path / "info.xml")) == ["1", "system", "None"]
    assert int(said_by(SCRIPT, "each", str(tmp_path / "info.xml"))[0]) > 1


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's heap")
def test_what_is_free_at_the_top_of_the_drivers_heap_is_given_back() -> None:
    if not hasattr(ctypes.CDLL(None), "mallinfo2"):
        pytest.skip("mallinfo2 came with glibc 2.33")
    assert int(said_by(FREED, "each")[0]) > 20_000_000
    assert int(said_by(FREED, "shared")[0]) < 2_000_000


@pytest.mark.parametrize(
    ("script", "takes_heaps_of_its_own"),
    [
        (
            "import foliopress.flows.cli\nfrom foliopress.flows.cluster import driver_memory as m\nm.use_one_heap()",
            False,
        ),  # as the command does
        ("import foliopress.deployments.scheduled", False),
        (
            "import benchmarks.recorded\nfrom foliopress.flows.cluster import driver_memory as m\nm.use_one_heap()",
            False,
        ),
        (
            "import pyarrow\nfrom foliopress.flows.cluster import driver_memory as m\nm.use_one_heap()",
            True,
        ),  # which is too late
    ],
)
def test_arrow_is_told_of_the_drivers_heap_before_it_reads_or_writes(script: str, takes_heaps_of_its_own: bool) -> None:
    if set(pa.supported_memory_backends()) == {"system"}:
        pytest.skip("this Arrow has no heaps of its own")
    assert (int(said_by(READS, script)[-1]) > 0) is takes_heaps_of_its_own
