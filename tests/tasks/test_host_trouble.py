"""What a machine lacks is told from what a page is."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from configs.settings import StorageSettings
from tasks import large_objects
from tasks.errors import HostTrouble, StoreUnavailable
from tasks.host_trouble import on_this_host, raise_if_of_host, trouble_of
from tasks.store import Store

ROOT = Path(__file__).resolve().parents[2]

OF_THE_HOST = ["ENOSPC", "EDQUOT", "EROFS", "EMFILE", "ENFILE", "ENOMEM", "EAGAIN"]


@pytest.mark.parametrize("name", OF_THE_HOST)
def test_what_the_system_has_no_more_of_is_the_machine_s(name: str) -> None:
    number = getattr(errno, name)
    found = trouble_of(OSError(number, os.strerror(number), "/tmp/page.pgm"))
    assert found is not None
    assert str(found).startswith(f"a worker's machine: {os.strerror(number)}: /tmp/page.pgm; ")


@pytest.mark.parametrize(
    "error",
    [
        OSError("broken data stream when reading image file"),  # as Pillow says it
        OSError(-2, "decoder error -2"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        PermissionError(errno.EACCES, "Permission denied"),
        OSError(errno.EIO, "Input/output error"),  # a bad sector below a scan
        ValueError("no"),
        TimeoutError(),
        KeyError("x"),
    ],
    ids=["Pillow", "decoder", "gone", "denied", "bad sector", "value", "late", "key"],
)
def test_what_a_document_can_be_to_blame_for_is_not(error: Exception) -> None:
    assert trouble_of(error) is None
    raise_if_of_host(error, "decoding a page")


def test_a_package_that_is_missing_is_the_machine_s() -> None:
    try:
        import no_such_package  # type: ignore[import-not-found] # noqa: F401
    except ImportError as error:
        found = trouble_of(error)
    assert "No module named 'no_such_package'" in str(found)
    assert "install the same Foliopress on all workers" in str(found)


@pytest.mark.parametrize("name", [*OF_THE_HOST, "EIO", "ENOENT", "EACCES"])
def test_whatever_is_refused_for_files_of_our_own_is_the_machine_s(name: str) -> None:
    number = getattr(errno, name)
    with (
        pytest.raises(HostTrouble, match=rf"host .*: writing a page: {os.strerror(number)}; "),
        on_this_host("writing a page"),
    ):
        raise OSError(number, os.strerror(number))


def test_trouble_of_a_machine_is_tried_again_like_a_store_s_and_travels_between_processes() -> None:
    trouble = trouble_of(OSError(errno.ENOSPC, "No space left on device"))
    again = pickle.loads(pickle.dumps(trouble))
    assert (type(again), str(again)) == (HostTrouble, str(trouble))
    assert isinstance(again, StoreUnavailable)


def test_too_much_memory_for_any_machine_is_not_the_machine_s() -> None:
    with pytest.raises(MemoryError) as caught:
        bytearray(2**62)
    raise_if_of_host(caught.value, "decoding a page")


def test_memory_that_has_run_out_is_the_machine_s() -> None:
    script = (
        "import resource\n"
        "from tasks.errors import HostTrouble\n"
        "from tasks.host_trouble import raise_if_of_host\n"
        "import psutil\n"
        "most = psutil.Process().memory_info().vms + 2**28\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "try:\n"
        "    bytearray(2**29)\n"
        "except MemoryError as error:\n"
        "    try:\n"
        "        raise_if_of_host(error, 'decoding a page')\n"
        "    except HostTrouble as trouble:\n"
        "        print(trouble)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "decoding a page: out of memory; give it more memory, or have fewer workers" in told


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files with 64 kB of room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.parametrize("size_bytes", [70_000, 3_000_000])
def test_a_large_document_that_has_no_room_here_is_not_said_to_be_unreadable(small_disk: Path, size_bytes: int) -> None:
    store = Store(f"memory://large-{size_bytes}", StorageSettings())
    store.write_bytes("book.pdf", b"%PDF" + bytes(size_bytes))
    with pytest.raises(HostTrouble, match=rf"{small_disk}.*copying 'book.pdf': No space left on device; make room"):
        with large_objects.opened(store, "book.pdf"):
            pass
    store.write_bytes("leaf.pdf", b"%PDF")
    with large_objects.opened(store, "leaf.pdf") as file:
        assert file.read() == b"%PDF"
