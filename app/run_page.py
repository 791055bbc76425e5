"""Draw the page that shows a finished run: totals, worst pages, and each page next to its source."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import streamlit as st

from foliopress.app import untrusted_text, viewer
from foliopress.app.finished_run import FinishedRun, SortOrder, find_pages, open_run, store, thumbnail_of
from foliopress.app.labels import byte_size, describe_problem, percent
from foliopress.app.metrics_row import Metric, draw_metrics
from foliopress.app.page_images import Picture, picture_of
from foliopress.configs.errors import ConfigError
from foliopress.configs.secrets import hide
from foliopress.configs.settings import LimitSettings
from foliopress.flows.views.charts import DISTRIBUTIONS, distribution, pages_by_reason, saved_by_folder
from foliopress.tasks.checks.rereading import SURE_CONFIDENCE
from foliopress.tasks.codecs.encode import EXTENSIONS
from foliopress.tasks.documents import read_page
from foliopress.tasks.errors import PageError, StoreUnavailable
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.naming.output_keys import page_in_output
from foliopress.tasks.records.overview import RATIO, PageFound, Wanted, by_folder, find_page, totals_of
from foliopress.tasks.records.rows import PageRow
from foliopress.tasks.storage.locations import has_host

_GALLERY = 12
_IN_TABLE = 200
_ORDERS = {
    "worst block of ink": SortOrder("worst_block_ssim"),
    "words kept": SortOrder("words_kept_fraction"),
    "text SSIM": SortOrder("text_ssim"),
    "colour error": SortOrder("chroma_error", is_descending=True),
    "least saved": SortOrder(RATIO, is_descending=True),
    "largest source": SortOrder("source_bytes", is_descending=True),
    "name": SortOrder("document_key"),
}
_BOUNDED = {
    "worst block of ink": "worst_block_ssim",
    "words kept": "words_kept_fraction",
    "text SSIM": "text_ssim",
    "output / source": RATIO,
}
_SHOWN = (
    *("document_key", "page_index", "status", "reason", "page_kind", "codec", "quality", "source_bytes"),
    *("output_bytes", RATIO, "worst_block_ssim", "text_ssim", "words_kept_fraction", "attempts"),
)


_TABS = ("Overview", "Worst pages", "All pages")
_TAB = "run tab"
_TYPED, _CLICKED, _OPENED = "dest", "dest of a link", "dest that is open"
_KEPT = ("wanted ", "gallery ", "table sheet", _TAB)  # filters persist while a page is open


def draw() -> None:
    """Draw the page."""
    url = _requested_url()
    if not url:
        return
    try:
        with st.spinner("Reading the statistics"):
            run = open_run(url)
    except (ConfigError, StoreUnavailable, OSError) as error:
        untrusted_text.problem(st.error, "This cannot be opened:", str(error))
        return
    st.query_params["dest"] = st.session_state[_OPENED] = url
    if run.pages.num_rows == 0:
        untrusted_text.problem(st.info, "There are no finished pages yet in:", url)
        return
    untrusted_text.heading(url)
    place = st.session_state.get("looked at")
    if place and place[0] == url:
        _draw_page(run, place[1], place[2])
        return
    _draw_totals(run)
    views = _draw_charts, _draw_gallery, _draw_table
    for tab, draw_view in zip(st.tabs(_TABS, key=_TAB, on_change="rerun"), views, strict=True):
        if tab.open:
            with tab:
                draw_view(run)


def _requested_url() -> str:
    """Draw the input for a DEST, and return the one the user requested; empty if none.

    A link to this page may also name a DEST. Since a stranger may have written it, it is opened only after a click.
    """
    linked = st.query_params.get("dest", "").strip()
    if linked and linked == st.session_state.get(_CLICKED):
        st.session_state[_TYPED] = linked
        del st.session_state[_CLICKED]
    with st.sidebar:
        typed = st.text_input(
            "Output of a run",
            key=_TYPED,
            placeholder="path or s3://bucket/folder",
            help="The DEST of `foliopress compress`. S3 credentials come from the environment (AWS_…).",
        ).strip()
    if typed:
        return typed
    st.title("Look through a run")
    if linked and linked == st.session_state.get(_OPENED):  # the input was cleared
        del st.query_params["dest"]
    elif linked:
        st.markdown("A link asks to open this output. Open it only if you know the location:")
        st.text(hide(linked))
        if st.button("Open it", icon=":material/folder_open:"):
            st.session_state[_CLICKED] = linked
            st.rerun()
        return ""
    st.markdown(
        "Enter the path or URL of a run's output on the left to see the savings by folder, the pages kept and the "
        "reasons, the pages that lost the most detail, and each page next to its source."
    )
    return ""


@st.cache_data(max_entries=4, show_spinner=False)
def _sums(_run: FinishedRun, files: Hashable) -> Any:  # noqa: ARG001
    return totals_of(_run.pages)


def _draw_totals(run: FinishedRun) -> None:
    sums = _sums(run, run.files)
    draw_metrics(
        Metric("Pages", f"{sums.pages:,}", f"{sums.documents:,} documents"),
        Metric("Source", byte_size(sums.source_bytes)),
        Metric("Output", byte_size(sums.output_bytes), f"{percent(sums.saved_fraction)} saved"),
        Metric("Compressed", f"{sums.compressed:,}"),
        Metric("Kept, failed", f"{sums.kept:,}, {sums.failed:,}"),
    )


def _draw_charts(run: FinishedRun) -> None:
    sums = _sums(run, run.files)
    prefix = _picked_folder(run)
    left, right = st.columns(2)
    folders = by_folder(run.pages, prefix)
    with left:
        st.markdown("**Bytes by folder**")
        st.altair_chart(saved_by_folder(folders))
    with right:
        st.markdown("**Pages by result**")
        st.altair_chart(pages_by_reason(sums.reasons, sums.compressed))
    for pair in (DISTRIBUTIONS[:2], DISTRIBUTIONS[2:]):
        for column, one in zip(st.columns(2), pair, strict=True):
            column.altair_chart(distribution(run.pages, one))


def _picked_folder(run: FinishedRun) -> str:
    """Draw the folder navigation, and return the selected folder."""
    prefix = ""
    while True:
        names = [one.folder for one in by_folder(run.pages, prefix) if one.folder]
        if not names:
            return prefix
        if prefix:
            untrusted_text.note(f"Folders of {prefix}")
        picked = st.selectbox("Folders", names, index=None, placeholder="all", key=f"folder {prefix}")
        if picked is None:
            return prefix
        prefix += picked


def _draw_gallery(run: FinishedRun) -> None:
    columns = st.columns([2, 1, 1])
    name = columns[0].selectbox("Worst by", list(_ORDERS)[:5], key="gallery order")
    order = _ORDERS[name]
    wanted = Wanted(statuses=("compressed",), with_duplicates=False)
    n_found, _ = find_pages(run, run.files, wanted, order, 0, 0)
    n_sheets = max(1, -(-n_found // _GALLERY))
    sheet = columns[1].number_input(f"Sheet (of {n_sheets:,})", 1, n_sheets, key="gallery sheet")
    _, rows = find_pages(run, run.files, wanted, order, (int(sheet) - 1) * _GALLERY, _GALLERY)
    held = rows.to_pylist()
    for start in range(0, len(held), 4):
        for column, row in zip(st.columns(4), held[start : start + 4], strict=False):
            with column.container(border=True):
                _draw_card(run, row, name, order.column)


def _draw_card(run: FinishedRun, row: dict[str, Any], order: str, column: str) -> None:
    index = page_in_output(row["duplicate_of"] or row["document_key"], row["page_index"], row["output_key"])
    picture = thumbnail_of(run.url, row["output_key"], index, row["output_bytes"])
    if picture:
        st.image(picture, width="stretch")
    else:
        st.caption("no image")
    name = _name(row)
    value = row[column]
    untrusted_text.note(name)
    st.caption(f"{order}: {'–' if value is None else f'{value:.3f}'}")
    if st.button("Compare", key=f"compare {name}", width="stretch"):
        _open_page(run, row)


def _draw_table(run: FinishedRun) -> None:
    wanted, order = _draw_filters(run)
    sheet = int(st.session_state.get("table sheet", 1))
    n_found, _ = find_pages(run, run.files, wanted, order, 0, 0)
    n_sheets = max(1, -(-n_found // _IN_TABLE))
    first = (min(sheet, n_sheets) - 1) * _IN_TABLE
    _, rows = find_pages(run, run.files, wanted, order, first, _IN_TABLE)
    st.caption(f"{n_found:,} pages found; showing {first + 1:,} to {first + rows.num_rows:,}. Select one to open it.")
    event = st.dataframe(
        rows.select(list(_SHOWN)),
        key="table",
        on_select="rerun",
        selection_mode="single-row",
        hide_index=True,
        height=520,
        column_config={
            "page_index": st.column_config.NumberColumn("page (from 0)", width="small"),
            RATIO: st.column_config.NumberColumn("output / source", format="%.3f"),
            "worst_block_ssim": st.column_config.NumberColumn("worst block", format="%.3f"),
            "text_ssim": st.column_config.NumberColumn("text SSIM", format="%.3f"),
            "words_kept_fraction": st.column_config.NumberColumn("words kept", format="%.3f"),
        },
    )
    if n_sheets > 1:
        st.number_input(f"Sheet (of {n_sheets:,})", 1, n_sheets, key="table sheet")
    picked = event["selection"]["rows"]
    if picked:
        _open_page(run, rows.slice(picked[0], 1).to_pylist()[0])


def _draw_filters(run: FinishedRun) -> tuple[Wanted, SortOrder]:
    """Draw the filters, and return the query and its sort order."""
    pages = run.pages
    upper, lower = st.columns([2, 1, 1, 1]), st.columns([1, 1, 1, 1])
    text = upper[0].text_input("Name contains", key="wanted text")
    statuses = upper[1].multiselect("Status", _texts(pages["status"]), key="wanted status")
    reasons = upper[2].multiselect("Reason", _texts(pages["reason"]), key="wanted reason")
    kinds = upper[3].multiselect("Kind", _texts(pages["page_kind"]), key="wanted kind")
    column = lower[0].selectbox("Limit", list(_BOUNDED), key="wanted column")
    least = lower[1].number_input("at least", value=None, step=0.01, format="%.3f", key="wanted least")
    most = lower[2].number_input("at most", value=None, step=0.01, format="%.3f", key="wanted most")
    order = lower[3].selectbox("Sort by", list(_ORDERS), key="wanted order")
    wanted = Wanted("", text, tuple(statuses), tuple(reasons), tuple(kinds), _BOUNDED[column], least, most)
    return wanted, _ORDERS[order]


def _texts(column: pa.ChunkedArray) -> list[str]:
    return sorted(str(text) for text in pc.unique(column).to_pylist() if text is not None)


def _open_page(run: FinishedRun, row: dict[str, Any]) -> None:
    st.session_state["looked at"] = run.url, row["document_key"], row["page_index"]
    st.rerun()


def _draw_page(run: FinishedRun, document_key: str, page_index: int) -> None:
    for key in [key for key in st.session_state if str(key).startswith(_KEPT)]:
        st.session_state[key] = st.session_state[key]  # otherwise Streamlit drops values of widgets that are not drawn
    if st.button("Back to the run", icon=":material/arrow_back:"):
        del st.session_state["looked at"]
        st.rerun()
    found = find_page(store(run.url), document_key, page_index)
    if found is None:
        st.error("This page no longer has a row; a newer run replaced it.")
        return
    row = found.row
    untrusted_text.heading(_name(vars(row)))
    if row.reason:
        untrusted_text.problem(st.info, *describe_problem(PageError(row.reason, row.message or row.reason)))
    if row.duplicate_of:
        untrusted_text.problem(
            st.info,
            "It is a duplicate and shares the output of the document below, where the bytes are counted:",
            row.duplicate_of,
        )
    _draw_row(row)
    source, output = _source_page(run, found), _output_page(run, found)
    if isinstance(source, str):
        untrusted_text.note(source)
    if isinstance(output, str):
        untrusted_text.note(output)
    before = source if isinstance(source, Page) else output
    if not isinstance(before, Page):
        return
    both = isinstance(source, Page) and isinstance(output, Page)
    _draw_comparison(found, picture_of(before), picture_of(output) if both and isinstance(output, Page) else None)


def _draw_row(row: PageRow) -> None:
    def as_text(value: float | None) -> str:
        return "–" if value is None else f"{value:.3f}"

    draw_metrics(
        Metric("Source", byte_size(row.source_bytes)),
        Metric("Output", byte_size(row.output_bytes), row.codec if row.codec in EXTENSIONS else None),
        Metric("Worst block of ink", as_text(row.worst_block_ssim)),
        Metric("Text SSIM", as_text(row.text_ssim)),
        Metric("Words kept", as_text(row.words_kept_fraction), help=_words_in(row)),
    )


def _words_in(row: PageRow) -> str:
    """Return what became of the words that OCR was sure of."""
    if row.words_sure is None or row.words_reread is None:
        return "This row does not count its words."
    return (
        f"OCR was sure of {row.words_sure} words; {row.words_reread} were read again. {row.words_lost} are lost, "
        f"{row.words_unrepeatable} read otherwise, but the source does not repeat them either."
    )


def _draw_comparison(found: PageFound, before: Picture, after: Picture | None) -> None:
    tiles = found.tiles
    shape = (tiles.n_rows, tiles.n_cols) if tiles else (0, 0)
    importance = np.array(tiles.importance, np.float32).reshape(shape) if tiles else None
    levels = np.array(tiles.level, np.int8).reshape(shape) if tiles else None
    marks = [
        viewer.Mark(
            word.row_px,
            word.col_px,
            word.height_px,
            word.width_px,
            "sure" if word.confidence >= SURE_CONFIDENCE else "unsure",
        )
        for word in found.words
    ]
    viewer.show(
        f"{found.row.document_key} {found.row.page_index}",
        before,
        after,
        viewer.Overlays(importance, levels, tiles.tile_px if tiles else 1, marks),
        labels=("Source" if after else "Stored as", "Output"),
    )
    with st.expander("All metrics of this page"):
        values = {name: value for name, value in vars(found.row).items() if value is not None}
        table = {"metric": list(values), "value": [str(value) for value in values.values()]}
        st.dataframe(table, hide_index=True, height="content")


def _source_page(run: FinishedRun, found: PageFound) -> Page | str:
    """Return the source page, or the reason it cannot be shown."""
    if run.source is None:
        return "The run does not record its source."
    try:
        if has_host(run.source):
            return f"The source is on a server named by DEST ({run.source}), which this window does not contact."
        data = store(run.source).read_bytes(found.row.document_key)
        return read_page(data, found.row.page_index, LimitSettings())
    except (OSError, ValueError, StoreUnavailable, ConfigError, PageError) as error:  # ValueError: an invalid key
        return f"The source cannot be read from here ({run.source}: {error}); only the output is shown."


def _output_page(run: FinishedRun, found: PageFound) -> Page | str:
    if not found.row.output_key:
        return "There is no output: the source could not be read."
    holder = found.row.duplicate_of or found.row.document_key
    index = page_in_output(holder, found.row.page_index, found.row.output_key)
    try:
        return read_page(store(run.url).read_bytes(found.row.output_key), index, LimitSettings())
    except (OSError, ValueError, StoreUnavailable, PageError) as error:
        return f"The output cannot be shown: {error}"


def _name(row: dict[str, Any]) -> str:
    return f"{row['document_key']}, page {row['page_index'] + 1}" if row["page_index"] else str(row["document_key"])
