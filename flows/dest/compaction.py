"""Compaction: which small files of statistics are put together to larger ones at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from foliopress.flows.dest.ledger import Ledger
from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.storage.store import Store

MOST_DOCUMENTS = 100_000
MOST_BYTES = 24 * 2**20
"""Of the three tables together: they go through the driver's memory."""


def compact(ledger: Ledger, dest: Store, most_small: int) -> None:
    """Put small files together if there are more than so many of them."""
    sizes: dict[str, int] = {}
    for table in SCHEMAS:
        for found in dest.list_objects(f"stats/{table}/"):
            name = found.key.rpartition("/")[2].removesuffix(".parquet")
            sizes[name] = sizes.get(name, 0) + found.size_bytes
    files = ledger.footers.values()
    if sum(is_small(footer, sizes) for footer in files) > most_small:
        for group in plan(files, sizes):
            ledger.put_together(group)


def is_small(footer: Footer, sizes: Mapping[str, int]) -> bool:
    """Return whether a file is less than half of what it may be."""
    return footer.n_documents < MOST_DOCUMENTS / 2 and sizes.get(footer.name, 0) < MOST_BYTES / 2


def plan(files: Iterable[Footer], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield the names of files that become one, each as large as it may be; a file alone stays as it is.

    A large file is left alone and parts those before it from those after it, so that what a killed compaction has done
    stays, and the rest is cut as it would have been.

    Args:
        files: In the order of their first keys.
        sizes: Bytes of each file, its three tables together.
    """
    group: list[str] = []
    n_documents = size_bytes = 0
    for footer in files:
        more = sizes.get(footer.name, 0)
        is_full = n_documents + footer.n_documents > MOST_DOCUMENTS or size_bytes + more > MOST_BYTES
        if group and (is_full or not is_small(footer, sizes)):
            if len(group) > 1:
                yield group
            group, n_documents, size_bytes = [], 0, 0
        if is_small(footer, sizes):
            group.append(footer.name)
            n_documents += footer.n_documents
            size_bytes += more
    if len(group) > 1:
        yield group
