"""Twins: documents with the bytes of another one, whose rows point to that one's output until they get their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from flows.sources import PageJob, SourceDocument
from flows.storing import DocumentResult
from tasks.errors import NameRefused
from tasks.keys import text_key, twin_key
from tasks.naming import ORDINARY, Naming
from tasks.searchable import EXTENSIONS
from tasks.statistics import TILES_SCHEMA, WORDS_SCHEMA, as_table
from tasks.store import Store

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
        places = _copies(dest, twin, first, ours, naming)
    except NameRefused as error:
        lost: dict[str, object] = {
            "status": "failed",
            "reason": "name_refused",
            "message": str(error),
            "codec": None,
            "quality": None,
        }
        lost |= {"output_key": None, "output_bytes": 0, "output_sha256": None, "duplicate_of": None}
        return [{**row, **lost} for row in ours]
    if places is None:
        return None
    return [
        {**row, "output_key": places[str(row["output_key"])], "output_bytes": one["output_bytes"], "duplicate_of": None}
        for row, one in zip(ours, theirs, strict=True)
    ]


def _copies(dest: Store, twin: str, first: str, ours: Sequence[Row], naming: Naming) -> dict[str, str] | None:
    """Write copies for a document, and return their keys by those of what they are of; None if that is not there."""
    places: dict[str, str] = {}
    for row in ours:
        place = str(row["output_key"])
        if place in places:
            continue
        try:
            data = dest.read_bytes(place)
        except FileNotFoundError:
            return None
        if hashlib.sha256(data).hexdigest() != row["output_sha256"]:
            return None
        places[place] = twin_key(twin, first, place, naming)
        dest.write_bytes(places[place], data, is_output=True)
    for number in (None, *(int(str(row["page_index"])) for row in ours)):
        for extension in EXTENSIONS.values():
            place = text_key(first, extension, page_index=number, naming=naming)
            if dest.exists(place):
                copy = text_key(twin, extension, page_index=number, naming=naming)
                dest.write_bytes(copy, dest.read_bytes(place), is_output=True)
    return places
