"""Evidence: the events of a DEST, which follow its statistics file by file."""

from __future__ import annotations

import gzip
import io
import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache, partial
from itertools import groupby, islice
from typing import Any

from tasks.events import EVENTS_SCHEMA, ROW_COLUMNS, as_premis, event_of
from tasks.statistics import Footer, TableWriter, as_table, read_footers, rows_of, void_documents
from tasks.store import Store

INDEX_KEY = "evidence/index.json"
TABLE, LINES = "evidence/events/{}.parquet", "evidence/premis/{}.jsonl.gz"

_VERSION = 1  # of what an event holds: with another one all are written again
_EVENTS_AT_ONCE = 1024

log = logging.getLogger(__name__)

_VersionsOf = Callable[[str], Mapping[str, str]]
"""Given a run's id, returns the versions of the software that it used."""


@dataclass(frozen=True)
class _Index:
    """What the events that lie there are of."""

    statistics: Mapping[str, str]
    """Every file of page rows that there was, by its name, and its state."""
    events: Mapping[str, str]
    """Those whose events were written, with the states of all that has a say in them."""
    is_complete: bool
    """True if all that should have events had some."""


def keep_events(dest: Store, wanted: bool, footers: Mapping[str, Footer] | None = None) -> None:
    """Write the events of each file of statistics that is new or has changed, and delete those of files that are gone.

    The events of DEST/stats/pages/x.parquet lie in DEST/evidence/events/x.parquet and, as PREMIS, in
    DEST/evidence/premis/x.jsonl.gz. What they are of stands in an index that is written last, so that what a killed run
    left is written again. Where nothing has changed, nothing but listings and the index is read.

    Args:
        dest: Where the statistics lie; to be called by the holder of its lease.
        wanted: If False no events are written, and those that are no longer true are deleted.
        footers: Of all committed files, by their names, if they are at hand; they are read otherwise.
    """
    there = _there(dest)
    if not wanted and not there:
        return
    now, told = _states(dest), _read_index(dest)
    if _is_current(told, now, there) and (told.is_complete or not wanted):
        return
    footers = read_footers(dest) if footers is None else footers
    void = void_documents(dest, footers)
    made_of = _made_of(footers, now)
    left = {name for name, mark in made_of.items() if told.events.get(name) == mark and _keys_of([name]) <= there}
    if wanted:
        versions_of = lru_cache(partial(_versions_of, dest))
        for name in sorted(made_of.keys() - left):
            _write(dest, footers[name], versions_of, void.get(name, set()))
        left = set(made_of)
    for key in sorted(there - _keys_of(left)):
        dest.delete(key)
    _write_index(dest, _Index(now, {name: made_of[name] for name in sorted(left)}, wanted))


def has_current_events(dest: Store) -> bool:
    """Return whether each document of a DEST has its event, as the statistics are now."""
    told = _read_index(dest)
    return told.is_complete and _is_current(told, _states(dest), _there(dest))


def _is_current(told: _Index, now: Mapping[str, str], there: set[str]) -> bool:
    return told.statistics == now and there == _keys_of(told.events)


def _made_of(footers: Mapping[str, Footer], now: Mapping[str, str]) -> dict[str, str]:
    """Return, for each file, the states of all that has a say in its events: its own and those that void rows of it."""
    claimers: dict[str, list[str]] = {name: [] for name in footers if name in now}
    for footer in footers.values():
        for old in footer.supersedes:
            if old in claimers:
                claimers[old].append(footer.name)
    return {name: " ".join(now.get(one, "") for one in (name, *sorted(claimers[name]))) for name in claimers}


def _keys_of(names: Iterable[str]) -> set[str]:
    return {form.format(name) for name in names for form in (TABLE, LINES)}


def _there(dest: Store) -> set[str]:
    forms = [form.partition("{}") for form in (TABLE, LINES)]
    return {
        found.key
        for folder, _, ending in forms
        for found in dest.list_objects(folder)
        if found.key.endswith(ending)  # what else somebody put there is none of ours
    }


def _states(dest: Store) -> dict[str, str]:
    """Return what changes with the content of each file of page rows, by the file's name."""
    return {
        found.key.rpartition("/")[2].removesuffix(".parquet"): found.version
        for found in dest.list_objects("stats/pages/")
        if found.key.endswith(".parquet")
    }


def _read_index(dest: Store) -> _Index:
    try:
        index = json.loads(dest.read_bytes(INDEX_KEY))
        if index["version"] == _VERSION:
            return _Index(dict(index["statistics"]), dict(index["events"]), bool(index["is_complete"]))
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        pass  # spoiled by hand: all are written again
    return _Index({}, {}, False)


def _write_index(dest: Store, index: _Index) -> None:
    values = {"version": _VERSION, **asdict(index)}
    dest.write_bytes(INDEX_KEY, json.dumps(values, indent=1).encode() + b"\n")


def _versions_of(dest: Store, run_id: str) -> dict[str, str]:
    try:
        return dict(json.loads(dest.read_bytes(f"runs/{run_id}/run.json"))["versions"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}  # deleted by hand, or of a run that was killed before versions were noted at its start


def _events_of(
    dest: Store, footer: Footer, versions_of: _VersionsOf, void: Collection[str]
) -> Iterator[dict[str, Any]]:
    committed = {(entry.shard_id, entry.run_id): entry.committed_at for entry in footer.shards}
    rows = rows_of(dest, "pages", footer.name, ROW_COLUMNS, void)
    for _, group in groupby(rows, lambda row: row["document_key"]):
        pages = list(group)
        run_id, shard_id = str(pages[0]["run_id"]), str(pages[0]["shard_id"])
        yield event_of(pages, committed.get((shard_id, run_id)) or _begin_of(run_id), versions_of(run_id))


def _begin_of(run_id: str) -> str | None:
    """Return when a run was begun, as its name tells; for rows whose commit was not noted.

    >>> _begin_of("20260131T175900Z-3f9c2a"), _begin_of("nightly")
    ('2026-01-31T17:59:00+00:00', None)
    """
    try:
        return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return None


def _write(dest: Store, footer: Footer, versions_of: _VersionsOf, void: Collection[str]) -> None:
    """Write the events of one file in both forms; some of them at a time are held, and the two files as they grow."""
    parquet, lines = io.BytesIO(), io.BytesIO()
    events = _events_of(dest, footer, versions_of, void)
    n_events = 0
    with (
        TableWriter(parquet, EVENTS_SCHEMA, {}) as table,
        gzip.GzipFile(fileobj=lines, mode="wb", compresslevel=6, mtime=0) as zipped,
    ):
        while some := list(islice(events, _EVENTS_AT_ONCE)):
            n_events += len(some)
            table.write(as_table(some, EVENTS_SCHEMA))
            for event in some:
                zipped.write(json.dumps(as_premis(event), ensure_ascii=False).encode() + b"\n")
    dest.write_bytes(TABLE.format(footer.name), parquet.getvalue())
    dest.write_bytes(LINES.format(footer.name), lines.getvalue())
    log.info("%d events of %s are written", n_events, footer.name)
