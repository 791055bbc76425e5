"""Draw the charts of a DEST for the window and the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import altair as alt
import pyarrow as pa

from foliopress.tasks.records.overview import RATIO, FolderSums, histogram

BLUE, GREY, ORANGE = "#2b6cb0", "#8a94a6", "#dd6b20"
MOST_FOLDERS = 15

_HEIGHT = 240
_FIT = alt.AutoSizeParams(type="fit-x", contains="padding")  # legend and axis do not reduce the plot height


@dataclass(frozen=True)
class Distribution:
    """A column of the overview, its label, and the edges of its histogram bins."""

    column: str
    title: str
    edges: tuple[float, ...]


DISTRIBUTIONS = (
    Distribution(RATIO, "Output bytes per source byte", tuple(step / 20 for step in range(21))),
    Distribution("worst_block_ssim", "SSIM of each page's worst block of ink", tuple(step / 20 for step in range(21))),
    Distribution("text_ssim", "SSIM of each page's text", tuple(0.8 + step / 100 for step in range(21))),
    Distribution(
        "words_kept_fraction",
        "Fraction of each page's words that read the same",
        tuple(0.9 + step / 200 for step in range(21)),
    ),
)


def saved_by_folder(folders: Sequence[FolderSums]) -> alt.Chart:
    """Return bars of the bytes before and after for the folders that saved most; the rest are combined."""
    shown = list(folders[:MOST_FOLDERS])
    if others := folders[MOST_FOLDERS:]:
        shown.append(
            FolderSums(
                f"{len(others)} others",
                sum(one.pages for one in others),
                sum(one.source_bytes for one in others),
                sum(one.output_bytes for one in others),
            )
        )
    values = [
        {"folder": one.folder or "(no folder)", "part": part, "MB": size / 1e6, "order": order}
        for order, one in enumerate(shown)
        for part, size in (("before", one.source_bytes), ("after", one.output_bytes))
    ]
    return (
        alt.Chart(alt.Data(values=values))
        .mark_bar()
        .encode(
            x=alt.X("MB:Q", title="MB", stack=None),
            y=alt.Y("folder:N", title=None, sort=alt.EncodingSortField("order"), axis=alt.Axis(labelLimit=220)),
            yOffset=alt.YOffset("part:N", sort=["before", "after"]),
            color=_parts(["before", "after"], [GREY, BLUE]),
            tooltip=["folder:N", "part:N", alt.Tooltip("MB:Q", format=",.1f")],
        )
        .properties(width="container", height=max(60, 34 * len(shown)), autosize=_FIT)
    )


def pages_by_reason(reasons: dict[str, int], compressed: int) -> alt.Chart:
    """Return bars of the pages compressed, and of the pages kept or failed by reason."""
    found = sorted(reasons.items(), key=lambda entry: (-entry[1], entry[0]))
    values = [{"what": "compressed", "pages": compressed, "part": "compressed"}]
    values += [{"what": reason, "pages": count, "part": "kept or failed"} for reason, count in found]
    return (
        alt.Chart(alt.Data(values=values))
        .mark_bar()
        .encode(
            x=alt.X("pages:Q", title="pages", scale=alt.Scale(type="symlog"), axis=alt.Axis(tickCount=5)),
            y=alt.Y("what:N", title=None, sort=None, axis=alt.Axis(labelLimit=220)),
            color=_parts(["compressed", "kept or failed"], [BLUE, ORANGE]),
            tooltip=["what:N", alt.Tooltip("pages:Q", format=",")],
        )
        .properties(width="container", height=max(40, 26 * len(values)), autosize=_FIT)
    )


def distribution(pages: pa.Table, one: Distribution) -> alt.Chart:
    """Return a histogram of one column of the overview; the outer bins include values beyond the edges."""
    counts = histogram(pages, one.column, one.edges)
    values = [
        {"from": round(low, 4), "to": round(high, 4), "pages": count}
        for low, high, count in zip(one.edges, one.edges[1:], counts, strict=False)
    ]
    return (
        alt.Chart(alt.Data(values=values))
        .mark_bar(color=BLUE)
        .encode(
            x=alt.X(
                "from:Q",
                bin=alt.BinParams(binned=True),
                title=one.title,
                scale=alt.Scale(domain=[one.edges[0], one.edges[-1]], nice=False),
            ),
            x2="to:Q",
            y=alt.Y("pages:Q", title="pages"),
            tooltip=["from:Q", "to:Q", alt.Tooltip("pages:Q", format=",")],
        )
        .properties(width="container", height=_HEIGHT, autosize=_FIT)
    )


def as_svg(chart: alt.Chart, width_px: int = 520) -> str:
    """Return a chart as SVG, which is displayed without scripts."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(chart.properties(width=width_px, padding=12).to_dict())
    return svg


def _parts(names: list[str], colours: list[str]) -> alt.Color:
    return alt.Color(
        "part:N", title=None, scale=alt.Scale(domain=names, range=colours), legend=alt.Legend(orient="top")
    )
