"""Extrapolate the resources for 100 million documents from measurements of a million documents and of one page."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.listing import PAGE as KEYS_PER_LISTING
from foliopress.tasks.records.schemas import SCHEMAS

DOCUMENTS = 100_000_000
DEADLINES_DAYS = (30, 90)

_USED = 0.8
"""Share of a driver's time that may be used: above it, shards begin to wait for the driver."""
_STARTED_PAGES = 100
"""After this many pages all one-time start-up work is done."""
# US dollars. A core: an eighth of a c5.2xlarge on demand, 0.34 an hour (Amazon EC2 Auto Scaling User Guide, "Spot price
# per unit hour example"). Requests: assumed, as S3 Standard has long had them.
_CORE_HOUR, _LISTING_1000, _PUT_1000, _GET_1000 = 0.0425, 0.005, 0.005, 0.0004


@dataclass(frozen=True)
class Measured:
    """Measurements for a one-page document.

    shards: Per document. driver_s: Processor seconds of the driver, including Dask's scheduling and shard bookkeeping.
    page_core_s: All processor seconds of a page. passing_over_s: Per document that is done already. database_bytes: Per
    shard, in Prefect's database. driver_bytes: Peak memory of the driver; driver_growth_bytes: its growth per document.
    stats_bytes: Per document.
    """

    shards: float
    driver_s: float
    page_core_s: float
    passing_over_s: float
    database_bytes: float
    driver_bytes: float
    driver_growth_bytes: float
    stats_bytes: float


def measured(
    phases: Sequence[Mapping[str, Any]], through_dask: Mapping[str, Any], throughput: Mapping[str, Any]
) -> Measured:
    """Derive the measurements from the growth benchmark's phases (two sizes) and the throughput benchmark's results.

    Args:
        phases: Of two sizes.
        through_dask: The phase whose rows came from a worker; its start and end are excluded.
        throughput: Results of `benchmarks.throughput`.

    Raises:
        ValueError: If the phases are not of two sizes.
    """
    n_small, n_large = sorted({phase["documents"] for phase in phases})
    small, large = ({one["name"]: one for one in phases if one["documents"] == size} for size in (n_small, n_large))

    def slope(phase: str, figure: str) -> float:
        more: float = (large[phase][figure] - small[phase][figure]) / (n_large - n_small)
        return max(0.0, more)

    rest, again = large["the rest"], large["again"]
    shards = int(re.findall(r"(\d+) passed over", again["said"])[0]) / n_large
    working = [(pages, core_s) for pages, _, core_s in through_dask["curve"] if pages >= _STARTED_PAGES]
    (begun, begun_s), (ended, ended_s) = working[0], working[-1]
    return Measured(
        shards=shards,
        driver_s=(ended_s - begun_s) / (ended - begun),
        page_core_s=throughput["contestants"]["Foliopress, 1 worker"]["core_s_per_page"],
        passing_over_s=slope("again", "wall_s"),
        database_bytes=slope("the rest", "database_bytes") / shards,
        driver_bytes=rest["peak_bytes"],
        driver_growth_bytes=slope("the rest", "peak_bytes"),
        stats_bytes=again["stats_bytes"] / n_large,
    )


def as_section(one: Measured, n_documents: int = DOCUMENTS) -> list[str]:
    """Return the lines of a section of the page."""
    shards = one.shards * n_documents
    driver_pages_per_s = _USED / one.driver_s
    core_hours = n_documents * one.page_core_s / 3600
    driver_bytes = one.driver_bytes + one.driver_growth_bytes * n_documents
    listings = n_documents / KEYS_PER_LISTING
    requests = (
        listings / 1000 * _LISTING_1000
        + (n_documents + len(SCHEMAS) * shards) / 1000 * _PUT_1000
        + n_documents / 1000 * _GET_1000
    )
    lines = [
        "",
        f"## Resources for {n_documents / 1e6:.0f} million documents",
        "",
        f"One page each, extrapolated from the calls above and {one.page_core_s:.2f} core-seconds per page",
        "([throughput.md](throughput.md)). Nothing of this size was run.",
        "",
        "| | |",
        "| --- | --- |",
        f"| shards, each a Prefect task run | {shards:,.0f} |",
        f"| database of the run's own Prefect API, as one run | {shards * one.database_bytes / 1e9:.1f} GB |",
        f"| driver memory, as one run | {driver_bytes / 1e9:.1f} GB |",
        f"| listing and skipping all documents, by one driver | {n_documents * one.passing_over_s / 3600:.1f} h |",
        f"| pages per second that one driver can track | {driver_pages_per_s:,.0f} |",
        f"| statistics, in files of many shards | {n_documents * one.stats_bytes / 1e9:,.0f} GB |",
        f"| core-hours | {core_hours:,.0f}, at ${_CORE_HOUR} an hour ${core_hours * _CORE_HOUR:,.0f} |",
        f"| requests to S3 | {listings:,.0f} lists, one GET and one PUT per document: ${requests:,.0f} |",
    ]
    for days in DEADLINES_DAYS:
        pages_per_s = n_documents / (days * 86_400)
        workers = math.ceil(pages_per_s * one.page_core_s)
        drivers = math.ceil(pages_per_s / driver_pages_per_s)
        lines.append(f"| to finish in {days} days | {workers:,} workers of one core, {_runs(drivers)} |")
    return [
        *lines,
        "",
        "Split an archive of this size by folders into runs of a few million documents, each with its own DEST:",
        "a rerun then lists only its own part, and a stopped run does not affect the others. Prices are",
        "assumptions: an eighth of an on-demand c5.2xlarge per core, S3 requests, no traffic. A separate Prefect",
        "server stores a row per task run, unlike a run's own API; that was not measured.",
    ]


def _runs(drivers: int) -> str:
    return "one run" if drivers == 1 else f"in {drivers} parallel runs"
