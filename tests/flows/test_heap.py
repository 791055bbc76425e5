"""The driver's heap: one, whatever the number of threads, and nobody else's."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
import ctypes, os, sys, threading
from flows.heap import share_one_heap

if sys.argv[1] == "shared":
    share_one_heap()
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


@pytest.mark.skipif(sys.platform != "linux", reason="heaps are counted by glibc")
def test_all_threads_of_a_driver_and_arrow_share_one_heap_and_other_processes_keep_theirs(tmp_path) -> None:
    def heaps(how: str) -> list[str]:
        command = [sys.executable, "-c", SCRIPT, how, str(tmp_path / "info.xml")]
        return subprocess.run(command, env=untold, capture_output=True, text=True, check=True).stdout.split()

    told = ("MALLOC_ARENA_MAX", "ARROW_DEFAULT_MEMORY_POOL")  # the first by the nannies of other tests in this process
    untold = {name: value for name, value in os.environ.items() if name not in told}

    assert heaps("shared") == ["1", "system", "None"]
    assert int(heaps("each")[0]) > 1
