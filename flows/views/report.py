"""Write a report on a DEST as one self-contained HTML file."""

from __future__ import annotations

import base64
import datetime
import html
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from foliopress.configs.secrets import without_password
from foliopress.configs.settings import Settings
from foliopress.flows.dest.bag import read_bag_info
from foliopress.flows.dest.premis_events import has_current_events
from foliopress.flows.run.run_summary import read_runs
from foliopress.flows.views.charts import DISTRIBUTIONS, as_svg, distribution, pages_by_reason, saved_by_folder
from foliopress.flows.views.progress import megabytes
from foliopress.tasks.errors import PageError
from foliopress.tasks.images.thumbnails import thumbnail
from foliopress.tasks.naming.output_keys import page_in_output
from foliopress.tasks.records.overview import (
    NOT_COMPARED,
    Wanted,
    by_folder,
    by_verdict,
    by_witness,
    ranked,
    read_overview,
    read_recipes,
    select,
    totals_of,
)
from foliopress.tasks.storage.locations import check_place
from foliopress.tasks.storage.store import Store
from foliopress.tasks.witness.document_check import NO_DECODER

WORST_PAGES = 24
NEWEST_RUNS = 20
_NOT_COMPARED = {NO_DECODER: "no other decoder reads their format", NOT_COMPARED: "an older version wrote them"}

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 1160px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.figures { display: flex; flex-wrap: wrap; gap: 1rem 2.5rem; }
.figures b { display: block; font-size: 1.5rem; font-weight: 600; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(480px, 1fr)); gap: 1.5rem; }
.charts figure { margin: 0; background: #fff; color: #222; border-radius: 6px; padding: .6rem; overflow-x: auto; }
.charts svg { max-width: 100%; height: auto; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .25rem .9rem .25rem 0; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
.pages { display: grid; grid-template-columns: repeat(auto-fill, minmax(210px, 1fr)); gap: 1.2rem; }
.pages figure { margin: 0; } .pages img { max-width: 100%; border: 1px solid #8888; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; }
"""


def report_on(url: str, settings: Settings) -> str:
    """Return the report on a DEST as HTML.

    Raises:
        ConfigError: If nothing can be read there, or a file of statistics is damaged.
        StoreUnavailable: If the store gives no answer.
    """
    check_place("DEST", url)
    dest = Store(url, settings.storage)
    dest.check_readable()
    pages = read_overview(dest)
    sums = totals_of(pages)
    folders = by_folder(pages)
    charts = [
        ("Bytes by folder", saved_by_folder(folders)),
        ("Pages by result", pages_by_reason(sums.reasons, sums.compressed)),
        *(("", distribution(pages, one)) for one in DISTRIBUTIONS),
    ]
    judged = select(pages, Wanted(statuses=("compressed",), with_duplicates=False))
    worst = ranked(judged, "worst_block_ssim", 0, WORST_PAGES)
    figures = [
        ("Pages", f"{sums.pages:,}"),
        ("Documents", f"{sums.documents:,}"),
        ("Source", megabytes(sums.source_bytes)),
        ("Output", megabytes(sums.output_bytes)),
        ("Saved", f"{100 * sums.saved_fraction:.1f} %"),
        ("Compressed", f"{sums.compressed:,}"),
        ("Kept", f"{sums.kept:,}"),
        ("Failed", f"{sums.failed:,}"),
    ]
    now = datetime.datetime.now(datetime.UTC)
    name = html.escape(without_password(url))
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Foliopress: {name}</title>',
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>',
        f"<h1>Compression report for {name}</h1>",
        f"<p>Written by Foliopress on {now:%Y-%m-%d at %H:%M} UTC, from the statistics stored with the output.",
        "Sizes are of whole files, including files kept unchanged.</p>",
        f'<div class="figures">{"".join(f"<div>{label}<b>{value}</b></div>" for label, value in figures)}</div>',
        "<h2>Savings</h2>",
        f'<div class="charts">{"".join(_figure(title, as_svg(chart)) for title, chart in charts)}</div>',
        *_reasons(sums.reasons),
        *_evidence(dest, pages),
        "<h2>Pages with the largest loss of ink detail</h2>",
        "<p>SSIM of the worst block of ink compared with the source; 1 is identical. All of them passed the check.</p>",
        f'<div class="pages">{"".join(_page(dest, row, settings) for row in worst.to_pylist())}</div>',
        "</body></html>",
    ]
    return "\n".join(parts)


def _figure(title: str, svg: str) -> str:
    caption = f"<figcaption>{html.escape(title)}</figcaption>" if title else ""  # other charts are titled on their axis
    return f"<figure>{caption}{svg}</figure>"


def _reasons(reasons: dict[str, int]) -> Sequence[str]:
    if not reasons:
        return ["<h2>Kept or failed pages</h2>", "<p>None.</p>"]
    rows = "".join(
        f'<tr><td>{html.escape(reason)}</td><td class="number">{count:,}</td></tr>'
        for reason, count in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    )
    return ["<h2>Kept or failed pages</h2>", f"<table><tr><th>Reason</th><th>Pages</th></tr>{rows}</table>"]


def _evidence(dest: Store, pages: pa.Table) -> Sequence[str]:
    """Return the sections on software, settings and verification."""
    runs, n_runs = read_runs(dest, NEWEST_RUNS)
    softwares = dict.fromkeys(
        ", ".join(f"{name} {one}" for name, one in run.get("versions", {}).items()) for run in runs
    )
    is_current = has_current_events(dest)
    facts = [
        ("Documents", ", ".join(f"{count:,} {verdict}" for verdict, count in by_verdict(pages).items())),
        ("Compared by", _witnesses(by_witness(pages))),
        *(("Made with", f"{recipe}: {count:,} documents") for recipe, count in read_recipes(dest).items()),
        *(("Software", software) for software in softwares if software),
        ("Events", "one per document, in evidence/events" if is_current else "not written, or out of date"),
        ("Bag", _bag(read_bag_info(dest))),
    ]
    rows = "".join(f"<tr><th>{name}</th><td>{html.escape(value)}</td></tr>" for name, value in facts)
    older = f"<p>The newest {len(runs):,} of {n_runs:,} runs.</p>" if n_runs > len(runs) else ""
    head = "".join(f"<th>{name}</th>" for name in ("Run", "Started", "Finished", "Status", "Pages", "Settings"))
    return [
        "<h2>Evidence</h2>",
        f"<table>{rows}</table>",
        f"<table><tr>{head}</tr>{''.join(_run(run) for run in runs)}</table>{older}",
    ]


def _witnesses(counts: Mapping[str, int]) -> str:
    parts = [
        f"{count:,} pages not compared, because {_NOT_COMPARED[name]}"
        if name in _NOT_COMPARED
        else f"{count:,} pages compared with their sources by {name}"
        for name, count in counts.items()
    ]
    return "; ".join(parts) or "no page was compressed"


def _bag(info: Mapping[str, str] | None) -> str:
    if info is None:
        return "none; create one with foliopress bag"
    parts = [
        f"{label} {info[label]}" for label in ("Bagging-Date", "Bag-Software-Agent", "Payload-Oxum") if label in info
    ]
    return f"BagIt: {', '.join(parts)}; validate it with bagit.py --validate"


def _run(run: Mapping[str, Any]) -> str:
    names = ("run_id", "started_at", "finished_at", "status")
    words = [
        *(run.get(name, "–") for name in names),
        run.get("run", {}).get("pages", "–"),
        run.get("settings_digest", "–"),
    ]
    return "<tr>" + "".join(f"<td>{html.escape(str(word))}</td>" for word in words) + "</tr>"


def _page(dest: Store, row: dict[str, Any], settings: Settings) -> str:
    try:
        index = page_in_output(row["duplicate_of"] or row["document_key"], row["page_index"], row["output_key"])
        data = base64.b64encode(thumbnail(dest.read_bytes(row["output_key"]), index, settings.limits)).decode()
        picture = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    except (PageError, OSError):
        picture = "<p>This output cannot be shown; run foliopress verify for the cause.</p>"
    page = f", page {row['page_index'] + 1}" if row["page_index"] else ""
    ssim = "–" if row["worst_block_ssim"] is None else f"{row['worst_block_ssim']:.3f}"
    caption = f"{html.escape(row['document_key'])}{page}<br>worst block {ssim}"
    return f"<figure>{picture}<figcaption>{caption}</figcaption></figure>"
