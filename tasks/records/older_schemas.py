"""Read statistics of an older schema: fill in the columns and footer entries that it lacks.

Schemas 4, 5 and 6, as commits f439fc8, 6cf421d and 6d95d41 wrote them, have fewer columns of pages and words; those
that they lack are null. Schemas 4 and 5 have no digests of words, tiles and the file itself either, and the names of
their files carry no mark of a run.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from foliopress.tasks.records.self_checksum import CHECKSUM_KEY

OLDER_VERSIONS = ("4", "5", "6")
"""Versions of the schema that are read and no longer written."""

_PREFIX = "foliopress."
_VERSION = f"{_PREFIX}schema_version"

Rows = TypeVar("Rows", pa.Table, pa.RecordBatch)


def read_rows(file: BinaryIO, schema: pa.Schema, columns: Sequence[str] | None = None, **more: Any) -> pa.Table:
    """Return rows of a Parquet file, its checksums compared, with null in the columns that an older schema lacks.

    Args:
        file: Open at any place.
        schema: Columns of today.
        columns: Columns wanted; all of them without it.
        more: Further arguments of `pyarrow.parquet.read_table`.

    Raises:
        pa.ArrowException, OSError: If it cannot be read, or lacks a column although it is not of an older schema.
    """
    names = None if columns is None else list(columns)
    try:
        found = pq.read_table(file, columns=names, page_checksum_verification=True, **more)
    except pa.ArrowInvalid:  # what pyarrow raises for a column that is not there, too
        file.seek(0)
        there = pq.read_schema(file)
        if names is None or not is_older(there.metadata) or set(names) <= set(there.names):
            raise
        file.seek(0)
        held = [name for name in names if name in there.names]
        found = pq.read_table(file, columns=held, page_checksum_verification=True, **more)
    return with_all_columns(found, schema, names, more.get("read_dictionary", ()))


def with_all_columns(
    rows: Rows, schema: pa.Schema | None, columns: Sequence[str] | None = None, coded: Collection[str] = ()
) -> Rows:
    """Return rows of an older schema with null in the columns that it lacks; others as they are.

    Args:
        rows: As read, with the metadata of their file.
        schema: Columns of today; None for a table that is none of ours.
        columns: Columns wanted; all of them without it.
        coded: Columns that are held by number (dictionary).
    """
    if schema is None:
        return rows
    wanted = list(schema.names if columns is None else columns)
    if rows.num_columns >= len(wanted) or not is_older(rows.schema.metadata):  # the metadata may be long
        return rows
    if set(rows.schema.names) - set(wanted):
        return rows
    missing = [name for name in wanted if name not in rows.schema.names]
    for name in missing:
        kind = schema.field(name).type
        kind = pa.dictionary(pa.int32(), kind) if name in coded else kind
        rows = rows.append_column(pa.field(name, kind), pa.nulls(rows.num_rows, kind))
    return rows.select(wanted)


def is_older(metadata: Mapping[bytes, bytes] | None) -> bool:
    """Return whether the metadata of a Parquet file names an older schema."""
    version = (metadata or {}).get(_VERSION.encode(), b"")
    return version.decode("utf-8", "replace") in OLDER_VERSIONS


def is_older_file(data: bytes) -> bool:
    """Return whether a file of statistics or events was written before files carried digests of themselves."""
    if CHECKSUM_KEY.encode() in data:
        return False
    try:
        return is_older(pq.read_schema(io.BytesIO(data)).metadata)
    except (pa.ArrowException, OSError, ValueError):
        return False


def as_current(metadata: Mapping[str, str]) -> Mapping[str, str]:
    """Return the entries of a footer, those of an older schema with what today's footer has as well.

    Its files of words and tiles have no digests. The newest run whose shards it holds counts as its writer, so that a
    fence holds back what that run writes after it has lost the lease.

    Raises:
        KeyError: If an entry that every footer has is missing.
        ValueError, TypeError: If one is not as it should be.
    """
    if metadata.get(_VERSION) not in OLDER_VERSIONS:
        return metadata
    run_ids = [str(entry["run_id"]) for entry in json.loads(metadata[f"{_PREFIX}shards"])]
    return {f"{_PREFIX}written_by": max(run_ids, default=""), f"{_PREFIX}files": "[]", **metadata}
