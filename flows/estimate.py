"""Estimate savings and time of an archive as a Prefect flow, from a stratified sample that is really compressed."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prefect import flow

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import Settings
from foliopress.flows.compress import SHARD_RUNNER, compress_documents
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.views.progress import megabytes
from foliopress.tasks.records.archive_estimate import EstimatedTotal, SampledStratum, draw_sample, estimate_total
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.locations import check_place
from foliopress.tasks.storage.source import open_source
from foliopress.tasks.storage.source_listing import ListingCounts, check_not_empty, list_documents
from foliopress.tasks.storage.store import Store

_COLUMNS = (
    *("document_key", "status", "reason", "output_bytes"),
    *("seconds_read", "seconds_ocr", "seconds_score", "seconds_encode", "seconds_check", "seconds_reread"),
    "seconds_store",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Estimate:
    """Estimated savings and time; the interval of a `EstimatedTotal` holds the truth for 90 % of all samples."""

    source: str
    profile: str
    documents: int
    source_bytes: int
    sampled_documents: int
    sampled_bytes: int
    output_bytes: EstimatedTotal
    pages: EstimatedTotal
    core_seconds: EstimatedTotal
    cores: int
    price_per_gb_month: float
    reasons: dict[str, int] = field(default_factory=dict)
    """Number of sampled pages that would be kept or fail, by reason."""

    @property
    def saved_fraction(self) -> float:
        """Fraction of the bytes that would be saved."""
        return 1.0 - self.output_bytes.value / self.source_bytes if self.source_bytes else 0.0

    @property
    def hours(self) -> EstimatedTotal:
        """Hours on `cores` cores, all of them busy."""
        per_hour = 3600.0 * self.cores
        found = self.core_seconds
        return EstimatedTotal(found.value / per_hour, found.low / per_hour, found.high / per_hour)

    @property
    def saved_per_month(self) -> float:
        """Price of the saved storage, per month."""
        return (self.source_bytes - self.output_bytes.value) / 1e9 * self.price_per_gb_month

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        worked_out = {
            "saved_fraction": self.saved_fraction,
            "hours": dataclasses.asdict(self.hours),
            "saved_per_month": self.saved_per_month,
        }
        return dataclasses.asdict(self) | worked_out

    def as_text(self) -> str:
        """Return the estimate as a few lines of text."""
        out, hours = self.output_bytes, self.hours
        lines = [
            f"{self.documents} documents, {megabytes(self.source_bytes)}; a sample of {self.sampled_documents} "
            f"({megabytes(self.sampled_bytes)}) was compressed with {self.profile}",
            f"would become {megabytes(round(out.value))} (90 % interval {megabytes(round(out.low))} to "
            f"{megabytes(round(out.high))}): {100 * self.saved_fraction:.0f} % saved",
            f"would take {hours.value:.2g} hours ({hours.low:.2g} to {hours.high:.2g}) on {self.cores} cores like "
            f"the ones used; about {self.pages.value:.0f} pages",
            f"would save {self.saved_per_month:.2f} a month at {self.price_per_gb_month:g} per GB",
        ]
        lines += [f"  {count} x {reason} in the sample" for reason, count in sorted(self.reasons.items())]
        return "\n".join(lines)


@dataclass(frozen=True)
class EstimateRequest:
    """A user's request for an estimate."""

    source: str
    """Path or URL of the scans; never written to."""
    settings: Settings
    """Settings of the compression and of the cluster."""
    n_documents: int = 100
    """Approximate number of documents in the sample."""
    seed: int = 0
    """Random seed; the same seed takes the same documents."""
    cores: int = 1
    """CPU cores to estimate hours for."""
    price_per_gb_month: float = 0.023
    """Price of storage, in any currency."""
    log_file: str | None = None
    """File to which the workers of a local cluster write their log."""


@flow(
    flow_run_name="estimate {request.source}",
    task_runner=SHARD_RUNNER,  # type: ignore[arg-type]
    persist_result=False,
    validate_parameters=False,
)
def estimate_archive(request: EstimateRequest) -> Estimate:
    """Estimate what compressing SOURCE would save and take, from a sample of its documents.

    Args:
        request: What to estimate; quoted (`prefect.utilities.annotations.quote`), so that Prefect does not take it
            apart.

    Raises:
        ConfigError: If a setting or SOURCE is wrong, or there is nothing to sample.
    """
    source, settings = request.source, request.settings
    check_place("SOURCE", source)
    scans = open_source(source, settings.storage)
    check_not_empty(scans, settings.scan)
    shares = draw_sample(list_documents(scans, settings.scan, ListingCounts()), request.n_documents, request.seed)
    if not shares and settings.scan.allow_empty:
        return _estimate(request, shares, ())
    if not shares:
        raise ConfigError(f"{source} holds no documents that are not empty; there is nothing to estimate")
    with tempfile.TemporaryDirectory(prefix="foliopress-estimate-") as folder:
        keys = Path(folder) / "keys.txt"
        sampled = [document for share in shares for document in share.documents]
        keys.write_text("\n".join(document.key for document in sampled), encoding="utf-8", errors="surrogatepass")
        scan = settings.scan.model_copy(update={"keys_file": str(keys)})
        dest = str(Path(folder) / "out")
        changed = settings.model_copy(update={"scan": scan})
        compress_documents(RunRequest(source, dest, changed, log_file=request.log_file))
        rows = list(live_rows(Store(dest, settings.storage), "pages", _COLUMNS))
    return _estimate(request, shares, rows)


def _estimate(request: EstimateRequest, shares: Sequence[SampledStratum], rows: Sequence[dict[str, Any]]) -> Estimate:
    output_bytes: Counter[str] = Counter()
    pages: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for row in rows:
        key = str(row["document_key"])
        output_bytes[key] += row["output_bytes"]
        pages[key] += 1
        seconds[key] += sum(row[name] or 0.0 for name in _COLUMNS if name.startswith("seconds_"))  # type: ignore[assignment]
    sampled = [document for share in shares for document in share.documents if document.key in pages]
    return Estimate(
        source=request.source,
        profile=request.settings.profile,
        documents=sum(share.n_documents for share in shares),
        source_bytes=sum(share.size_bytes for share in shares),
        sampled_documents=len(sampled),
        sampled_bytes=sum(document.size_bytes for document in sampled),
        output_bytes=estimate_total(shares, output_bytes),
        pages=estimate_total(shares, pages, by_bytes=False),
        core_seconds=estimate_total(shares, seconds),
        cores=request.cores,
        price_per_gb_month=request.price_per_gb_month,
        reasons=dict(Counter(str(row["reason"]) for row in rows if row["reason"])),
    )
