"""Overview: the pages of a whole DEST as columns, so that a million are added up, searched and ranked at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from foliopress.tasks.records import older_schemas
from foliopress.tasks.records.statistics import (
    SCHEMAS,
    FileMissing,
    PageRow,
    Totals,
    live_table,
    read_file,
    read_footers,
    sortable,
)
from foliopress.tasks.storage.store import Store

COLUMNS = (
    "document_key",
    "page_index",
    "status",
    "reason",
    "output_key",
    "page_kind",
    "codec",
    "quality",
    "source_bytes",
    "output_bytes",
    "duplicate_of",
    "width_px",
    "height_px",
    "dpi",
    "ocr_words",
    "words_kept_fraction",
    "digits_changed",
    "text_ssim",
    "worst_block_ssim",
    "chroma_error",
    "attempts",
    "witness",
)
RATIO = "output_per_source"
"""Column that is worked out: bytes of the output for each of the source's."""
NOT_COMPARED = "not compared"
_VERDICTS = ("compressed", "kept", "failed")  # the last that one of its pages has is the document's
_CODED = ("status", "reason", "page_kind", "codec", "witness")


@dataclass(frozen=True)
class FolderSums:
    """What the pages below one folder add up to; its name ends with `/`, that of the rest is empty."""

    folder: str
    pages: int
    source_bytes: int
    output_bytes: int

    @property
    def saved_bytes(self) -> int:
        """Bytes that the output does not need."""
        return self.source_bytes - self.output_bytes


@dataclass(frozen=True)
class Wanted:
    """Which pages are looked for; an empty sequence or None takes all.

    `least` and `most` bound `column`, and pages without a value in it are left out as soon as one of them is given.
    """

    prefix: str = ""
    text: str = ""
    statuses: Sequence[str] = ()
    reasons: Sequence[str] = ()
    kinds: Sequence[str] = ()
    column: str = "worst_block_ssim"
    least: float | None = None
    most: float | None = None
    with_duplicates: bool = True


def read_overview(dest: Store) -> pa.Table:
    """Return one row for each page of a DEST, with `COLUMNS` and `RATIO`.

    Raises:
        ConfigError: If a file of statistics is damaged or of another version.
        StoreUnavailable: If the store gives no answer.
    """
    table = live_table(dest, COLUMNS, _CODED)
    source, output = (pc.cast(table[name], pa.float64()) for name in ("source_bytes", "output_bytes"))
    ratio = pc.divide(output, pc.if_else(pc.greater(source, 0), source, None))
    return table.append_column(RATIO, ratio).combine_chunks()


def read_recipes(dest: Store) -> dict[str, int]:
    """Return what the pages of a DEST were made with, in words, and how many documents each time; most first."""
    names = ("settings_digest", "model_digest", "scorer")
    found = live_table(dest, ("document_key", *names), names).combine_chunks()
    counts = found.group_by(list(names)).aggregate([("document_key", "count_distinct")]).to_pylist()
    return {
        f"settings {one['settings_digest']}, model {one['model_digest']}, {one['scorer']}": one[
            "document_key_count_distinct"
        ]
        for one in sorted(counts, key=lambda one: -one["document_key_count_distinct"])
    }


def by_witness(pages: pa.Table) -> dict[str, int]:
    """Return how many compressed pages each witness compared with their sources, most first.

    Pages of a version that had no witness count as `NOT_COMPARED`.
    """
    witnesses = pages.filter(pc.equal(pages["status"], "compressed"))["witness"]
    counts = _counts(witnesses) | ({NOT_COMPARED: witnesses.null_count} if witnesses.null_count else {})
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def totals_of(pages: pa.Table) -> Totals:
    """Return the sums over an overview's rows, added up per document as in `tasks.records.statistics.totals`."""
    counts = _counts(pages["status"])
    is_unread = pc.and_(pc.equal(pages["output_bytes"], 0), pc.is_null(pages["duplicate_of"]))
    return Totals(
        pages=pages.num_rows,
        documents=_runs_of(pages["document_key"]),
        compressed=counts.get("compressed", 0),
        kept=counts.get("kept", 0),
        failed=counts.get("failed", 0),
        source_bytes=_sum(pages["source_bytes"]),
        output_bytes=_sum(pages["output_bytes"]),
        unread_bytes=_sum(pages["source_bytes"].filter(is_unread)),
        reasons=_counts(pages["reason"]),
    )


def by_verdict(pages: pa.Table) -> dict[str, int]:
    """Return how many documents were compressed, kept and failed, by `tasks.records.premis.verdict_of`."""
    ranks = pc.index_in(pc.cast(pages["status"], pa.string()), pa.array(_VERDICTS))
    documents = pa.table({"key": pages["document_key"], "rank": ranks}).group_by("key").aggregate([("rank", "max")])
    counts = _counts(documents["rank_max"])
    return {verdict: counts.get(str(rank), 0) for rank, verdict in enumerate(_VERDICTS)}


def by_folder(pages: pa.Table, prefix: str = "") -> list[FolderSums]:
    """Return what lies below each folder of a prefix, the one that saved most first; documents beside them come last.

    Args:
        pages: An overview.
        prefix: Folder to look into, with a `/` at its end; everything without it.
    """
    below = pages.filter(pc.starts_with(pages["document_key"], prefix)) if prefix else pages
    rest = pc.utf8_slice_codeunits(below["document_key"], len(prefix)) if prefix else below["document_key"]
    parts = pc.split_pattern(rest, "/", max_splits=1)
    names = pc.if_else(pc.greater(pc.list_value_length(parts), 1), pc.list_element(parts, 0), "")
    sums = (
        pa.table({"folder": names, "source": below["source_bytes"], "output": below["output_bytes"]})
        .group_by("folder")
        .aggregate([("folder", "count"), ("source", "sum"), ("output", "sum")])
    )
    found = [
        FolderSums(
            f"{row['folder']}/" if row["folder"] else "", row["folder_count"], row["source_sum"], row["output_sum"]
        )
        for row in sums.to_pylist()
    ]
    return sorted(found, key=lambda one: (not one.folder, -one.saved_bytes, one.folder))


def histogram(pages: pa.Table, column: str, edges: Sequence[float]) -> list[int]:
    """Return how many pages have a value between each two edges; what lies beyond the outer ones counts with them."""
    values = pages[column].drop_null().to_numpy().astype(np.float64)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), np.asarray(edges))
    return [int(count) for count in counts]


def select(pages: pa.Table, wanted: Wanted) -> pa.Table:
    """Return the rows of an overview that are wanted."""
    masks = []
    if wanted.prefix:
        masks.append(pc.starts_with(pages["document_key"], wanted.prefix))
    if wanted.text:
        masks.append(pc.match_substring(pages["document_key"], wanted.text, ignore_case=True))
    for column, values in (("status", wanted.statuses), ("reason", wanted.reasons), ("page_kind", wanted.kinds)):
        if values:
            masks.append(pc.is_in(pages[column], pa.array(list(values), pa.string())))
    if wanted.least is not None:
        masks.append(pc.greater_equal(pages[wanted.column], wanted.least))
    if wanted.most is not None:
        masks.append(pc.less_equal(pages[wanted.column], wanted.most))
    if not wanted.with_duplicates:
        masks.append(pc.is_null(pages["duplicate_of"]))
    for mask in masks[1:]:
        masks[0] = pc.and_(masks[0], mask)
    return pages.filter(masks[0]) if masks else pages


def ranked(pages: pa.Table, by: str, first: int, count: int, *, descending: bool = False) -> pa.Table:
    """Return some rows of an overview in the order of a column, those without a value last.

    Args:
        pages: An overview.
        by: Column.
        first: Number of the first row wanted, from 0.
        count: How many, at most.
        descending: The largest first.
    """
    order = "descending" if descending else "ascending"
    values = pc.cast(pages[by], pa.string()) if by in _CODED else pages[by]
    places = pc.sort_indices(pa.table({by: values}), sort_keys=[(by, order)])
    return pages.take(places.slice(first, count))


@dataclass(frozen=True)
class PageFound:
    """All that the statistics say of one page: its row, its words' rows, its tiles' row."""

    row: PageRow
    words: list[dict[str, Any]]
    tiles: dict[str, Any] | None


def find_page(dest: Store, document_key: str, page_index: int) -> PageFound | None:
    """Return what the statistics say of a page; None if it has no row.

    Words and tiles of a duplicate are those of the document that it points to.

    Raises:
        StoreUnavailable: If the store gives no answer.
    """
    at = sortable(document_key)
    wanted = [("document_key", "==", document_key), ("page_index", "==", page_index)]
    rows: list[tuple[str, dict[str, Any]]] = []
    for name, footer in read_footers(dest).items():
        if sortable(footer.first_key) <= at <= sortable(footer.last_key):
            rows += [(name, row) for row in _rows(dest, "pages", name, wanted)]
    if not rows:
        return None
    name, row = max(rows, key=lambda entry: str(entry[1]["run_id"]))  # a later run supersedes
    first = row["duplicate_of"]
    if first is not None and (held := find_page(dest, first, page_index)) is not None:
        return replace(held, row=PageRow(**row))
    tiles = _rows(dest, "tiles", name, wanted)
    return PageFound(PageRow(**row), _rows(dest, "words", name, wanted), tiles[0] if tiles else None)


def _rows(dest: Store, table: str, name: str, wanted: list[tuple[str, str, object]]) -> list[dict[str, Any]]:
    def read(file: BinaryIO) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = older_schemas.read_rows(file, SCHEMAS[table], filters=wanted).to_pylist()
        return rows

    try:
        return read_file(dest, table, name, read)
    except FileMissing:
        return []


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(column.drop_null()).to_pylist()
    return {str(one["values"]): int(one["counts"]) for one in counts}


def _runs_of(column: pa.ChunkedArray) -> int:
    """Return how often another value begins."""
    return min(1, len(column)) + _sum(pc.cast(pc.not_equal(column[1:], column[:-1]), pa.int64()))


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)
