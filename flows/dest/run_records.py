"""Check the records of a DEST's runs, their settings and summaries, and write damaged ones again."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow.parquet as pq
import yaml

from foliopress.configs.loading import public_settings
from foliopress.configs.settings import Settings
from foliopress.flows.dest.premis_events import TABLE
from foliopress.flows.run.run_summary import Recipe
from foliopress.tasks.records import self_checksum
from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.table_files import FileDamaged, read_table
from foliopress.tasks.storage.store import Store

_FORMS = ("settings.yaml", "run.json")
_READERS = 8
_RECIPE = ("settings_digest", "model_digest", "scorer")

log = logging.getLogger(__name__)

Problem = Literal["missing", "changed"]


@dataclass(frozen=True)
class RecordProblem:
    """A damaged or missing file of a run's record."""

    run_id: str
    key: str
    kind: Problem


def record_keys(run_id: str) -> tuple[str, ...]:
    """Return the keys of a run's record.

    >>> record_keys("r1")
    ('runs/r1/settings.yaml', 'runs/r1/run.json')
    """
    return tuple(f"runs/{run_id}/{form}" for form in _FORMS)


def find_record_problems(dest: Store, run_ids: Iterable[str]) -> list[RecordProblem]:
    """Read the records of runs, and return their problems.

    Raises:
        StoreUnavailable: If the store gives no answer.
    """
    places = [(run_id, key) for run_id in run_ids for key in record_keys(run_id)]
    with ThreadPoolExecutor(_READERS) as readers:
        found = readers.map(lambda place: _problem(dest, place[1]), places)
        return [RecordProblem(*place, kind) for place, kind in zip(places, found, strict=True) if kind is not None]


def referenced_runs(footers: Iterable[Footer]) -> set[str]:
    """Return the runs that rows come from."""
    return {entry.run_id for footer in footers for entry in footer.shards}


def stored_runs(dest: Store) -> dict[str, set[str]]:
    """Return the files in each run's folder below DEST/runs, by run."""
    found = defaultdict[str, set[str]](set)
    for one in dest.list_objects("runs/"):
        _, run_id, *rest = one.key.split("/", 2)
        if rest:
            found[run_id].add(rest[0])
    return dict(found)


def repair_run_records(
    dest: Store, footers: Mapping[str, Footer], settings: Settings, recipe: Recipe, by_run: str, *, is_deep: bool
) -> None:
    """Write missing or damaged records again, of runs that rows come from.

    Rows name the recipe of their run, so that its settings can be restored if they are the present ones; its end and
    its counts are lost. A damaged record of a run without rows is deleted.

    Args:
        dest: The output, whose lease is held.
        footers: Footers of all committed files, by their names.
        settings: Settings of the present run.
        recipe: Recipe of the present run.
        by_run: Id of the present run.
        is_deep: Read the records of runs without rows as well.
    """
    with_rows = referenced_runs(footers.values()) - {by_run}
    others: set[str] = set()
    if is_deep:
        others = {run_id for run_id, forms in stored_runs(dest).items() if forms & {*_FORMS}} - with_rows - {by_run}
    for problem in find_record_problems(dest, sorted(others)):
        log.warning("deleted %s, which is damaged and whose run has no rows", problem.key)
        dest.delete(problem.key)
        dest.delete(f"runs/{problem.run_id}/run.json")
    for problem in find_record_problems(dest, sorted(with_rows)):
        row = _row_of(dest, footers, problem.run_id)
        if row is None or row["settings_digest"] != recipe.settings_digest:
            log.warning("%s is %s and cannot be restored: its run had other settings", problem.key, problem.kind)
            continue
        log.warning("%s is %s; writing it again from the rows", problem.key, problem.kind)
        if problem.key.endswith(".yaml"):
            text = yaml.safe_dump(public_settings(settings), sort_keys=False, allow_unicode=True)
            dest.write_bytes(problem.key, self_checksum.yaml_with_checksum(f"# written again by run {by_run}\n{text}"))
        else:
            values = {"run_id": problem.run_id, "status": "written again", "written_again_by": by_run}
            known = {name: row[name] for name in _RECIPE} | {"versions": _versions(dest, footers, problem.run_id)}
            dest.write_bytes(problem.key, self_checksum.json_with_checksum(values | known))


def _problem(dest: Store, key: str) -> Problem | None:
    try:
        data = dest.read_bytes(key)
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "changed"
    if key.endswith(".yaml"):
        return None if self_checksum.is_yaml_intact(data) else "changed"
    try:
        self_checksum.read_checked_json(data)
    except ValueError:
        return "changed"
    return None


def _row_of(dest: Store, footers: Mapping[str, Footer], run_id: str) -> dict[str, Any] | None:
    """Return the recipe in one row of a run; None if no row can be read."""
    for name in _files_of(footers, run_id):
        try:
            rows = read_table(dest, "pages", name, ("run_id", *_RECIPE)).to_pylist()
        except FileDamaged:
            continue
        for row in rows:
            if row["run_id"] == run_id:
                return dict(row)
    return None


def _versions(dest: Store, footers: Mapping[str, Footer], run_id: str) -> dict[str, str]:
    """Return the versions of the software that a run used, from its events; empty if there are none."""
    for name in _files_of(footers, run_id):
        try:
            with dest.open_input(TABLE.format(name)) as file:
                for event in pq.read_table(file, columns=["run_id", "versions"]).to_pylist():
                    if event["run_id"] == run_id:
                        return dict(json.loads(event["versions"]))
        except (OSError, ValueError):
            continue
    return {}


def _files_of(footers: Mapping[str, Footer], run_id: str) -> Iterator[str]:
    return (name for name, footer in footers.items() if any(entry.run_id == run_id for entry in footer.shards))
