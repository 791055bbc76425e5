"""Derive the Parquet schemas of the statistics, and their data dictionary, from the row types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import pyarrow as pa

from foliopress.tasks.records.rows import Column, PageRow, Record, TileRow, WordRow, WrittenFile

SCHEMA_VERSION = "7"
PREFIX = "foliopress."
"""Prefix of our entries in a Parquet file's metadata."""

ROW_TYPES: Mapping[str, type[PageRow | WordRow | TileRow]] = {"pages": PageRow, "words": WordRow, "tiles": TileRow}
"""Type of the rows of each table."""

_BYTES, _SECONDS = pa.int64(), pa.float32()
_TYPES = {str: pa.string(), int: pa.int32(), float: pa.float64()}
_WRITTEN_FILE = pa.struct([("key", pa.string()), ("size_bytes", _BYTES), ("sha256", pa.string())])


def column_of(part: Field[Any]) -> Column:
    """Return the documentation of a row type's field."""
    found: Column = part.metadata["column"]
    return found


def _arrow_type(hint: Any, column: Column) -> pa.DataType:
    if column.arrow_type is not None:
        return column.arrow_type
    if column.unit in ("bytes", "seconds"):
        return _BYTES if column.unit == "bytes" else _SECONDS
    if get_origin(hint) is UnionType:
        (hint,) = (one for one in get_args(hint) if one is not type(None))
    return pa.list_(_WRITTEN_FILE) if get_args(hint)[:1] == (WrittenFile,) else _TYPES[hint]


def _schema_of(row_type: type[PageRow | WordRow | TileRow]) -> pa.Schema:
    hints = get_type_hints(row_type)
    columns = []
    for part in fields(row_type):
        column = column_of(part)
        metadata = {"description": column.description} | ({"unit": column.unit} if column.unit else {})
        columns.append(pa.field(part.name, _arrow_type(hints[part.name], column), metadata=metadata))
    return pa.schema(columns)


PAGES_SCHEMA, WORDS_SCHEMA, TILES_SCHEMA = (_schema_of(row_type) for row_type in ROW_TYPES.values())
SCHEMAS = {"pages": PAGES_SCHEMA, "words": WORDS_SCHEMA, "tiles": TILES_SCHEMA}


def as_table(records: Iterable[Record], schema: pa.Schema) -> pa.Table:
    """Return records as a table.

    Raises:
        pa.ArrowInvalid: If a value does not fit its column.
    """
    return pa.Table.from_pylist(list(records), schema=schema)


def page_table(rows: Iterable[PageRow]) -> pa.Table:
    """Return page rows as a table."""
    return as_table((row.as_record() for row in rows), PAGES_SCHEMA)


def page_rows(table: pa.Table) -> list[PageRow]:
    """Return the page rows of a table with all their columns."""
    return [PageRow.from_record(record) for record in table.to_pylist()]


def word_table(rows: Iterable[WordRow]) -> pa.Table:
    """Return the rows of words as a table."""
    return as_table(map(vars, rows), WORDS_SCHEMA)


def tile_table(rows: Iterable[TileRow]) -> pa.Table:
    """Return the rows of pages' tiles as a table."""
    return as_table(map(vars, rows), TILES_SCHEMA)


def data_dictionary() -> str:
    """Return the meaning of every column of every table, in Markdown: the text of docs/data-dictionary.md."""
    lines = [
        "# Data dictionary",
        "",
        f"Columns of the statistics below `DEST/stats`, schema version {SCHEMA_VERSION}. Generated from",
        "`tasks/records/rows.py` by `python -m foliopress.tasks.records.schemas`; the Parquet files hold the same text",
        "as field metadata (`description`, `unit`). Columns may be null where the type says so.",
    ]
    for table, row_type in ROW_TYPES.items():
        hints = get_type_hints(row_type)
        lines += ["", f"## `stats/{table}`", "", (row_type.__doc__ or "").strip(), ""]
        lines += ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
        for part in fields(row_type):
            column, type_name = column_of(part), str(SCHEMAS[table].field(part.name).type)
            may_be_null = get_origin(hints[part.name]) is UnionType
            lines.append(
                f"| `{part.name}` | {_plain(type_name)}{' or null' if may_be_null else ''} | {column.unit or ''} "
                f"| {column.description} |"
            )
    return "\n".join(lines) + "\n"


def _plain(type_name: str) -> str:
    """Return a type's name without its angle brackets, which Markdown takes for tags.

    >>> _plain("list<element: float>"), _plain("int32")
    ('list of float', 'int32')
    """
    inner = type_name.removeprefix("list<").removesuffix(">").partition(": ")[2]
    if not type_name.startswith("list<"):
        return type_name
    return "list of files (key, size_bytes, sha256)" if inner.startswith("struct") else f"list of {inner}"


if __name__ == "__main__":
    print(data_dictionary(), end="")
