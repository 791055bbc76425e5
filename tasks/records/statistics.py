"""Account: the rows of pages, words and tiles, and the Parquet files that hold them. The schemas live here alone."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import islice
from typing import Any, BinaryIO, Self, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from foliopress.tasks.errors import ConfigError
from foliopress.tasks.records import older_schemas
from foliopress.tasks.records.fences import read_fences
from foliopress.tasks.records.self_checksum import (
    CHECKSUM_KEY,
    CHECKSUM_PLACEHOLDER,
    is_parquet_intact,
    write_parquet_checksum,
)
from foliopress.tasks.storage.store import Store

SCHEMA_VERSION = "6"
PREFIX = "foliopress."

_ADVICE = "foliopress compress --deep does its pages again"
_ROWS_AT_ONCE = 2048
_FILES_AT_ONCE = 4

_UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""What comes of reading a file that is no Parquet, or is damaged."""

_Read = TypeVar("_Read")

_TEXT, _COUNT, _BYTES, _FIGURE, _SECONDS = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.float32()


class FileDamaged(ConfigError):
    """A file of statistics is not there, or not as it was written."""


class FileMissing(FileDamaged):
    """A file of statistics is not there."""


@dataclass(frozen=True)
class WrittenFile:
    """A file as it was written: where it lies, relative to DEST, and what it holds."""

    key: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, key: str, data: bytes) -> WrittenFile:
        """Return what is to be known of bytes that are written there."""
        return cls(key, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """One page: what came in, what went out, and why. Sizes without `output_` are upright source pixels."""

    run_id: str
    shard_id: str
    document_key: str
    page_index: int
    status: str
    reason: str | None = None
    page_kind: str | None = None
    output_key: str | None = None
    codec: str | None = None
    quality: int | None = None
    source_bytes: int = 0
    output_bytes: int = 0
    source_sha256: str | None = None
    output_sha256: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    dpi: float | None = None
    output_width_px: int | None = None
    output_height_px: int | None = None
    output_dpi: float | None = None
    n_tiles: int | None = None
    tiles_at_level_1: int | None = None
    tiles_at_level_2: int | None = None
    tiles_at_level_4: int | None = None
    tiles_at_level_8: int | None = None
    mean_importance: float | None = None
    ocr_words: int | None = None
    words_kept_fraction: float | None = None
    digits_changed: int | None = None
    text_ssim: float | None = None
    worst_block_ssim: float | None = None
    chroma_error: float | None = None
    attempts: int | None = None
    scorer: str | None = None
    model_digest: str | None = None
    settings_digest: str | None = None
    seconds_read: float | None = None
    seconds_ocr: float | None = None
    seconds_score: float | None = None
    seconds_encode: float | None = None
    seconds_check: float | None = None
    seconds_store: float | None = None
    message: str | None = None
    document_version: str | None = None
    lines_reread: int | None = None
    seconds_reread: float | None = None
    ssimulacra2: float | None = None
    text_ssimulacra2: float | None = None
    duplicate_of: str | None = None
    """Key of the document whose output this one's rows point to, since it has the same bytes; `output_bytes` are 0."""
    witness: str | None = None
    """Other decoders that compared the output with its source before it was stored, e.g. `opencv` or `pdfium`;
    `unheard` where none reads the format, None where nothing was compared."""
    witness_error: float | None = None
    """Root mean square of the difference that the witness saw over the page, in grey levels at 60 dpi."""
    witness_worst_block: float | None = None
    """The same over the quarter inch that differs most, as a share of its contrast."""
    seconds_witness: float | None = None
    quarter_turns: int | None = None
    """Clockwise quarter turns that bring the page's text upright for reading; 0 for an upright page."""
    left_out: str | None = None
    """Images of the document that have no row of their own, since this page shows all that they show, joined by `; `.
    Reduced copies and empty masks in a TIFF, thumbnails, auxiliary images."""
    mark_chroma_error: float | None = None
    """Largest chroma error of a coloured mark, in grey levels; None on a page without one."""
    text_files: tuple[WrittenFile, ...] | None = None
    """The files below DEST/text that hold the page's text; None where none was asked for."""


_WRITTEN = pa.struct([("key", _TEXT), ("size_bytes", _BYTES), ("sha256", _TEXT)])


def _page_type(name: str, annotation: str) -> pa.DataType:
    if name.endswith("_files"):
        return pa.list_(_WRITTEN)
    if name.startswith("seconds_"):
        return _SECONDS
    if name.endswith("_bytes"):
        return _BYTES
    return {"str": _TEXT, "int": _COUNT, "float": _FIGURE}[annotation.split(" ")[0]]


PAGES_SCHEMA = pa.schema([pa.field(part.name, _page_type(part.name, str(part.type))) for part in fields(PageRow)])
WORDS_SCHEMA = pa.schema(
    [
        ("document_key", _TEXT),
        ("page_index", _COUNT),
        ("word_index", _COUNT),
        ("line_index", _COUNT),
        ("row_px", _COUNT),
        ("col_px", _COUNT),
        ("height_px", _COUNT),
        ("width_px", _COUNT),
        ("text", _TEXT),
        ("confidence", _SECONDS),
        ("quarter_turns", _COUNT),
    ]
)
TILES_SCHEMA = pa.schema(
    [
        ("document_key", _TEXT),
        ("page_index", _COUNT),
        ("tile_px", _COUNT),
        ("n_rows", _COUNT),
        ("n_cols", _COUNT),
        ("importance", pa.list_(pa.float32())),
        ("level", pa.list_(pa.int8())),
    ]
)

SCHEMAS = {"pages": PAGES_SCHEMA, "words": WORDS_SCHEMA, "tiles": TILES_SCHEMA}


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """What a file of statistics says of a shard whose rows it holds."""

    shard_id: str
    run_id: str
    first_key: str
    last_key: str
    n_documents: int
    partial: bool = False
    """True if rows of it were taken out because their documents lie in another shard now."""
    n_failed: int = 0
    """Pages that failed."""
    n_again: int = 0
    """Pages that every rerun tries again, e.g. since OCR gave no answer in time."""
    committed_at: str | None = None
    """When its rows were written, ISO 8601; None in files that were written before this was noted."""
    firsts: tuple[str, ...] = ()
    """Keys of documents of other shards whose outputs rows of it point to."""
    lacks_rows: bool = False
    """True if words or tiles of it were lost with a file that was damaged."""
    older_recipe: str | None = None
    """Settings, model and scorer that its id digests, if an older version of the schema held it first."""


@dataclass(frozen=True, slots=True)
class Footer:
    """What a file of statistics says of itself in its footer. It holds one shard or many.

    supersedes: Files whose rows of documents that lie in this one are void. replaces: Files that it was made of; all
    their rows are void. written_by: Id of the run that wrote it, which is part of its name too. files: The other files
    of the same rows, words and tiles, as they were written. schema_version: Version of the schema that it is read from.
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
        """Return the first key of its documents."""
        return min((entry.first_key for entry in self.shards), key=sortable)

    @property
    def last_key(self) -> str:
        """Return the last key of its documents."""
        return max((entry.last_key for entry in self.shards), key=sortable)

    @property
    def n_documents(self) -> int:
        """Return the number of documents that its shards were cut of."""
        return sum(entry.n_documents for entry in self.shards)

    def as_metadata(self) -> dict[str, str]:
        """Return it as entries of a Parquet file."""
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
        """Read it from the entries of a Parquet file.

        Raises:
            KeyError: If an entry that every footer has is missing.
            ValueError, TypeError: If one is not as it should be.
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
        """Return the footer as it names a file of words or tiles that is about to be written."""
        written = WrittenFile.of(file_key(table, self.name), data)
        mine = {file_key(other, self.name) for other in SCHEMAS} - {written.key}
        return replace(self, files=(*(file for file in self.files if file.key in mine), written))

    def lacking(self, shard_ids: Collection[str]) -> Footer:
        """Return the footer as it says that words or tiles of some shards were lost."""
        entries = (replace(one, lacks_rows=True) if one.shard_id in shard_ids else one for one in self.shards)
        return replace(self, shards=tuple(entries))


@dataclass
class Totals:
    """Sums over page rows; bytes are those of whole files, kept ones included."""

    pages: int = 0
    documents: int = 0
    compressed: int = 0
    kept: int = 0
    failed: int = 0
    source_bytes: int = 0
    output_bytes: int = 0
    unread_bytes: int = 0
    """Bytes of sources that could not be read, so that the output lacks them; part of `source_bytes`."""
    reasons: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Totals) -> Totals:
        """Return the sums of both, which share no document."""
        reasons = Counter(self.reasons)
        reasons.update(other.reasons)
        counts = (part.name for part in fields(self) if part.name != "reasons")
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in counts}, reasons=dict(reasons))

    def add(self, row: Mapping[str, object], *, is_new_document: bool) -> None:
        """Add one page row; `is_new_document` is False for the further pages of a document."""
        source_bytes, output_bytes = int(str(row["source_bytes"])), int(str(row["output_bytes"]))
        self.pages += 1
        self.documents += is_new_document
        status = str(row["status"])
        setattr(self, status, getattr(self, status) + 1)
        self.source_bytes += source_bytes
        self.output_bytes += output_bytes
        # no output is empty, not even a kept empty file's: its source_bytes are 0 as well
        if not output_bytes and row.get("duplicate_of") is None:
            self.unread_bytes += source_bytes
        if reason := row.get("reason"):
            self.reasons[str(reason)] = self.reasons.get(str(reason), 0) + 1

    @property
    def saved_fraction(self) -> float:
        """Share of the read sources' bytes that the output does not need; 0 for an empty archive."""
        read_bytes = self.source_bytes - self.unread_bytes
        return 1.0 - self.output_bytes / read_bytes if read_bytes else 0.0


def sortable(key: str) -> bytes:
    """Return what keys are in the order of: their UTF-8 bytes."""
    return key.encode("utf-8", "surrogatepass")


def file_key(table: str, name: str) -> str:
    """Return where a file of statistics lies.

    >>> file_key("pages", "00ff")
    'stats/pages/00ff.parquet'
    """
    return f"stats/{table}/{name}.parquet"


def as_table(rows: Iterable[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    """Return rows, one mapping each, as a table.

    Raises:
        pa.ArrowInvalid: If a value does not fit its column.
    """
    return pa.Table.from_pylist(list(rows), schema=schema)


def table_bytes(
    rows: Sequence[Mapping[str, object]] | pa.Table, schema: pa.Schema, metadata: Mapping[str, str]
) -> bytes:
    """Return rows as one Parquet file (zstd), the schema's version and `metadata` in its footer.

    Args:
        rows: One mapping a row, or a table of them.
        schema: Their columns.
        metadata: Entries for the footer, their names with the prefix.

    Raises:
        pa.ArrowInvalid: If a value does not fit its column.
    """
    buffer = io.BytesIO()
    with TableWriter(buffer, schema, metadata) as writer:
        writer.write(rows if isinstance(rows, pa.Table) else as_table(rows, schema))
    return buffer.getvalue()


class TableWriter:
    """Writes tables into one Parquet file (zstd), the schema's version and `metadata` in its footer, within a block.

    The checksum is written at the end of the block.
    """

    def __init__(self, file: io.BytesIO, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        self._file = file
        self._schema = schema.with_metadata({PREFIX + "schema_version": SCHEMA_VERSION, **metadata})
        coded = [name for part in schema for name in _coded(part)]
        self._writer = pq.ParquetWriter(
            file, self._schema, compression="zstd", use_dictionary=coded, write_page_checksum=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.add_key_value_metadata({CHECKSUM_KEY: CHECKSUM_PLACEHOLDER})
        self._writer.close()
        write_parquet_checksum(self._file)

    def write(self, table: pa.Table) -> None:
        """Append rows, which can be read by themselves later: a group of them for each call, none for no rows.

        Raises:
            pa.ArrowInvalid: If a value does not fit its column.
        """
        if table.num_rows:
            self._writer.write_table(table.cast(self._schema))


def read_file(dest: Store, table: str, name: str, read: Callable[[BinaryIO], _Read]) -> _Read:
    """Return what a function reads from a file of statistics.

    Args:
        dest: Where the statistics lie.
        table: `pages`, `words` or `tiles`.
        name: Of the file.
        read: Called with the open file, and again with its bytes if it could not read that.

    Raises:
        FileMissing: If it is not there.
        FileDamaged: If it cannot be read as it was written.
    """
    key = file_key(table, name)
    try:
        try:
            with dest.open_input(key) as file:
                return read(file)
        except _UNREADABLE:  # before it counts as damaged it is read through `Store`, which tries again
            return read(io.BytesIO(dest.read_bytes(key)))
    except FileNotFoundError as error:
        raise FileMissing(f"{key} is not there; {_ADVICE}") from error
    except PermissionError as error:
        raise ConfigError(str(error)) from error
    except ConfigError:
        raise
    except _UNREADABLE as error:
        raise FileDamaged(f"{key} is damaged ({_first_line(error)}); {_ADVICE}") from error


def read_table(
    dest: Store,
    table: str,
    name: str,
    columns: Sequence[str] | None = None,
    of_document: str | None = None,
    **more: Any,
) -> pa.Table:
    """Return rows of a file of statistics, its checksums compared; raises as `read_file` does.

    Args:
        dest: Where the statistics lie.
        table: `pages`, `words` or `tiles`.
        name: Of the file.
        columns: Columns wanted; all of them without it.
        of_document: Key of the one document whose rows are wanted; those of all without it.
        more: Further arguments of `pyarrow.parquet.read_table`.
    """
    wanted = None if of_document is None else [("document_key", "=", of_document)]

    def read(file: BinaryIO) -> pa.Table:
        return older_schemas.read_rows(file, SCHEMAS[table], columns, filters=wanted, **more)

    return read_file(dest, table, name, read)


def row_groups(dest: Store, table: str, name: str) -> Iterator[pa.Table]:
    """Yield the rows of a file of statistics by its groups of them; raises as `read_file` does, perhaps half-way."""

    def opened(file: BinaryIO) -> pq.ParquetFile:
        return pq.ParquetFile(io.BytesIO(file.read()), page_checksum_verification=True)

    source = read_file(dest, table, name, opened)
    try:
        for group in range(source.num_row_groups):
            yield older_schemas.with_all_columns(source.read_row_group(group), SCHEMAS[table])
    except (pa.ArrowException, OSError) as error:
        raise FileDamaged(f"{file_key(table, name)} is damaged ({_first_line(error)}); {_ADVICE}") from error


def read_footer(dest: Store, name: str, *, is_deep: bool = False) -> Footer:
    """Return the footer of a committed file, reading no rows.

    Args:
        dest: Where the statistics lie.
        name: Of the file.
        is_deep: Read all of the file and check it against its checksum.

    Raises:
        FileNotFoundError: If it is not committed.
        FileDamaged: If it is not as it was written.
        ConfigError: If the file is none of ours, or written by another version of the schema.
    """
    key = file_key("pages", name)
    try:
        if is_deep and (problem := checksum_problem(dest.read_bytes(key))):
            raise FileDamaged(f"{key} is damaged ({problem}); {_ADVICE}")
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
            f"{key} has schema version {version}, this Foliopress reads {' and '.join(readable)}: take the version "
            "that wrote it, or another DEST"
        )
    try:
        return Footer.from_metadata(older_schemas.as_current(metadata))
    except (KeyError, ValueError, TypeError) as error:
        raise FileDamaged(f"{key} is damaged (its footer lacks something); {_ADVICE}") from error


def checksum_problem(data: bytes) -> str | None:
    """Return why the bytes of a file of ours are not what was written; None if they are, or if it is none of ours."""
    if PREFIX.encode() in data and not is_parquet_intact(data) and not older_schemas.is_older_file(data):
        return "its bytes are not those that were written"
    return None


def check_table(dest: Store, key: str) -> str | None:
    """Read a file of statistics whole, and return what is wrong with it; None if nothing is.

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
        return "it is not there"
    except _UNREADABLE as error:
        return f"it cannot be read as Parquet: {_first_line(error)}"
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
    """Return the footers of all committed files by their names, in the order of these; some are read ahead.

    Files that others were made of are passed over, and those that a run wrote after it had lost its lease.

    Args:
        dest: Where the statistics lie.
        passing_over: Keys of files that are not to be read.
        on_damaged: Called with what is wrong with each damaged file, which is passed over then.
        is_deep: Read all of each file and check it against its checksum.

    Raises:
        FileDamaged: If a file is damaged and `on_damaged` is not given.
        ConfigError: If a file is none of ours, or written by another version of the schema.
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
    # A footer is one small request, and there may be thousands: eight at a time hide the way to the server.
    with ThreadPoolExecutor(8) as readers:
        while some := list(islice(names, 64)):
            footers |= {footer.name: footer for footer in readers.map(footer_if_there, some) if footer}
    fences = read_fences(dest)  # after the footers: a fence lets through what was there before it
    counted = {
        name: footer
        for name, footer in footers.items()
        if footer.written_by not in fences or name in fences[footer.written_by]
    }
    replaced = {name for footer in counted.values() for name in footer.replaces}
    return {name: footer for name, footer in counted.items() if name not in replaced}


def live_rows(
    dest: Store, table: str = "pages", columns: Sequence[str] | None = None, passing_over: Collection[str] = ()
) -> Iterator[dict[str, object]]:
    """Yield the rows of all committed shards, passing over those of documents that a newer shard holds.

    Args:
        dest: Where the statistics lie.
        table: `pages`, `words` or `tiles`.
        columns: Columns wanted; all of them without it.
        passing_over: Keys of files in `stats/pages` that are not to be read: their shards count as not committed.
    """
    footers = read_footers(dest, passing_over)
    void = void_documents(dest, footers)
    for name in footers:
        yield from rows_of(dest, table, name, columns, void.get(name, frozenset()))


def rows_of(
    dest: Store, table: str, name: str, columns: Sequence[str] | None = None, void: Collection[str] = ()
) -> Iterator[dict[str, object]]:
    """Yield the rows of one committed file, those of void documents left out.

    Args:
        dest: Where the statistics lie.
        table: `pages`, `words` or `tiles`.
        name: Of the file.
        columns: Columns wanted; all of them without it.
        void: Keys of documents, as `void_documents` gives them.
    """
    wanted = None if columns is None else sorted({*columns, "document_key"})
    for batch in _batches(dest, table, name, wanted):
        for row in batch:
            if row["document_key"] not in void:
                yield row if columns is None else {name: row[name] for name in columns}


def void_documents(dest: Store, footers: Mapping[str, Footer]) -> dict[str, set[str]]:
    """Return, for each file that has some, the documents whose rows in it are void since a newer one holds them.

    A file of this kind is one that a run has not got round to rewriting or deleting; mostly there is none.
    """
    void: dict[str, set[str]] = {}
    for footer in footers.values():
        for old in footer.supersedes:
            if old in footers:
                void.setdefault(old, set()).update(_document_keys(dest, footer.name))
    return void


def live_table(dest: Store, columns: Sequence[str], coded: Sequence[str] = ()) -> pa.Table:
    """Return columns of the page rows that `live_rows` would yield, as one table.

    Args:
        dest: Where the statistics lie.
        columns: Columns wanted.
        coded: Those of them that have few different texts, which the table holds by number (dictionary).
    """
    tables = list(live_tables(dest, read_footers(dest), columns, coded))
    empty = pa.schema([PAGES_SCHEMA.field(name) for name in columns]).empty_table()
    return pa.concat_tables(tables).unify_dictionaries() if tables else empty


def live_tables(
    dest: Store, footers: Mapping[str, Footer], columns: Sequence[str], coded: Sequence[str] = ()
) -> Iterator[pa.Table]:
    """Yield what `live_table` returns file by file; a few are read ahead.

    Args:
        dest: Where the statistics lie.
        footers: Of all committed files, by their names.
        columns: Columns wanted.
        coded: Those of them that the tables hold by number.
    """
    void = void_documents(dest, footers)

    def read(name: str) -> pa.Table:
        wanted = sorted({*columns, "document_key"})
        table = read_table(dest, "pages", name, wanted, read_dictionary=list(coded))
        if dead := void.get(name):
            table = table.filter(pc.invert(pc.is_in(table["document_key"], pa.array(sorted(dead), _TEXT))))
        return table.select(list(columns)).replace_schema_metadata()

    names = iter(footers)
    with ThreadPoolExecutor(_FILES_AT_ONCE) as readers:  # of an object store each waits for its answers
        while some := list(islice(names, _FILES_AT_ONCE)):
            yield from readers.map(read, some)


def totals(rows: Iterable[Mapping[str, object]]) -> Totals:
    """Add up page rows; the rows of a document must stand together."""
    result = Totals()
    last: object = None
    for row in rows:
        result.add(row, is_new_document=row["document_key"] != last)
        last = row["document_key"]
    return result


def _as_entry(values: dict[str, Any]) -> ShardEntry:
    """Return an entry as a footer holds it; what is the same in thousands of them is held once."""
    same = {name: sys.intern(text) for name in ("run_id", "committed_at") if isinstance(text := values.get(name), str)}
    return ShardEntry(**values | same | {"firsts": tuple(values.get("firsts", ()))})


def _coded(part: pa.Field) -> list[str]:
    """Return the columns of a field, as Parquet names them, of which values repeat: texts and levels.

    Figures seldom do. With a dictionary of them too, words and tiles took up to twice as long to write and a fifth and
    two fifths more bytes.
    """
    if pa.types.is_list(part.type):
        return _coded(part.type.value_field.with_name(f"{part.name}.list.element"))
    if pa.types.is_struct(part.type):
        return [name for inner in part.type for name in _coded(inner.with_name(f"{part.name}.{inner.name}"))]
    return [part.name] if part.type in (_TEXT, pa.int8()) else []


def _batches(dest: Store, table: str, name: str, columns: Sequence[str] | None) -> Iterator[list[dict[str, object]]]:
    """Yield the rows of a file, some of them at a time; raises as `read_file` does."""
    key = file_key(table, name)
    try:
        with dest.open_input(key) as file:
            source = pq.ParquetFile(file, page_checksum_verification=True)
            batches = source.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns)
            while (batch := next(batches, None)) is not None:
                rows: list[dict[str, object]]
                rows = older_schemas.with_all_columns(batch, SCHEMAS[table], columns).to_pylist()
                yield rows
    except FileNotFoundError as error:
        raise FileMissing(f"{key} is not there; {_ADVICE}") from error
    except (pa.ArrowException, OSError) as error:
        raise FileDamaged(f"{key} is damaged ({_first_line(error)}); {_ADVICE}") from error


def _document_keys(dest: Store, name: str) -> set[str]:
    return set(read_table(dest, "pages", name, ["document_key"]).column(0).to_pylist())


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
