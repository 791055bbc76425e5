"""Write the record of a run, its settings and summary, and compare a run with earlier ones of the same DEST."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from operator import attrgetter
from typing import Any

import pyarrow.compute as pc
import yaml

from foliopress.configs import older_settings
from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import digested_settings, public_settings
from foliopress.configs.settings import Settings
from foliopress.flows.views.progress import megabytes
from foliopress.model.scoring import ScorerName
from foliopress.tasks.records import self_checksum
from foliopress.tasks.records.footers import Footer
from foliopress.tasks.records.overview import totals_of
from foliopress.tasks.records.statistics import live_rows, live_tables
from foliopress.tasks.records.table_files import FileDamaged
from foliopress.tasks.records.totals import Totals
from foliopress.tasks.storage.source_listing import ListingCounts
from foliopress.tasks.storage.store import Store

_PACKAGES = (
    "foliopress",
    "pillow",
    "numpy",
    "opencv-python-headless",
    "pyarrow",
    "ai-edge-litert",
    "prefect",
    "distributed",
)
_WORST_PAGES = 10
_COLUMNS = (
    "run_id",
    "document_key",
    "page_index",
    "status",
    "reason",
    "message",
    "output_key",
    "source_bytes",
    "output_bytes",
    "worst_block_ssim",
    "duplicate_of",
)


@dataclass(frozen=True)
class Recipe:
    """Settings, model and scorer that pages are made with; a DEST holds pages of one recipe."""

    settings_digest: str
    model_digest: str
    scorer: ScorerName

    def __str__(self) -> str:
        return f"{self.settings_digest} {self.model_digest} {self.scorer}"


@dataclass(frozen=True)
class RunStart:
    """Facts about a run at its start."""

    run_id: str
    started_at: str
    settings: Settings
    recipe: Recipe
    versions: Mapping[str, str]


@dataclass(frozen=True)
class WorstPage:
    """A compressed page among those whose worst block of ink lost most."""

    document_key: str
    page_index: int
    worst_block_ssim: float
    source_bytes: int
    output_bytes: int
    output_key: str


@dataclass(frozen=True)
class RunSummary:
    """Totals of one run and of the whole DEST that it wrote to."""

    run_id: str
    source: str
    dest: str
    profile: str
    started_at: str
    finished_at: str
    seconds: float
    recipe: Recipe
    versions: dict[str, str]
    shards_done: int
    shards_passed_over: int
    shards_failed: int
    scan: ListingCounts
    run: Totals
    whole: Totals
    failed_pages: list[str]
    """The first few failed pages of the whole DEST, each with its reason."""
    worst_pages: list[WorstPage]
    """The compressed pages of the whole DEST whose worst block of ink lost most, the worst first."""

    @property
    def exit_code(self) -> int:
        """Return 0 if all is compressed or kept, 3 if pages failed or folders could not be read, 1 if shards failed."""
        return 1 if self.shards_failed else 3 if self.whole.failed or self.scan.unreadable_folders else 0

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "run_id": self.run_id,
            "status": "broken" if self.shards_failed else "finished",
            "exit_code": self.exit_code,
            "source": self.source,
            "dest": self.dest,
            "profile": self.profile,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "seconds": round(self.seconds, 3),
            **dataclasses.asdict(self.recipe),
            "versions": self.versions,
            "shards": {
                "done": self.shards_done,
                "passed_over": self.shards_passed_over,
                "failed": self.shards_failed,
            },
            "scan": dataclasses.asdict(self.scan),
            "run": _totals_as_dict(self.run),
            "dest_totals": _totals_as_dict(self.whole),
        }


_WORST_COLUMNS = [part.name for part in dataclasses.fields(WorstPage)]


@dataclass(frozen=True)
class DestMetrics:
    """Totals of a DEST's statistics, and its failed and worst pages."""

    run: Totals
    whole: Totals
    failed_pages: list[str]
    worst_pages: list[WorstPage]


def read_metrics(dest: Store, run_id: str, footers: Mapping[str, Footer]) -> DestMetrics:
    """Add up the rows of a DEST, and those of one run in it.

    Args:
        dest: Where the statistics lie.
        run_id: The run.
        footers: Footers of all committed files, by their names.
    """
    whole, own = Totals(), Totals()
    failed: list[str] = []
    worst: list[WorstPage] = []
    for pages in live_tables(dest, footers, _COLUMNS):
        whole += totals_of(pages)
        own += totals_of(pages.filter(pc.equal(pages["run_id"], run_id)))  # a document's rows are all of one run
        lost = pages.filter(pc.equal(pages["status"], "failed")).slice(0, _WORST_PAGES - len(failed)).to_pylist()
        failed += [
            f"{row['document_key']} page {row['page_index'] + 1}: {row['reason']} ({row['message']})" for row in lost
        ]
        is_judged = pc.and_(pc.equal(pages["status"], "compressed"), pc.is_null(pages["duplicate_of"]))
        judged = pages.filter(pc.and_(is_judged, pc.is_valid(pages["worst_block_ssim"])))
        lowest = pc.sort_indices(judged, sort_keys=[("worst_block_ssim", "ascending")])[:_WORST_PAGES]
        found = (WorstPage(**row) for row in judged.take(lowest).select(_WORST_COLUMNS).to_pylist())
        worst = sorted([*worst, *found], key=attrgetter("worst_block_ssim"))[:_WORST_PAGES]
    return DestMetrics(own, whole, failed, worst)


def write_start(dest: Store, start: RunStart) -> None:
    """Write the settings of a run that begins, and a run.json with the status `running`."""
    text = yaml.safe_dump(public_settings(start.settings), sort_keys=False, allow_unicode=True)
    begun = {"run_id": start.run_id, "status": "running", "started_at": start.started_at}
    record = {**begun, **dataclasses.asdict(start.recipe), "versions": start.versions}
    dest.write_bytes(f"runs/{start.run_id}/settings.yaml", self_checksum.yaml_with_checksum(text))
    dest.write_bytes(f"runs/{start.run_id}/run.json", self_checksum.json_with_checksum(record))


def write_end(dest: Store, summary: RunSummary) -> None:
    """Write the run's summary, in place of the record of its start."""
    dest.write_bytes(f"runs/{summary.run_id}/run.json", self_checksum.json_with_checksum(summary.as_dict()))


def read_runs(dest: Store, most: int) -> tuple[list[dict[str, Any]], int]:
    """Return the records of the newest runs of a DEST, the newest first, and the number of all runs."""
    keys = [found.key for found in dest.list_objects("runs/") if found.key.endswith("/run.json")]
    records = []
    for key in sorted(keys, reverse=True)[:most]:
        try:
            record = json.loads(dest.read_bytes(key))
        except (FileNotFoundError, ValueError):
            record = {"run_id": key.split("/")[1], "status": "unreadable"}
        records.append(record)
    return records, len(keys)


def check_same_recipe(dest: Store, settings: Settings, recipe: Recipe) -> None:
    """Check that DEST holds pages of the same settings, model and scorer as those of this run.

    Raises:
        ConfigError: If the newest run with an intact record differs, or, where no record is intact, the first row; the
            message names the differences.
    """
    runs = [found.key.split("/")[1] for found in dest.list_objects("runs/") if found.key.endswith("/run.json")]
    records = (_record_of(dest, run_id) for run_id in sorted(runs, reverse=True))
    before = next(filter(None, records), None) or _recipe_of_rows(dest)
    if before is None:
        return
    newest = str(before["run_id"])
    old_settings = _settings_of(dest, newest)
    differences = []
    if before.get("settings_digest") != recipe.settings_digest:
        differences += (
            _differences(old_settings, settings) if old_settings else ["the earlier settings are not known any more"]
        )
    for name in ("model_digest", "scorer"):
        old, new = before.get(name), getattr(recipe, name)
        if old != new:
            differences.append(f"{name.replace('_', ' ')}: {old!s:.16} there, {new:.16} now")
    if differences:
        raise ConfigError(
            f"{dest.url} holds pages of other settings (run {newest}): {'; '.join(differences)}. "
            "Give the same settings, another DEST, or --overwrite to do all pages again"
        )


def _record_of(dest: Store, run_id: str) -> dict[str, Any] | None:
    """Return the record of a run; None if it is missing or damaged."""
    try:
        return {"run_id": run_id} | self_checksum.read_checked_json(dest.read_bytes(f"runs/{run_id}/run.json"))
    except (FileNotFoundError, ValueError):
        return None


def _recipe_of_rows(dest: Store) -> dict[str, Any] | None:
    """Return run and recipe of the first row; None if there is no row, or none can be read."""
    try:
        return next(live_rows(dest, "pages", ("run_id", "settings_digest", "model_digest", "scorer")), None)
    except FileDamaged:
        return None


def _settings_of(dest: Store, run_id: str) -> dict[str, Any]:
    """Return the settings of a run; empty if their file is missing or damaged."""
    try:
        data = dest.read_bytes(f"runs/{run_id}/settings.yaml")
    except FileNotFoundError:
        return {}
    return (yaml.safe_load(data) or {}) if self_checksum.is_yaml_intact(data) else {}


def versions(tesseract: str) -> dict[str, str]:
    """Return the versions of all software that the output depends on."""
    found = {package: version_of(package) for package in _PACKAGES}
    return {"python": platform.python_version(), "tesseract": tesseract, **found}


def version_of(package: str) -> str:
    """Return the version of an installed package, `unknown` if it has none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def as_text(summary: RunSummary) -> str:
    """Return the summary as a few lines of text."""
    whole, run = summary.whole, summary.run
    lines = [
        f"{whole.pages} pages of {whole.documents} documents: {whole.compressed} compressed, {whole.kept} kept, "
        f"{whole.failed} failed",
        f"{megabytes(whole.source_bytes)} became {megabytes(whole.output_bytes)}: "
        f"{100 * whole.saved_fraction:.1f} % saved",
        f"this run: {run.pages} pages in {summary.seconds:.0f} s; {summary.shards_done} shards done, "
        f"{summary.shards_passed_over} passed over, {summary.shards_failed} failed",
    ]
    lines += [f"  {count} x {reason}" for reason, count in sorted(whole.reasons.items())]
    if not summary.scan.documents:
        lines.append("SOURCE holds 0 documents to compress")
    if summary.scan.hidden or summary.scan.not_documents or summary.scan.excluded:
        lines.append(
            f"skipped: {summary.scan.hidden} hidden files, {summary.scan.not_documents} files that are not scans, "
            f"{summary.scan.excluded} excluded documents"
        )
    if summary.scan.unreadable_folders:
        lines.append(f"NOT READ: {summary.scan.unreadable_folders} folders that could not be read; the log names them")
    if summary.scan.keys_not_found:
        lines.append(f"not found: {summary.scan.keys_not_found} of the requested keys")
    lines += [f"failed: {page}" for page in summary.failed_pages]
    if whole.failed > len(summary.failed_pages):
        lines.append(f"failed: {whole.failed - len(summary.failed_pages)} more, see stats/pages")
    lines.append(f"written to {summary.dest} (run {summary.run_id})")
    return "\n".join(lines)


def _totals_as_dict(part: Totals) -> dict[str, Any]:
    return dataclasses.asdict(part) | {"saved_fraction": round(part.saved_fraction, 6)}


def _differences(old: Mapping[str, Any], settings: Settings) -> list[str]:
    if older_settings.is_older(old):
        return older_settings.differences(old, settings)
    new = digested_settings(settings)

    def value(key: str) -> object:
        section, _, name = key.partition(".")
        inside = old.get(section)
        return inside if not name else inside.get(name) if isinstance(inside, dict) else None

    found = [f"{key}: {value(key)} there, {wanted} now" for key, wanted in new.items() if value(key) != wanted]
    return found or ["settings of another version of foliopress"]
