"""Schemas: every column of the statistics is documented, in the files and in the data dictionary."""

import io
from dataclasses import fields
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from foliopress.tasks.records.rows import PageRow, WrittenFile
from foliopress.tasks.records.schemas import (
    PAGES_SCHEMA,
    ROW_TYPES,
    SCHEMAS,
    as_table,
    column_of,
    data_dictionary,
    page_rows,
    page_table,
)
from foliopress.tasks.records.table_files import table_bytes

DICTIONARY = Path(__file__).parents[3] / "docs" / "data-dictionary.md"


@pytest.mark.parametrize("table", SCHEMAS)
def test_each_column_is_a_field_with_a_description(table):
    assert SCHEMAS[table].names == [part.name for part in fields(ROW_TYPES[table])]
    for part in fields(ROW_TYPES[table]):
        assert column_of(part).description.endswith(".")


def test_the_units_of_columns_agree_with_their_names():
    units = {"_px": "pixels", "_bytes": "bytes", "_dpi": "dots/inch"}
    for row_type in ROW_TYPES.values():
        for part in fields(row_type):
            for ending, unit in units.items():
                assert not part.name.endswith(ending) or column_of(part).unit == unit, part.name
            assert part.name.startswith("seconds_") == (column_of(part).unit == "seconds"), part.name


def test_parquet_files_carry_descriptions_and_units():
    schema = pq.read_schema(io.BytesIO(table_bytes([], PAGES_SCHEMA, {})))
    assert schema.field("height_px").metadata == {
        b"description": b"Height of the upright source page.",
        b"unit": b"pixels",
    }
    assert b"unit" not in schema.field("status").metadata


def test_files_without_descriptions_are_read_and_joined_like_those_with_them():
    bare = pa.schema([pa.field(part.name, part.type) for part in PAGES_SCHEMA])
    row = PageRow(run_id="r", shard_id="s", document_key="a", page_index=0, status="kept")
    old = pq.read_table(io.BytesIO(table_bytes([row.as_record()], bare, {})))
    assert page_rows(pa.concat_tables([old, page_table([row])])) == [row, row]
    assert table_bytes(old, PAGES_SCHEMA, {}) == table_bytes(page_table([row]), PAGES_SCHEMA, {})
    assert bare == PAGES_SCHEMA


def test_page_rows_come_back_with_their_text_files():
    files = (WrittenFile.of("text/a.txt", b"a"),)
    row = PageRow(run_id="r", shard_id="s", document_key="a", page_index=0, status="compressed", text_files=files)
    assert page_rows(page_table([row])) == [row]
    assert as_table([row.as_record()], PAGES_SCHEMA) == page_table([row])


def test_the_data_dictionary_is_the_one_that_the_row_types_give():
    assert DICTIONARY.read_text("utf-8") == data_dictionary(), (
        "python -m foliopress.tasks.records.schemas > docs/data-dictionary.md"
    )
