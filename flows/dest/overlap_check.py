"""Check that SOURCE and DEST do not overlap, and that no link leads out of DEST."""

from __future__ import annotations

import os
from pathlib import Path

from foliopress.configs.errors import ConfigError
from foliopress.tasks.storage.mounts import links_out, overlap


def check_no_overlap(source: str, dest: str) -> None:
    """Check two places before anything is written.

    The listing skips links deeper in SOURCE that lead into DEST; nothing is written through links deeper in DEST.

    Raises:
        ConfigError: If one place lies in the other, by path, link or mount, or a link in DEST leads out of it.
    """
    inner, outer = _as_prefix(dest), _as_prefix(source)
    folders = _folder(source), _folder(dest)
    is_one = folders[0] is not None and folders[1] is not None and overlap(folders[0], folders[1])
    if is_one or inner.startswith(outer) or outer.startswith(inner):
        raise ConfigError(f"SOURCE {source} and DEST {dest} overlap; choose a DEST elsewhere")
    if folders[1] is not None and (links := links_out(folders[1])):
        raise ConfigError(
            f"DEST {dest}: {', '.join(links)} is a link that leads out of DEST, and Foliopress does not write through "
            "links: replace it with a folder or a mount"
        )


def _folder(url: str) -> Path | None:
    """Return the local folder of a place, None if it is not local."""
    protocol, separator, path = url.partition("://")
    is_folder = not separator or protocol in ("file", "local")
    return Path(path if separator else url).expanduser() if is_folder else None


def _as_prefix(url: str) -> str:
    """Return a place in a normal form that ends in a slash, so that it is a prefix of everything in it."""
    if (folder := _folder(url)) is not None:
        return f"file://{os.path.realpath(folder).rstrip('/')}/"
    protocol, _, path = url.partition("://")
    return f"{'s3' if protocol == 's3a' else protocol}://{'/'.join(filter(None, path.split('/')))}/"
