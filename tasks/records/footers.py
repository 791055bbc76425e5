"""Describe, in the footer of a statistics file, the shards it holds and the files it supersedes."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any

import pyarrow.parquet as pq

from foliopress.configs.errors import ConfigError
from foliopress.tasks.records import older_schemas
from foliopress.tasks.records.fences import read_fences
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.records.schemas import PREFIX, SCHEMA_VERSION, SCHEMAS
from foliopress.tasks.records.table_files import (
    ADVICE,
    UNREADABLE,
    FileDamaged,
    FileMissing,
    checksum_problem,
    file_key,
    first_line,
    read_file,
)
from foliopress.tasks.storage.store import Store


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """A shard whose rows a statistics file holds."""

    shard_id: str
    run_id: str
    first_key: str
    last_key: str
    n_documents: int
    partial: bool = False
    """True if some of its rows were removed because their documents belong to another shard now."""
    n_failed: int = 0
    """Pages that failed."""
    n_again: int = 0
    """Pages that every rerun tries again, e.g. after an OCR timeout."""
    committed_at: str | None = None
    """Time of the commit, ISO 8601; None in files of versions that did not record it."""
    firsts: tuple[str, ...] = ()
    """Keys of documents of other shards whose outputs its rows point to."""
    lacks_rows: bool = False
    """True if its words or tiles were lost with a damaged file."""
    older_recipe: str | None = None
    """Settings, model and scorer that its id digests, if an older version of the schema held it first."""


@dataclass(frozen=True, slots=True)
class Footer:
    """Description of a statistics file of one or more shards, stored in its Parquet footer.

    supersedes: Files whose rows are void for the documents that this file holds. replaces: Files that were compacted
    into this one; all their rows are void. written_by: Id of the run that wrote it, also part of the name. files: The
    files with the words and tiles of the same shards, as they were written. schema_version: Version of the schema that
    it was read from.
    """

    name: str
    shards: tuple[ShardEntry, ...]
    supersedes: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    written_by: str = ""
    files: tuple[WrittenFile, ...] = ()
    schema_version: str = SCHEMA_VERSION

    @property
    def first_key(self) -> str:
        """First key of its documents."""
        return min((entry.first_key for entry in self.shards), key=sortable)

    @property
    def last_key(self) -> str:
        """Last key of its documents."""
        return max((entry.last_key for entry in self.shards), key=sortable)

    @property
    def n_documents(self) -> int:
        """Number of documents in its shards, as they were cut."""
        return sum(entry.n_documents for entry in self.shards)

    def as_metadata(self) -> dict[str, str]:
        """Return the footer as entries of a Parquet file's metadata."""
        values = {
            "file": self.name,
            "shards": json.dumps([asdict(entry) for entry in self.shards]),
            "supersedes": json.dumps(self.supersedes),
            "replaces": json.dumps(self.replaces),
            "written_by": self.written_by,
            "files": json.dumps([asdict(file) for file in self.files]),
        }
        return {PREFIX + name: value for name, value in values.items()}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Footer:
        """Return the footer that `as_metadata` wrote.

        Raises:
            KeyError: If an entry that every footer has is missing.
            ValueError, TypeError: If an entry is malformed.
        """
        return cls(
            name=metadata[PREFIX + "file"],
            shards=tuple(_as_entry(values) for values in json.loads(metadata[PREFIX + "shards"])),
            supersedes=tuple(json.loads(metadata[PREFIX + "supersedes"])),
            replaces=tuple(json.loads(metadata[PREFIX + "replaces"])),
            written_by=metadata[PREFIX + "written_by"],
            files=tuple(WrittenFile(**values) for values in json.loads(metadata[PREFIX + "files"])),
            schema_version=metadata.get(PREFIX + "schema_version", SCHEMA_VERSION),
        )

    def with_file(self, table: str, data: bytes) -> Footer:
        """Return the footer with the description of a file of words or tiles that is about to be written."""
        written = WrittenFile.of(file_key(table, self.name), data)
        mine = {file_key(other, self.name) for other in SCHEMAS} - {written.key}
        return replace(self, files=(*(file for file in self.files if file.key in mine), written))

    def lacking(self, shard_ids: Collection[str]) -> Footer:
        """Return the footer with some shards marked as lacking words or tiles."""
        entries = (replace(one, lacks_rows=True) if one.shard_id in shard_ids else one for one in self.shards)
        return replace(self, shards=tuple(entries))


def sortable(key: str) -> bytes:
    """Return the sort key of a document key: its UTF-8 bytes."""
    return key.encode("utf-8", "surrogatepass")


def read_footer(dest: Store, name: str, *, is_deep: bool = False) -> Footer:
    """Return the footer of a committed file without reading rows.

    Args:
        dest: Store with the statistics.
        name: Name of the file.
        is_deep: Read the whole file and compare it with its self-checksum.

    Raises:
        FileNotFoundError: If the file is not committed.
        FileDamaged: If it is damaged.
        ConfigError: If Foliopress did not write it, or with another schema version.
    """
    key = file_key("pages", name)
    try:
        if is_deep and (problem := checksum_problem(dest.read_bytes(key))):
            raise FileDamaged(f"{key} is damaged ({problem}); {ADVICE}")
        found = read_file(dest, "pages", name, pq.read_schema).metadata or {}
    except FileMissing as error:
        raise FileNotFoundError(str(error)) from error
    metadata = {entry.decode("utf-8", "replace"): value.decode("utf-8", "replace") for entry, value in found.items()}
    version = metadata.get(PREFIX + "schema_version")
    if version is None:
        raise ConfigError(f"{key} is no file of Foliopress's; take it away")
    readable = (*older_schemas.OLDER_VERSIONS, SCHEMA_VERSION)
    if version not in readable:
        raise ConfigError(
            f"{key} has schema version {version}, this Foliopress reads {' and '.join(readable)}: use the version that "
            "wrote it, or another DEST"
        )
    try:
        return Footer.from_metadata(older_schemas.as_current(metadata))
    except (KeyError, ValueError, TypeError) as error:
        raise FileDamaged(f"{key} is damaged (its footer lacks something); {ADVICE}") from error


def check_table(dest: Store, key: str) -> str | None:
    """Read a whole statistics file and return its problem; None if it is intact.

    Raises:
        StoreUnavailable: If the store gives no answer.
    """
    table, _, name = key.removeprefix("stats/").partition("/")
    try:
        data = dest.read_bytes(key)
        if problem := checksum_problem(data):
            return problem
        rows = pq.read_table(io.BytesIO(data), page_checksum_verification=True)
        rows.validate(full=True)
        rows = older_schemas.with_all_columns(rows, SCHEMAS.get(table))
    except FileNotFoundError:
        return "it is missing"
    except UNREADABLE as error:
        return f"it cannot be read as Parquet: {first_line(error)}"
    if rows.schema.remove_metadata() != SCHEMAS.get(table):
        return "its columns are not those of this version"
    try:
        footer = read_footer(dest, name.removesuffix(".parquet")) if table == "pages" else None
    except (ConfigError, FileNotFoundError) as error:
        return str(error)
    if footer and f"{footer.name}.parquet" != name:
        return f"it says that it is {footer.name}"
    return None


def read_footers(
    dest: Store,
    passing_over: Collection[str] = (),
    on_damaged: Callable[[FileDamaged], None] | None = None,
    *,
    is_deep: bool = False,
) -> dict[str, Footer]:
    """Return the footers of all committed files by name, sorted by name; some are read ahead.

    Files that were compacted into others are skipped, and those that a run wrote after it had lost its lease.

    Args:
        dest: Store with the statistics.
        passing_over: Keys of files to skip.
        on_damaged: Called with the error of each damaged file, which is skipped.
        is_deep: Read each file whole and compare it with its self-checksum.

    Raises:
        FileDamaged: If a file is damaged and `on_damaged` is not given.
        ConfigError: If Foliopress did not write a file, or with another schema version.
    """

    def footer_if_there(name: str) -> Footer | None:
        try:
            return read_footer(dest, name, is_deep=is_deep)
        except FileNotFoundError:
            return None  # superseded and deleted since the listing
        except FileDamaged as error:
            if on_damaged is None:
                raise
            on_damaged(error)
            return None

    names = (
        found.key.rpartition("/")[2].removesuffix(".parquet")
        for found in dest.list_objects("stats/pages/")
        if found.key.endswith(".parquet") and found.key not in passing_over
    )
    footers: dict[str, Footer] = {}
    # Each footer is one small request, and there may be thousands: eight at a time hide the latency.
    with ThreadPoolExecutor(8) as readers:
        while some := list(islice(names, 64)):
            footers |= {footer.name: footer for footer in readers.map(footer_if_there, some) if footer}
    fences = read_fences(dest)  # after the footers: a fence exempts the files that existed before it
    counted = {
        name: footer
        for name, footer in footers.items()
        if footer.written_by not in fences or name in fences[footer.written_by]
    }
    replaced = {name for footer in counted.values() for name in footer.replaces}
    return {name: footer for name, footer in counted.items() if name not in replaced}


def _as_entry(values: dict[str, Any]) -> ShardEntry:
    """Return an entry of a footer; strings that thousands of entries share are interned."""
    same = {name: sys.intern(text) for name in ("run_id", "committed_at") if isinstance(text := values.get(name), str)}
    return ShardEntry(**values | same | {"firsts": tuple(values.get("firsts", ()))})
