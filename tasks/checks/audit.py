"""Verify that outputs still agree with their rows, and that each document has all of its rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.documents import read_page
from foliopress.tasks.errors import PageError
from foliopress.tasks.naming.output_keys import page_in_output
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.storage.store import Store

DamageKind = Literal[
    "missing",
    "unreadable",
    "truncated",
    "changed",
    "undecodable",
    "unlike_row",
    "row_missing",
    "row_twice",
    "extra",
    "hole",
    "statistics",
    "source_missing",
    "source_changed",
    "seen_otherwise",
]

ROW_COLUMNS = (
    *("document_key", "page_index", "status", "output_key", "output_bytes", "output_sha256", "source_sha256"),
    *("output_width_px", "output_height_px", "output_dpi", "duplicate_of"),
)
"""Columns of a page's row that its output is compared with."""

_DPI_TOLERANCE = 0.01  # formats round: JPEG to whole dots per inch, PNG to whole dots per metre
_NO_LIMITS = LimitSettings(
    max_page_pixels=2**40,
    max_document_bytes=2**50,
    max_document_pages=2**30,
    max_document_operations=2**50,
    max_unpacked_bytes=2**50,
    max_document_seconds=1e6,
)
"""Outputs have passed the limits of their own run."""

Row = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Damage:
    """A deviation from what was written.

    `key` is that of an object, or of a document (`row_…`, `hole`). A bag's tag files are above DEST: `../bagit.txt`.
    """

    kind: DamageKind
    key: str
    message: str


def check_output(dest: Store, output_key: str, rows: Sequence[Row]) -> Damage | None:
    """Read one output, hash it, decode it and compare it with its rows.

    Args:
        dest: Store of the output.
        output_key: Key of the output.
        rows: The rows that name it: one, or all rows of a document that was kept or written back as one.

    Raises:
        StoreUnavailable: If the store does not answer.
    """
    try:
        data = dest.read_bytes(output_key)
    except FileNotFoundError:
        return Damage("missing", output_key, f"{rows[0]['document_key']} was written here")
    except OSError as error:
        return Damage("unreadable", output_key, str(error.strerror or error))
    # the bytes of a duplicate's output are counted in the rows of the other document
    is_shared = any(row["duplicate_of"] is not None for row in rows)
    size_bytes = len(data) if is_shared else sum(int(row["output_bytes"]) for row in rows)
    if len(data) < size_bytes:
        return Damage("truncated", output_key, f"{len(data)} of {size_bytes} bytes are left")
    digest = hashlib.sha256(data).hexdigest()
    if len(data) > size_bytes or any(row["output_sha256"] != digest for row in rows):
        return Damage(
            "changed", output_key, f"the bytes are not those that were written ({size_bytes}, now {len(data)})"
        )
    if is_shared:  # it is decoded for the other document
        return None
    compressed = [row for row in rows if row["status"] == "compressed"]
    if not compressed:
        if any(row["source_sha256"] not in (None, digest) for row in rows):
            return Damage("changed", output_key, "it was kept as it is, but is not its source")
        return None
    places = [page_in_output(str(row["document_key"]), int(row["page_index"]), output_key) for row in compressed]
    damages = (_check_page(data, output_key, row, place) for row, place in zip(compressed, places, strict=True))
    return next((damage for damage in damages if damage is not None), None)


def check_written(dest: Store, written: WrittenFile, is_of: str) -> Damage | None:
    """Read a file and compare it with its description.

    Args:
        dest: Store of the file.
        written: Description of the file as it was written.
        is_of: Name of what it belongs to, for the message.

    Raises:
        StoreUnavailable: If the store does not answer.
    """
    try:
        data = dest.read_bytes(written.key)
    except FileNotFoundError:
        return Damage("missing", written.key, f"it belongs to {is_of}")
    except OSError as error:
        return Damage("unreadable", written.key, str(error.strerror or error))
    if len(data) < written.size_bytes:
        return Damage("truncated", written.key, f"{len(data)} of {written.size_bytes} bytes are left")
    if WrittenFile.of(written.key, data) != written:
        sizes = f"{written.size_bytes}, now {len(data)}"
        return Damage("changed", written.key, f"the bytes are not those that were written ({sizes})")
    return None


def check_rows(document_key: str, rows: Sequence[Row]) -> list[Damage]:
    """Return the problems of a document's rows: it must have one for each of its pages, counted from 0."""
    found = Counter(int(row["page_index"]) for row in rows)
    twice = sorted(page for page, times in found.items() if times > 1)
    missing = sorted(set(range(max(found) + 1)) - set(found))
    damages = []
    if twice:
        damages.append(Damage("row_twice", document_key, f"page {_pages(twice)} has more than one row"))
    if missing:
        damages.append(Damage("row_missing", document_key, f"page {_pages(missing)} has no row"))
    return damages


def _check_page(data: bytes, output_key: str, row: Row, page_index: int) -> Damage | None:
    try:
        page = read_page(data, page_index, _NO_LIMITS)
    except PageError as error:
        return Damage("undecodable", output_key, str(error))
    recorded = int(row["output_height_px"]), int(row["output_width_px"])
    if page.pixels.shape[:2] != recorded:
        return Damage("unlike_row", output_key, f"{page.pixels.shape[:2]} pixels, its row says {recorded}")
    dpi = row["output_dpi"]
    if dpi is not None and (page.dpi is None or abs(page.dpi - dpi) > max(1.0, _DPI_TOLERANCE * dpi)):
        return Damage("unlike_row", output_key, f"{page.dpi} dpi, its row says {dpi:g}")
    return None


def _pages(indices: Sequence[int]) -> str:
    shown = ", ".join(str(index + 1) for index in indices[:5])
    return shown + (" …" if len(indices) > 5 else "")
