"""Said: what comes from outside, such as a file's name, a key, a word or an error, is shown as it is.

Streamlit takes what it is given for Markdown in nearly all places, labels and tables among them: a file's name could
draw a link or a picture from elsewhere. So texts of our own go there, and all others come through here.
"""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import streamlit as st

from foliopress.configs.secrets import hide


def heading(text: str) -> None:
    """Draw a heading of what something is called."""
    st.html(f'<h3 style="margin:0;overflow-wrap:anywhere">{html.escape(hide(text))}</h3>')


def note(text: str) -> None:
    """Draw a small line."""
    st.html(f'<p style="margin:0;opacity:.7;font-size:.875rem;overflow-wrap:anywhere">{html.escape(hide(text))}</p>')


def problem(draw: Callable[..., Any], headline: str, text: str, advice: str = "") -> None:
    """Draw what went wrong: a headline of ours in a box, below it what was said, and what one can do.

    Args:
        draw: `st.error`, `st.warning` or `st.info`.
        headline: Words of ours.
        text: From anywhere.
        advice: Words of ours.
    """
    draw(headline)
    st.text(hide(text))
    if advice:
        st.caption(advice)
