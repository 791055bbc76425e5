"""Read what runs of an older version left below DEST besides their rows: records and text, none of it with digests."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa
import yaml

from foliopress.configs.loading import digest_of, digested_values
from foliopress.flows.dest.run_records import record_keys, referenced_runs, stored_runs
from foliopress.tasks.naming.output_keys import text_key
from foliopress.tasks.ocr.text_export import EXTENSIONS, TextForm
from foliopress.tasks.records import self_checksum
from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.schemas import SCHEMA_VERSION
from foliopress.tasks.storage.store import Store

TEXT_COLUMNS = ("document_key", "page_index", "run_id", "duplicate_of", "ocr_words")
"""Columns of a page's row that tell which files of text it has."""

PageKey = tuple[str, int]
"""A document's key and the number of a page in it, from 0."""


class TextFile(NamedTuple):
    """A file of text that an older version may have written."""

    page: PageKey
    key: str
    is_certain: bool
    """False if no record tells whether it was asked for."""


log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OlderRecord:
    """The record of a run of an older version, whole and without a digest of itself."""

    settings_text: str
    settings: dict[str, Any]
    values: dict[str, Any]
    """Those of `run.json`."""
    has_settings_digest: bool
    """True if a run that was killed has added one to the settings already."""


def older_files(footers: Iterable[Footer]) -> list[Footer]:
    """Return the footers of the files that an older version wrote."""
    return [footer for footer in footers if footer.schema_version != SCHEMA_VERSION]


def read_record(dest: Store, run_id: str) -> OlderRecord | None:
    """Return the record of a run of an older version; None if it is not whole, or has a digest.

    In place of a digest its settings are held against the one of settings that `run.json` names.
    """
    settings_key, run_key = record_keys(run_id)
    try:
        data = dest.read_bytes(settings_key)
        settings, values = yaml.safe_load(data), json.loads(dest.read_bytes(run_key))
        digest = digest_of(digested_values(settings))
        if "sha256" in values or values["run_id"] != run_id or values["settings_digest"] != digest:
            return None
        return OlderRecord(data.decode(), settings, values, self_checksum.is_yaml_intact(data))
    except (FileNotFoundError, ValueError, LookupError, TypeError, AttributeError, yaml.YAMLError):
        return None


def add_digests(dest: Store, footers: Mapping[str, Footer]) -> None:
    """Add the digests that the records of older runs lack; a record that is not whole stays as it is.

    Args:
        dest: The output, whose lease is held.
        footers: Of all committed files, by their names. Where none is older, nothing is read.
    """
    if not older_files(footers.values()):
        return
    for run_id in sorted(stored_runs(dest)):
        record = read_record(dest, run_id)
        if record is not None:
            settings_key, run_key = record_keys(run_id)
            if not record.has_settings_digest:
                dest.write_bytes(settings_key, self_checksum.yaml_with_checksum(record.settings_text))
            dest.write_bytes(run_key, self_checksum.json_with_checksum(record.values))
            log.info("digests are added to the record of run %s", run_id)


def read_settings(dest: Store, run_id: str) -> dict[str, Any]:
    """Return the settings of a run, by section; none if they are not as they were written."""
    try:
        data = dest.read_bytes(record_keys(run_id)[0])
    except FileNotFoundError:
        return {}
    if self_checksum.is_yaml_intact(data):
        return yaml.safe_load(data) or {}
    record = read_record(dest, run_id)
    return {} if record is None else record.settings


def read_text_forms(dest: Store, footers: Iterable[Footer]) -> dict[str, tuple[TextForm, ...] | None]:
    """Return the forms of text that the runs of some files were asked for, by the run; None where no record tells."""
    settings = {run_id: read_settings(dest, run_id) for run_id in sorted(referenced_runs(footers))}
    return {run_id: tuple(stored.get("text", ())) if stored else None for run_id, stored in settings.items()}


def text_files(rows: pa.Table, forms: Mapping[str, Sequence[TextForm] | None]) -> Iterator[TextFile]:
    """Yield each file of text that an older version wrote: of pages that OCR read, one in each form.

    Args:
        rows: Page rows, all of each document, with `TEXT_COLUMNS`.
        forms: As `read_text_forms` returns them.
    """
    if not any(asked is None or asked for asked in forms.values()):
        return
    n_pages = Counter(rows["document_key"].to_pylist())
    for row in rows.select(list(TEXT_COLUMNS)).to_pylist():
        if row["ocr_words"] is not None and row["duplicate_of"] is None:
            page = row["document_key"], row["page_index"]
            number = page[1] if n_pages[page[0]] > 1 else None
            asked = forms.get(row["run_id"])
            for form in EXTENSIONS if asked is None else asked:
                yield TextFile(page, text_key(page[0], EXTENSIONS[form], page_index=number), asked is not None)
