"""Test containers that lack a user name, a home, a writable root, temporary space or shared memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from foliopress.configs.errors import ConfigError
from foliopress.flows.host.host_checks import check_temporary_folder, prepare_host

ROOT = Path(__file__).resolve().parents[3]
Usage = namedtuple("Usage", "total used free")

UNKNOWN = 12345
"""A user ID without an account."""


def test_enough_room_is_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    home = os.environ.get("HOME")
    prepare_host()
    assert os.environ.get("HOME") == home
    assert list(tmp_path.iterdir()) == []


def test_too_little_room_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**9, 10**9, 3_000_000))
    with pytest.raises(ConfigError, match=rf"{tmp_path}, has 3 MB free, but at least 50 MB are needed; .*TMPDIR"):
        check_temporary_folder()


def test_room_that_a_quota_does_not_give_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(ConfigError, match=r"cannot be used: .*Disk quota exceeded; free some space"):
        check_temporary_folder()


def output_of(
    folder: Path, script: str, *arguments: object, command: tuple[str, ...] = ("unshare", "-m")
) -> tuple[int, str]:
    """Run foliopress in its own mount namespace after a shell script has changed it, and return its output.

    The script refers to the folder as `$HERE`.
    """
    if os.geteuid() != 0 or shutil.which(command[0]) is None:
        pytest.skip("only root may change what a process sees of its machine")
    (folder / "tmp").mkdir(mode=0o777, exist_ok=True)
    (folder / "tmp").chmod(0o777)
    words = " ".join(f"'{word}'" for word in (sys.executable, "-m", "foliopress.flows.cli", *arguments))
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")  # holds an empty database, half of a start
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HERE": str(folder), "LC_ALL": "C"}
    environment["XDG_CACHE_HOME"] = cache
    whole = f"set -e\n{script}\nexec {words}"
    done = subprocess.run(
        [*command, "bash", "-c", whole],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    if "mount: " in done.stderr:
        pytest.skip(f"nothing can be mounted here: {done.stderr}")
    return done.returncode, done.stderr


TMP_IS_SMALL = "mount -t tmpfs -o size=3m none $HERE/tmp; export TMPDIR=$HERE/tmp"
NO_TMP = "mount --make-rprivate /; mount -o remount,ro,bind /; mount -t tmpfs -o ro none /var/tmp"
SHM_IS_SMALL = "mount -t tmpfs -o size=16k none /dev/shm; export TMPDIR=$HERE/tmp"
SHM_IS_READ_ONLY = "mount -t tmpfs -o ro none /dev/shm; export TMPDIR=$HERE/tmp"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (TMP_IS_SMALL, "/tmp, has 3 MB free, but at least 50 MB are needed"),
        (NO_TMP, "no folder for temporary files is writable"),
        (SHM_IS_SMALL, "this machine's shared memory (/dev/shm) cannot hold the locks of 2 workers (No space left"),
        (SHM_IS_READ_ONLY, "cannot hold the locks of 2 workers (Read-only file system); mount a tmpfs"),
    ],
    ids=["small tmp", "no tmp", "small shm", "read-only shm"],
)
def test_what_is_missing_is_said_before_the_first_page(
    script: str, message: str, archive: Callable[..., Path], tmp_path: Path
) -> None:
    code, output = output_of(tmp_path, script, "compress", archive("a.jpg"), tmp_path / "out", "--workers", "2")
    assert code == 2, output
    assert message in output
    assert "Traceback" not in output
    assert not list(tmp_path.glob("out/pages/**/*.*"))


AS_NOBODY_KNOWN = (
    *("setpriv", "--reuid", str(UNKNOWN), "--regid", str(UNKNOWN), "--clear-groups"),
    # whoever runs the tests may have installed Python where others cannot read
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
)


@pytest.mark.long
@pytest.mark.parametrize("home", ["unset HOME", "export HOME=/nowhere"], ids=["unset", "nowhere"])
def test_a_user_without_a_name_and_a_home_can_run(home: str, archive: Callable[..., Path], tmp_path: Path) -> None:
    source = archive("a.jpg")
    (tmp_path / "out").mkdir(mode=0o777)
    (tmp_path / "out").chmod(0o777)
    script = f"{home}; export TMPDIR=$HERE/tmp"
    code, output = output_of(
        tmp_path, script, "compress", source, tmp_path / "out", "--workers", "1", command=AS_NOBODY_KNOWN
    )
    assert code == 0, output
    (page,) = tmp_path.glob("out/pages/a.*")
    assert page.stat().st_uid == UNKNOWN


@pytest.mark.long
def test_a_root_that_cannot_be_written_is_enough_with_a_folder_for_temporary_files(
    archive: Callable[..., Path], tmp_path: Path
) -> None:
    script = (
        "mount --make-rprivate /; mkdir -p $HERE/out\n"
        "mount --bind $HERE/out $HERE/out; mount --bind $HERE/tmp $HERE/tmp\n"
        "mount -o remount,ro,bind /; mount -t tmpfs -o size=1m none /dev/shm; unset HOME; export TMPDIR=$HERE/tmp\n"
        "if touch /tmp/probe 2>/dev/null; then exit 99; fi"
    )
    code, output = output_of(tmp_path, script, "compress", archive("a.jpg"), tmp_path / "out", "--workers", "2")
    assert code == 0, output
    assert list(tmp_path.glob("out/pages/a.*"))
