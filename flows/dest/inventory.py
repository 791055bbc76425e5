"""List the files of a DEST and compare them with its statistics, before a run passes over a shard."""

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
"""Folders of outputs and of their text."""

log = logging.getLogger(__name__)


class ObjectSet:
    """Keys and sizes of objects, as eight bytes each: there may be millions."""

    def __init__(self, objects: Iterable[tuple[str, int]]) -> None:
        marks = array("Q", (_mark(key, size_bytes) for key, size_bytes in objects))
        self._marks = np.frombuffer(marks, np.uint64) if marks else np.empty(0, np.uint64)
        self._marks = np.sort(self._marks)

    def __len__(self) -> int:
        return len(self._marks)

    def contains(self, objects: Sequence[tuple[str, int]]) -> np.ndarray:
        """Return, as an array of bool, which objects are there in exactly this size."""
        if not len(self._marks):
            return np.zeros(len(objects), bool)
        wanted = np.fromiter((_mark(key, size_bytes) for key, size_bytes in objects), np.uint64, len(objects))
        places = np.searchsorted(self._marks, wanted).clip(max=len(self._marks) - 1)
        return np.asarray(self._marks[places] == wanted)


class Inventory:
    """Finds the shards whose files are incomplete; a thread starts to look at once.

    A shard has a defect if an output, a text file, or the words or tiles of its file are missing or have another size;
    also if the original that its rows point to is part of such a shard, or of none.

    Args:
        dest: The output.
        footers: Footers of all committed files, by their names.
        is_deep: Read every file and compare its digest as well.
    """

    def __init__(self, dest: Store, footers: Mapping[str, Footer], *, is_deep: bool = False) -> None:
        self._found: Future[_Found] = Future()
        Thread(target=self._look, args=(dest, dict(footers), is_deep), name="inventory", daemon=True).start()

    def defect_of(self, shard_id: str) -> str | None:
        """Return a shard's defect, once the comparison is done; None if its files are complete.

        Raises:
            StoreUnavailable: If the store gives no answer.
        """
        return self._found.result().defects.get(shard_id)

    @property
    def has_unreferenced(self) -> bool:
        """True if there were outputs or text files that no row names; waits for the comparison.

        Raises:
            StoreUnavailable: If the store gives no answer.
        """
        return self._found.result().n_unreferenced > 0

    def unrepaired(self, footers: Iterable[Footer], run_id: str) -> dict[str, str]:
        """Return the defects of shards that a run has not done again, by shard.

        Args:
            footers: Footers of all files at the end of the run.
            run_id: The run.
        """
        defects = self._found.result().defects
        held = (entry for footer in footers for entry in footer.shards if entry.run_id != run_id)
        return {entry.shard_id: defects[entry.shard_id] for entry in held if entry.shard_id in defects}

    def _look(self, dest: Store, footers: Mapping[str, Footer], is_deep: bool) -> None:
        try:
            self._found.set_result(_look(dest, footers, is_deep))
        except BaseException as error:
            self._found.set_exception(error)


@dataclass(frozen=True)
class _NamedFile:
    """A file that rows name, with the shard of these rows."""

    shard_id: str
    file: WrittenFile


@dataclass(frozen=True)
class _Found:
    """The defects, by shard, and the number of outputs and text files that no row names."""

    defects: dict[str, str]
    n_unreferenced: int


def _look(dest: Store, footers: Mapping[str, Footer], is_deep: bool) -> _Found:
    outputs = ObjectSet((one.key, one.size_bytes) for prefix in OUTPUTS for one in dest.list_objects(prefix))
    if not footers:
        return _Found({}, len(outputs))
    folders = ("stats/words/", "stats/tiles/")
    tables = ObjectSet((one.key, one.size_bytes) for prefix in folders for one in dest.list_objects(prefix))
    n_named = 0
    void = void_documents(dest, footers)
    pointing = {entry.shard_id: entry.firsts for footer in footers.values() for entry in footer.shards if entry.firsts}
    originals = {key for keys in pointing.values() for key in keys}
    whole: set[str] = set()
    defects: dict[str, str] = {}
    for name, footer in footers.items():
        try:
            rows = read_table(dest, "pages", name, _COLUMNS)
        except FileMissing:
            continue  # this run has rewritten its rows since
        except FileDamaged as error:
            defects |= {entry.shard_id: str(error) for entry in footer.shards}
            continue
        live = pc.invert(pc.is_in(rows["document_key"], pa.array(sorted(void.get(name, ())), pa.string())))
        rows = rows.filter(live)
        n_there, defects_here = _defects_of(dest, footer, rows, outputs, tables, is_deep)
        n_named += n_there
        defects |= defects_here
        if originals:
            pairs = zip(rows["document_key"].to_pylist(), rows["shard_id"].to_pylist(), strict=True)
            whole |= {key for key, shard_id in pairs if key in originals and shard_id not in defects}
    for shard_id, keys in pointing.items():
        if gone := next((key for key in keys if key not in whole), None):
            defects.setdefault(shard_id, f"{gone!r}, the original that its rows point to, is to be done again")
    return _Found(defects, len(outputs) - n_named)


def _defects_of(
    dest: Store, footer: Footer, rows: pa.Table, outputs: ObjectSet, tables: ObjectSet, is_deep: bool
) -> tuple[int, dict[str, str]]:
    """Return the number of undamaged outputs and text files of one file of rows, and the defects of its shards."""
    shards = [entry.shard_id for entry in footer.shards]
    defects: dict[str, str] = {}
    words_and_tiles = [_NamedFile("", file) for file in footer.files]  # part of each shard of the file
    for wanted, defect in _damaged(dest, words_and_tiles, tables, is_deep):
        defects |= dict.fromkeys(shards, f"{wanted.file.key} {defect}")
    n_there = 0
    for some in _named_files(rows):
        n_there += len(some)
        for wanted, defect in _damaged(dest, some, outputs, is_deep):
            n_there -= defect == _MISSING
            defects.setdefault(wanted.shard_id, f"{wanted.file.key} {defect}")
    return n_there, defects


def _damaged(
    dest: Store, wanted: Sequence[_NamedFile], listing: ObjectSet, is_deep: bool
) -> Iterator[tuple[_NamedFile, str]]:
    """Yield the files that are missing or damaged, each with its defect."""
    is_there = listing.contains([(one.file.key, one.file.size_bytes) for one in wanted])
    for place in np.flatnonzero(~is_there).tolist():
        yield wanted[place], _MISSING
    if is_deep:
        rest = [wanted[place] for place in np.flatnonzero(is_there).tolist()]
        with ThreadPoolExecutor(_READERS) as readers:
            for one, is_same in zip(rest, readers.map(partial(_is_same, dest), rest), strict=True):
                if not is_same:
                    yield one, "has changed"


def _named_files(rows: pa.Table) -> Iterator[list[_NamedFile]]:
    """Yield each output that page rows own, once, and each text file; in batches."""
    own = rows.filter(pc.and_(pc.is_null(rows["duplicate_of"]), pc.is_valid(rows["output_key"])))
    grouped = own.group_by("output_key").aggregate(
        [("output_bytes", "sum"), ("output_sha256", "max"), ("shard_id", "max")]
    )
    for batch in grouped.to_batches(max_chunksize=_AT_ONCE):
        names = ("shard_id_max", "output_key", "output_bytes_sum", "output_sha256_max")
        columns = (batch.column(name).to_pylist() for name in names)
        yield [_NamedFile(shard_id, WrittenFile(*file)) for shard_id, *file in zip(*columns, strict=True)]
    with_text = rows.filter(pc.is_valid(rows["text_files"])).select(["shard_id", "text_files"])
    for batch in with_text.to_batches(max_chunksize=_AT_ONCE):
        yield [
            _NamedFile(row["shard_id"], WrittenFile(**file)) for row in batch.to_pylist() for file in row["text_files"]
        ]


def _is_same(dest: Store, wanted: _NamedFile) -> bool:
    try:
        with dest.open_input(wanted.file.key) as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == wanted.file.sha256  # type: ignore[arg-type]
    except OSError:
        return False


def _mark(key: str, size_bytes: int) -> int:
    digest = hashlib.blake2b(b"%d:" % size_bytes + key.encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "little")
