"""Print the result of each page of a DEST, one line each, from its Parquet statistics."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import islice

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store

MOST = 25
COLUMNS = ["document_key", "page_index", "status", "reason", "page_kind", "source_bytes", "output_bytes"]


def table(rows: Iterator[Mapping[str, object]]) -> Iterator[str]:
    """Yield the lines of the table; after `MOST` pages, one line that there are more."""
    yield f"{'page':<38} {'kind':<9} {'became':<24} {'before kB':>10} {'after kB':>9} {'saved':>6}"
    for row in islice(rows, MOST):
        name = f"{row['document_key']}:{int(str(row['page_index'])) + 1}"
        became = f"{row['status']} ({row['reason']})" if row["reason"] else str(row["status"])
        before, after = int(str(row["source_bytes"])), int(str(row["output_bytes"]))
        saved = f"{100 * (1 - after / before):.0f} %" if before else ""
        kind = row["page_kind"] or ""
        yield f"{name[-38:]:<38} {kind:<9} {became:<24} {before / 1000:>10,.1f} {after / 1000:>9,.1f} {saved:>6}"
    if next(rows, None) is not None:
        yield f"… the first {MOST} pages"


def main(dest: str) -> None:
    try:
        rows = live_rows(Store(dest, load_settings().storage), columns=COLUMNS)
        sys.stdout.write("\n" + "\n".join(table(iter(rows))) + "\n")
    except ConfigError as error:
        sys.exit(str(error))
    sys.stdout.write(f"\nImages: {dest}/pages   Statistics: {dest}/stats   Settings and totals: {dest}/runs\n")


if __name__ == "__main__":
    main(sys.argv[1].rstrip("/"))
