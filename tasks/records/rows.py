"""Define the rows of the statistics: one dataclass a table, with the meaning and unit of each column.

`tasks.records.schemas` derives the Parquet schemas and docs/data-dictionary.md from these types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

Record = Mapping[str, Any]
"""A row as Parquet gives it; which columns it has is known only to the code that reads them."""


@dataclass(frozen=True)
class Column:
    """Documentation and type of a column.

    arrow_type: None derives the type from the field's annotation and unit.
    """

    description: str
    unit: str | None = None
    arrow_type: pa.DataType | None = None


def column(description: str, unit: str | None = None, arrow_type: pa.DataType | None = None) -> dict[str, Column]:
    """Return the metadata of a dataclass field that is a column."""
    return {"column": Column(description, unit, arrow_type)}


@dataclass(frozen=True)
class WrittenFile:
    """Key, relative to DEST, size and digest of a file as it was written."""

    key: str
    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, key: str, data: bytes) -> WrittenFile:
        """Return the description of bytes that are written to a key."""
        return cls(key, len(data), hashlib.sha256(data).hexdigest())


@dataclass(frozen=True, kw_only=True)
class PageRow:
    """One page: its source, its output, and the reason for its status. Sizes without `output_` are source pixels."""

    run_id: str = field(metadata=column("Run that wrote the row."))
    shard_id: str = field(metadata=column("Shard in which the document was processed."))
    document_key: str = field(metadata=column("Key of the document, relative to SOURCE."))
    page_index: int = field(metadata=column("Number of the page in its document, from 0."))
    status: str = field(
        metadata=column(
            "`compressed`; `kept` if the page stays as it is in its source; `failed` if it could not be processed."
        )
    )
    reason: str | None = field(
        default=None, metadata=column("Reason for `kept` or `failed`, a snake_case word; null if compressed.")
    )
    page_kind: str | None = field(
        default=None,
        metadata=column("`blank`, `bitonal`, `two-tone`, `grey` or `colour`; null if the page was not decoded."),
    )
    output_key: str | None = field(
        default=None, metadata=column("Key of the output, relative to DEST; null if nothing was written.")
    )
    codec: str | None = field(
        default=None, metadata=column("Codec of the output page: `avif`, `jpeg`, `g4`, `mrc` …; null if kept.")
    )
    quality: int | None = field(
        default=None, metadata=column("Quality given to the codec; null for a lossless codec and for a kept page.")
    )
    source_bytes: int = field(
        default=0, metadata=column("The page's share of the source; a document's shares add up to its size.", "bytes")
    )
    output_bytes: int = field(
        default=0,
        metadata=column("The page's share of the output; 0 for a duplicate and where nothing was written.", "bytes"),
    )
    source_sha256: str | None = field(default=None, metadata=column("SHA-256 of the source document, hexadecimal."))
    output_sha256: str | None = field(default=None, metadata=column("SHA-256 of the output file, hexadecimal."))
    width_px: int | None = field(default=None, metadata=column("Width of the upright source page.", "pixels"))
    height_px: int | None = field(default=None, metadata=column("Height of the upright source page.", "pixels"))
    dpi: float | None = field(
        default=None, metadata=column("Resolution at which the page was judged, whatever its tag says.", "dots/inch")
    )
    output_width_px: int | None = field(default=None, metadata=column("Width of the upright output page.", "pixels"))
    output_height_px: int | None = field(default=None, metadata=column("Height of the upright output page.", "pixels"))
    output_dpi: float | None = field(
        default=None, metadata=column("Resolution tag of the output; null if the source has none.", "dots/inch")
    )
    n_tiles: int | None = field(default=None, metadata=column("Number of tiles of the page.", "tiles"))
    tiles_at_level_1: int | None = field(default=None, metadata=column("Tiles at full resolution.", "tiles"))
    tiles_at_level_2: int | None = field(default=None, metadata=column("Tiles at 1/2 of the resolution.", "tiles"))
    tiles_at_level_4: int | None = field(default=None, metadata=column("Tiles at 1/4 of the resolution.", "tiles"))
    tiles_at_level_8: int | None = field(default=None, metadata=column("Tiles at 1/8 of the resolution.", "tiles"))
    mean_importance: float | None = field(
        default=None, metadata=column("Mean importance of the tiles, as the model scores them.", "0 to 1")
    )
    ocr_words: int | None = field(
        default=None, metadata=column("Words that OCR found in the source; null if it was not read.", "words")
    )
    words_kept_fraction: float | None = field(
        default=None,
        metadata=column(
            "Share of the words that OCR was sure of that are not lost; null without such words.", "0 to 1"
        ),
    )
    digits_changed: int | None = field(
        default=None, metadata=column("Words with digits that OCR reads otherwise in the output.", "words")
    )
    text_ssim: float | None = field(
        default=None, metadata=column("Mean SSIM on the strokes of words that OCR read; null without words.", "-1 to 1")
    )
    worst_block_ssim: float | None = field(
        default=None, metadata=column("SSIM of the worst block of ink; null on a page without ink.", "-1 to 1")
    )
    chroma_error: float | None = field(
        default=None, metadata=column("95th percentile of the chroma error, at 1/8 size.", "grey levels")
    )
    attempts: int | None = field(default=None, metadata=column("Encodings that were tried.", "encodings"))
    scorer: str | None = field(default=None, metadata=column("Runtime that scored the tiles, e.g. `litert-cpu`."))
    model_digest: str | None = field(default=None, metadata=column("Digest of the importance model."))
    settings_digest: str | None = field(
        default=None, metadata=column("Digest of the settings that can change an output.")
    )
    seconds_read: float | None = field(
        default=None, metadata=column("Time to fetch and decode the page, and its share of the document's.", "seconds")
    )
    seconds_ocr: float | None = field(default=None, metadata=column("Time of OCR on the source.", "seconds"))
    seconds_score: float | None = field(
        default=None, metadata=column("The page's share of the time to score its batch.", "seconds")
    )
    seconds_encode: float | None = field(
        default=None, metadata=column("Time to plan, resize and encode, all attempts.", "seconds")
    )
    seconds_check: float | None = field(
        default=None, metadata=column("Time to decode and compare, all attempts.", "seconds")
    )
    seconds_store: float | None = field(default=None, metadata=column("Time to write the output.", "seconds"))
    message: str | None = field(default=None, metadata=column("Explanation of `reason` in words."))
    document_version: str | None = field(
        default=None, metadata=column("ETag, size and time, or digest by which a changed document is recognised.")
    )
    lines_reread: int | None = field(
        default=None, metadata=column("Lines that OCR read again to confirm their words.", "lines")
    )
    seconds_reread: float | None = field(
        default=None, metadata=column("Time of OCR on the output, all attempts.", "seconds")
    )
    ssimulacra2: float | None = field(
        default=None, metadata=column("SSIMULACRA 2 score of the page; null if it was not asked for.", "up to 100")
    )
    text_ssimulacra2: float | None = field(
        default=None, metadata=column("SSIMULACRA 2 score of the page's text; null if not asked for.", "up to 100")
    )
    duplicate_of: str | None = field(
        default=None,
        metadata=column(
            "Key of the document with the same bytes whose output this row points to; `output_bytes` is 0 then."
        ),
    )
    witness: str | None = field(
        default=None,
        metadata=column(
            "Independent decoders that compared output and source before it was stored, e.g. `opencv` or `pdfium`; "
            "`unheard` if none reads the format, null if nothing was compared."
        ),
    )
    witness_error: float | None = field(
        default=None,
        metadata=column("Root mean square difference that the witness saw over the page, at 60 dpi.", "grey levels"),
    )
    witness_worst_block: float | None = field(
        default=None,
        metadata=column("The same over the quarter inch that differs most, as a share of its contrast.", "share"),
    )
    seconds_witness: float | None = field(
        default=None, metadata=column("The page's share of the time to compare by the witness.", "seconds")
    )
    quarter_turns: int | None = field(
        default=None,
        metadata=column("Clockwise quarter turns that bring the page's text upright; 0 for an upright page.", "90°"),
    )
    left_out: str | None = field(
        default=None,
        metadata=column(
            "Images of the document without a row of their own, since this page shows all that they show: reduced "
            "copies and empty masks in a TIFF, thumbnails, auxiliary images. Joined by `; `."
        ),
    )
    mark_chroma_error: float | None = field(
        default=None,
        metadata=column("Largest error of a coloured mark's mean chroma; null on a page without one.", "grey levels"),
    )
    words_sure: int | None = field(
        default=None,
        metadata=column("Words of the source that OCR was sure of; null if the output's strokes failed.", "words"),
    )
    words_reread: int | None = field(
        default=None,
        metadata=column("Of those, words on lines that the encoding changed enough to be read again.", "words"),
    )
    words_unrepeatable: int | None = field(
        default=None,
        metadata=column(
            "Of those, words read otherwise in the output that the source does not repeat either when it is read again "
            "with changes that nobody can see. They are held against no output.",
            "words",
        ),
    )
    words_lost: int | None = field(
        default=None,
        metadata=column(
            "Of those, words that the source repeats and the output does not. All others are the same.", "words"
        ),
    )
    word_change: float | None = field(
        default=None,
        metadata=column("Largest change of a stroke in a word, as a share of the ink's darkness around it.", "share"),
    )
    stroke_change: float | None = field(
        default=None,
        metadata=column("Largest geometric mean of such a change in other writing and of 1 - SSIM around it.", "share"),
    )
    text_files: tuple[WrittenFile, ...] | None = field(
        default=None,
        metadata=column("Files below DEST/text with the page's text; null if none was asked for."),
    )

    def as_record(self) -> dict[str, Any]:
        """Return the row as Parquet takes it."""
        files = None if self.text_files is None else [asdict(file) for file in self.text_files]
        return {**vars(self), "text_files": files}

    @classmethod
    def from_record(cls, record: Record) -> PageRow:
        """Return the row that `as_record` or a Parquet file gave.

        Raises:
            TypeError: If it has a column that this version does not know, or lacks one without a default.
        """
        files = record.get("text_files")
        return cls(**{**record, "text_files": None if files is None else tuple(WrittenFile(**file) for file in files)})


@dataclass(frozen=True, kw_only=True)
class WordRow:
    """One word that OCR found on a page; its box is in upright source pixels."""

    document_key: str = field(metadata=column("Key of the document, relative to SOURCE."))
    page_index: int = field(metadata=column("Number of the page in its document, from 0."))
    word_index: int = field(metadata=column("Number of the word on its page, from 0, in reading order."))
    line_index: int = field(metadata=column("Number of the line on its page, from 0."))
    row_px: int = field(metadata=column("Top edge of the word's box.", "pixels"))
    col_px: int = field(metadata=column("Left edge of the word's box.", "pixels"))
    height_px: int = field(metadata=column("Height of the word's box.", "pixels"))
    width_px: int = field(metadata=column("Width of the word's box.", "pixels"))
    text: str | None = field(metadata=column("The word; null unless `stats.words` is `full`."))
    confidence: float = field(metadata=column("Confidence of OCR.", "0 to 100", pa.float32()))
    quarter_turns: int = field(metadata=column("Clockwise quarter turns that bring the word upright.", "90°"))


@dataclass(frozen=True, kw_only=True)
class TileRow:
    """The tiles of one page, row by row."""

    document_key: str = field(metadata=column("Key of the document, relative to SOURCE."))
    page_index: int = field(metadata=column("Number of the page in its document, from 0."))
    tile_px: int = field(metadata=column("Side of a tile.", "pixels"))
    n_rows: int = field(metadata=column("Number of tile rows."))
    n_cols: int = field(metadata=column("Number of tile columns."))
    importance: tuple[float, ...] = field(metadata=column("Importance of each tile.", "0 to 1", pa.list_(pa.float32())))
    level: tuple[int, ...] = field(
        metadata=column(
            "Level of each tile: 1, 2, 4 or 8; a tile at level n keeps every n-th pixel each way.",
            None,
            pa.list_(pa.int8()),
        )
    )

    @classmethod
    def from_record(cls, record: Record) -> TileRow:
        """Return the row that a Parquet file gave."""
        return cls(**{**record, "importance": tuple(record["importance"]), "level": tuple(record["level"])})
