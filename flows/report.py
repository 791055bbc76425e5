"""Report: what a DEST comes to, as one HTML file that needs nothing else to be read."""

from __future__ import annotations

import base64
import datetime
import html
from collections.abc import Sequence
from typing import Any

from configs.loading import without_password
from configs.settings import Settings
from flows.charts import DISTRIBUTIONS, as_svg, distribution, pages_by_reason, saved_by_folder
from flows.progress import megabytes
from tasks.errors import PageError
from tasks.keys import page_in_output
from tasks.overview import Wanted, by_folder, ranked, read_overview, select, totals_of
from tasks.store import Store
from tasks.thumbnails import thumbnail

WORST_PAGES = 24

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
    dest = Store(url, settings.storage)
    dest.check_readable()
    pages = read_overview(dest)
    sums = totals_of(pages)
    folders = by_folder(pages)
    charts = [
        ("Bytes by folder", saved_by_folder(folders)),
        ("Pages by what became of them", pages_by_reason(sums.reasons, sums.compressed)),
        *(("", distribution(pages, one)) for one in DISTRIBUTIONS),
    ]
    worst = ranked(select(pages, Wanted(statuses=("compressed",))), "worst_block_ssim", 0, WORST_PAGES)
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
        f"<h1>What became of the scans in {name}</h1>",
        f"<p>Written by Foliopress on {now:%Y-%m-%d at %H:%M} UTC, from the statistics that lie with the output.",
        "Bytes are those of whole files, kept ones included.</p>",
        f'<div class="figures">{"".join(f"<div>{label}<b>{value}</b></div>" for label, value in figures)}</div>',
        "<h2>Where the bytes went</h2>",
        f'<div class="charts">{"".join(_figure(title, as_svg(chart)) for title, chart in charts)}</div>',
        *_reasons(sums.reasons),
        "<h2>Pages whose ink lost most</h2>",
        "<p>SSIM of the worst block of ink, against the source; 1 is the same. Each of them passed the check.</p>",
        f'<div class="pages">{"".join(_page(dest, row, settings) for row in worst.to_pylist())}</div>',
        "</body></html>",
    ]
    return "\n".join(parts)


def _figure(title: str, svg: str) -> str:
    caption = f"<figcaption>{html.escape(title)}</figcaption>" if title else ""  # others say it on their axis
    return f"<figure>{caption}{svg}</figure>"


def _reasons(reasons: dict[str, int]) -> Sequence[str]:
    if not reasons:
        return ["<h2>Kept or failed</h2>", "<p>No page.</p>"]
    rows = "".join(
        f'<tr><td>{html.escape(reason)}</td><td class="number">{count:,}</td></tr>'
        for reason, count in sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    )
    return ["<h2>Kept or failed</h2>", f"<table><tr><th>Reason</th><th>Pages</th></tr>{rows}</table>"]


def _page(dest: Store, row: dict[str, Any], settings: Settings) -> str:
    try:
        index = page_in_output(row["document_key"], row["page_index"], row["output_key"])
        data = base64.b64encode(thumbnail(dest.read_bytes(row["output_key"]), index, settings.limits)).decode()
        picture = f'<img alt="" src="data:image/jpeg;base64,{data}">'
    except (PageError, OSError):
        picture = "<p>This output cannot be shown; foliopress verify tells why.</p>"
    page = f", page {row['page_index'] + 1}" if row["page_index"] else ""
    ssim = "–" if row["worst_block_ssim"] is None else f"{row['worst_block_ssim']:.3f}"
    said = f"{html.escape(row['document_key'])}{page}<br>worst block {ssim}"
    return f"<figure>{picture}<figcaption>{said}</figcaption></figure>"
