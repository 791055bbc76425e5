"""Record the contents of a DEST for comparison: each object by its bytes, each row without times and run ids."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from foliopress.configs.settings import StorageSettings
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store


@dataclass(frozen=True)
class Outcome:
    """The objects of a DEST by key with digests, the numbers of its statistics files by name, and its live rows."""

    objects: dict[str, str]
    statistics: frozenset[str]
    rows: dict[str, list[dict[str, Any]]]

    def differences(self, other: Outcome) -> list[str]:
        """Return the differences in words; what only `other` has is `extra`."""
        found = []
        for name, mine, others in (
            ("object", self.objects, other.objects),
            ("statistics", dict.fromkeys(self.statistics), dict.fromkeys(other.statistics)),
        ):
            found += [f"{name} lost: {key}" for key in sorted(mine.keys() - others.keys())]
            found += [f"{name} extra: {key}" for key in sorted(others.keys() - mine.keys())]
            found += [
                f"{name} changed: {key}" for key in sorted(mine.keys() & others.keys()) if mine[key] != others[key]
            ]
        for table, rows in self.rows.items():
            here = {(row["document_key"], row["page_index"], row.get("word_index")): row for row in rows}
            there = {(row["document_key"], row["page_index"], row.get("word_index")): row for row in other.rows[table]}
            if len(there) != len(other.rows[table]):
                found.append(f"{table}: {len(other.rows[table]) - len(there)} rows stand twice")
            for key in sorted(here.keys() | there.keys(), key=str):
                if here.get(key) != there.get(key):
                    kind = "lost" if key not in there else "extra" if key not in here else "changed"
                    names = [name for name in here.get(key, {}) if here[key].get(name) != there.get(key, {}).get(name)]
                    found.append(f"{table} row {kind}: {key} {names if kind == 'changed' else ''}")
        return found

    @property
    def n_pages(self) -> int:
        return len(self.rows["pages"])


def outcome_of(dest: str, storage: StorageSettings | None = None) -> Outcome:
    """Read a DEST: its outputs, the names of its statistics, and its rows without times and run ids."""
    store = Store(dest, storage or StorageSettings())
    objects = {
        found.key: hashlib.sha256(store.read_bytes(found.key)).hexdigest() for found in store.list_objects("pages/")
    }
    rows = {
        table: [
            {name: value for name, value in row.items() if name != "run_id" and not name.startswith("seconds_")}
            for row in live_rows(store, table)
        ]
        for table in ("pages", "words", "tiles")
    }
    names = Counter(_MARK.sub(".parquet", found.key) for found in store.list_objects("stats/"))
    return Outcome(objects, frozenset(f"{name} ({number})" for name, number in names.items()), rows)


_MARK = re.compile(r"\.[0-9a-f]{8}(-\d+)?\.parquet$")
"""The run's mark in the name of a statistics file."""
