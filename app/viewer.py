"""Show source and output on one canvas, with a divider, zoom up to 400 % and overlays."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from streamlit import runtime

from foliopress.app.page_images import TILE_PX, Picture

_HERE = Path(__file__).resolve().parent
_OUTCOMES = ("unchanged", "same", "changed", "lost", "unrepeatable", "sure", "unsure")
"""In the order of viewer.js."""

_mount = st.components.v2.component(
    "foliopress_viewer",
    html=(_HERE / "viewer.html").read_text("utf-8"),
    css=(_HERE / "viewer.css").read_text("utf-8"),
    js=(_HERE / "viewer.js").read_text("utf-8"),
)


@dataclass(frozen=True)
class Mark:
    """A box on the page, in page pixels, and what became of its word.

    `outcome` is that of a `WordCheck`; `sure` if it is not known, `unsure` for a word that is not checked.
    """

    row_px: int
    col_px: int
    height_px: int
    width_px: int
    outcome: str


@dataclass(frozen=True, eq=False)
class Overlays:
    """Overlays for the page; `importance` and `levels` are (n_rows, n_cols), `tile_px` is the side of their tiles."""

    importance: np.ndarray | None = None
    levels: np.ndarray | None = None
    tile_px: int = 1
    marks: Sequence[Mark] = ()


def show(
    identity: str,
    before: Picture,
    after: Picture | None,
    overlays: Overlays,
    *,
    labels: tuple[str, str] = ("Source", "Output"),
    focus: Mark | None = None,
) -> None:
    """Draw the comparison.

    Args:
        identity: ID of the page; zoom and position are kept while it stays the same.
        before: The source.
        after: The output, or None.
        overlays: Importance, resolution and words.
        labels: Captions of the two.
        focus: Box to scroll to, or None.
    """
    mark = focus and [focus.row_px, focus.col_px, focus.height_px, focus.width_px]
    _mount(
        key="viewer",
        data={
            "identity": identity,
            "width": before.width_px,
            "height": before.height_px,
            "before": _as_data(before, labels[0], "before"),
            "after": _as_data(after, labels[1], "after") if after else None,
            "heat": _as_map(overlays.importance, overlays.tile_px, 255.0),
            "levels": _as_map(overlays.levels, overlays.tile_px, 1.0),
            "words": [_as_list(mark) for mark in overlays.marks],
            "focus": mark,
        },
    )


def _as_data(picture: Picture, label: str, side: str) -> dict[str, Any]:
    return {
        "label": label,
        "width": picture.width_px,
        "height": picture.height_px,
        "preview": _address(picture.preview, picture.mimetype, f"{side}-preview"),
        "tiles": list(_addresses(picture, side)),
        "tile": TILE_PX,
    }


def _addresses(picture: Picture, side: str) -> Iterable[str]:
    for number, tile in enumerate(picture.tiles):
        yield _address(tile, picture.mimetype, f"{side}-{number}")


def _address(data: bytes, mimetype: str, name: str) -> str:
    """Return the URL of an image; Streamlit keeps it in memory while this session shows it."""
    if not runtime.exists():
        return f"/media/{uuid.uuid5(uuid.NAMESPACE_OID, name)}"
    return runtime.get_instance().media_file_mgr.add(data, mimetype, f"foliopress-{name}")


def _as_map(values: np.ndarray | None, tile_px: int, scale: float) -> dict[str, Any] | None:
    if values is None:
        return None
    coded = np.round(np.asarray(values, np.float64) * scale).astype(np.uint8)
    return {
        "rows": values.shape[0],
        "cols": values.shape[1],
        "tile": tile_px,
        "values": base64.b64encode(coded.tobytes()).decode(),
    }


def _as_list(mark: Mark) -> list[int]:
    return [mark.row_px, mark.col_px, mark.height_px, mark.width_px, _OUTCOMES.index(mark.outcome)]
