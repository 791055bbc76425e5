"""Apart: SOURCE and DEST hold nothing of each other, and nothing of DEST lies elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

from foliopress.tasks.errors import ConfigError
from foliopress.tasks.storage.mounts import links_out, overlap


def check_no_overlap(source: str, dest: str) -> None:
    """Hold two places against each other before anything is written.

    Links deeper in SOURCE that lead into DEST are passed over as the listing meets them; through links deeper in DEST
    nothing is written.

    Raises:
        ConfigError: If one of them lies in the other, by whatever link or mount, or a link in DEST leads out of it.
    """
    inner, outer = _as_prefix(dest), _as_prefix(source)
    folders = _folder(source), _folder(dest)
    is_one = folders[0] is not None and folders[1] is not None and overlap(folders[0], folders[1])
    if is_one or inner.startswith(outer) or outer.startswith(inner):
        raise ConfigError(f"SOURCE {source} and DEST {dest} lie one in the other; choose a DEST elsewhere")
    if folders[1] is not None and (links := links_out(folders[1])):
        raise ConfigError(
            f"DEST {dest}: {', '.join(links)} in it leads elsewhere by a link, and nothing is written through links: "
            "put a folder in its place, or mount one there"
        )


def _folder(url: str) -> Path | None:
    """Return the folder of this machine that a place is, None if it is none."""
    protocol, separator, path = url.partition("://")
    is_folder = not separator or protocol in ("file", "local")
    return Path(path if separator else url).expanduser() if is_folder else None


def _as_prefix(url: str) -> str:
    """Return a place in one spelling, ending in a slash, so that what lies in it begins with it."""
    if (folder := _folder(url)) is not None:
        return f"file://{os.path.realpath(folder).rstrip('/')}/"
    protocol, _, path = url.partition("://")
    return f"{'s3' if protocol == 's3a' else protocol}://{'/'.join(filter(None, path.split('/')))}/"
