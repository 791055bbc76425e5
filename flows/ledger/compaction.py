"""Merge small files of statistics into larger ones at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from foliopress.flows.ledger.ledger import Ledger
from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.schemas import SCHEMAS
from foliopress.tasks.storage.store import Store

MAX_DOCUMENTS = 100_000
MAX_BYTES = 24 * 2**20
"""Size of the three tables of a file together: they go through the driver's memory."""


def compact(ledger: Ledger, dest: Store, most_small: int) -> None:
    """Merge small files if there are more than `most_small` of them."""
    sizes: dict[str, int] = {}
    for table in SCHEMAS:
        for found in dest.list_objects(f"stats/{table}/"):
            name = found.key.rpartition("/")[2].removesuffix(".parquet")
            sizes[name] = sizes.get(name, 0) + found.size_bytes
    files = ledger.footers.values()
    if sum(is_small(footer, sizes) for footer in files) > most_small:
        for group in plan(files, sizes):
            ledger.merge_files(group)


def is_small(footer: Footer, sizes: Mapping[str, int]) -> bool:
    """Return whether a file is less than half as large as it may be."""
    return footer.n_documents < MAX_DOCUMENTS / 2 and sizes.get(footer.name, 0) < MAX_BYTES / 2


def plan(files: Iterable[Footer], sizes: Mapping[str, int]) -> Iterator[list[str]]:
    """Yield groups of files to merge, each as large as it may be; a single file stays as it is.

    A large file stays too, and separates the files before it from those after it, so that a compaction that was killed
    and starts again forms the same groups.

    Args:
        files: In the order of their first keys.
        sizes: Bytes of each file, its three tables together.
    """
    group: list[str] = []
    n_documents = size_bytes = 0
    for footer in files:
        more = sizes.get(footer.name, 0)
        is_full = n_documents + footer.n_documents > MAX_DOCUMENTS or size_bytes + more > MAX_BYTES
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
