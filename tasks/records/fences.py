"""Fences: after which moment the files of a run that lost its lease do not count."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from foliopress.tasks.records.self_checksum import read_json, sealed_json
from foliopress.tasks.storage.store import Store

log = logging.getLogger(__name__)

PREFIX = "runs/fences/"


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
    dest.write_bytes(_key_of(run_id), sealed_json(fence))


def read_fences(dest: Store) -> Mapping[str, frozenset[str]]:
    """Return the names of the files that count, of each run that lost its lease.

    Of a run whose fence is damaged no file counts: the next run does its shards again.
    """
    return {run_id: counted or frozenset() for run_id, counted in _fences(dest)}


def is_fenced(dest: Store, run_id: str) -> bool:
    """Return whether another run took over from this one, so that what it writes does not count."""
    return dest.exists(_key_of(run_id))


def mend_fences(dest: Store, by_run: str) -> None:
    """Write damaged fences again, by which nothing counts.

    Args:
        dest: Where the statistics lie; their footers were read after the fences were damaged.
        by_run: Id of the present run.
    """
    for run_id, counted in list(_fences(dest)):
        if counted is None:
            write_fence(dest, run_id, (), by_run)


def _fences(dest: Store) -> Iterator[tuple[str, frozenset[str] | None]]:
    """Yield the id of each run that was fenced off, and the names of its files that count; None if it is damaged."""
    for found in dest.list_objects(PREFIX):
        if found.key.endswith(".json"):
            run_id = unquote(found.key.removeprefix(PREFIX).removesuffix(".json"))
            try:
                yield run_id, frozenset(map(str, read_json(dest.read_bytes(found.key))["counted"]))
            except FileNotFoundError:
                continue
            except (ValueError, LookupError, TypeError):
                log.warning("%s is damaged: no file of run %s counts", found.key, run_id)
                yield run_id, None


def _key_of(run_id: str) -> str:
    return f"{PREFIX}{quote(run_id, safe='')}.json"
