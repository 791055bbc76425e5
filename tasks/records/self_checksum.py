"""Seals: a file carries the SHA-256 of itself, so that one changed byte in it can be told. Parquet, JSON and YAML."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from typing import Any

SEAL = "foliopress.seal"
"""Entry of a Parquet file's footer."""
NO_SEAL = "0" * 64
"""What stands in its place while the digest is worked out."""

_PARQUET = re.compile(rb"foliopress\.seal\x18@([0-9a-f]{64})")
"""The entry as Thrift's compact protocol writes it: the next field is a text, and has 64 bytes."""
_YAML_MARK = "# sha256: "


def seal_parquet(file: io.BytesIO) -> None:
    """Write a Parquet file's digest into its own footer, which holds `NO_SEAL` under `SEAL`.

    Raises:
        ValueError: If there is no such entry.
    """
    with file.getbuffer() as view:
        place = _place(bytes(view))
        if place is None:
            raise ValueError(f"the file has no entry {SEAL}")
        view[place : place + len(NO_SEAL)] = hashlib.sha256(view).hexdigest().encode()


def is_parquet_intact(data: bytes) -> bool:
    """Return whether a Parquet file is byte for byte what was sealed."""
    place = _place(data)
    if place is None:
        return False
    end = place + len(NO_SEAL)
    digest = hashlib.sha256(data[:place] + NO_SEAL.encode() + data[end:])
    return digest.hexdigest().encode() == data[place:end]


def sealed_json(values: Mapping[str, Any]) -> bytes:
    """Return values as indented JSON, their digest last as `sha256`.

    >>> read_json(sealed_json({"run_id": "r"}))
    {'run_id': 'r'}
    """
    digest = hashlib.sha256(_json(values)).hexdigest()
    return _json({**values, "sha256": digest})


def read_json(data: bytes) -> dict[str, Any]:
    """Return the values that were sealed.

    Raises:
        ValueError: If a byte is not what was written.
    """
    values = json.loads(data)
    if not isinstance(values, dict) or values.pop("sha256", None) is None or sealed_json(values) != data:
        raise ValueError("it is not as it was written")
    return values


def sealed_yaml(text: str) -> bytes:
    """Return lines of YAML and, as a comment in the last line, their digest.

    >>> sealed_yaml("[]").decode()[:14]
    '[]# sha256: 4f'
    """
    data = text.encode()
    return data + f"{_YAML_MARK}{hashlib.sha256(data).hexdigest()}\n".encode()


def is_yaml_intact(data: bytes) -> bool:
    """Return whether YAML is byte for byte what was sealed."""
    place = data.rfind(_YAML_MARK.encode())
    return place >= 0 and sealed_yaml(data[:place].decode("utf-8", "replace")) == data


def _place(data: bytes) -> int | None:
    """Return where the digest in a Parquet file begins: in its footer, which is at its end."""
    found = _PARQUET.search(data, max(0, data.rfind(SEAL.encode())))
    return None if found is None else found.start(1)


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=1, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
