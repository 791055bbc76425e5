"""Fences: after which moment the files of a run that lost its lease do not count."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from urllib.parse import quote, unquote

from tasks.store import Store

log = logging.getLogger(__name__)

_PREFIX = "runs/fences/"


def write_fence(dest: Store, run_id: str, counted: Iterable[str], taken_by: str) -> None:
    """Have no file of statistics of a run count but those that are there already.

    A run that was paused past its lease may wake up in the middle of a write. What it still writes has a name of its
    own and is passed over.

    Args:
        dest: Where the statistics lie.
        run_id: Of the run that lost its lease.
        counted: Names of those of its files that count.
        taken_by: Id of the run that took over.
    """
    fence = {"run_id": run_id, "taken_by": taken_by, "counted": sorted(counted)}
    dest.write_bytes(f"{_PREFIX}{quote(run_id, safe='')}.json", json.dumps(fence, indent=1).encode())


def read_fences(dest: Store) -> Mapping[str, frozenset[str]]:
    """Return the names of the files that count, of each run that lost its lease.

    Of a run whose fence is damaged no file counts: the next run does its shards again.
    """
    fences: dict[str, frozenset[str]] = {}
    for found in dest.list_objects(_PREFIX):
        if found.key.endswith(".json"):
            run_id = unquote(found.key.removeprefix(_PREFIX).removesuffix(".json"))
            try:
                counted = json.loads(dest.read_bytes(found.key))["counted"]
                fences[run_id] = frozenset(map(str, counted))
            except FileNotFoundError:
                continue
            except (ValueError, LookupError, TypeError):
                log.warning("%s is damaged: no file of run %s counts", found.key, run_id)
                fences[run_id] = frozenset()
    return fences
