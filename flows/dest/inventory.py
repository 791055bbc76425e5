"""Holdings: what lies in a DEST, held against what its statistics say, before a run passes over a shard."""

from __future__ import annotations

import hashlib
import logging
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from threading import Thread

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.records.statistics import void_documents
from foliopress.tasks.records.table_files import FileDamaged, FileMissing, read_table
from foliopress.tasks.storage.store import Store

_COLUMNS = ("document_key", "shard_id", "output_key", "output_bytes", "output_sha256", "duplicate_of", "text_files")
_READERS, _AT_ONCE = 8, 4096
_MISSING = "is missing or has another size"

OUTPUTS = ("pages/", "text/")
"""Where outputs lie and the text that goes with them."""

log = logging.getLogger(__name__)


class Listing:
    """Keys and sizes of objects, of which eight bytes each are held: there may be millions."""

    def __init__(self, objects: Iterable[tuple[str, int]]) -> None:
        marks = array("Q", (_mark(key, size_bytes) for key, size_bytes in objects))
        self._marks = np.frombuffer(marks, np.uint64) if marks else np.empty(0, np.uint64)
        self._marks = np.sort(self._marks)

    def __len__(self) -> int:
        return len(self._marks)

    def holds(self, objects: Sequence[tuple[str, int]]) -> np.ndarray:
        """Return, as an array of bool, which objects are there in just this size."""
        if not len(self._marks):
            return np.zeros(len(objects), bool)
        wanted = np.fromiter((_mark(key, size_bytes) for key, size_bytes in objects), np.uint64, len(objects))
        places = np.searchsorted(self._marks, wanted).clip(max=len(self._marks) - 1)
        return np.asarray(self._marks[places] == wanted)


class Holdings:
    """What shards lack of that which their rows name; looked up in a thread of its own from the start.

    A shard lacks something if an output, a text, or the words or tiles of its file are missing or have another size;
    also if a document that its rows point to is part of such a shard, or of none.

    Args:
        dest: The output.
        footers: Of all committed files, by their names.
        is_deep: Read everything and compare its digest too.
    """

    def __init__(self, dest: Store, footers: Mapping[str, Footer], *, is_deep: bool = False) -> None:
        self._found: Future[_Found] = Future()
        Thread(target=self._look, args=(dest, dict(footers), is_deep), name="holdings", daemon=True).start()

    def lack_of(self, shard_id: str) -> str | None:
        """Return what a shard lacks, in words, once all is looked up; None if it lacks nothing.

        Raises:
            StoreUnavailable: If the store gives no answer.
        """
        return self._found.result().lacks.get(shard_id)

    @property
    def has_unnamed(self) -> bool:
        """Return whether there were outputs or texts that no row names, once all is looked up.

        Raises:
            StoreUnavailable: If the store gives no answer.
        """
        return self._found.result().n_unnamed > 0

    def left(self, footers: Iterable[Footer], run_id: str) -> dict[str, str]:
        """Return what is lacked by shards that a run has not done again, by their ids.

        Args:
            footers: Of all files, as they are at its end.
            run_id: Of the run.
        """
        lacks = self._found.result().lacks
        held = (entry for footer in footers for entry in footer.shards if entry.run_id != run_id)
        return {entry.shard_id: lacks[entry.shard_id] for entry in held if entry.shard_id in lacks}

    def _look(self, dest: Store, footers: Mapping[str, Footer], is_deep: bool) -> None:
        try:
            self._found.set_result(_look(dest, footers, is_deep))
        except BaseException as error:
            self._found.set_exception(error)


@dataclass(frozen=True)
class _Wanted:
    """A file that rows name, with the shard that they are of."""

    shard_id: str
    file: WrittenFile


@dataclass(frozen=True)
class _Found:
    """What each shard lacks that lacks something, and how many outputs and texts no row names."""

    lacks: dict[str, str]
    n_unnamed: int


def _look(dest: Store, footers: Mapping[str, Footer], is_deep: bool) -> _Found:
    outputs = Listing((one.key, one.size_bytes) for prefix in OUTPUTS for one in dest.list_objects(prefix))
    if not footers:
        return _Found({}, len(outputs))
    beside = ("stats/words/", "stats/tiles/")
    tables = Listing((one.key, one.size_bytes) for prefix in beside for one in dest.list_objects(prefix))
    n_named = 0
    void = void_documents(dest, footers)
    pointing = {entry.shard_id: entry.firsts for footer in footers.values() for entry in footer.shards if entry.firsts}
    firsts = {key for keys in pointing.values() for key in keys}
    whole: set[str] = set()
    lacks: dict[str, str] = {}
    for name, footer in footers.items():
        try:
            rows = read_table(dest, "pages", name, _COLUMNS)
        except FileMissing:
            continue  # this run has written its rows anew since
        except FileDamaged as error:
            lacks |= {entry.shard_id: str(error) for entry in footer.shards}
            continue
        live = pc.invert(pc.is_in(rows["document_key"], pa.array(sorted(void.get(name, ())), pa.string())))
        rows = rows.filter(live)
        n_there, lacks_here = _lacks_of(dest, footer, rows, outputs, tables, is_deep)
        n_named += n_there
        lacks |= lacks_here
        if firsts:
            pairs = zip(rows["document_key"].to_pylist(), rows["shard_id"].to_pylist(), strict=True)
            whole |= {key for key, shard_id in pairs if key in firsts and shard_id not in lacks}
    for shard_id, keys in pointing.items():
        if gone := next((key for key in keys if key not in whole), None):
            lacks.setdefault(shard_id, f"{gone!r}, whose output its rows point to, is to be done again")
    return _Found(lacks, len(outputs) - n_named)


def _lacks_of(
    dest: Store, footer: Footer, rows: pa.Table, outputs: Listing, tables: Listing, is_deep: bool
) -> tuple[int, dict[str, str]]:
    """Return how many outputs and texts of one file are there as they were written, and what its shards lack."""
    shards = [entry.shard_id for entry in footer.shards]
    lacks: dict[str, str] = {}
    beside = [_Wanted("", file) for file in footer.files]  # part of each shard of the file
    for wanted, lack in _missing(dest, beside, tables, is_deep):
        lacks |= dict.fromkeys(shards, f"{wanted.file.key} {lack}")
    n_there = 0
    for some in _wanted(rows):
        n_there += len(some)
        for wanted, lack in _missing(dest, some, outputs, is_deep):
            n_there -= lack == _MISSING
            lacks.setdefault(wanted.shard_id, f"{wanted.file.key} {lack}")
    return n_there, lacks


def _missing(dest: Store, wanted: Sequence[_Wanted], listing: Listing, is_deep: bool) -> Iterator[tuple[_Wanted, str]]:
    """Yield what is not there as it was written, and why."""
    is_there = listing.holds([(one.file.key, one.file.size_bytes) for one in wanted])
    for place in np.flatnonzero(~is_there).tolist():
        yield wanted[place], _MISSING
    if is_deep:
        rest = [wanted[place] for place in np.flatnonzero(is_there).tolist()]
        with ThreadPoolExecutor(_READERS) as readers:
            for one, is_same in zip(rest, readers.map(partial(_is_same, dest), rest), strict=True):
                if not is_same:
                    yield one, "has changed"


def _wanted(rows: pa.Table) -> Iterator[list[_Wanted]]:
    """Yield each output of their own that page rows name, once, and each text; some at a time."""
    own = rows.filter(pc.and_(pc.is_null(rows["duplicate_of"]), pc.is_valid(rows["output_key"])))
    grouped = own.group_by("output_key").aggregate(
        [("output_bytes", "sum"), ("output_sha256", "max"), ("shard_id", "max")]
    )
    for batch in grouped.to_batches(max_chunksize=_AT_ONCE):
        names = ("shard_id_max", "output_key", "output_bytes_sum", "output_sha256_max")
        columns = (batch.column(name).to_pylist() for name in names)
        yield [_Wanted(shard_id, WrittenFile(*file)) for shard_id, *file in zip(*columns, strict=True)]
    with_text = rows.filter(pc.is_valid(rows["text_files"])).select(["shard_id", "text_files"])
    for batch in with_text.to_batches(max_chunksize=_AT_ONCE):
        yield [_Wanted(row["shard_id"], WrittenFile(**file)) for row in batch.to_pylist() for file in row["text_files"]]


def _is_same(dest: Store, wanted: _Wanted) -> bool:
    try:
        with dest.open_input(wanted.file.key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted.file.sha256  # type: ignore[arg-type]
    except OSError:
        return False


def _mark(key: str, size_bytes: int) -> int:
    digest = hashlib.blake2b(b"%d:" % size_bytes + key.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
