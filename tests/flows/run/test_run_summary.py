"""Test a run's totals, added up by columns and files, against its rows one by one."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from foliopress.configs.settings import StorageSettings
from foliopress.flows.ledger.ledger import Ledger
from foliopress.flows.run.run_summary import read_metrics
from foliopress.tasks.records.footers import Footer, ShardEntry, read_footers
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.records.schemas import PAGES_SCHEMA
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.records.totals import totals
from foliopress.tasks.storage.store import Store

MOST_TOLD = 10

DOCUMENTS = st.lists(
    st.tuples(
        st.sampled_from(["compressed", "kept", "failed"]),
        st.sampled_from([None, "small", "damaged"]),
        st.sampled_from([None, "first.jpg"]),
        st.integers(0, 10**9),
        st.integers(0, 3),
        st.none() | st.floats(0, 1),
    ),
    max_size=9,
)
FILES = st.lists(st.tuples(st.sampled_from(["r1", "r2"]), DOCUMENTS), max_size=4)


def write(dest: Store, name: str, run_id: str, documents: list[tuple[object, ...]]) -> None:
    """Write a file of page rows; every third document has two pages."""
    rows = []
    for number, (status, reason, first, source_bytes, output_bytes, ssim) in enumerate(documents):
        for page_index in range(2 if number % 3 == 0 else 1):
            row = PageRow(
                run_id=run_id,
                shard_id=name,
                document_key=f"{name}/{number}.tif",
                page_index=page_index,
                status=str(status),
                reason=reason,
                duplicate_of=first,
                source_bytes=source_bytes,
                output_bytes=output_bytes,
                worst_block_ssim=ssim,
            )
            rows.append(asdict(row))
    keys = [str(row["document_key"]) for row in rows] or [name]
    footer = Footer(name, (ShardEntry(name, run_id, keys[0], keys[-1], len(documents)),))
    dest.write_bytes(file_key("pages", name), table_bytes(rows, PAGES_SCHEMA, footer.as_metadata()))


@settings(max_examples=40, deadline=None)
@given(FILES)
def test_figures_are_what_the_rows_say_one_by_one(files: list[tuple[str, list[tuple[object, ...]]]]) -> None:
    dest = Store(f"memory://{uuid.uuid4().hex}", StorageSettings())
    for number, (run_id, documents) in enumerate(files):
        write(dest, f"f{number}", run_id, documents)
    figures = read_metrics(dest, "r1", read_footers(dest))
    in_order_of_keys = read_metrics(dest, "r1", Ledger(dest, "r1").footers)  # as a run gives them
    assert (in_order_of_keys.whole, in_order_of_keys.run) == (figures.whole, figures.run)
    rows = list(live_rows(dest))
    assert figures.whole == totals(rows)
    assert figures.run == totals(row for row in rows if row["run_id"] == "r1")
    failed = [f"{row['document_key']} page {row['page_index'] + 1}: " for row in rows if row["status"] == "failed"]
    assert [told[: len(start)] for told, start in zip(figures.failed_pages, failed, strict=False)] == failed[:MOST_TOLD]
    judged = [row for row in rows if row["status"] == "compressed" and row["duplicate_of"] is None]
    lowest = sorted(row["worst_block_ssim"] for row in judged if row["worst_block_ssim"] is not None)
    assert [page.worst_block_ssim for page in figures.worst_pages] == lowest[:MOST_TOLD]
    told = {(page.document_key, page.page_index) for page in figures.worst_pages}
    assert len(told) == len(figures.worst_pages) <= len(judged)
    assert sum(1 for _ in groupby(rows, lambda row: row["document_key"])) == figures.whole.documents
