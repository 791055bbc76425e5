"""The throughput benchmark's table and plot."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLOT_FILE = "throughput.png"

_STAGES = {
    "read": "read",
    "ocr": "find text",
    "score": "score",
    "encode": "plan, rescale, encode",
    "check": "check",
    "reread": "read again",
    "store": "store",
}
_DPI = 110


def as_markdown(figures: Mapping[str, Any], plot: str | None) -> str:
    """Return the page: who took how long, against the product with all cores; then where the time goes."""
    about, found = figures["machine"], figures["contestants"]
    product = next((name for name in found if name.startswith("Foliopress") and name.endswith("workers")), None)
    average_mb = figures["source_bytes"] / figures["pages"] / 1e6
    lines = [
        "# Throughput",
        "",
        f"{figures['pages']} pages: {figures['scans']} scans, repeated, of {average_mb:.2f} MB on average; "
        f"{figures['rounds']} round(s). {about['processor']}, {about['cores']} cores. Written by",
        "",
        "    python -m benchmarks.throughput DATA --out docs/benchmarks",
        "",
        "*Start-up* is what the same command takes when nothing is left to do; core-seconds a page are without it.",
        "The others' start-up is in their pages, since they have no such rerun; OCRmyPDF is given all pages at once.",
        "",
        "| | wall s | of it start-up | pages/min | once started | core-s a page | Foliopress is | output MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in found.items():
        times = found[product]["pages_per_minute"] / one["pages_per_minute"] if product else None
        lines.append(
            f"| {name} | {one['wall_s']:.0f} | {one['start_s']:.1f} | {one['pages_per_minute']:.1f} "
            f"| {one['pages_per_minute_once_started']:.1f} | {one['core_s_per_page']:.2f} "
            f"| {'' if times is None else f'{times:.2f} ×'} | {one['output_bytes'] / 1e6:.1f} |"
        )
    lines += ["", *_sentences(found, product), ""]
    lines += [
        "Two runs on one machine may differ by more than that: `benchmarks.overhead` tells it from within one run.",
        "",
    ]
    lines += [f"Not measured: {reason}." for reason in figures["not_measured"]]
    staged = {name: one["stages_s_per_page"] for name, one in found.items() if one["stages_s_per_page"]}
    if staged:
        names = [stage for stage in _STAGES if any(stage in stages for stages in staged.values())]
        lines += [
            "",
            "## Where the time goes",
            "",
            "Seconds a page, as its row tells them (wall time of the step).",
            "",
        ]
        lines += [f"| | {' | '.join(_STAGES[name] for name in names)} | all |", "| --- " * (len(names) + 2) + "|"]
        for name, stages in staged.items():
            cells = " | ".join(f"{stages.get(stage, 0):.3f}" for stage in names)
            lines.append(f"| {name} | {cells} | {sum(stages.values()):.2f} |")
    if plot:
        lines += ["", f"![Pages a minute]({plot})"]
    return "\n".join(lines) + "\n"


def _sentences(found: Mapping[str, Any], product: str | None) -> list[str]:
    single, bare = found.get("Foliopress, 1 worker"), found.get("bare loop, 1 process")
    all_cores = None if product in (None, "Foliopress, 1 worker") else found[product]
    at_once = next((one for name, one in found.items() if name.startswith("bare loops")), None)
    said = []
    if bare and single:
        more = single["core_s_per_page"] / bare["core_s_per_page"] - 1
        said.append(
            f"With one worker, Prefect and Dask cost {100 * more:+.1f} % of the bare loop's core-seconds a page."
        )
    if at_once and all_cores:
        more = all_cores["core_s_per_page"] / at_once["core_s_per_page"] - 1
        said.append(f"With all cores, they cost {100 * more:+.1f} % of those of as many bare loops at once.")
    if product and single and all_cores:
        said.append(f"{product.removeprefix('Foliopress, ')} are {_times(all_cores, single):.2f} × one, once started.")
    if bare and at_once:
        said.append(f"As many bare loops at once are {_times(at_once, bare):.2f} × one: what this machine allows.")
    return said


def _times(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    times: float = one["pages_per_minute_once_started"] / other["pages_per_minute_once_started"]
    return times


def write_plot(folder: Path, figures: Mapping[str, Any]) -> str | None:
    """Draw pages a minute as bars, and return the picture's name; None without any."""
    from matplotlib.figure import Figure

    found = figures["contestants"]
    if not found:
        return None
    figure = Figure(figsize=(9, 0.6 + 0.5 * len(found)), layout="constrained")
    axes = figure.add_subplot()
    names = list(found)[::-1]
    values = [found[name]["pages_per_minute"] for name in names]
    colours = ["#2b6cb0" if name.startswith("Foliopress") else "#a0aec0" for name in names]
    bars = axes.barh(names, values, color=colours)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.set_xlabel(f"pages a minute, {figures['pages']} pages on {figures['machine']['cores']} cores")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / PLOT_FILE, dpi=_DPI)
    return PLOT_FILE
