"""Twins: documents with the bytes of another one, whose rows point to that one's output until they get their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from foliopress.flows.steps.document_plan import PageJob, SourceDocument
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import NameRefused
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.records.schemas import TILES_SCHEMA, WORDS_SCHEMA, as_table
from foliopress.tasks.storage.key_spelling import ORDINARY, Naming
from foliopress.tasks.storage.output_keys import text_key, twin_key
from foliopress.tasks.storage.store import Store

Row = Mapping[str, object]


def point_to(source: SourceDocument, first: Sequence[Row], job: PageJob) -> DocumentResult | None:
    """Return rows that point to the output of another document, or None if that has other bytes after all.

    Args:
        source: The document.
        first: The page rows of the other one.
        job: Of this document's shard.
    """
    if source.sha256 is None or any(row["source_sha256"] != source.sha256 for row in first):
        return None
    own: dict[str, object] = {
        "run_id": job.run_id,
        "shard_id": job.shard_id,
        "document_key": source.document.key,
        "document_version": source.document.version,
        "output_bytes": 0,
        "duplicate_of": source.document.same_as,
        "text_files": None,
    }
    rows = []
    for row in first:
        seconds = {name: 0.0 for name in row if name.startswith("seconds_") and row[name] is not None}
        seconds["seconds_read"] = source.seconds_read / len(first)
        rows.append({**row, **seconds, **own})
    return DocumentResult(rows, as_table([], WORDS_SCHEMA), as_table([], TILES_SCHEMA))


def give_own(
    dest: Store, ours: Sequence[Row], theirs: Sequence[Row], naming: Naming = ORDINARY
) -> list[dict[str, object]] | None:
    """Copy the output and the text that a document points to, and return its rows as they name the copies.

    Args:
        dest: Where both lie.
        ours: The page rows of the document, in their order.
        theirs: Those of the other one.
        naming: How names are spelt in DEST.

    Returns:
        None if what the rows point to is not there as they say: it was damaged, and `foliopress verify` tells.

    Raises:
        StoreUnavailable: If the store gives no answer.
    """
    outputs = ("page_index", "output_key", "output_sha256")
    if [[row[name] for name in outputs] for row in ours] != [[row[name] for name in outputs] for row in theirs]:
        return None
    twin, first = (str(rows[0]["document_key"]) for rows in (ours, theirs))
    try:
        return _copies(dest, twin, first, ours, theirs, naming)
    except NameRefused as error:
        no_output = ("codec", "quality", "output_key", "output_sha256", "duplicate_of", "text_files")
        lost = dict.fromkeys(no_output) | {"output_bytes": 0}
        lost |= {"status": "failed", "reason": "name_refused", "message": str(error)}
        return [{**row, **lost} for row in ours]


def _copies(
    dest: Store, twin: str, first: str, ours: Sequence[Row], theirs: Sequence[Row], naming: Naming
) -> list[dict[str, object]] | None:
    """Write copies for a document, and return its rows as they name them; None if what they are of is not there."""
    places: dict[str, str] = {}
    for row in ours:
        place = str(row["output_key"])
        if place in places:
            continue
        data = _read_if_intact(dest, place, row["output_sha256"])
        if data is None:
            return None
        places[place] = twin_key(twin, first, place, naming)
        dest.write_bytes(places[place], data, is_output=True)
    rows = []
    for row, one in zip(ours, theirs, strict=True):
        text_files = _own_text(dest, twin, first, one, naming)
        if text_files is None:
            return None
        own = {"output_key": places[str(row["output_key"])], "output_bytes": one["output_bytes"], "duplicate_of": None}
        rows.append({**row, **own, "text_files": text_files or None})
    return rows


def _own_text(dest: Store, twin: str, first: str, row: Row, naming: Naming) -> list[dict[str, object]] | None:
    """Copy the text of a page, and return what the copies are; None if it is not there as the row says."""
    files = row["text_files"] or ()
    assert isinstance(files, Sequence)
    before, after = text_key(first, "", naming=naming), text_key(twin, "", naming=naming)
    copies = []
    for file in files:
        data = _read_if_intact(dest, file["key"], file["sha256"])
        if data is None:
            return None
        copy = WrittenFile.of(after.removesuffix(".") + file["key"].removeprefix(before.removesuffix(".")), data)
        dest.write_bytes(copy.key, data, is_output=True)
        copies.append(asdict(copy))
    return copies


def _read_if_intact(dest: Store, key: str, sha256: object) -> bytes | None:
    try:
        data = dest.read_bytes(key)
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == sha256 else None
