"""Open a finished DEST for the window; all sessions share what has been read."""

from __future__ import annotations

import json
from collections.abc import Hashable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import streamlit as st

from foliopress.configs.loading import load_settings
from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError, StoreUnavailable
from foliopress.tasks.images.thumbnails import thumbnail
from foliopress.tasks.records.overview import Wanted, ranked, read_overview, select
from foliopress.tasks.storage.locations import check_place
from foliopress.tasks.storage.store import Store


@dataclass(frozen=True)
class FinishedRun:
    """A DEST and its pages, one row each.

    `files` identifies the state of its statistics; `source` is the source of its newest finished run, if recorded.
    """

    url: str
    files: Hashable
    pages: pa.Table
    source: str | None


def open_run(url: str) -> FinishedRun:
    """Open a DEST; its statistics are read again only if a run has changed them.

    Raises:
        ConfigError: If nothing can be read there, or a file of statistics is damaged.
        StoreUnavailable: If the store does not answer.
    """
    check_place("DEST", url)
    dest = store(url)
    dest.check_readable()
    listed = dest.list_objects("stats/pages/")
    files = tuple((found.key, found.size_bytes, found.modified, found.etag) for found in listed)
    return _read_run(url, files)


def store(url: str) -> Store:
    """Return the store for a path or URL, with credentials from the environment."""
    return Store(url, load_settings().storage)


@st.cache_resource(max_entries=2, show_spinner=False)
def _read_run(url: str, files: Hashable) -> FinishedRun:
    dest = store(url)
    return FinishedRun(url, files, read_overview(dest), _source_of(dest))


class SortOrder(NamedTuple):
    """A column to sort pages by, and the direction."""

    column: str
    is_descending: bool = False


@st.cache_data(max_entries=64, show_spinner=False)
def find_pages(
    _run: FinishedRun,
    files: Hashable,  # noqa: ARG001
    wanted: Wanted,
    order: SortOrder,
    first: int,
    count: int,
) -> tuple[int, pa.Table]:
    """Return the number of matching pages, and a range of them in order; `files` are the run's."""
    found = select(_run.pages, wanted)
    return found.num_rows, ranked(found, order.column, first, count, descending=order.is_descending)


@st.cache_data(max_entries=400, show_spinner=False)
def thumbnail_of(url: str, output_key: str, page_index: int, size_bytes: int) -> bytes | None:  # noqa: ARG001
    """Return a thumbnail of a compressed page, or None if it cannot be shown; the size is part of the cache key."""
    try:
        return thumbnail(store(url).read_bytes(output_key), page_index, LimitSettings())
    except (PageError, OSError, ValueError, StoreUnavailable):  # ValueError: an invalid key
        return None


def _source_of(dest: Store) -> str | None:
    runs = sorted((found.key for found in dest.list_objects("runs/") if found.key.endswith("/run.json")), reverse=True)
    for key in runs[:5]:
        try:
            source = json.loads(dest.read_bytes(key)).get("source")
        except (ValueError, FileNotFoundError):
            continue
        if source:
            return str(source)
    return None
