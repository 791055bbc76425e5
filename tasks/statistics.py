"""Account: the rows of pages, words and tiles, and the Parquet files that hold them. The schemas live here alone."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from functools import partial
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.errors import ConfigError
from tasks.store import Store

SCHEMA_VERSION = "3"
PREFIX = "foliopress."

_TEXT, _COUNT, _BYTES, _FIGURE, _SECONDS = pa.string(), pa.int32(), pa.int64(), pa.float64(), pa.float32()


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """One page: what came in, what went out, and why. Sizes without `output_` are upright source pixels."""

    run_id: str
    shard_id: str
    document_key: str
    page_index: int
    status: str
    reason: str | None = None
    page_kind: str | None = None
    output_key: str | None = None
    codec: str | None = None
    quality: int | None = None
    source_bytes: int = 0
    output_bytes: int = 0
    source_sha256: str | None = None
    output_sha256: str | None = None
    width_px: int | None = None
    height_px: int | None = None
    dpi: float | None = None
    output_width_px: int | None = None
    output_height_px: int | None = None
    output_dpi: float | None = None
    n_tiles: int | None = None
    tiles_at_level_1: int | None = None
    tiles_at_level_2: int | None = None
    tiles_at_level_4: int | None = None
    tiles_at_level_8: int | None = None
    mean_importance: float | None = None
    ocr_words: int | None = None
    words_kept_fraction: float | None = None
    digits_changed: int | None = None
    text_ssim: float | None = None
    worst_block_ssim: float | None = None
    chroma_error: float | None = None
    attempts: int | None = None
    scorer: str | None = None
    model_digest: str | None = None
    settings_digest: str | None = None
    seconds_read: float | None = None
    seconds_ocr: float | None = None
    seconds_score: float | None = None
    seconds_encode: float | None = None
    seconds_check: float | None = None
    seconds_store: float | None = None
    message: str | None = None
    document_version: str | None = None
    lines_reread: int | None = None
    seconds_reread: float | None = None
    ssimulacra2: float | None = None
    text_ssimulacra2: float | None = None


def _page_type(name: str, annotation: str) -> pa.DataType:
    if name.startswith("seconds_"):
        return _SECONDS
    if name.endswith("_bytes"):
        return _BYTES
    return {"str": _TEXT, "int": _COUNT, "float": _FIGURE}[annotation.split(" ")[0]]


PAGES_SCHEMA = pa.schema([pa.field(part.name, _page_type(part.name, str(part.type))) for part in fields(PageRow)])
WORDS_SCHEMA = pa.schema(
    [
        ("document_key", _TEXT),
        ("page_index", _COUNT),
        ("word_index", _COUNT),
        ("line_index", _COUNT),
        ("row_px", _COUNT),
        ("col_px", _COUNT),
        ("height_px", _COUNT),
        ("width_px", _COUNT),
        ("text", _TEXT),
        ("confidence", _SECONDS),
    ]
)
TILES_SCHEMA = pa.schema(
    [
        ("document_key", _TEXT),
        ("page_index", _COUNT),
        ("tile_px", _COUNT),
        ("n_rows", _COUNT),
        ("n_cols", _COUNT),
        ("importance", pa.list_(pa.float32())),
        ("level", pa.list_(pa.int8())),
    ]
)

SCHEMAS = {"pages": PAGES_SCHEMA, "words": WORDS_SCHEMA, "tiles": TILES_SCHEMA}


@dataclass(frozen=True)
class ShardFooter:
    """What a shard's Parquet says of itself in its footer."""

    shard_id: str
    run_id: str
    first_key: str
    last_key: str
    n_documents: int
    supersedes: tuple[str, ...] = ()
    partial: bool = False
    """True if rows of it were taken out because their documents lie in another shard now."""

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> ShardFooter:
        """Read the footer from Parquet metadata, as strings.

        Raises:
            KeyError: If an entry that every footer has is missing.
        """
        return cls(
            shard_id=metadata[PREFIX + "shard_id"],
            run_id=metadata[PREFIX + "run_id"],
            first_key=metadata[PREFIX + "first_key"],
            last_key=metadata[PREFIX + "last_key"],
            n_documents=int(metadata[PREFIX + "n_documents"]),
            supersedes=tuple(json.loads(metadata.get(PREFIX + "supersedes", "[]"))),
            partial=metadata.get(PREFIX + "partial", "false") == "true",
        )


@dataclass
class Totals:
    """Sums over page rows; bytes are those of whole files, kept ones included."""

    pages: int = 0
    documents: int = 0
    compressed: int = 0
    kept: int = 0
    failed: int = 0
    source_bytes: int = 0
    output_bytes: int = 0
    unread_bytes: int = 0
    """Bytes of sources that could not be read, so that the output lacks them; part of `source_bytes`."""
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, row: Mapping[str, object], *, is_new_document: bool) -> None:
        """Add one page row; `is_new_document` is False for the further pages of a document."""
        source_bytes, output_bytes = int(str(row["source_bytes"])), int(str(row["output_bytes"]))
        self.pages += 1
        self.documents += is_new_document
        status = str(row["status"])
        setattr(self, status, getattr(self, status) + 1)
        self.source_bytes += source_bytes
        self.output_bytes += output_bytes
        if not output_bytes:  # no output is empty, not even a kept empty file's: its source_bytes are 0 as well
            self.unread_bytes += source_bytes
        if reason := row.get("reason"):
            self.reasons[str(reason)] = self.reasons.get(str(reason), 0) + 1

    @property
    def saved_fraction(self) -> float:
        """Share of the read sources' bytes that the output does not need; 0 for an empty archive."""
        read_bytes = self.source_bytes - self.unread_bytes
        return 1.0 - self.output_bytes / read_bytes if read_bytes else 0.0


def shard_key(table: str, shard_id: str) -> str:
    """Return where a shard's rows lie.

    >>> shard_key("pages", "00ff")
    'stats/pages/00ff.parquet'
    """
    return f"stats/{table}/{shard_id}.parquet"


def table_bytes(
    rows: Sequence[Mapping[str, object]] | pa.Table, schema: pa.Schema, metadata: Mapping[str, str]
) -> bytes:
    """Return rows as one Parquet file (zstd), the schema's version and `metadata` in its footer.

    Args:
        rows: One mapping a row, or a table of them.
        schema: Their columns.
        metadata: Entries for the footer, their names with the prefix.

    Raises:
        pa.ArrowInvalid: If a value does not fit its column.
    """
    entries = {PREFIX + "schema_version": SCHEMA_VERSION, **metadata}
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist([dict(row) for row in rows], schema=schema)
    buffer = io.BytesIO()
    pq.write_table(
        table.cast(schema).replace_schema_metadata(entries), buffer, compression="zstd", write_page_checksum=True
    )
    return buffer.getvalue()


def read_footer(dest: Store, shard_id: str) -> ShardFooter:
    """Return the footer of a committed shard, reading no rows.

    Raises:
        FileNotFoundError: If the shard is not committed.
        ConfigError: If the file is none of ours, or written by another version of the schema.
    """
    key = shard_key("pages", shard_id)
    try:
        with dest.open_input(key) as file:
            found = pq.read_schema(file).metadata or {}
        metadata = {name.decode(): value.decode("utf-8", "replace") for name, value in found.items()}
        version = metadata[PREFIX + "schema_version"]
        footer = ShardFooter.from_metadata(metadata)
    except (pa.ArrowInvalid, KeyError, ValueError) as error:
        advice = "delete it, and the next run does its pages again"
        raise ConfigError(f"{key} is damaged or no shard of Foliopress; {advice}") from error
    if version != SCHEMA_VERSION:
        raise ConfigError(f"{key} has schema version {version}, this Foliopress writes and reads {SCHEMA_VERSION}")
    return footer


def check_table(dest: Store, key: str) -> str | None:
    """Read a file of statistics whole, and return what is wrong with it; None if nothing is.

    Raises:
        StoreUnavailable: If the store gives no answer.
    """
    table, _, name = key.removeprefix("stats/").partition("/")
    try:
        with dest.open_input(key) as file:
            rows = pq.read_table(file, page_checksum_verification=True)
        rows.validate(full=True)
    except FileNotFoundError:
        return "it is not there"
    except (pa.ArrowException, OSError, ValueError) as error:
        return f"it cannot be read as Parquet: {str(error).splitlines()[0]}"
    if rows.schema.remove_metadata() != SCHEMAS.get(table):
        return "its columns are not those of this version"
    try:
        footer = read_footer(dest, name.removesuffix(".parquet")) if table == "pages" else None
    except ConfigError as error:
        return str(error)
    if footer and f"{footer.shard_id}.parquet" != name:
        return f"it says that it is shard {footer.shard_id}"
    return None


def iter_footers(dest: Store, passing_over: Collection[str] = ()) -> Iterator[ShardFooter]:
    """Yield the footers of all committed shards, in the order of their ids; some are read ahead.

    Args:
        dest: Where the statistics lie.
        passing_over: Keys of files that are not to be read.
    """
    ids = (
        found.key.rpartition("/")[2].removesuffix(".parquet")
        for found in dest.list_objects("stats/pages/")
        if found.key.endswith(".parquet") and found.key not in passing_over
    )
    # A footer is one small request, and there may be thousands: eight at a time hide the way to the server.
    with ThreadPoolExecutor(8) as readers:
        while some := list(islice(ids, 64)):
            yield from (footer for footer in readers.map(partial(_footer_if_there, dest), some) if footer)


def live_rows(
    dest: Store, table: str = "pages", columns: Sequence[str] | None = None, passing_over: Collection[str] = ()
) -> Iterator[dict[str, object]]:
    """Yield the rows of all committed shards, passing over those of documents that a newer shard holds.

    Args:
        dest: Where the statistics lie.
        table: `pages`, `words` or `tiles`.
        columns: Columns wanted; all of them without it.
        passing_over: Keys of files in `stats/pages` that are not to be read: their shards count as not committed.
    """
    footers = list(iter_footers(dest, passing_over))
    taken: dict[str, set[str]] = {}
    for footer in footers:
        for old in footer.supersedes:
            taken.setdefault(old, set()).update(_document_keys(dest, footer.shard_id))
    wanted = None if columns is None else sorted({*columns, "document_key"})
    for footer in footers:
        dead = taken.get(footer.shard_id, set())
        with dest.open_input(shard_key(table, footer.shard_id)) as file:
            for batch in pq.ParquetFile(file).iter_batches(columns=wanted):
                for row in batch.to_pylist():
                    if row["document_key"] not in dead:
                        yield row if columns is None else {name: row[name] for name in columns}


def totals(rows: Iterable[Mapping[str, object]]) -> Totals:
    """Add up page rows; the rows of a document must stand together."""
    result = Totals()
    last: object = None
    for row in rows:
        result.add(row, is_new_document=row["document_key"] != last)
        last = row["document_key"]
    return result


def _footer_if_there(dest: Store, shard_id: str) -> ShardFooter | None:
    try:
        return read_footer(dest, shard_id)
    except FileNotFoundError:
        return None  # superseded and deleted since the listing


def _document_keys(dest: Store, shard_id: str) -> set[str]:
    with dest.open_input(shard_key("pages", shard_id)) as file:
        return set(pq.read_table(file, columns=["document_key"]).column(0).to_pylist())
