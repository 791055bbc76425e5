"""Add up page rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from foliopress.tasks.records.rows import Record


@dataclass
class Totals:
    """Sums over page rows; bytes are those of whole files, including kept ones."""

    pages: int = 0
    documents: int = 0
    compressed: int = 0
    kept: int = 0
    failed: int = 0
    source_bytes: int = 0
    output_bytes: int = 0
    unread_bytes: int = 0
    """Bytes of sources that could not be read and are missing from the output; part of `source_bytes`."""
    reasons: dict[str, int] = field(default_factory=dict)

    def __add__(self, other: Totals) -> Totals:
        """Return the sums of both; they must share no document."""
        reasons = Counter(self.reasons)
        reasons.update(other.reasons)
        counts = (part.name for part in fields(self) if part.name != "reasons")
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in counts}, reasons=dict(reasons))

    def add(self, row: Record, *, is_new_document: bool) -> None:
        """Add one page row; `is_new_document` is False for the second and later pages of a document."""
        source_bytes, output_bytes = int(row["source_bytes"]), int(row["output_bytes"])
        self.pages += 1
        self.documents += is_new_document
        status = str(row["status"])
        setattr(self, status, getattr(self, status) + 1)
        self.source_bytes += source_bytes
        self.output_bytes += output_bytes
        # no output is empty, not even a kept empty file's: its source_bytes are 0 as well
        if not output_bytes and row.get("duplicate_of") is None:
            self.unread_bytes += source_bytes
        if reason := row.get("reason"):
            self.reasons[str(reason)] = self.reasons.get(str(reason), 0) + 1

    @property
    def saved_fraction(self) -> float:
        """Share of the bytes of the sources that were read that the output saves; 0 for an empty archive."""
        read_bytes = self.source_bytes - self.unread_bytes
        return 1.0 - self.output_bytes / read_bytes if read_bytes else 0.0


def totals(rows: Iterable[Record]) -> Totals:
    """Return the sums over page rows; the rows of a document must be consecutive."""
    result = Totals()
    last: object = None
    for row in rows:
        result.add(row, is_new_document=row["document_key"] != last)
        last = row["document_key"]
    return result
