"""Verify a DEST as a Prefect flow: read, hash and decode every output on the Dask cluster."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

from prefect import flow

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import Settings, StorageSettings
from foliopress.flows.cluster.cluster import ClusterShape, open_cluster
from foliopress.flows.cluster.shared_places import SharedPlaces, SharedPlacesCheck, absolute_url
from foliopress.flows.dest.bag import bag_problems
from foliopress.flows.dest.name_rules import NAMES_KEY
from foliopress.flows.dest.premis_events import INDEX_KEY, written_events
from foliopress.flows.dest.run_records import find_record_problems, record_keys, referenced_runs, stored_runs
from foliopress.flows.older.older_audit import is_older_record, missing_files, older_events, older_tables
from foliopress.flows.older.older_records import older_files
from foliopress.flows.steps.verify_steps import (
    Output,
    Written,
    check_batch,
    check_files,
    check_outputs,
    check_tables,
    look_at_documents,
)
from foliopress.tasks.checks.audit import ROW_COLUMNS, Damage, check_rows
from foliopress.tasks.checks.visual_audit import LOOK_COLUMNS
from foliopress.tasks.records.fences import PREFIX as FENCES
from foliopress.tasks.records.footers import Footer, read_footers
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.records.self_checksum import read_checked_json
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key
from foliopress.tasks.storage.locations import check_place
from foliopress.tasks.storage.source import open_source
from foliopress.tasks.storage.source_listing import ListingCounts, check_not_empty, list_documents
from foliopress.tasks.storage.store import Store

if TYPE_CHECKING:
    from distributed import Client

_BATCH = 32
_BATCHES_PER_WORKER = 3
_SHOWN = 20

log = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_Check = Callable[[Callable[[str, StorageSettings, list[Any]], list[Damage]], Iterator[Any]], Iterator[list[Damage]]]
"""Runs a check on the cluster, and yields what it found in each batch."""


@dataclass
class Verification:
    """Findings in a DEST."""

    dest: str
    documents: int = 0
    pages: int = 0
    outputs: int = 0
    other_files: int = 0
    """Number of files of words, tiles, text and events."""
    unread_pages: int = 0
    """Number of failed pages, which have no output to check."""
    unread_reasons: dict[str, int] = field(default_factory=dict)
    """Number of failed pages by reason, e.g. `damaged` or `name_refused`."""
    older_files: int = 0
    """Number of files of page rows that an older version wrote, without digests of the files that belong to them."""
    looked_at_pages: int | None = None
    """Number of pages that were compared with their scans again; None if that was not asked for."""
    damages: list[Damage] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """True if nothing is damaged."""
        return not self.damages

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        kinds = Counter(damage.kind for damage in self.damages)
        return {**dataclasses.asdict(self), "is_sound": self.is_sound, "kinds": dict(sorted(kinds.items()))}

    def as_text(self) -> str:
        """Return the findings as lines of text: the counts, then the first damages."""
        lines = [f"{self.outputs} outputs of {self.documents} documents ({self.pages} pages) read, hashed and decoded"]
        lines.append(f"{self.other_files} files of words, tiles, text and events read and hashed")
        if self.older_files:
            lines.append(
                f"{self.older_files} files of page rows are of an older version: their words and tiles are read; text, "
                "events and records of runs, which have no digests, are looked for; the next run adds digests"
            )
        if self.unread_pages:
            reasons = ", ".join(f"{count} x {reason}" for reason, count in sorted(self.unread_reasons.items()))
            lines.append(f"{self.unread_pages} failed pages have no output: {reasons}")
        if self.looked_at_pages is not None:
            lines.append(
                f"{self.looked_at_pages} compressed pages compared with their scans, using independent decoders"
            )
        if self.is_sound:
            return "\n".join([*lines, "nothing is damaged"])
        for kind, count in sorted(Counter(damage.kind for damage in self.damages).items()):
            lines.append(f"  {count} x {kind}")
        lines += [f"{damage.kind}: {damage.key}: {damage.message}" for damage in self.damages[:_SHOWN]]
        if len(self.damages) > _SHOWN:
            lines.append(f"… and {len(self.damages) - _SHOWN} more (--json lists all)")
        return "\n".join(lines)


@flow(name="verify-archive", validate_parameters=False)
def verify_archive(
    dest: str, settings: Settings, *, source: str | None = None, look: bool = False, log_file: str | None = None
) -> Verification:
    """Compare everything in a DEST with its statistics, and those with SOURCE if it is given.

    Args:
        dest: Path or URL of an output.
        settings: Cluster and storage, and the documents of SOURCE that are wanted.
        source: Path or URL of the scans; each document there must have rows.
        look: Compare every compressed page with its scan again, using independent decoders.
        log_file: File to which the workers of a local cluster write their log.

    Raises:
        ConfigError: If DEST or SOURCE cannot be read, DEST holds no statistics, SOURCE holds no documents, or `look`
            is asked for without SOURCE.
        StoreUnavailable: If a store gives no answer.
    """
    if look and source is None:
        raise ConfigError("--look compares the output with the scans: name them with --source")
    target, scans = _open_places(dest, source, settings)
    found = Verification(dest)
    named: set[str] = set()
    documents: set[str] = set()
    with ExitStack() as stack:
        client = stack.enter_context(open_cluster(settings.cluster, log_file))
        places_check = stack.enter_context(SharedPlacesCheck(client, target, scans if look else None, writes=False))
        check = partial(_check_on_workers, client, places_check.shared_places, settings.storage)
        for damages in check(check_tables, _page_tables(target)):
            found.damages += damages
        damaged = frozenset(damage.key for damage in found.damages)
        footers = read_footers(target, damaged)
        for damages in check(check_outputs, _outputs(target, damaged, found, named, documents)):
            found.damages += damages
        found.damages += _older_damages(check, target, footers, named, found)
        written = _written(target, footers, damaged, found)
        for damages in check(check_files, _noted(written, named, found)):
            found.damages += damages
        if look and scans is not None:
            found.looked_at_pages = 0
            check_documents = partial(look_at_documents, absolute_url(scans.url))
            for n_pages, damages in check(check_documents, _documents(target, damaged)):
                found.looked_at_pages += n_pages
                found.damages += damages
    found.damages += _damaged_records(target, footers, named)
    found.damages += _missing_rows(footers)
    found.damages += _extra(target, named, damaged)
    found.damages += (Damage(*one) for one in bag_problems(target))
    if scans is not None:
        found.damages += _holes(scans.without_links_into(dest), settings, documents)
    found.damages = sorted({(one.kind, one.key): one for one in reversed(found.damages)}.values())
    log.info("%s", found.as_text())
    return found


def _open_places(dest: str, source: str | None, settings: Settings) -> tuple[Store, Store | None]:
    """Return DEST and SOURCE; raises as `verify_archive` does."""
    check_place("DEST", dest)
    if source is not None:
        check_place("SOURCE", source)
    target = Store(dest, settings.storage)
    target.check_readable()
    if next(target.list_objects("stats/pages/"), None) is None:
        raise ConfigError(f"{dest} holds no statistics of a finished shard; there is nothing to verify against")
    scans = None if source is None else open_source(source, settings.storage)
    if scans is not None:
        check_not_empty(scans, settings.scan, target)
    return target, scans


def _older_damages(
    check: _Check, target: Store, footers: Mapping[str, Footer], named: set[str], found: Verification
) -> Iterator[Damage]:
    """Count the files of page rows of an older version, and check what belongs to them without a digest."""
    found.older_files = len(older_files(footers.values()))
    for damages in check(check_tables, older_tables(footers.values())):
        yield from damages
    yield from missing_files(target, footers, named)


def _outputs(
    target: Store, damaged: frozenset[str], found: Verification, named: set[str], documents: set[str]
) -> Iterator[Output]:
    """Yield each output once; count documents and pages and check their rows on the way."""
    columns = (*ROW_COLUMNS, "reason")
    for key, group in groupby(live_rows(target, "pages", columns, damaged), lambda row: str(row["document_key"])):
        rows = list(group)
        found.pages += len(rows)
        if key in documents:
            found.damages.append(Damage("row_twice", key, "two shards hold its rows"))
        documents.add(key)
        found.documents = len(documents)
        found.damages += check_rows(key, rows)
        by_output: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if row["output_key"] is None:
                found.unread_pages += 1
                reason = str(row["reason"])
                found.unread_reasons[reason] = found.unread_reasons.get(reason, 0) + 1
            else:
                by_output.setdefault(str(row["output_key"]), []).append(row)
        found.outputs += len(by_output.keys() - named)
        named.update(by_output)
        yield from by_output.items()


def _page_tables(target: Store) -> Iterator[str]:
    """Yield the files of page rows, and whatever else lies below stats/."""
    for one in target.list_objects("stats/"):
        if not one.key.startswith(("stats/words/", "stats/tiles/")):
            yield one.key


def _written(
    target: Store, footers: Mapping[str, Footer], damaged: frozenset[str], found: Verification
) -> Iterator[Written]:
    """Yield the files that commits, page rows and the index of events name."""
    for name, footer in footers.items():
        yield from ((file, file_key("pages", name)) for file in footer.files)
    for row in live_rows(target, "pages", ("document_key", "text_files"), damaged):
        files = cast(list[dict[str, Any]], row["text_files"] or [])
        yield from ((WrittenFile(**file), str(row["document_key"])) for file in files)
    yield from _events(target, footers, found)


def _events(target: Store, footers: Mapping[str, Footer], found: Verification) -> Iterator[Written]:
    """Yield the files of events, and check their index, which also names the page rows that they come from."""
    there = next(target.list_objects("evidence/"), None) is not None
    try:
        events = written_events(target)
    except ValueError as error:
        if not found.older_files or older_events(target) is None:
            found.damages.append(Damage("changed", INDEX_KEY, f"it is damaged ({error})"))
        return
    if events is None:
        if there:
            found.damages.append(Damage("missing", INDEX_KEY, "there are events without it"))
        return
    gone = {name for footer in footers.values() for name in (*footer.replaces, *footer.supersedes)}
    for name, files in events.items():
        yield from ((file, file_key("pages", name)) for file in files)
        key = file_key("pages", name)
        if name not in footers and name not in gone and not target.exists(key):
            found.damages.append(Damage("missing", key, "there are events of its pages; the next run redoes them"))


def _noted(written: Iterable[Written], named: set[str], found: Verification) -> Iterator[Written]:
    """Yield files; count them and note their keys."""
    for file, is_of in written:
        found.other_files += 1
        named.add(file.key)
        yield file, is_of


def _damaged_records(target: Store, footers: Mapping[str, Footer], named: set[str]) -> Iterator[Damage]:
    """Yield damages of the records of runs: a run that rows come from must have one, and none may be changed."""
    with_rows = referenced_runs(footers.values())
    there = stored_runs(target)
    for key in [NAMES_KEY, *(found.key for found in target.list_objects(FENCES))]:
        try:
            read_checked_json(target.read_bytes(key))
        except FileNotFoundError:
            if not older_files(footers.values()):
                yield Damage("missing", key, "the next run writes it again")
        except ValueError:
            yield Damage("changed", key, "the next run writes it again")
    for run_id in with_rows | there.keys():
        named.update(record_keys(run_id))
    for problem in find_record_problems(target, sorted(with_rows | there.keys())):
        if problem.kind == "changed" and is_older_record(target, footers, problem.run_id):
            continue
        has_other = "run.json" in there.get(problem.run_id, ())
        if problem.kind == "changed" or problem.run_id in with_rows or has_other:
            yield Damage(problem.kind, problem.key, f"it is part of the record of run {problem.run_id}")


def _missing_rows(footers: Mapping[str, Footer]) -> Iterator[Damage]:
    for name, footer in footers.items():
        for entry in footer.shards:
            if entry.lacks_rows:
                message = f"a damaged file has lost words or tiles of documents from {entry.first_key!r} on"
                yield Damage("row_missing", file_key("words", name), message)


def _documents(target: Store, damaged: frozenset[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each document with compressed pages."""
    columns = (*ROW_COLUMNS, *LOOK_COLUMNS)
    for _, group in groupby(live_rows(target, "pages", columns, damaged), lambda row: str(row["document_key"])):
        rows = list(group)
        if any(row["status"] == "compressed" for row in rows):
            yield rows


def _check_on_workers(
    client: Client,
    shared_places: SharedPlaces,
    storage: StorageSettings,
    check: Callable[[str, StorageSettings, list[Any]], _Found],
    items: Iterator[Any],
) -> Iterator[_Found]:
    """Yield the results of batches of items, with a few batches for each worker on the cluster at a time."""
    from distributed import as_completed

    max_batches = _BATCHES_PER_WORKER * ClusterShape(client).n_workers
    running = as_completed(loop=client.loop)
    n_running = 0
    while batch := list(islice(items, _BATCH)):
        running.add(client.submit(check_batch, shared_places, check, storage, batch, pure=False))
        n_running += 1
        if n_running >= max_batches:
            yield next(running).result()
            n_running -= 1
    for future in running:
        yield future.result()


def _extra(target: Store, named: set[str], damaged: frozenset[str]) -> Iterator[Damage]:
    """Yield the objects that no row names, including those that only a damaged file named."""
    for prefix in ("pages/", "text/"):
        for found in target.list_objects(prefix):
            if found.key not in named:
                cause = "no readable row names it" if damaged else "no row names it"
                yield Damage("extra", found.key, f"{cause} ({found.size_bytes} bytes)")
    for prefix in ("stats/words/", "stats/tiles/"):
        for found in target.list_objects(prefix):
            if found.key not in named and file_key("pages", _name_of(found.key)) not in damaged:
                cause = "it was never committed, or has been merged into a larger file"
                yield Damage("extra", found.key, f"{cause}; the next run deletes it")
    for found in target.list_objects("evidence/"):
        if found.key not in named and found.key != INDEX_KEY:
            yield Damage("extra", found.key, "the index of events does not name it")
    for found in target.list_objects("runs/"):
        is_record = found.key.count("/") == 2 and not found.key.startswith(FENCES)
        if is_record and found.key not in named:
            yield Damage("extra", found.key, "it is not a record of a run")


def _name_of(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".parquet")


def _holes(source: Store, settings: Settings, documents: set[str]) -> Iterator[Damage]:
    scan = settings.scan.model_copy(update={"version": "auto"})  # the next run finds changed documents
    for document in list_documents(source, scan, ListingCounts()):
        if document.key not in documents:
            yield Damage("hole", document.key, "it is in SOURCE and has no rows")
