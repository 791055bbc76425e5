"""Read the pages of a whole DEST as columns, so that a million are added up, searched and ranked at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from foliopress.tasks.records import older_schemas
from foliopress.tasks.records.footers import read_footers, sortable
from foliopress.tasks.records.rows import PageRow, Record, TileRow, WordRow
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.records.statistics import live_table
from foliopress.tasks.records.table_files import FileMissing, read_file
from foliopress.tasks.records.totals import Totals
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
"""Computed column: output bytes per source byte."""
NOT_COMPARED = "not compared"
_VERDICTS = ("compressed", "kept", "failed")  # a document has the last one that any of its pages has
_DICTIONARY_COLUMNS = ("status", "reason", "page_kind", "codec", "witness")


@dataclass(frozen=True)
class FolderSums:
    """Sums over the pages below one folder; its name ends with `/`, that of documents outside any folder is empty."""

    folder: str
    pages: int
    source_bytes: int
    output_bytes: int

    @property
    def saved_bytes(self) -> int:
        """Bytes saved."""
        return self.source_bytes - self.output_bytes


@dataclass(frozen=True)
class Wanted:
    """Filter over pages; an empty sequence or None selects all.

    `least` and `most` bound `column`; if one of them is given, pages without a value in it are left out.
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
    table = live_table(dest, COLUMNS, _DICTIONARY_COLUMNS)
    source, output = (pc.cast(table[name], pa.float64()) for name in ("source_bytes", "output_bytes"))
    ratio = pc.divide(output, pc.if_else(pc.greater(source, 0), source, None))
    return table.append_column(RATIO, ratio).combine_chunks()


def read_recipes(dest: Store) -> dict[str, int]:
    """Return descriptions of the settings, model and runtime of a DEST, with document counts, most first."""
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
    """Return the number of compressed pages by witness, most first.

    Pages of a version that had no witness count as `NOT_COMPARED`.
    """
    witnesses = pages.filter(pc.equal(pages["status"], "compressed"))["witness"]
    counts = _counts(witnesses) | ({NOT_COMPARED: witnesses.null_count} if witnesses.null_count else {})
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))


def totals_of(pages: pa.Table) -> Totals:
    """Return the sums over an overview's rows, as `tasks.records.totals.totals` does."""
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
    """Return the number of compressed, kept and failed documents, by `tasks.records.premis.verdict_of`."""
    ranks = pc.index_in(pc.cast(pages["status"], pa.string()), pa.array(_VERDICTS))
    documents = pa.table({"key": pages["document_key"], "rank": ranks}).group_by("key").aggregate([("rank", "max")])
    counts = _counts(documents["rank_max"])
    return {verdict: counts.get(str(rank), 0) for rank, verdict in enumerate(_VERDICTS)}


def by_folder(pages: pa.Table, prefix: str = "") -> list[FolderSums]:
    """Return the sums below each folder of a prefix, largest saving first; documents outside any folder come last.

    Args:
        pages: An overview.
        prefix: Folder to look into, ending with `/` (default: the whole DEST).
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
    """Return the number of pages in each bin; values beyond the outer edges count in the outer bins."""
    values = pages[column].drop_null().to_numpy().astype(np.float64)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), np.asarray(edges))
    return [int(count) for count in counts]


def select(pages: pa.Table, wanted: Wanted) -> pa.Table:
    """Return the rows of an overview that a filter selects."""
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
    """Return some rows of an overview sorted by a column, those without a value last.

    Args:
        pages: An overview.
        by: Column to sort by.
        first: Number of the first row to return, from 0.
        count: Largest number of rows to return.
        descending: Sort the largest first.
    """
    order = "descending" if descending else "ascending"
    values = pc.cast(pages[by], pa.string()) if by in _DICTIONARY_COLUMNS else pages[by]
    places = pc.sort_indices(pa.table({by: values}), sort_keys=[(by, order)])
    return pages.take(places.slice(first, count))


@dataclass(frozen=True)
class PageFound:
    """Rows of one page in the three tables; `tiles` is None for a page that was not scored."""

    row: PageRow
    words: tuple[WordRow, ...]
    tiles: TileRow | None


def find_page(dest: Store, document_key: str, page_index: int) -> PageFound | None:
    """Return the rows of a page; None if it has none.

    Words and tiles of a duplicate are those of the document that it points to.

    Raises:
        StoreUnavailable: If the store gives no answer.
    """
    at = sortable(document_key)
    wanted = [("document_key", "==", document_key), ("page_index", "==", page_index)]
    rows: list[tuple[str, PageRow]] = []
    for name, footer in read_footers(dest).items():
        if sortable(footer.first_key) <= at <= sortable(footer.last_key):
            rows += [(name, PageRow.from_record(row)) for row in _rows(dest, "pages", name, wanted)]
    if not rows:
        return None
    name, row = max(rows, key=lambda entry: entry[1].run_id)  # a later run supersedes
    if row.duplicate_of is not None and (original := find_page(dest, row.duplicate_of, page_index)) is not None:
        return replace(original, row=row)
    words = tuple(WordRow(**word) for word in _rows(dest, "words", name, wanted))
    tiles = [TileRow.from_record(tiles) for tiles in _rows(dest, "tiles", name, wanted)]
    return PageFound(row, words, tiles[0] if tiles else None)


def _rows(dest: Store, table: str, name: str, wanted: list[tuple[str, str, object]]) -> list[Record]:
    def read(file: BinaryIO) -> list[Record]:
        rows: list[Record] = older_schemas.read_rows(file, SCHEMAS[table], filters=wanted).to_pylist()
        return rows

    try:
        return read_file(dest, table, name, read)
    except FileMissing:
        return []


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    counts = pc.value_counts(column.drop_null()).to_pylist()
    return {str(one["values"]): int(one["counts"]) for one in counts}


def _runs_of(column: pa.ChunkedArray) -> int:
    """Return the number of runs of equal values."""
    return min(1, len(column)) + _sum(pc.cast(pc.not_equal(column[1:], column[:-1]), pa.int64()))


def _sum(column: pa.ChunkedArray) -> int:
    return int(pc.sum(column).as_py() or 0)
