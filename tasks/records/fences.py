"""Fence off runs that lost their lease: record which of their files count."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote, unquote

from foliopress.tasks.records.self_checksum import json_with_checksum, read_checked_json
from foliopress.tasks.storage.store import Store

log = logging.getLogger(__name__)

PREFIX = "runs/fences/"


def write_fence(dest: Store, run_id: str, counted: Iterable[str], taken_by: str) -> None:
    """Exclude all statistics files of a run except those that exist already.

    A run that was paused beyond its lease may resume in the middle of a write. Files that it writes later have other
    names and are ignored.

    Args:
        dest: Store of the statistics.
        run_id: Run that lost its lease.
        counted: Names of its files that count.
        taken_by: Id of the run that took over.
    """
    fence = {"run_id": run_id, "taken_by": taken_by, "counted": sorted(counted)}
    dest.write_bytes(_key_of(run_id), json_with_checksum(fence))


def read_fences(dest: Store) -> Mapping[str, frozenset[str]]:
    """Return, for each run that lost its lease, the names of its files that count.

    If a run's fence is damaged, none of its files count: the next run repeats its shards.
    """
    return {run_id: counted or frozenset() for run_id, counted in _fences(dest)}


def is_fenced(dest: Store, run_id: str) -> bool:
    """Return whether another run took over from this one, so that its later files do not count."""
    return dest.exists(_key_of(run_id))


def repair_fences(dest: Store, by_run: str) -> None:
    """Rewrite damaged fences so that none of their runs' files count.

    Args:
        dest: Store of the statistics; their footers were read after the fences were damaged.
        by_run: Id of the present run.
    """
    for run_id, counted in list(_fences(dest)):
        if counted is None:
            write_fence(dest, run_id, (), by_run)


def _fences(dest: Store) -> Iterator[tuple[str, frozenset[str] | None]]:
    """Yield the id of each fenced run and the names of its files that count, or None if the fence is damaged."""
    for found in dest.list_objects(PREFIX):
        if found.key.endswith(".json"):
            run_id = unquote(found.key.removeprefix(PREFIX).removesuffix(".json"))
            try:
                yield run_id, frozenset(map(str, read_checked_json(dest.read_bytes(found.key))["counted"]))
            except FileNotFoundError:
                continue
            except (ValueError, LookupError, TypeError):
                log.warning("%s is damaged: no file of run %s counts", found.key, run_id)
                yield run_id, None


def _key_of(run_id: str) -> str:
    return f"{PREFIX}{quote(run_id, safe='')}.json"
