"""Figures: the few numbers that stand over a page, in a row that breaks where it is too long."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st


class Metric(NamedTuple):
    """A number with its name, a note below it, and what a person may ask about it."""

    label: str
    value: str
    note: str | None = None
    help: str | None = None


def draw_metrics(*metrics: Metric) -> None:
    """Draw figures beside one another."""
    with st.container(horizontal=True, gap="large"):
        for one in metrics:
            st.metric(
                one.label, one.value, one.note, delta_color="off", delta_arrow="off", help=one.help, width="content"
            )
