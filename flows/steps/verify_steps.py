"""Functions of `verify` that run on workers, apart from the flow so that no worker reads Prefect's settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from foliopress.configs.settings import StorageSettings
from foliopress.flows.cluster.shared_places import SharedPlaces, check_shared_places
from foliopress.tasks.checks.audit import Damage, check_output, check_written
from foliopress.tasks.checks.visual_audit import look_again
from foliopress.tasks.records.footers import check_table
from foliopress.tasks.records.rows import WrittenFile
from foliopress.tasks.storage.store import Store

Found = TypeVar("Found")
Output = tuple[str, list[dict[str, Any]]]
"""Key of an output, and the rows that name it."""
Written = tuple[WrittenFile, str]
"""Description of a written file, and the name of what it belongs to."""


def check_batch(
    shared_places: SharedPlaces,
    check: Callable[[str, StorageSettings, list[Any]], Found],
    storage: StorageSettings,
    batch: list[Any],
) -> Found:
    """Check a batch on a worker, once it has shown that it sees the same places as the driver."""
    check_shared_places(shared_places, storage)
    return check(shared_places.dest_url, storage, batch)


def check_outputs(dest: str, storage: StorageSettings, batch: Sequence[Output]) -> list[Damage]:
    """Check outputs on a worker, one after another."""
    target = Store(dest, storage)
    return [damage for key, rows in batch if (damage := check_output(target, key, rows)) is not None]


def look_at_documents(
    source: str, dest: str, storage: StorageSettings, batch: Sequence[Sequence[dict[str, Any]]]
) -> tuple[int, list[Damage]]:
    """Compare documents with their sources on a worker; return the number of compared pages and the damages."""
    scans, target = Store(source, storage), Store(dest, storage)
    seen = [look_again(scans, target, rows) for rows in batch]
    return sum(n_pages for n_pages, _ in seen), [damage for _, damages in seen for damage in damages]


def check_files(dest: str, storage: StorageSettings, batch: Sequence[Written]) -> list[Damage]:
    """Compare files with their descriptions on a worker, one after another."""
    target = Store(dest, storage)
    found = (check_written(target, written, is_of) for written, is_of in batch)
    return [damage for damage in found if damage is not None]


def check_tables(dest: str, storage: StorageSettings, keys: Sequence[str]) -> list[Damage]:
    """Check statistics files on a worker, one after another."""
    target = Store(dest, storage)
    problems = ((key, check_table(target, key)) for key in keys)
    return [Damage("statistics", key, problem) for key, problem in problems if problem]
