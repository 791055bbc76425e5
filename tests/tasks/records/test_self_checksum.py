"""Test that a change of any single byte of a file is detected."""

from __future__ import annotations

import hashlib
import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from foliopress.tasks.records.schemas import PAGES_SCHEMA, WORDS_SCHEMA
from foliopress.tasks.records.self_checksum import (
    is_parquet_intact,
    is_yaml_intact,
    json_with_checksum,
    read_checked_json,
    yaml_with_checksum,
)
from foliopress.tasks.records.table_files import table_bytes

KEYS = ("a.jpg", "0" * 64, 'foliopress.seal\x18@"', "ü\n\udc80".encode("utf-8", "replace").decode())


def flipped(data: bytes, place: int, bit: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << bit
    return bytes(changed)


def is_json_intact(data: bytes) -> bool:
    try:
        read_checked_json(data)
    except ValueError:
        return False
    return True


def parquet() -> bytes:
    rows = [{"document_key": key, "page_index": number} for number, key in enumerate(KEYS)]
    return table_bytes(rows, PAGES_SCHEMA, {"foliopress.file": "0" * 64})


SEALED = {
    "parquet": (parquet, is_parquet_intact),
    "json": (lambda: json_with_checksum({"b": [1, 0.1, None], "a": {"ü": "%"}, "sha": "x"}), is_json_intact),
    "yaml": (lambda: yaml_with_checksum("encode:\n  codec: avif\n"), is_yaml_intact),
}


@pytest.mark.parametrize("form", SEALED)
def test_each_flipped_or_lost_byte_is_told(form: str) -> None:
    write, is_intact = SEALED[form]
    data = write()
    assert is_intact(data)
    chance = np.random.default_rng(len(data))
    places = range(len(data)) if len(data) < 1000 else sorted({0, *chance.integers(0, len(data), 400), len(data) - 1})
    for place in places:
        assert not is_intact(flipped(data, int(place), int(chance.integers(8)))), place
        assert not is_intact(data[:place]), place
    assert not is_intact(data + b"\n")


def test_a_sealed_table_is_read_as_any_other() -> None:
    data = parquet()
    assert pq.read_table(io.BytesIO(data)).column("document_key").to_pylist() == list(KEYS)
    assert b"foliopress.seal" in pq.read_metadata(io.BytesIO(data)).metadata
    assert is_parquet_intact(table_bytes([], WORDS_SCHEMA, {}))


def test_sealed_json_and_yaml_are_read_by_anybody_and_say_a_digest_that_others_work_out_too() -> None:
    data = json_with_checksum({"run_id": "r", "pages": 3})
    record = json.loads(data)
    digest = record.pop("sha256")
    assert record == {"run_id": "r", "pages": 3} == read_checked_json(data)
    assert digest == hashlib.sha256(json.dumps(record, indent=1).encode() + b"\n").hexdigest()
    text = yaml_with_checksum("a: 1\n").decode()
    assert yaml.safe_load(text) == {"a": 1}
    assert text.splitlines()[-1] == f"# sha256: {hashlib.sha256(b'a: 1' + bytes([10])).hexdigest()}"
