"""What an archive of 100 million documents would need, worked out from what a million took and a page costs."""

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
"""Share of a driver's time that may be used: beyond it shards begin to wait for it."""
_STARTED_PAGES = 100
"""So many pages are done once all that happens only at the start has happened."""
# US dollars. A core: an eighth of a c5.2xlarge on demand, 0.34 an hour (Amazon EC2 Auto Scaling User Guide, "Spot price
# per unit hour example"). Requests: assumed, as S3 Standard has long had them.
_CORE_HOUR, _LISTING_1000, _PUT_1000, _GET_1000 = 0.0425, 0.005, 0.005, 0.0004


@dataclass(frozen=True)
class Measured:
    """What was measured, for a document of one page.

    shards: Of a document. driver_s: Processor seconds of the driver, Dask's scheduling and the shards' books included.
    page_core_s: All of a page's processor seconds. passing_over_s: Of a document that is done already. database_bytes:
    Of a shard, in Prefect's. driver_bytes: Most memory of the driver, and driver_growth_bytes what a document more adds
    to it. stats_bytes: Of a document.
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
    """Read off the growth benchmark's phases, whose two sizes tell what grows, and the throughput benchmark's figures.

    Args:
        phases: Of two sizes.
        through_dask: The phase whose rows came from a worker; its start and end are left out.
        throughput: Figures of `benchmarks.throughput`.

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
    """Return the lines of a page's section."""
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
        f"## What {n_documents / 1e6:.0f} million documents would need",
        "",
        f"Of one page each, worked out from the calls above and from {one.page_core_s:.2f} core-seconds a page",
        "([throughput.md](throughput.md)). Nothing of this size was run.",
        "",
        "| | |",
        "| --- | --- |",
        f"| shards, each a Prefect task run | {shards:,.0f} |",
        f"| database of the run's own Prefect API, if it were one run | {shards * one.database_bytes / 1e9:.1f} GB |",
        f"| memory of the driver, if it were one run | {driver_bytes / 1e9:.1f} GB |",
        f"| listing all and passing over it, by one driver | {n_documents * one.passing_over_s / 3600:.1f} h |",
        f"| pages a second that one driver can keep the books of | {driver_pages_per_s:,.0f} |",
        f"| statistics, in files of many shards | {n_documents * one.stats_bytes / 1e9:,.0f} GB |",
        f"| core-hours | {core_hours:,.0f}, at ${_CORE_HOUR} an hour ${core_hours * _CORE_HOUR:,.0f} |",
        f"| requests to S3 | {listings:,.0f} lists, one GET and one PUT a document: ${requests:,.0f} |",
    ]
    for days in DEADLINES_DAYS:
        pages_per_s = n_documents / (days * 86_400)
        workers = math.ceil(pages_per_s * one.page_core_s)
        drivers = math.ceil(pages_per_s / driver_pages_per_s)
        lines.append(f"| for an end in {days} days | {workers:,} workers of one core, {_runs(drivers)} |")
    return [
        *lines,
        "",
        "An archive of this size is better cut by its folders into runs of a few million documents, each with a DEST",
        "of its own: a rerun then lists only what it is about, and a run that is stopped stops no other. Prices are",
        "assumed, as an example: an eighth of a c5.2xlarge on demand for a core, S3's requests, no traffic. A Prefect",
        "server of one's own keeps a row of each task run, as a run's own API does not; that was not measured.",
    ]


def _runs(drivers: int) -> str:
    return "one run" if drivers == 1 else f"in {drivers} runs at once"
