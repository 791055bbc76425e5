"""Account: the rows come back as they went in, and no page is counted twice or forgotten."""

import io
import uuid
from dataclasses import asdict, fields

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.records.footers import Footer, ShardEntry, read_footer, read_footers
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import PAGES_SCHEMA, PREFIX, SCHEMA_VERSION, SCHEMAS, TILES_SCHEMA, WORDS_SCHEMA
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.records.totals import totals
from foliopress.tasks.storage.store import Store

# The columns that the design promises, in its order; a column more may follow, none may go or change its name.
PROMISED = [
    *("run_id", "shard_id", "document_key", "page_index", "status", "reason", "page_kind", "output_key"),
    *("codec", "quality", "source_bytes", "output_bytes", "source_sha256", "output_sha256", "width_px"),
    *("height_px", "dpi", "output_width_px", "output_height_px", "output_dpi", "n_tiles"),
    *("tiles_at_level_1", "tiles_at_level_2", "tiles_at_level_4", "tiles_at_level_8", "mean_importance"),
    *("ocr_words", "words_kept_fraction", "digits_changed", "text_ssim", "worst_block_ssim"),
    *("chroma_error", "attempts", "scorer", "model_digest", "settings_digest", "seconds_read"),
    *("seconds_ocr", "seconds_score", "seconds_encode", "seconds_check", "seconds_store"),
]


@pytest.fixture
def dest():
    return Store(f"memory://{uuid.uuid4().hex}", StorageSettings())


def page(key="a.jpg", page_index=0, status="compressed", **more):
    row = PageRow(run_id="r", shard_id="s", document_key=key, page_index=page_index, status=status, **more)
    return asdict(row)


def footer(shard_id, keys, supersedes=()):
    entry = ShardEntry(shard_id, "r", min(keys), max(keys), len(set(keys)), n_failed=0, n_again=0)
    return Footer(shard_id, (entry,), tuple(supersedes), written_by="r").as_metadata()


def commit(dest, shard_id, keys, supersedes=()):
    rows = {
        "pages": [page(key) | {"shard_id": shard_id} for key in keys],
        "words": [{"document_key": key, "page_index": 0, "word_index": 0, "text": shard_id} for key in keys],
        "tiles": [{"document_key": key, "page_index": 0, "importance": [0.5], "level": [8]} for key in keys],
    }
    for table in ("words", "tiles", "pages"):
        dest.write_bytes(
            file_key(table, shard_id), table_bytes(rows[table], SCHEMAS[table], footer(shard_id, keys, supersedes))
        )


def test_the_page_table_has_the_promised_columns_in_their_order():
    assert PAGES_SCHEMA.names[: len(PROMISED)] == PROMISED
    own = {"message", "document_version", "duplicate_of", "lines_reread", "seconds_reread", "quarter_turns", "left_out"}
    own |= {"ssimulacra2", "text_ssimulacra2", "mark_chroma_error", "word_change", "stroke_change"}
    own |= {"words_sure", "words_reread", "words_unrepeatable", "words_lost"}
    own |= {"witness", "witness_error", "witness_worst_block", "seconds_witness", "text_files"}
    assert set(PAGES_SCHEMA.names[len(PROMISED) :]) == own
    assert PAGES_SCHEMA.names == [part.name for part in fields(PageRow)]


def test_numbers_have_types_that_fit_what_they_count():
    assert {PAGES_SCHEMA.field(name).type for name in PAGES_SCHEMA.names if name.endswith("_bytes")} == {pa.int64()}
    assert {PAGES_SCHEMA.field(name).type for name in PAGES_SCHEMA.names if name.endswith("_px")} == {pa.int32()}
    assert {PAGES_SCHEMA.field(name).type for name in PAGES_SCHEMA.names if name.endswith("_ssim")} == {pa.float64()}
    assert PAGES_SCHEMA.field("reason").type == pa.string() and PAGES_SCHEMA.field("reason").nullable
    assert TILES_SCHEMA.field("importance").type == pa.list_(pa.float32())
    assert TILES_SCHEMA.field("level").type == pa.list_(pa.int8())


texts = st.none() | st.text(st.characters(codec="utf-8"), max_size=8)


@given(
    st.lists(
        st.builds(
            PageRow,
            run_id=st.just("r"),
            shard_id=st.just("s"),
            document_key=st.text(st.characters(codec="utf-8"), max_size=8),
            page_index=st.integers(0, 2**31 - 1),
            status=st.sampled_from(["compressed", "kept", "failed"]),
            reason=texts,
            message=texts,
            source_bytes=st.integers(0, 2**62),
            text_ssim=st.none() | st.floats(-1, 1),
            tiles_at_level_8=st.none() | st.integers(0, 2**31 - 1),
        ),
        max_size=5,
    )
)
@settings(deadline=None, max_examples=60)
def test_page_rows_come_back_as_they_went_in(rows):
    data = table_bytes([asdict(row) for row in rows], PAGES_SCHEMA, {"foliopress.run_id": "r"})
    assert [PageRow.from_record(row) for row in pq.read_table(io.BytesIO(data)).to_pylist()] == rows


def test_the_files_are_zstd_and_carry_schema_version_and_metadata():
    file = pq.ParquetFile(io.BytesIO(table_bytes([page()], PAGES_SCHEMA, {"foliopress.shard_id": "s"})))
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.schema_arrow.metadata[b"foliopress.schema_version"] == SCHEMA_VERSION.encode()
    assert file.schema_arrow.metadata[b"foliopress.shard_id"] == b"s"


def test_a_table_without_rows_has_its_columns_all_the_same():
    table = pq.read_table(io.BytesIO(table_bytes([], WORDS_SCHEMA, {})))
    assert table.num_rows == 0 and table.schema.names == WORDS_SCHEMA.names


def test_words_without_text_keep_their_boxes():
    word = {"document_key": "a", "page_index": 0, "word_index": 3, "row_px": 1, "col_px": 2, "confidence": 91.5}
    [row] = pq.read_table(io.BytesIO(table_bytes([word], WORDS_SCHEMA, {}))).to_pylist()
    assert row["text"] is None and (row["row_px"], row["col_px"], row["confidence"]) == (1, 2, 91.5)


def test_a_value_of_the_wrong_type_is_refused():
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        table_bytes([page() | {"width_px": "wide"}], PAGES_SCHEMA, {})


def test_a_committed_shard_is_known_by_its_footer(dest):
    commit(dest, "s1", ["a.jpg", "b.jpg"], supersedes=["s0"])
    entry = ShardEntry("s1", "r", "a.jpg", "b.jpg", 2, n_failed=0, n_again=0)
    assert read_footer(dest, "s1") == Footer("s1", (entry,), supersedes=("s0",), written_by="r")
    with pytest.raises(FileNotFoundError):
        read_footer(dest, "s2")


@given(
    st.lists(
        st.builds(ShardEntry, *[st.text(max_size=5)] * 4, st.integers(0, 9), st.booleans()), min_size=1, max_size=4
    ),
    st.lists(st.text(max_size=4), max_size=3),
)
def test_a_footer_comes_back_from_parquet_as_it_went(entries, names):
    footer = Footer("part-1", tuple(entries), supersedes=tuple(names), replaces=tuple(reversed(names)))
    data = table_bytes([], PAGES_SCHEMA, footer.as_metadata())
    metadata = {key.decode(): value.decode() for key, value in pq.read_schema(io.BytesIO(data)).metadata.items()}
    assert Footer.from_metadata(metadata) == footer


def test_a_file_that_others_were_put_together_to_takes_their_place(dest):
    for shard_id in ("s1", "s2", "s3"):
        commit(dest, shard_id, [f"{shard_id}.jpg"])
    entries = tuple(ShardEntry(name, "r", f"{name}.jpg", f"{name}.jpg", 1) for name in ("s1", "s2"))
    merged = Footer("part-1", entries, replaces=("s1", "s2"))
    for table, rows in (("words", []), ("tiles", []), ("pages", [page("s1.jpg"), page("s2.jpg")])):
        dest.write_bytes(file_key(table, "part-1"), table_bytes(rows, SCHEMAS[table], merged.as_metadata()))
    assert list(read_footers(dest)) == ["part-1", "s3"]
    assert [row["document_key"] for row in live_rows(dest)] == ["s1.jpg", "s2.jpg", "s3.jpg"]
    assert [row["document_key"] for row in live_rows(dest, "words")] == ["s3.jpg"]


def test_footers_come_in_the_order_of_their_ids_and_only_committed_shards_have_one(dest):
    ids = [f"{number:03d}" for number in range(70)]
    for shard_id in reversed(ids):
        commit(dest, shard_id, [f"{shard_id}.jpg"])
    dest.write_bytes("stats/words/zzz.parquet", b"left by a killed run")
    dest.write_bytes("stats/pages/README", b"not ours")
    assert list(read_footers(dest)) == ids


@pytest.mark.parametrize("data", [b"", b"PAR1 but no more", table_bytes([], PAGES_SCHEMA, {})])
def test_a_damaged_file_among_the_shards_is_named_with_what_to_do(dest, data):
    dest.write_bytes(file_key("pages", "odd"), data)
    with pytest.raises(ConfigError, match=r"stats/pages/odd\.parquet is damaged.*compress --deep"):
        read_footers(dest)
    told: list[str] = []
    assert read_footers(dest, on_damaged=lambda error: told.append(str(error))) == {}
    assert len(told) == 1


def test_a_table_that_is_none_of_ours_is_named_and_never_taken_for_a_damaged_one(dest):
    file = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), file)
    dest.write_bytes(file_key("pages", "odd"), file.getvalue())
    for is_deep in (False, True):
        with pytest.raises(ConfigError, match=r"stats/pages/odd\.parquet is no file of Foliopress's"):
            read_footers(dest, on_damaged=lambda error: None, is_deep=is_deep)


def test_a_shard_of_another_schema_version_is_refused(dest):
    metadata = footer("s", ["a"]) | {PREFIX + "schema_version": "99"}
    dest.write_bytes(file_key("pages", "s"), table_bytes([page()], PAGES_SCHEMA, metadata))
    with pytest.raises(ConfigError, match="schema version 99"):
        read_footer(dest, "s")


@pytest.mark.parametrize("table", ["pages", "words", "tiles"])
def test_a_document_that_a_newer_shard_holds_is_dead_in_the_older_one_only(dest, table):
    commit(dest, "old", ["a", "b", "c", "d"])
    commit(dest, "new", ["b", "c", "x"], supersedes=["old", "long gone"])
    commit(dest, "other", ["m"])
    assert sorted(str(row["document_key"]) for row in live_rows(dest, table)) == ["a", "b", "c", "d", "m", "x"]
    if table == "pages":
        holders = {row["document_key"]: row["shard_id"] for row in live_rows(dest)}
        assert holders == {"a": "old", "d": "old", "b": "new", "c": "new", "x": "new", "m": "other"}


def test_only_wanted_columns_are_read(dest):
    commit(dest, "s", ["a", "b"])
    assert list(live_rows(dest, columns=["status", "shard_id"])) == [{"status": "compressed", "shard_id": "s"}] * 2


def test_totals_are_of_whole_files_and_what_could_not_be_read_is_not_saved():
    rows = [
        page("a.jpg", source_bytes=1000, output_bytes=100, output_key="pages/a.jpg.avif"),
        page("b.tif", 0, "kept", reason="legibility", source_bytes=400, output_bytes=400, output_key="pages/b.tif"),
        page("b.tif", 1, "kept", reason="document_kept", source_bytes=600, output_bytes=600, output_key="pages/b.tif"),
        page("c.jpg", 0, "failed", reason="source_unreadable", source_bytes=5000, output_bytes=0),
        page("d.jpg", 0, "failed", reason="empty", source_bytes=0, output_bytes=0, output_key="pages/d.jpg"),
    ]
    found = totals(iter(rows))
    assert (found.pages, found.documents) == (5, 4)
    assert (found.compressed, found.kept, found.failed) == (1, 2, 2)
    assert (found.source_bytes, found.output_bytes, found.unread_bytes) == (7000, 1100, 5000)
    assert found.saved_fraction == pytest.approx(1 - 1100 / 2000)
    assert found.reasons == {"legibility": 1, "document_kept": 1, "source_unreadable": 1, "empty": 1}


def test_nothing_saves_nothing():
    assert totals([]).saved_fraction == 0.0


@given(st.lists(st.tuples(st.integers(1, 10**12), st.floats(0, 1)), max_size=20))
def test_the_saved_fraction_can_be_recomputed_from_the_rows(sizes):
    rows = [
        page(str(number), source_bytes=source, output_bytes=max(1, int(source * share)))
        for number, (source, share) in enumerate(sizes)
    ]
    found = totals(rows)
    assert found.pages == found.documents == len(rows)
    assert 0 <= found.saved_fraction < 1
    if rows:
        whole, left = sum(row["source_bytes"] for row in rows), sum(row["output_bytes"] for row in rows)
        assert found.saved_fraction == pytest.approx(1 - left / whole)


def test_texts_and_levels_are_written_with_a_dictionary_and_figures_without_one():
    word = {"document_key": "a.jpg", "page_index": 0, "row_px": 7, "text": "nisi", "confidence": 0.5}
    tile = {"document_key": "a.jpg", "page_index": 0, "importance": [0.25, 0.5], "level": [1, 8]}
    assert coded_columns([word] * 9, WORDS_SCHEMA) == {"document_key", "text"}
    assert coded_columns([tile] * 9, TILES_SCHEMA) == {"document_key", "level.list.element"}
    written = pa.schema([("outputs", pa.list_(pa.struct([("codec", pa.string()), ("output_bytes", pa.int64())])))])
    assert coded_columns([{"outputs": [{"codec": "avif", "output_bytes": 9}]}] * 9, written) == {
        "outputs.list.element.codec"
    }


def coded_columns(rows, schema):
    """Return the columns that have a dictionary in a file of these rows."""
    group = pq.ParquetFile(io.BytesIO(table_bytes(rows, schema, {}))).metadata.row_group(0)
    columns = [group.column(number) for number in range(group.num_columns)]
    return {column.path_in_schema for column in columns if "RLE_DICTIONARY" in column.encodings}
