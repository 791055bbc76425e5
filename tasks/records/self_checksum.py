"""Add a self-checksum (SHA-256) to Parquet, JSON and YAML files, to detect any changed byte."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from typing import Any

CHECKSUM_KEY = "foliopress.seal"  # the name in files of earlier versions
"""Key of the checksum in a Parquet footer."""
CHECKSUM_PLACEHOLDER = "0" * 64
"""Placeholder for the checksum while it is computed."""

_PARQUET = re.compile(rb"foliopress\.seal\x18@([0-9a-f]{64})")
"""The entry in Thrift's compact protocol: the next field is a string of 64 bytes."""
_YAML_MARK = "# sha256: "


def write_parquet_checksum(file: io.BytesIO) -> None:
    """Write a Parquet file's checksum into its own footer, in place of `CHECKSUM_PLACEHOLDER` under `CHECKSUM_KEY`.

    Raises:
        ValueError: If the footer has no such entry.
    """
    with file.getbuffer() as view:
        place = _checksum_offset(bytes(view))
        if place is None:
            raise ValueError(f"the file has no entry {CHECKSUM_KEY}")
        view[place : place + len(CHECKSUM_PLACEHOLDER)] = hashlib.sha256(view).hexdigest().encode()


def is_parquet_intact(data: bytes) -> bool:
    """Return whether a Parquet file matches its checksum."""
    place = _checksum_offset(data)
    if place is None:
        return False
    end = place + len(CHECKSUM_PLACEHOLDER)
    digest = hashlib.sha256(data[:place] + CHECKSUM_PLACEHOLDER.encode() + data[end:])
    return digest.hexdigest().encode() == data[place:end]


def json_with_checksum(values: Mapping[str, Any]) -> bytes:
    """Return values as indented JSON, with their checksum last, as `sha256`.

    >>> read_checked_json(json_with_checksum({"run_id": "r"}))
    {'run_id': 'r'}
    """
    digest = hashlib.sha256(_json(values)).hexdigest()
    return _json({**values, "sha256": digest})


def read_checked_json(data: bytes) -> dict[str, Any]:
    """Return the values of a JSON file with a checksum.

    Raises:
        ValueError: If the file does not match its checksum.
    """
    values = json.loads(data)
    if not isinstance(values, dict) or values.pop("sha256", None) is None or json_with_checksum(values) != data:
        raise ValueError("it does not match its checksum")
    return values


def yaml_with_checksum(text: str) -> bytes:
    """Return YAML with its checksum in a comment on the last line.

    >>> yaml_with_checksum("[]").decode()[:14]
    '[]# sha256: 4f'
    """
    data = text.encode()
    return data + f"{_YAML_MARK}{hashlib.sha256(data).hexdigest()}\n".encode()


def is_yaml_intact(data: bytes) -> bool:
    """Return whether YAML matches its checksum."""
    place = data.rfind(_YAML_MARK.encode())
    return place >= 0 and yaml_with_checksum(data[:place].decode("utf-8", "replace")) == data


def _checksum_offset(data: bytes) -> int | None:
    """Return the offset of the checksum in a Parquet file, in the footer at its end."""
    found = _PARQUET.search(data, max(0, data.rfind(CHECKSUM_KEY.encode())))
    return None if found is None else found.start(1)


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
