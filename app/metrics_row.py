"""Draw a wrapping row of key metrics above a page."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st


class Metric(NamedTuple):
    """A number with its label, a note below it, and a help text."""

    label: str
    value: str
    note: str | None = None
    help: str | None = None


def draw_metrics(*metrics: Metric) -> None:
    """Draw metrics side by side."""
    with st.container(horizontal=True, gap="large"):
        for one in metrics:
            st.metric(
                one.label, one.value, one.note, delta_color="off", delta_arrow="off", help=one.help, width="content"
            )
