"""Collect the text a user reads in the window, and the part that Streamlit interprets as Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from streamlit.testing.v1 import AppTest

_AS_IT_IS = ("text", "html", "imgs", "arrow_data_frame", "arrow_vega_lite_chart", "bidi_component")
"""Elements whose text is not Markdown; a test checks that `html` is escaped."""
_NO_MARKDOWN = ("options", "value", "default", "raw_values", "set_value", "id", "user_key", "element_id", "help_id")


def shown(page: AppTest) -> str:
    """Return the text of what is drawn as HTML."""
    return " ".join(html.unescape(re.sub("<[^>]*>", "", one.proto.body)) for one in page.get("html"))


def visible_text(page: AppTest) -> str:
    """Return all text except metrics and tables."""
    kinds = (page.caption, page.warning, page.error, page.info, page.text)
    return " ".join([*(one.value for kind in kinds for one in kind), shown(page)])


def markdown(page: AppTest) -> str:
    """Return all text that Streamlit interprets as Markdown."""
    return " ".join(text for node in page._tree if hasattr(node, "proto") for text in _texts(node))


def _texts(node: Any) -> Iterator[str]:
    if node.type not in _AS_IT_IS and hasattr(node.proto, "ListFields"):
        yield from _strings(node.proto)


def _strings(message: Any) -> Iterator[str]:
    for field, value in message.ListFields():
        if field.name in _NO_MARKDOWN:
            continue
        for one in value if field.is_repeated else [value]:
            if isinstance(one, str):
                yield one
            elif hasattr(one, "ListFields"):
                yield from _strings(one)
