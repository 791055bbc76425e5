"""Write the events of a DEST as Parquet and PREMIS, one file of each for each file of statistics."""

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

_VERSION = 2  # of the content of an event: a change rewrites all events
_EVENTS_AT_ONCE = 1024

log = logging.getLogger(__name__)

_VersionsOf = Callable[[str], Mapping[str, str]]
"""Returns the versions of the software that a run used, by the run's id."""


@dataclass(frozen=True)
class WrittenEvents:
    """The stored events of one file of statistics."""

    made_of: str
    """The versions of the files that they were built from."""
    files: tuple[WrittenFile, ...]


@dataclass(frozen=True)
class _Index:
    """Statistics files that the stored events were built from."""

    statistics: Mapping[str, str]
    """Version of each file of page rows at that time, by its name."""
    events: Mapping[str, WrittenEvents]
    """Stored events, by the file of statistics."""
    is_complete: bool
    """True if every document had its event."""


def update_events(
    dest: Store, is_enabled: bool, footers: Mapping[str, Footer] | None = None, *, is_deep: bool = False
) -> None:
    """Write the events of each file of statistics that is new or has changed, and delete those of deleted files.

    The events of DEST/stats/pages/x.parquet lie in DEST/evidence/events/x.parquet and, as PREMIS, in
    DEST/evidence/premis/x.jsonl.gz. An index, written last, names the files that they were built from, so that events
    of a killed run are written again, as are missing events and those of another size. If nothing has changed, only
    listings and the index are read.

    Args:
        dest: Where the statistics lie; the caller holds its lease.
        is_enabled: If False, no events are written, and outdated ones are deleted.
        footers: Footers of all committed files, by their names; they are read if None.
        is_deep: Read all events, and write again those that have changed.
    """
    there = _there(dest)
    if not is_enabled and not there:
        return
    now, index = _versions_of_files(dest), _read_index(dest)
    changed = _changed(dest, index) if is_deep else frozenset[str]()
    if not changed and _is_current(index, now, there) and (index.is_complete or not is_enabled):
        return
    footers = read_footers(dest) if footers is None else footers
    void = void_documents(dest, footers)
    made_of = _made_of(footers, now)
    left = {
        name: events
        for name, events in index.events.items()
        if made_of.get(name) == events.made_of and _sizes(events).items() <= there.items() and name not in changed
    }
    if is_enabled:
        versions_of = lru_cache(partial(_versions_of, dest))
        for name in sorted(made_of.keys() - left.keys()):
            files = _write(dest, footers[name], versions_of, void.get(name, set()))
            left[name] = WrittenEvents(made_of[name], files)
    for key in sorted(there.keys() - _keys_of(left)):
        dest.delete(key)
    _write_index(dest, _Index(now, {name: left[name] for name in sorted(left)}, is_enabled))


def written_events(dest: Store) -> Mapping[str, tuple[WrittenFile, ...]] | None:
    """Return the files of events that the index names, by file of statistics; None without an index.

    Raises:
        ValueError: If the index is damaged.
    """
    try:
        data = dest.read_bytes(INDEX_KEY)
    except FileNotFoundError:
        return None
    return {name: events.files for name, events in _index_of(data).events.items()}


def has_current_events(dest: Store) -> bool:
    """Return whether each document of a DEST has an up-to-date event."""
    index = _read_index(dest)
    return index.is_complete and _is_current(index, _versions_of_files(dest), _there(dest))


def _is_current(index: _Index, now: Mapping[str, str], there: Mapping[str, int]) -> bool:
    sizes = {key: size for events in index.events.values() for key, size in _sizes(events).items()}
    return index.statistics == now and there == sizes


def _sizes(events: WrittenEvents) -> dict[str, int]:
    return {file.key: file.size_bytes for file in events.files}


def _changed(dest: Store, index: _Index) -> frozenset[str]:
    """Return the files of statistics whose stored events have changed."""

    def is_same(file: WrittenFile) -> bool:
        try:
            return WrittenFile.of(file.key, dest.read_bytes(file.key)) == file
        except OSError:
            return False

    return frozenset(name for name, events in index.events.items() if not all(map(is_same, events.files)))


def _made_of(footers: Mapping[str, Footer], now: Mapping[str, str]) -> dict[str, str]:
    """Return, for each file, the versions of the files that its events depend on: its own and of those voiding rows."""
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
        if found.key.endswith(ending)  # other files there are not Foliopress's
    }


def _versions_of_files(dest: Store) -> dict[str, str]:
    """Return the version of each file of page rows, which changes with its content, by the file's name."""
    return {
        found.key.rpartition("/")[2].removesuffix(".parquet"): found.version
        for found in dest.list_objects("stats/pages/")
        if found.key.endswith(".parquet")
    }


def _read_index(dest: Store) -> _Index:
    try:
        return _index_of(dest.read_bytes(INDEX_KEY))
    except (FileNotFoundError, ValueError):  # damaged, or of another version: all events are written again
        return _Index({}, {}, False)


def _index_of(data: bytes) -> _Index:
    """Read an index.

    Raises:
        ValueError: If it is damaged or of another version.
    """
    index = self_checksum.read_checked_json(data)
    if index["version"] != _VERSION:
        raise ValueError(f"it has version {index['version']}, this Foliopress reads and writes {_VERSION}")
    events = {
        name: WrittenEvents(one["made_of"], tuple(WrittenFile(**file) for file in one["files"]))
        for name, one in index["events"].items()
    }
    return _Index(index["statistics"], events, index["is_complete"])


def _write_index(dest: Store, index: _Index) -> None:
    dest.write_bytes(INDEX_KEY, self_checksum.json_with_checksum({"version": _VERSION, **asdict(index)}))


def _versions_of(dest: Store, run_id: str) -> dict[str, str]:
    try:
        return dict(json.loads(dest.read_bytes(f"runs/{run_id}/run.json"))["versions"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}  # deleted by hand, or of a run that was killed before it noted versions


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
    """Return the time at which a run began, from its id; for rows whose commit time is unknown.

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
    """Write the events of one file in both forms; a batch of events and the two growing files are in memory."""
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
    log.info("wrote %d events of %s", n_events, footer.name)
    return written[0], written[1]
