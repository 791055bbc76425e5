"""Overview: a million rows as columns say the same as the rows one by one."""

import math
import uuid
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.overview import (
    RATIO,
    Wanted,
    by_folder,
    by_verdict,
    find_page,
    histogram,
    ranked,
    read_overview,
    read_recipes,
    select,
    totals_of,
)
from foliopress.tasks.records.premis import verdict_of
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.records.totals import totals
from foliopress.tasks.storage.store import Store


def new_dest():
    return Store(f"memory://{uuid.uuid4().hex}", StorageSettings())


def commit(dest, name, rows, supersedes=()):
    """Write one file of page rows, with a word and a tile for each."""
    keys = [row.document_key for row in rows]
    footer = Footer(name, (ShardEntry(name, rows[0].run_id, min(keys), max(keys), len(set(keys))),), tuple(supersedes))
    places = [{"document_key": row.document_key, "page_index": row.page_index} for row in rows]
    tables = {
        "pages": [asdict(row) for row in rows],
        "words": [place | {"word_index": 0, "text": name} for place in places],
        "tiles": [place | {"importance": [0.5], "level": [8]} for place in places],
    }
    for table, values in tables.items():
        dest.write_bytes(file_key(table, name), table_bytes(values, SCHEMAS[table], footer.as_metadata()))


def page(key, page_index=0, status="compressed", run_id="r1", **more):
    return PageRow(run_id=run_id, shard_id="s", document_key=key, page_index=page_index, status=status, **more)


PAGES = st.builds(
    page,
    key=st.sampled_from(["a.jpg", "b/c.jpg", "b/d.jpg", "b/e/f.tif", "ü/g.png", "h.tif"]),
    page_index=st.integers(0, 2),
    status=st.sampled_from(["compressed", "kept", "failed"]),
    reason=st.sampled_from([None, "no_gain", "damaged"]),
    source_bytes=st.integers(0, 10**12),
    output_bytes=st.integers(0, 10**12),
    worst_block_ssim=st.none() | st.floats(0, 1),
)
ARCHIVES = st.lists(st.lists(PAGES, min_size=1, max_size=6), max_size=4)


def archive_of(files):
    """Write each list as a file; the last takes over what it holds from the first."""
    dest = new_dest()
    for number, rows in enumerate(files):
        held = sorted(
            {(row.document_key, row.page_index): row for row in rows}.values(), key=lambda row: row.document_key
        )
        commit(dest, f"f{number}", held, ["f0"] if number and number == len(files) - 1 else ())
    return dest


@settings(max_examples=40, deadline=None)
@given(ARCHIVES)
def test_columns_add_up_to_what_the_rows_one_by_one_do(files):
    dest = archive_of(files)
    by_columns, by_rows = totals_of(read_overview(dest)), totals(live_rows(dest))
    assert by_columns == by_rows


@settings(max_examples=40, deadline=None)
@given(ARCHIVES)
def test_each_document_is_counted_once_where_each_has_its_rows_in_one_file(files):
    own = [
        [replace(row, document_key=f"{number}/{row.document_key}") for row in rows] for number, rows in enumerate(files)
    ]
    dest = archive_of(own)
    assert totals_of(read_overview(dest)).documents == len({row["document_key"] for row in live_rows(dest)})


@settings(max_examples=40, deadline=None)
@given(ARCHIVES, st.sampled_from(["", "b/", "b/e/", "ü/", "x/"]))
def test_folders_hold_all_that_lies_below_and_nothing_else(files, prefix):
    dest = archive_of(files)
    rows = [row for row in live_rows(dest) if str(row["document_key"]).startswith(prefix)]
    expected = Counter()
    for row in rows:
        folder, slash, _ = str(row["document_key"]).removeprefix(prefix).partition("/")
        expected[folder + slash if slash else ""] += 1
    found = by_folder(read_overview(dest), prefix)
    assert {one.folder: one.pages for one in found} == expected
    assert sum(one.source_bytes for one in found) == sum(row["source_bytes"] for row in rows)
    assert sum(one.output_bytes for one in found) == sum(row["output_bytes"] for row in rows)


@pytest.fixture
def pages():
    dest = new_dest()
    rows = [
        page("a/1.jpg", worst_block_ssim=0.9, source_bytes=100, output_bytes=25, page_kind="grey"),
        page("a/2.jpg", worst_block_ssim=0.5, source_bytes=100, output_bytes=50, page_kind="colour"),
        page("a/3.jpg", status="kept", reason="no_gain", source_bytes=0, output_bytes=0),
        page("b/Letter 4.jpg", worst_block_ssim=0.7, source_bytes=100, output_bytes=10, page_kind="grey"),
    ]
    commit(dest, "f", rows)
    return read_overview(dest)


def keys_of(found):
    return found["document_key"].to_pylist()


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), [1, 2, 3, 4]),
        (Wanted(prefix="a/"), [1, 2, 3]),
        (Wanted(text="LETTER"), [4]),
        (Wanted(statuses=("kept", "failed")), [3]),
        (Wanted(reasons=("no_gain",), prefix="b/"), []),
        (Wanted(kinds=("grey",), least=0.8), [1]),
        (Wanted(most=0.7), [2, 4]),
        (Wanted(column=RATIO, least=0.2, most=0.3), [1]),
    ],
)
def test_what_is_wanted_is_found(pages, wanted, numbers):
    assert [int(key[-5]) for key in keys_of(select(pages, wanted))] == numbers


def test_ranks_put_pages_without_a_value_last_either_way(pages):
    assert keys_of(ranked(pages, "worst_block_ssim", 0, 9)) == ["a/2.jpg", "b/Letter 4.jpg", "a/1.jpg", "a/3.jpg"]
    down = ranked(pages, "worst_block_ssim", 0, 9, descending=True)
    assert keys_of(down) == ["a/1.jpg", "b/Letter 4.jpg", "a/2.jpg", "a/3.jpg"]
    assert keys_of(ranked(pages, "worst_block_ssim", 1, 2)) == ["b/Letter 4.jpg", "a/1.jpg"]
    assert keys_of(ranked(pages, "status", 0, 4))[-1] == "a/3.jpg"


def test_the_ratio_is_that_of_the_bytes_and_an_empty_source_has_none(pages):
    assert np.allclose(pages[RATIO].drop_null().to_numpy(), [0.25, 0.5, 0.1])
    assert pages[RATIO].null_count == 1


def test_a_histogram_counts_what_lies_beyond_its_ends_with_the_outer_bars(pages):
    assert histogram(pages, "worst_block_ssim", [0.6, 0.8, 0.85]) == [2, 1]
    assert sum(histogram(pages, RATIO, [0.0, 0.2, math.inf])) == 3


def test_a_page_is_found_with_its_words_and_tiles_in_the_newest_run_that_holds_it():
    dest = new_dest()
    commit(dest, "f1", [page("a.tif", 0), page("a.tif", 1, codec="avif"), page("b.jpg")])
    commit(dest, "f2", [page("a.tif", 1, run_id="r2", codec="jpeg")], ["f1"])
    found = find_page(dest, "a.tif", 1)
    assert found.row.codec == "jpeg"
    assert [word.text for word in found.words] == ["f2"]
    assert found.tiles.level == (8,)
    assert find_page(dest, "a.tif", 2) is None
    assert find_page(dest, "zz.jpg", 0) is None


def test_an_empty_dest_is_an_empty_overview():
    found = read_overview(new_dest())
    assert found.num_rows == 0
    assert totals_of(found).pages == 0
    assert by_folder(found) == []


@given(files=ARCHIVES)
@settings(max_examples=60, deadline=None)
def test_documents_are_counted_by_what_became_of_them(files):
    dest = archive_of(files)
    statuses = {}
    for row in live_rows(dest):
        statuses.setdefault(row["document_key"], []).append(row["status"])
    counts = Counter(verdict_of(each) for each in statuses.values())
    assert by_verdict(read_overview(dest)) == {name: counts[name] for name in ("compressed", "kept", "failed")}


def test_what_documents_were_made_with_is_told_with_their_number():
    dest = new_dest()
    assert read_recipes(dest) == {}
    old, new = ({"settings_digest": digest, "model_digest": "30", "scorer": "tf-gpu"} for digest in ("5e", "5f"))
    commit(dest, "s1", [page("a.tif", 0, **old), page("a.tif", 1, **old)])
    commit(dest, "s2", [page("b.tif", **new), page("c.tif", **new)])
    assert read_recipes(dest) == {
        "settings 5f, model 30, tf-gpu": 2,
        "settings 5e, model 30, tf-gpu": 1,
    }
