"""Run Foliopress as an arm, or use a finished run, and read its output for each page."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.arms import ArmFailed, ArmResult, decode
from benchmarks.marked import MarkedPage
from foliopress.configs.settings import StorageSettings
from foliopress.model.truth import Scan
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store

PRODUCT = "Foliopress"

_ROOT = Path(__file__).resolve().parents[1]
_DONE, _SOME_FAILED = 0, 3  # exit codes of `foliopress compress` after which every page has its row
_CODECS = {".avif": "avif", ".webp": "webp", ".jpg": "jpeg", ".jpeg": "jpeg"}


@dataclass(frozen=True)
class Setting:
    """A configuration of Foliopress: a profile, overrides, and the value of the swept setting."""

    profile: str
    overrides: tuple[str, ...] = ()
    swept: str | None = None

    @property
    def family(self) -> str:
        """Common name of the points of a sweep."""
        return " ".join((PRODUCT, Path(self.profile).stem, *self.overrides))

    @property
    def name(self) -> str:
        """Profile and every setting that differs from it."""
        return f"{self.family} {self.swept}" if self.swept else self.family


@dataclass(frozen=True)
class PageArm:
    """The output of a run for one page."""

    name: str
    family: str
    output: Path
    size_bytes: int
    seconds: float
    status: str
    digest: str | None
    reads_words: bool

    def make(self, page: MarkedPage) -> ArmResult:
        """Decode the output."""
        try:
            data = self.output.read_bytes()
        except OSError as error:
            raise ArmFailed(f"{self.output.name} cannot be read: {error.strerror}") from error
        codec = _CODECS.get(self.output.suffix.lower(), self.output.suffix.lower().removeprefix("."))
        return ArmResult(decode(data, page), self.size_bytes, self.seconds, {"codec": codec, "status": self.status})


def settings_of(profiles: Sequence[str], overrides: Sequence[str], sweep: str | None) -> list[Setting]:
    """Return the configuration of every run: each profile unchanged, and with each value of the sweep.

    Args:
        profiles: Names or files of profiles.
        overrides: Each `key=value`, for all runs.
        sweep: `key=value,value,…`, e.g. `encode.quality=30,40,53`.

    Raises:
        ValueError: If the sweep has no key or no value.

    >>> [setting.name for setting in settings_of(["access"], [], "encode.quality=30,40")]
    ['Foliopress access', 'Foliopress access encode.quality=30', 'Foliopress access encode.quality=40']
    """
    swept: list[str | None] = [None]
    if sweep is not None:
        key, _, values = sweep.partition("=")
        if not key.strip() or not values.strip():
            raise ValueError(f"{sweep!r}: expected key=value,value,… e.g. encode.quality=30,40,53")
        swept += [f"{key.strip()}={value.strip()}" for value in values.split(",") if value.strip()]
    return [Setting(profile, tuple(overrides), one) for profile in profiles for one in swept]


def run_product(folder: Path, scans: Sequence[Scan], setting: Setting, runs: Path, jobs: int, *, again: bool) -> Path:
    """Compress the scans; the results of an interrupted or earlier run are reused.

    Args:
        folder: Root of the scans; their keys are paths below it.
        scans: Scans to compress.
        setting: Configuration.
        runs: Folder with one folder per configuration.
        jobs: Worker processes.
        again: Discard earlier results, e.g. after a code change.

    Returns:
        The output folder.

    Raises:
        ArmFailed: If the run fails or a setting is invalid.
    """
    name = re.sub(r"[^A-Za-z0-9.=_-]+", "_", setting.name)
    dest = (runs / name).resolve()
    if again:
        shutil.rmtree(dest, ignore_errors=True)
    runs.mkdir(parents=True, exist_ok=True)
    keys = runs / f"{name}.keys"
    keys.write_text("".join(f"{scan.key}\n" for scan in scans), encoding="utf-8")
    changes = [*setting.overrides, *([setting.swept] if setting.swept else [])]
    command = [sys.executable, "-m", "foliopress.flows.cli", "compress", str(folder.resolve()), str(dest)]
    command += ["--profile", setting.profile, "--overwrite", "--keys", str(keys.resolve()), "--workers", str(jobs)]
    command += [part for change in changes for part in ("--set", change)]
    command += ["--log-file", str((runs / f"{name}.log").resolve())]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (_DONE, _SOME_FAILED):
        lines = done.stderr.strip().splitlines()
        raise ArmFailed(f"{setting.name}: {lines[-1] if lines else f'exit code {done.returncode}'}")
    return dest


def page_arms(dest: Path, scans: Sequence[Scan], name: str, family: str, *, reads_words: bool) -> dict[str, PageArm]:
    """Return a finished run's output for each scan, by key; scans that the run does not contain are skipped.

    A run over scans laid out as `<collection>/<name>` is also recognised. For a document of many pages the first page
    is judged, and all its bytes and seconds count.
    """
    found = _documents(dest)
    arms = {}
    for scan in scans:
        pages = found.get(scan.key) or found.get(f"{scan.collection}/{scan.path.name}")
        if not pages or not pages[0]["output_key"]:
            continue
        outputs = {str(page["output_key"]) for page in pages if page["output_key"]}
        arms[scan.key] = PageArm(
            name=name,
            family=family,
            output=dest / str(pages[0]["output_key"]),
            size_bytes=sum((dest / output).stat().st_size for output in outputs),
            seconds=sum(_seconds(page) for page in pages),
            status=str(pages[0]["status"]),
            digest=str(pages[0]["output_sha256"]),
            reads_words=reads_words,
        )
    return arms


def _documents(dest: Path) -> dict[str, list[dict[str, Any]]]:
    documents: dict[str, list[dict[str, Any]]] = {}
    for row in live_rows(Store(str(dest), StorageSettings())):
        documents.setdefault(str(row["document_key"]), []).append(row)
    return {key: sorted(rows, key=lambda row: row["page_index"]) for key, rows in documents.items()}


def _seconds(row: Mapping[str, Any]) -> float:
    """Return a page's total time: all steps, each on one core, without waiting."""
    return float(sum(value or 0.0 for name, value in row.items() if name.startswith("seconds_")))
