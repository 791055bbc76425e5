"""Compare stored outputs with their sources through the witness's decoders, for `verify --look`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from foliopress.configs.errors import ConfigError
from foliopress.tasks.checks.audit import Damage
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.host_errors import raise_if_host_error
from foliopress.tasks.naming.output_keys import page_in_output
from foliopress.tasks.storage.store import Store
from foliopress.tasks.witness.document_check import (
    NO_DECODER,
    DocumentSighting,
    OutputImage,
    compare_images,
    compare_pdf_with_images,
    compare_pdfs,
)

LOOK_COLUMNS = ("dpi", "height_px", "output_height_px")
"""Columns of a page's row that are needed in addition to `tasks.checks.audit.ROW_COLUMNS`."""

Row = Mapping[str, Any]


def look_again(source: Store, dest: Store, rows: Sequence[Row]) -> tuple[int, list[Damage]]:
    """Compare the outputs of one document with their source, if it is still the one that was compressed.

    Args:
        source: Store of the document.
        dest: Store of its outputs.
        rows: All its rows; those of pages that were kept are skipped.

    Returns:
        The number of pages compared, and the differences found.

    Raises:
        StoreUnavailable: If a store does not respond, or this machine lacks a requirement.
    """
    compressed = sorted((row for row in rows if row["status"] == "compressed"), key=lambda row: int(row["page_index"]))
    if not compressed:
        return 0, []
    key = str(compressed[0]["document_key"])
    try:
        data = source.read_bytes(key)
    except (FileNotFoundError, PermissionError):
        return 0, [Damage("source_missing", key, "its source is missing, so the two cannot be compared")]
    written_of = {row["source_sha256"] for row in compressed} - {None}
    if written_of - {hashlib.sha256(data).hexdigest()}:
        why = "the source is not the one that was compressed; compress it again, or restore the original"
        return 0, [Damage("source_changed", key, why)]
    try:
        seen = _compare(data, dest, compressed)
    except FileNotFoundError:
        return 0, []  # a missing output is reported separately
    except (ConfigError, StoreUnavailable):
        raise
    except Exception as error:  # decoders raise almost anything
        raise_if_host_error(error, "comparing a document with its output")
        why = f"it could not be compared ({type(error).__name__}: {error})"
        return 0, [Damage("seen_otherwise", key, why)]
    n_seen = sum(page.decoders != NO_DECODER for page in seen.pages.values())
    if seen.problem is not None:
        return n_seen, [Damage("seen_otherwise", key, seen.problem)]
    told = [
        Damage("seen_otherwise", key, f"page {number + 1} {page.problem}, as {page.decoders} shows it")
        for number, page in sorted(seen.pages.items())
        if page.problem is not None
    ]
    return n_seen, told


def _compare(data: bytes, dest: Store, rows: Sequence[Row]) -> DocumentSighting:
    first = dest.read_bytes(str(rows[0]["output_key"]))
    if b"%PDF-" not in data[:1024]:
        return compare_images(data, _outputs(dest, rows))
    if b"%PDF-" in first[:1024]:
        return compare_pdfs(data, first, [int(row["page_index"]) for row in rows])
    return compare_pdf_with_images(data, _outputs(dest, rows))


def _outputs(dest: Store, rows: Sequence[Row]) -> Iterator[OutputImage]:
    held: tuple[str, bytes] = ("", b"")
    for row in rows:
        key = str(row["output_key"])
        if held[0] != key:
            held = key, dest.read_bytes(key)
        owner = str(row["duplicate_of"] or row["document_key"])
        frame = page_in_output(owner, int(row["page_index"]), key)
        dpi = row["dpi"]
        scale = int(row["output_height_px"]) / int(row["height_px"])
        yield OutputImage(held[1], frame, dpi, None if dpi is None else dpi * scale)
