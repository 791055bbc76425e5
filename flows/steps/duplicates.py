"""Point the rows of a duplicate to another document's output, or copy that output for it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from foliopress.flows.steps.document_plan import PageJob, SourceDocument
from foliopress.flows.steps.store_document import DocumentResult
from foliopress.tasks.errors import NameRefused
from foliopress.tasks.naming.key_spelling import ORDINARY, Naming
from foliopress.tasks.naming.output_keys import duplicate_key, text_key
from foliopress.tasks.records.rows import PageRow, WrittenFile
from foliopress.tasks.records.schemas import tile_table, word_table
from foliopress.tasks.storage.store import Store

_SECONDS = tuple(part.name for part in fields(PageRow) if part.name.startswith("seconds_"))


def point_to(source: SourceDocument, original: Sequence[PageRow], job: PageJob) -> DocumentResult | None:
    """Return rows that point to the output of another document, or None if its bytes differ after all.

    Args:
        source: The duplicate.
        original: Page rows of the other document.
        job: Job of the duplicate's shard.
    """
    if source.sha256 is None or any(row.source_sha256 != source.sha256 for row in original):
        return None
    seconds_read = source.seconds_read / len(original)

    def seconds_of(row: PageRow) -> dict[str, Any]:
        return {name: 0.0 for name in _SECONDS if getattr(row, name) is not None} | {"seconds_read": seconds_read}

    rows = tuple(
        replace(
            row,
            **seconds_of(row),
            run_id=job.run_id,
            shard_id=job.shard_id,
            document_key=source.document.key,
            document_version=source.document.version,
            output_bytes=0,
            duplicate_of=source.document.duplicate_of,
            text_files=None,
        )
        for row in original
    )
    return DocumentResult(rows, word_table(()), tile_table(()))


def give_own(
    dest: Store, ours: Sequence[PageRow], theirs: Sequence[PageRow], naming: Naming = ORDINARY
) -> list[PageRow] | None:
    """Copy the output and the text that a duplicate points to, and return its rows with the keys of the copies.

    Args:
        dest: Store of both.
        ours: Page rows of the duplicate, in order.
        theirs: Page rows of the other document.
        naming: Spelling of names in DEST.

    Returns:
        None if the output is missing or damaged; `foliopress verify` reports it.

    Raises:
        StoreUnavailable: If the store does not answer.
    """
    if [_output_of(row) for row in ours] != [_output_of(row) for row in theirs]:
        return None
    try:
        return _copies(dest, ours, theirs, naming)
    except NameRefused as error:
        return [
            replace(
                row,
                status="failed",
                reason="name_refused",
                message=str(error),
                codec=None,
                quality=None,
                output_key=None,
                output_sha256=None,
                output_bytes=0,
                duplicate_of=None,
                text_files=None,
            )
            for row in ours
        ]


def _output_of(row: PageRow) -> tuple[int, str | None, str | None]:
    return row.page_index, row.output_key, row.output_sha256


def _copies(dest: Store, ours: Sequence[PageRow], theirs: Sequence[PageRow], naming: Naming) -> list[PageRow] | None:
    """Write copies for a duplicate, and return its rows with their keys; None if the output is missing or damaged."""
    duplicate, original = ours[0].document_key, theirs[0].document_key
    places: dict[str | None, str] = {}
    for row in ours:
        if row.output_key in places:
            continue
        data = _read_if_intact(dest, row.output_key, row.output_sha256)
        if data is None or row.output_key is None:
            return None
        place = places[row.output_key] = duplicate_key(duplicate, original, row.output_key, naming)
        dest.write_bytes(place, data, is_output=True)
    rows = []
    for row, one in zip(ours, theirs, strict=True):
        text_files = _own_text(dest, duplicate, one, naming)
        if text_files is None:
            return None
        rows.append(
            replace(
                row,
                output_key=places[row.output_key],
                output_bytes=one.output_bytes,
                duplicate_of=None,
                text_files=text_files or None,
            )
        )
    return rows


def _own_text(dest: Store, duplicate: str, original: PageRow, naming: Naming) -> tuple[WrittenFile, ...] | None:
    """Copy the text of a page, and return the copies; None if it is missing or damaged."""
    before = text_key(original.document_key, "", naming=naming).removesuffix(".")
    after = text_key(duplicate, "", naming=naming).removesuffix(".")
    copies = []
    for file in original.text_files or ():
        data = _read_if_intact(dest, file.key, file.sha256)
        if data is None:
            return None
        copy = WrittenFile.of(after + file.key.removeprefix(before), data)
        dest.write_bytes(copy.key, data, is_output=True)
        copies.append(copy)
    return tuple(copies)


def _read_if_intact(dest: Store, key: str | None, sha256: str | None) -> bytes | None:
    if key is None:
        return None
    try:
        data = dest.read_bytes(key)
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == sha256 else None
