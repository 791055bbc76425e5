"""Write tables of rows as Parquet files with checksums, and read them back with their checksums compared."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Self, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from foliopress.configs.errors import ConfigError
from foliopress.tasks.records import older_schemas
from foliopress.tasks.records.rows import Record
from foliopress.tasks.records.schemas import PREFIX, SCHEMA_VERSION, SCHEMAS, as_table
from foliopress.tasks.records.self_checksum import (
    CHECKSUM_KEY,
    CHECKSUM_PLACEHOLDER,
    is_parquet_intact,
    write_parquet_checksum,
)
from foliopress.tasks.storage.store import Store

ADVICE = "foliopress compress --deep does its pages again"
UNREADABLE = (pa.ArrowException, OSError, ValueError)
"""Errors raised when a file is damaged or is no Parquet file."""

_ROWS_AT_ONCE = 2048

_Read = TypeVar("_Read")


class FileDamaged(ConfigError):
    """A statistics file is missing or damaged."""


class FileMissing(FileDamaged):
    """A statistics file is missing."""


def file_key(table: str, name: str) -> str:
    """Return the key of a statistics file.

    >>> file_key("pages", "00ff")
    'stats/pages/00ff.parquet'
    """
    return f"stats/{table}/{name}.parquet"


def table_bytes(rows: Sequence[Record] | pa.Table, schema: pa.Schema, metadata: Mapping[str, str]) -> bytes:
    """Return rows as one Parquet file (zstd) with the schema version and `metadata` in its footer.

    Args:
        rows: Records, or a table of them.
        schema: Columns of the rows.
        metadata: Entries for the footer, names with the prefix.

    Raises:
        pa.ArrowInvalid: If a value does not fit its column.
    """
    buffer = io.BytesIO()
    with TableWriter(buffer, schema, metadata) as writer:
        writer.write(rows if isinstance(rows, pa.Table) else as_table(rows, schema))
    return buffer.getvalue()


class TableWriter:
    """Context manager that writes tables into one Parquet file (zstd) and adds its checksum at the end of the block.

    The footer holds the schema version and `metadata`.
    """

    def __init__(self, file: io.BytesIO, schema: pa.Schema, metadata: Mapping[str, str]) -> None:
        self._file = file
        self._schema = schema.with_metadata({PREFIX + "schema_version": SCHEMA_VERSION, **metadata})
        dictionary_columns = [name for part in schema for name in _dictionary_columns(part)]
        self._writer = pq.ParquetWriter(
            file, self._schema, compression="zstd", use_dictionary=dictionary_columns, write_page_checksum=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.add_key_value_metadata({CHECKSUM_KEY: CHECKSUM_PLACEHOLDER})
        self._writer.close()
        write_parquet_checksum(self._file)

    def write(self, table: pa.Table) -> None:
        """Append rows as a row group of their own; an empty table adds none.

        Raises:
            pa.ArrowInvalid: If a value does not fit its column.
        """
        if table.num_rows:
            self._writer.write_table(table.cast(self._schema))


def read_file(dest: Store, table: str, name: str, read: Callable[[BinaryIO], _Read]) -> _Read:
    """Return the result of a function that reads a statistics file.

    Args:
        dest: Store with the statistics.
        table: `pages`, `words` or `tiles`.
        name: Name of the file.
        read: Called with the open file, and again with its bytes if that fails.

    Raises:
        FileMissing: If the file is missing.
        FileDamaged: If it cannot be read as it was written.
    """
    key = file_key(table, name)
    try:
        try:
            with dest.open_input(key) as file:
                return read(file)
        except UNREADABLE:  # read it through `Store`, which retries, before it counts as damaged
            return read(io.BytesIO(dest.read_bytes(key)))
    except FileNotFoundError as error:
        raise FileMissing(f"{key} is missing; {ADVICE}") from error
    except PermissionError as error:
        raise ConfigError(str(error)) from error
    except ConfigError:
        raise
    except UNREADABLE as error:
        raise FileDamaged(f"{key} is damaged ({first_line(error)}); {ADVICE}") from error


def read_table(
    dest: Store,
    table: str,
    name: str,
    columns: Sequence[str] | None = None,
    of_document: str | None = None,
    **more: Any,
) -> pa.Table:
    """Return rows of a statistics file after comparing its checksums; raises as `read_file` does.

    Args:
        dest: Store with the statistics.
        table: `pages`, `words` or `tiles`.
        name: Name of the file.
        columns: Columns to read (default: all).
        of_document: Key of the only document to read (default: all documents).
        more: Further arguments of `pyarrow.parquet.read_table`.
    """
    wanted = None if of_document is None else [("document_key", "=", of_document)]

    def read(file: BinaryIO) -> pa.Table:
        return older_schemas.read_rows(file, SCHEMAS[table], columns, filters=wanted, **more)

    return read_file(dest, table, name, read)


def row_groups(dest: Store, table: str, name: str) -> Iterator[pa.Table]:
    """Yield the row groups of a statistics file; raises as `read_file` does, perhaps after some of them."""

    def opened(file: BinaryIO) -> pq.ParquetFile:
        return pq.ParquetFile(io.BytesIO(file.read()), page_checksum_verification=True)

    source = read_file(dest, table, name, opened)
    try:
        for group in range(source.num_row_groups):
            yield older_schemas.with_all_columns(source.read_row_group(group), SCHEMAS[table])
    except (pa.ArrowException, OSError) as error:
        raise FileDamaged(f"{file_key(table, name)} is damaged ({first_line(error)}); {ADVICE}") from error


def batches_of(dest: Store, table: str, name: str, columns: Sequence[str] | None) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a statistics file in batches; raises as `read_file` does."""
    key = file_key(table, name)
    try:
        with dest.open_input(key) as file:
            source = pq.ParquetFile(file, page_checksum_verification=True)
            batches = source.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns)
            while (batch := next(batches, None)) is not None:
                rows: list[dict[str, Any]]
                rows = older_schemas.with_all_columns(batch, SCHEMAS[table], columns).to_pylist()
                yield rows
    except FileNotFoundError as error:
        raise FileMissing(f"{key} is missing; {ADVICE}") from error
    except (pa.ArrowException, OSError) as error:
        raise FileDamaged(f"{key} is damaged ({first_line(error)}); {ADVICE}") from error


def checksum_problem(data: bytes) -> str | None:
    """Return the problem of a damaged file; None for an intact file and for one that Foliopress did not write."""
    if PREFIX.encode() in data and not is_parquet_intact(data) and not older_schemas.is_older_file(data):
        return "its bytes are not those that were written"
    return None


def _dictionary_columns(part: pa.Field) -> list[str]:
    """Return the columns of a field, as Parquet names them, that are dictionary-encoded: texts and levels.

    Numbers seldom repeat. With a dictionary of them too, words and tiles took up to twice as long to write, and 1/5 and
    2/5 more bytes.
    """
    if pa.types.is_list(part.type):
        return _dictionary_columns(part.type.value_field.with_name(f"{part.name}.list.element"))
    if pa.types.is_struct(part.type):
        return [
            name for inner in part.type for name in _dictionary_columns(inner.with_name(f"{part.name}.{inner.name}"))
        ]
    return [part.name] if part.type in (pa.string(), pa.int8()) else []


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)
