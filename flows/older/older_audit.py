"""Verify what an older version wrote without digests: files of words, tiles, text and events, and records of runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping

from foliopress.flows.dest.premis_events import INDEX_KEY, LINES, TABLE
from foliopress.flows.older.older_records import TEXT_COLUMNS, older_files, read_record, read_text_forms, text_files
from foliopress.tasks.checks.audit import Damage
from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.table_files import file_key, read_table
from foliopress.tasks.storage.store import Store

_EVENTS_VERSION = 1


def older_tables(footers: Iterable[Footer]) -> Iterator[str]:
    """Yield the keys of words and tiles whose footers hold no digest of them."""
    for footer in older_files(footers):
        yield from (file_key(table, footer.name) for table in ("words", "tiles"))


def missing_files(dest: Store, footers: Mapping[str, Footer], named: set[str]) -> Iterator[Damage]:
    """Yield files of text and events that are not there, and note the keys of all that an older version wrote.

    Args:
        dest: The output.
        footers: Of all committed files, by their names. Where none is older, nothing is read.
        named: Keys of the files that belong to DEST; added to.
    """
    older = older_files(footers.values())
    if not older:
        return
    named.update(older_tables(older))
    wanted = dict.fromkeys(older_events(dest) or (), "the index of events")
    forms = read_text_forms(dest, older)
    for footer in older:
        for file in text_files(read_table(dest, "pages", footer.name, TEXT_COLUMNS), forms):
            named.add(file.key)
            if file.is_certain:
                wanted[file.key] = file.page[0]
    named.update(wanted)
    there = {found.key for place in ("text/", "evidence/") for found in dest.list_objects(place)}
    for key in sorted(wanted.keys() - there):
        yield Damage("missing", key, f"it belongs to {wanted[key]}")


def older_events(dest: Store) -> list[str] | None:
    """Return the keys of the files of events that an index of an older version names; None if it is none."""
    try:
        index = json.loads(dest.read_bytes(INDEX_KEY))
        if index["version"] != _EVENTS_VERSION:
            return None
        return [form.format(name) for name in index["events"] for form in (TABLE, LINES)]
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def is_older_record(dest: Store, footers: Mapping[str, Footer], run_id: str) -> bool:
    """Return whether the record of a run has no digest since an older version wrote it, and is whole."""
    return bool(older_files(footers.values())) and read_record(dest, run_id) is not None
