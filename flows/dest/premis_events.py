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

from foliopress.tasks.records import self_checksum
from foliopress.tasks.records.footers import Footer, read_footers
from foliopress.tasks.records.premis import EVENTS_SCHEMA, ROW_COLUMNS, as_premis, event_of
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.records.schemas import as_table
from foliopress.tasks.records.statistics import rows_of, void_documents
from foliopress.tasks.records.table_files import TableWriter
from foliopress.tasks.storage.store import Store

INDEX_KEY = "evidence/index.json"
TABLE, LINES = "evidence/events/{}.parquet", "evidence/premis/{}.jsonl.gz"

_VERSION = 2  # of what an event holds: with another one all are written again
_EVENTS_AT_ONCE = 1024

log = logging.getLogger(__name__)

_VersionsOf = Callable[[str], Mapping[str, str]]
"""Given a run's id, returns the versions of the software that it used."""


@dataclass(frozen=True)
class WrittenEvents:
    """The events of one file of statistics, as they were written."""

    made_of: str
    """The states of all that has a say in them."""
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class _Index:
    """What the events that lie there are of."""

    statistics: Mapping[str, str]
    """Every file of page rows that there was, by its name, and its state."""
    events: Mapping[str, WrittenEvents]
    """Those whose events were written."""
    is_complete: bool
    """True if all that should have events had some."""


def keep_events(
    dest: Store, wanted: bool, footers: Mapping[str, Footer] | None = None, *, is_deep: bool = False
) -> None:
    """Write the events of each file of statistics that is new or has changed, and delete those of files that are gone.

    The events of DEST/stats/pages/x.parquet lie in DEST/evidence/events/x.parquet and, as PREMIS, in
    DEST/evidence/premis/x.jsonl.gz. What they are of stands in an index that is written last, so that what a killed run
    left is written again, as is what is missing or has another size. Where nothing has changed, only listings and the
    index are read.

    Args:
        dest: Where the statistics lie; to be called by the holder of its lease.
        wanted: If False no events are written, and those that are no longer true are deleted.
        footers: Of all committed files, by their names, if they are at hand; they are read otherwise.
        is_deep: Read all events, and write again those that have changed.
    """
    there = _there(dest)
    if not wanted and not there:
        return
    now, told = _states(dest), _read_index(dest)
    changed = _changed(dest, told) if is_deep else frozenset[str]()
    if not changed and _is_current(told, now, there) and (told.is_complete or not wanted):
        return
    footers = read_footers(dest) if footers is None else footers
    void = void_documents(dest, footers)
    made_of = _made_of(footers, now)
    left = {
        name: events
        for name, events in told.events.items()
        if made_of.get(name) == events.made_of and _sizes(events).items() <= there.items() and name not in changed
    }
    if wanted:
        versions_of = lru_cache(partial(_versions_of, dest))
        for name in sorted(made_of.keys() - left.keys()):
            files = _write(dest, footers[name], versions_of, void.get(name, set()))
            left[name] = WrittenEvents(made_of[name], files)
    for key in sorted(there.keys() - _keys_of(left)):
        dest.delete(key)
    _write_index(dest, _Index(now, {name: left[name] for name in sorted(left)}, wanted))


def written_events(dest: Store) -> Mapping[str, tuple[WrittenFile, ...]] | None:
    """Return the files of events that the index names, by the file of statistics that they are of; None without index.

    Raises:
        ValueError: If the index is not as it was written.
    """
    try:
        data = dest.read_bytes(INDEX_KEY)
    except FileNotFoundError:
        return None
    return {name: events.files for name, events in _index_of(data).events.items()}


def has_current_events(dest: Store) -> bool:
    """Return whether each document of a DEST has its event, as the statistics are now."""
    told = _read_index(dest)
    return told.is_complete and _is_current(told, _states(dest), _there(dest))


def _is_current(told: _Index, now: Mapping[str, str], there: Mapping[str, int]) -> bool:
    sizes = {key: size for events in told.events.values() for key, size in _sizes(events).items()}
    return told.statistics == now and there == sizes


def _sizes(events: WrittenEvents) -> dict[str, int]:
    return {file.key: file.size_bytes for file in events.files}


def _changed(dest: Store, told: _Index) -> frozenset[str]:
    """Return the files of statistics whose events are not those that were written."""

    def is_same(file: WrittenFile) -> bool:
        try:
            return WrittenFile.of(file.key, dest.read_bytes(file.key)) == file
        except OSError:
            return False

    return frozenset(name for name, events in told.events.items() if not all(map(is_same, events.files)))


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


def _there(dest: Store) -> dict[str, int]:
    """Return the size of each file of events."""
    forms = [form.partition("{}") for form in (TABLE, LINES)]
    return {
        found.key: found.size_bytes
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
        return _index_of(dest.read_bytes(INDEX_KEY))
    except (FileNotFoundError, ValueError):  # spoiled, or of another version: all are written again
        return _Index({}, {}, False)


def _index_of(data: bytes) -> _Index:
    """Read an index.

    Raises:
        ValueError: If it is not as it was written, or of another version.
    """
    index = self_checksum.read_json(data)
    if index["version"] != _VERSION:
        raise ValueError(f"it is of version {index['version']}, this Foliopress reads and writes {_VERSION}")
    events = {
        name: WrittenEvents(one["made_of"], tuple(WrittenFile(**file) for file in one["files"]))
        for name, one in index["events"].items()
    }
    return _Index(index["statistics"], events, index["is_complete"])


def _write_index(dest: Store, index: _Index) -> None:
    dest.write_bytes(INDEX_KEY, self_checksum.sealed_json({"version": _VERSION, **asdict(index)}))


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

    >>> _begin_of("20260131t175900z-3f9c2a"), _begin_of("nightly")
    ('2026-01-31T17:59:00+00:00', None)
    """
    try:
        return datetime.strptime(run_id.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).isoformat()
    except ValueError:
        return None


def _write(
    dest: Store, footer: Footer, versions_of: _VersionsOf, void: Collection[str]
) -> tuple[WrittenFile, WrittenFile]:
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
    written = []
    for form, buffer in ((TABLE, parquet), (LINES, lines)):
        key, data = form.format(footer.name), buffer.getvalue()
        dest.write_bytes(key, data)
        written.append(WrittenFile.of(key, data))
    log.info("%d events of %s are written", n_events, footer.name)
    return written[0], written[1]
