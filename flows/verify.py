"""Verify as a Prefect flow: every output of a DEST is read, hashed and decoded again on the Dask cluster."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import flow

from configs.settings import Settings, StorageSettings
from flows.cluster import ClusterShape, open_cluster
from flows.sight import Lookout, Sight, located, prove
from tasks.errors import ConfigError
from tasks.looking import LOOK_COLUMNS, look_again
from tasks.places import check_place
from tasks.scan import ScanCounts, check_not_empty, list_documents
from tasks.source import open_source
from tasks.statistics import check_table, live_rows
from tasks.store import Store
from tasks.verifying import ROW_COLUMNS, Damage, check_output, check_rows

if TYPE_CHECKING:
    from distributed import Client

_BATCH = 32
_BATCHES_PER_WORKER = 3
_SHOWN = 20

log = logging.getLogger(__name__)

_Found = TypeVar("_Found")
_Output = tuple[str, list[dict[str, Any]]]
"""An output's key and the rows that name it."""


@dataclass
class Verification:
    """What was found in a DEST."""

    dest: str
    documents: int = 0
    pages: int = 0
    outputs: int = 0
    unread_pages: int = 0
    """Pages of sources that could not be read, which have no output to check."""
    looked_at_pages: int | None = None
    """Pages that a witness compared with their sources again; None where that was not asked for."""
    damages: list[Damage] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """True if nothing is damaged."""
        return not self.damages

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        kinds = Counter(damage.kind for damage in self.damages)
        return {**dataclasses.asdict(self), "is_sound": self.is_sound, "kinds": dict(sorted(kinds.items()))}

    def as_text(self) -> str:
        """Return it for a reader: the counts, then the first of what is damaged."""
        lines = [f"{self.outputs} outputs of {self.documents} documents ({self.pages} pages) read, hashed and decoded"]
        if self.unread_pages:
            lines.append(f"{self.unread_pages} pages have no output: their sources could not be read")
        if self.looked_at_pages is not None:
            lines.append(f"{self.looked_at_pages} compressed pages compared with their sources by other decoders")
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
    """Hold everything in a DEST against its statistics, and those against SOURCE if it is given.

    Args:
        dest: Path or URL of an output.
        settings: Where the work runs, how storage is reached, which documents of SOURCE are wanted.
        source: Path or URL of the scans; each document there must have rows.
        look: Compare every compressed page with its source again, through other decoders than those that made it.
        log_file: Where the workers of a local cluster write their log.

    Raises:
        ConfigError: If DEST or SOURCE cannot be read, DEST holds no statistics, SOURCE no documents, or there is no
            SOURCE to look at.
        StoreUnavailable: If a store gives no answer.
    """
    if look and source is None:
        raise ConfigError("--look compares the output with the scans: name them with --source")
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
    found = Verification(dest)
    named: set[str] = set()
    documents: set[str] = set()
    with ExitStack() as stack:
        client = stack.enter_context(open_cluster(settings.cluster, log_file))
        places = None if source is None or not look else Store(source, settings.storage)
        lookout = stack.enter_context(Lookout(client, target, places, writes=False))
        check = partial(_spread, client, lookout.sight, settings.storage)
        for damages in check(check_tables, (table.key for table in target.list_objects("stats/"))):
            found.damages += damages
        damaged = frozenset(damage.key for damage in found.damages)
        for damages in check(check_outputs, _outputs(target, damaged, found, named, documents)):
            found.damages += damages
        if look and scans is not None:
            found.looked_at_pages = 0
            for n_pages, damages in check(partial(look_at_documents, located(scans.url)), _documents(target, damaged)):
                found.looked_at_pages += n_pages
                found.damages += damages
    found.outputs = len(named)
    found.damages += _extra(target, named, damaged)
    if scans is not None:
        found.damages += _holes(scans.apart_from(dest), settings, documents)
    found.damages.sort()
    log.info("%s", found.as_text())
    return found


def _outputs(
    target: Store, damaged: frozenset[str], found: Verification, named: set[str], documents: set[str]
) -> Iterator[_Output]:
    """Yield each output once, counting documents and pages and looking at their rows on the way."""
    for key, group in groupby(live_rows(target, "pages", ROW_COLUMNS, damaged), lambda row: str(row["document_key"])):
        rows = list(group)
        found.pages += len(rows)
        if key in documents:
            found.damages.append(Damage("row_twice", key, "two shards hold rows of it"))
        documents.add(key)
        found.documents = len(documents)
        found.damages += check_rows(key, rows)
        by_output: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            if row["output_key"] is None:
                found.unread_pages += 1
            else:
                by_output.setdefault(str(row["output_key"]), []).append(row)
        named.update(by_output)
        yield from by_output.items()


def _documents(target: Store, damaged: frozenset[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each document of which pages were compressed."""
    columns = (*ROW_COLUMNS, *LOOK_COLUMNS)
    for _, group in groupby(live_rows(target, "pages", columns, damaged), lambda row: str(row["document_key"])):
        rows = list(group)
        if any(row["status"] == "compressed" for row in rows):
            yield rows


def _spread(
    client: Client,
    sight: Sight,
    storage: StorageSettings,
    check: Callable[[str, StorageSettings, list[Any]], _Found],
    items: Iterator[Any],
) -> Iterator[_Found]:
    """Yield what batches of items came to, holding no more of them on the cluster than it is about to need."""
    from distributed import as_completed

    most = _BATCHES_PER_WORKER * ClusterShape(client).n_workers
    running = as_completed(loop=client.loop)
    n_running = 0
    while batch := list(islice(items, _BATCH)):
        running.add(client.submit(_in_sight, sight, check, storage, batch, pure=False))
        n_running += 1
        if n_running >= most:
            yield next(running).result()
            n_running -= 1
    for future in running:
        yield future.result()


def _in_sight(
    sight: Sight, check: Callable[[str, StorageSettings, list[Any]], _Found], storage: StorageSettings, batch: list[Any]
) -> _Found:
    """Run on a worker: check a batch, once it is known that the worker sees what the driver sees."""
    prove(sight, storage)
    return check(sight.dest_url, storage, batch)


def check_outputs(dest: str, storage: StorageSettings, batch: Sequence[_Output]) -> list[Damage]:
    """Run on a worker: check some outputs one after another."""
    target = Store(dest, storage)
    return [damage for key, rows in batch if (damage := check_output(target, key, rows)) is not None]


def look_at_documents(
    source: str, dest: str, storage: StorageSettings, batch: Sequence[Sequence[dict[str, Any]]]
) -> tuple[int, list[Damage]]:
    """Run on a worker: compare some documents with their sources, and return how many pages were seen."""
    scans, target = Store(source, storage), Store(dest, storage)
    seen = [look_again(scans, target, rows) for rows in batch]
    return sum(n_pages for n_pages, _ in seen), [damage for _, damages in seen for damage in damages]


def check_tables(dest: str, storage: StorageSettings, keys: Sequence[str]) -> list[Damage]:
    """Run on a worker: check some files of statistics one after another."""
    target = Store(dest, storage)
    problems = ((key, check_table(target, key)) for key in keys)
    return [Damage("statistics", key, problem) for key, problem in problems if problem]


def _extra(target: Store, named: set[str], damaged: frozenset[str]) -> Iterator[Damage]:
    """Yield the objects that no row names; what the rows of a damaged file named is among them."""
    committed = {found.key.rpartition("/")[2] for found in target.list_objects("stats/pages/")}
    for found in target.list_objects("pages/"):
        if found.key not in named:
            cause = "no row that can be read names it" if damaged else "no row names it"
            yield Damage("extra", found.key, f"{cause} ({found.size_bytes} bytes)")
    for table in ("words", "tiles"):
        for found in target.list_objects(f"stats/{table}/"):
            if found.key.rpartition("/")[2] not in committed:
                yield Damage("extra", found.key, "its shard was never committed; the next run deletes it")


def _holes(source: Store, settings: Settings, documents: set[str]) -> Iterator[Damage]:
    scan = settings.scan.model_copy(update={"version": "auto"})  # whether it has changed is for the next run
    for document in list_documents(source, scan, ScanCounts()):
        if document.key not in documents:
            yield Damage("hole", document.key, "it is in SOURCE and has no row")
