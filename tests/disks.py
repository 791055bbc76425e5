"""Provide disks that distinguish fewer names than Linux: real ones if they can be mounted, and simulated folders."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foliopress.tasks.naming.key_spelling import WINDOWS_LETTERS
from foliopress.tasks.storage.local_backend import LocalBackend

REAL_DISKS = ("exfat", "ntfs")

Fold = Callable[[str], str]


@contextmanager
def mounted(kind: str, folder: Path) -> Iterator[Path]:
    """Mount an empty disk of a kind; skip the test if that is not possible."""
    image, place = folder / f"{kind}.img", folder / kind
    tools = {"exfat": ("mkfs.exfat", "mount.exfat-fuse"), "ntfs": ("mkfs.ntfs", "lowntfs-3g")}[kind]
    if os.geteuid() or not all(map(shutil.which, ("losetup", "umount", *tools))) or not os.path.exists("/dev/fuse"):
        pytest.skip(f"{' and '.join(tools)}, FUSE and the rights to mount are needed")
    with image.open("wb") as file:
        file.truncate(64 * 2**20)
    place.mkdir()
    _call(tools[0], *(["-F", "-q", "-f"] if kind == "ntfs" else []), image)
    device = _call("losetup", "-f", "--show", image).strip()
    try:
        _call(tools[1], *(["-o", "ignore_case,windows_names"] if kind == "ntfs" else []), device, place)
        try:
            yield place
        finally:
            _call("umount", "-l", place)
    finally:
        _call("losetup", "-d", device)


def _call(*command: object) -> str:
    try:
        told = subprocess.run([str(one) for one in command], capture_output=True, text=True, check=True)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{command[0]} cannot be used here: {error.stderr.strip()}")
    return told.stdout


def windows_fold(name: str) -> str:
    """Return a name in the form in which Windows compares it."""
    return "".join(letter.upper() if len(letter.upper()) == 1 else letter for letter in name)


def mac_fold(name: str) -> str:
    """Return a name in the form in which macOS compares it."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


class FoldingFolder(LocalBackend):
    """A folder of a disk that folds: a name finds what lies under another spelling of it.

    `fold` returns the form used to compare names, `spelt` the stored form, `refused` whether a name is invalid.
    """

    fold: Fold = staticmethod(str)
    spelt: Fold = staticmethod(str)
    refused: Callable[[str], bool] = staticmethod(lambda name: False)

    def _path(self, key: str) -> Path:
        path = super()._path(key)
        found = self.root
        for part in path.relative_to(self.root).parts:
            if self.refused(part):
                raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), part)
            there = os.listdir(found) if found.is_dir() else []
            found /= next((name for name in there if self.fold(name) == self.fold(part)), self.spelt(part))
        return found


class WindowsFolder(FoldingFolder):
    """NTFS behind a server that refuses names that Windows does not allow."""

    fold = staticmethod(windows_fold)
    refused = staticmethod(
        lambda name: (
            bool(set(name) & set(WINDOWS_LETTERS) - {"~"})
            or name[-1] in ". "
            or name.partition(".")[0].upper() in ("CON", "AUX", "NUL", "COM1")
        )
    )


class SilentWindowsFolder(FoldingFolder):
    """A server that silently strips name endings that Windows does not allow."""

    fold = staticmethod(lambda name: windows_fold(name.rstrip(". ")))
    spelt = staticmethod(lambda name: name.rstrip(". "))


class MacFolder(FoldingFolder):
    """APFS, which stores names as written."""

    fold = staticmethod(mac_fold)
    refused = staticmethod(lambda name: ":" in name)


class OldMacFolder(MacFolder):
    """HFS+, which decomposes letters."""

    spelt = staticmethod(lambda name: unicodedata.normalize("NFD", name))


class StrictMacFolder(FoldingFolder):
    """ZFS with Unicode normalisation and case folding."""

    fold = staticmethod(lambda name: unicodedata.normalize("NFC", name))


class CodedFolder(FoldingFolder):
    """An encrypted folder with short names, or an old disk with ASCII names."""

    refused = staticmethod(lambda name: len(name) > 143 or not name.isascii())


def only_at(root: Path, kind: type[FoldingFolder]) -> type[LocalBackend]:
    """Return a kind of folder that acts alike at one place, and anywhere else as folders do."""

    class Folder(kind):  # type: ignore[misc, valid-type]
        def _path(self, key: str) -> Path:
            return super()._path(key) if self.root == root else LocalBackend._path(self, key)

    return Folder


FOLDERS: dict[str, type[FoldingFolder]] = {
    "Windows": WindowsFolder,
    "silent Windows": SilentWindowsFolder,
    "Mac": MacFolder,
    "old Mac": OldMacFolder,
    "ZFS": StrictMacFolder,
    "short ASCII": CodedFolder,
}
