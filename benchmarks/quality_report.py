"""Report the quality benchmark: results of each arm, for all scans and by collection, as data and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.arms import SOURCE
from benchmarks.curves import Measured, summarise
from benchmarks.other_tools import TOOLS
from benchmarks.product import PRODUCT
from benchmarks.strips import Strip

BITONAL = "bitonal"
TARGETS = {"archive-pdf-tools": 0.8, "archive-pdf-tools --bg-downsample 3": 0.8}
"""Target share of another tool's bytes."""

_UNIFORM = "uniform"


def figures_of(measured: Measured) -> dict[str, Any]:
    """Return all values of the report.

    Returns:
        `arms`: by arm, `benchmarks.curves.summarise` of all its pages. `collections`: the same for each collection's
        pages, by collection and arm. `against_tools`: by tool, `bytes_against`. `failed`: key, arm and error of each
        failure.
    """
    arms = measured.arms()
    by_collection: dict[str, dict[str, Any]] = {}
    for collection in measured.collections():
        for arm in arms:
            rows = [row for row in measured.of_arm(arm) if row["collection"] == collection]
            if rows:
                by_collection.setdefault(collection, {})[arm] = summarise(rows, measured)
    return {
        "arms": {arm: summarise(measured.of_arm(arm), measured) for arm in arms},
        "collections": by_collection,
        "against_tools": {tool: found for tool in TOOLS if (found := bytes_against(tool, measured))},
        "failed": [{name: row[name] for name in ("key", "arm", "error")} for row in measured.failed],
    }


def bytes_against(tool: str, measured: Measured) -> list[dict[str, Any]]:
    """Return, for each Foliopress arm, its bytes and a tool's on the pages of both.

    Bitonal scans are excluded: both sides store their pixels unchanged.

    Returns:
        `arm`, `pages`, `bytes`, `tool_bytes`, `ratio`, `target` (None without one).
    """
    theirs = {row["key"]: row["bytes"] for row in measured.of_arm(tool) if row["page_kind"] != BITONAL}
    found = []
    for arm in _compared(measured.arms()):
        ours = {row["key"]: row["bytes"] for row in measured.of_arm(arm)}
        keys = sorted(ours.keys() & theirs.keys())
        if not keys or arm in (SOURCE, *TOOLS):
            continue
        own, other = sum(ours[key] for key in keys), sum(theirs[key] for key in keys)
        found.append(
            {
                "arm": arm,
                "pages": len(keys),
                "bytes": own,
                "tool_bytes": other,
                "ratio": own / other,
                "target": TARGETS.get(tool),
            }
        )
    return found


def as_markdown(
    figures: Mapping[str, Any], about: str, not_measured: Sequence[str], plots: Sequence[str], strips: Sequence[Strip]
) -> str:
    """Return the report as Markdown.

    Args:
        figures: From `figures_of`.
        about: A line about the data and the machine.
        not_measured: A line for each omitted tool.
        plots: Names of the plots next to the report.
        strips: The strips next to the report.
    """
    arms = figures["arms"]
    uniform = [arm for arm in arms if arm.startswith(_UNIFORM)]
    uniform = [arm for arm in uniform if arms[arm]["n_words"]] or uniform
    parts = ["# Size against legibility", about, "## All scans", _ARMS_ARE]
    parts.append(as_table(_HEADINGS, [[arm, *_cells(arms[arm])] for arm in (*_compared(list(arms)), *uniform)]))
    lines = [line for tool in figures["against_tools"] for line in against_lines(tool, figures["against_tools"][tool])]
    if lines:
        parts += ["## Compared with other tools", "\n".join(f"- {line}" for line in lines)]
    parts += [f"![{name}]({name})" for name in plots]
    parts += ["## By collection", as_table(("collection", *_HEADINGS), _collection_rows(figures["collections"]))]
    if strips:
        parts += ["## Worst lines", _STRIPS_ARE]
        parts += [f"![{strip.collection}]({strip.name})" + _attribution(strip) for strip in strips]
    absent = [*not_measured, *(f"{row['key']}, {row['arm']}: {row['error']}" for row in figures["failed"])]
    if absent:
        parts += ["## Not measured", "\n".join(f"- {line}" for line in absent)]
    return "\n\n".join(parts) + "\n"


def against_lines(tool: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a sentence for each arm compared with a tool."""
    lines = []
    for row in rows:
        target = "" if row["target"] is None else f" (target: at most {row['target']:g} ×)"
        lines.append(
            f"{row['arm']}: {as_kilobytes(row['bytes'])} kB on {row['pages']} non-bitonal scans, "
            f"{tool} {as_kilobytes(row['tool_bytes'])} kB: {row['ratio']:.2f} ×{target}"
        )
    return lines


_HEADINGS = (
    *("arm", "scans", "kept", "kB", "saved", "× uniform AVIF", "× own codec", "text SSIM", "worst", "other worst"),
    *("colour", "words", "of scans", "worst drop", "s a page"),
)
_ARMS_ARE = (
    "×: bytes relative to one uniform quality with the same text SSIM, for the median scan (in brackets: all "
    "scans together). Text SSIM: on the strokes of marked lines, mean over scans and worst scan. Other: half-size "
    "SSIM on ink outside the lines, the worst scan. Colour: the worst scan's chroma error. Words: share of "
    "ground-truth words that OCR finds on English scans, next to the share on the scans themselves; worst drop: the "
    "largest loss of a scan with 40 or more words, ignoring two words. Seconds: on one core. The curves of uniform "
    "quality have more points than the table."
)
_STRIPS_ARE = (
    "The worst block of text of each collection, at reading size: the scan, uniform AVIF with at least as many bytes, "
    f"and {PRODUCT}."
)


def _compared(arms: Sequence[str]) -> list[str]:
    return [arm for arm in arms if not arm.startswith(_UNIFORM)]


def _collection_rows(collections: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    return [
        [collection, arm, *_cells(found)]
        for collection, arms in collections.items()
        for arm, found in arms.items()
        if arm in _compared(list(arms)) and arm != SOURCE
    ]


def _cells(found: Mapping[str, Any]) -> list[str]:
    return [
        str(found["pages"]),
        str(found["kept"]),
        as_kilobytes(found["bytes"]),
        as_share(found["saved"], 1),
        _ratio(found, "ratio_avif"),
        _ratio(found, "ratio") if found["ratio"] != found["ratio_avif"] else "",
        *(as_number(found[name], 3) for name in ("text_ssim", "text_ssim_worst", "other_ssim_worst")),
        as_number(found["chroma_error_worst"], 1),
        *(as_share(found[name], 1) for name in ("words_found", "words_source", "worst_drop")),
        as_number(found["seconds"], 2),
    ]


def _ratio(found: Mapping[str, Any], name: str) -> str:
    if found[name] is None:
        return ""
    return f"{found[f'{name}_median']:.2f} ({found[name]:.2f})"


def as_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; numbers are right-aligned."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (headings, *rows)]
    n_names = 2 if headings[0] == "collection" else 1
    rule = "|" + " --- |" * n_names + " ---: |" * (len(headings) - n_names)
    return "\n".join([lines[0], rule, *lines[1:]])


def _attribution(strip: Strip) -> str:
    return f"\n\n*{strip.collection}: {strip.attribution}; cropped and compressed.*" if strip.attribution else ""


def as_kilobytes(size_bytes: int) -> str:
    """Return bytes in thousands, without a unit."""
    return f"{size_bytes / 1000:,.0f}"


def as_share(value: float | None, digits: int) -> str:
    """Return a share in per cent, or an empty text for None."""
    return "" if value is None else f"{value:.{digits}%}"


def as_number(value: float | None, digits: int) -> str:
    """Return a number, or an empty text for None."""
    return "" if value is None else f"{value:.{digits}f}"
