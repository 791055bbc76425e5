"""Show external text, such as file names, keys, words and errors, literally.

Streamlit interprets text as Markdown almost everywhere, including labels and tables: a file name could insert a link or
a remote image. Only our own texts go there; all others pass through this module.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import streamlit as st

from foliopress.configs.secrets import hide


def heading(text: str) -> None:
    """Draw a heading."""
    st.html(f'<h3 style="margin:0;overflow-wrap:anywhere">{html.escape(hide(text))}</h3>')


def note(text: str) -> None:
    """Draw a small line."""
    st.html(f'<p style="margin:0;opacity:.7;font-size:.875rem;overflow-wrap:anywhere">{html.escape(hide(text))}</p>')


def problem(draw: Callable[..., Any], headline: str, text: str, advice: str = "") -> None:
    """Draw a problem: our headline in a box, the reported text below it, and our advice.

    Args:
        draw: `st.error`, `st.warning` or `st.info`.
        headline: Our own text.
        text: Text of any origin.
        advice: Our own text.
    """
    draw(headline)
    st.text(hide(text))
    if advice:
        st.caption(advice)
