"""Write the throughput benchmark's table and plot."""

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
    """Return the page: times relative to the product with all cores, then the time by stage."""
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
        "*Start-up* is the time of the same command with nothing left to do; core-seconds per page exclude it.",
        "The others' times include start-up, since they have no such rerun; OCRmyPDF gets all pages at once.",
        "",
        "| | wall s | start-up s | pages/min | once started | core-s per page | Foliopress is | output MB |",
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
        "Two runs on one machine may differ by more than that: `benchmarks.overhead` measures it within one run.",
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
            "Seconds per page from its row (wall time of the step).",
            "",
        ]
        lines += [f"| | {' | '.join(_STAGES[name] for name in names)} | all |", "| --- " * (len(names) + 2) + "|"]
        for name, stages in staged.items():
            cells = " | ".join(f"{stages.get(stage, 0):.3f}" for stage in names)
            lines.append(f"| {name} | {cells} | {sum(stages.values()):.2f} |")
    if plot:
        lines += ["", f"![Pages per minute]({plot})"]
    return "\n".join(lines) + "\n"


def _sentences(found: Mapping[str, Any], product: str | None) -> list[str]:
    single, bare = found.get("Foliopress, 1 worker"), found.get("bare loop, 1 process")
    all_cores = None if product in (None, "Foliopress, 1 worker") else found[product]
    at_once = next((one for name, one in found.items() if name.startswith("bare loops")), None)
    said = []
    if bare and single:
        more = single["core_s_per_page"] / bare["core_s_per_page"] - 1
        said.append(
            f"With one worker, Prefect and Dask cost {100 * more:+.1f} % of the bare loop's core-seconds per page."
        )
    if at_once and all_cores:
        more = all_cores["core_s_per_page"] / at_once["core_s_per_page"] - 1
        said.append(f"With all cores, they cost {100 * more:+.1f} % of those of as many bare loops at once.")
    if product and single and all_cores:
        said.append(f"{product.removeprefix('Foliopress, ')} are {_times(all_cores, single):.2f} × one, once started.")
    if bare and at_once:
        said.append(f"As many bare loops at once are {_times(at_once, bare):.2f} × one: the limit of this machine.")
    return said


def _times(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    times: float = one["pages_per_minute_once_started"] / other["pages_per_minute_once_started"]
    return times


def write_plot(folder: Path, figures: Mapping[str, Any]) -> str | None:
    """Plot pages per minute as bars, and return the picture's name; None without data."""
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
    axes.set_xlabel(f"pages per minute, {figures['pages']} pages on {figures['machine']['cores']} cores")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / PLOT_FILE, dpi=_DPI)
    return PLOT_FILE
