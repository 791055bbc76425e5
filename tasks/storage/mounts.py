"""Detect folders that overlap through links or mounts."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MOUNTS = Path("/proc/self/mountinfo")
_OCTAL = re.compile(r"\\([0-7]{3})")


class _Mount(NamedTuple):
    disk: str
    """Number of the file system."""
    folder: str
    """Mounted folder of the file system."""
    point: str
    """Mount point."""


def overlap(one: Path, other: Path) -> bool:
    """Return whether two folders, which need not exist yet, share any content.

    Follows links, and mounts where the system lists them: a folder may be mounted at several places. Inside the two,
    mounts are considered, links are not.
    """
    one, other = Path(os.path.realpath(one)), Path(os.path.realpath(other))
    if _is_within(str(one), str(other)) or _is_within(str(other), str(one)):
        return True
    if _identity(one) in _identities_above(other) or _identity(other) in _identities_above(one):
        return True
    mounts = list(_mounts())
    theirs = list(_shown(other, mounts))
    return any(
        ours.disk == their.disk and (_is_within(ours.folder, their.folder) or _is_within(their.folder, ours.folder))
        for ours in _shown(one, mounts)
        for their in theirs
    )


def links_out(folder: Path) -> list[str]:
    """Return the names of the links directly in a folder that lead out of it."""
    try:
        with os.scandir(folder) as entries:
            links = sorted(entry.name for entry in entries if entry.is_symlink())
    except OSError:
        return []
    root = os.path.realpath(folder)
    return [name for name in links if not _is_within(os.path.realpath(folder / name), root)]


def is_inside(path: Path, root: Path) -> bool:
    """Return whether a path, its links followed, is a folder or inside it."""
    return _is_within(os.path.realpath(path), os.path.realpath(root))


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino)


def _identities_above(path: Path) -> set[tuple[int, int]]:
    """Return the identities of a folder and its parents, as far as they exist."""
    return {known for known in map(_identity, (path, *path.parents)) if known is not None}


def _mounts() -> Iterator[_Mount]:
    try:
        lines = _MOUNTS.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, _, disk, folder, point, *_ = line.split(" ")
        yield _Mount(disk, _unescaped(folder), _unescaped(point))


def _unescaped(path: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), path)


def _shown(folder: Path, mounts: list[_Mount]) -> Iterator[_Mount]:
    """Yield the mounts visible in a folder: its own, and those mounted below it."""
    path = str(folder)
    holding = [mount for mount in mounts if _is_within(path, mount.point)]
    if holding:
        own = max(
            reversed(holding), key=lambda mount: len(mount.point)
        )  # the last of several at one point hides the others
        rest = path[len(own.point.rstrip("/")) :]
        yield _Mount(own.disk, own.folder.rstrip("/") + rest or "/", path)
    yield from (mount for mount in mounts if mount.point != path and _is_within(mount.point, path))
