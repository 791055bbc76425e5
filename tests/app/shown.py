"""What a person reads in the window, and what of it Streamlit takes for Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any

from streamlit.testing.v1 import AppTest

_AS_IT_IS = ("text", "html", "imgs", "arrow_data_frame", "arrow_vega_lite_chart", "bidi_component")
"""Elements whose texts are no Markdown; of `html` a test sees to it that it is escaped."""
_NO_MARKDOWN = ("options", "value", "default", "raw_values", "set_value", "id", "user_key", "element_id", "help_id")


def shown(page: AppTest) -> str:
    """Return what is drawn as HTML, as a reader sees it."""
    return " ".join(html.unescape(re.sub("<[^>]*>", "", one.proto.body)) for one in page.get("html"))


def said(page: AppTest) -> str:
    """Return all that is said beside figures and tables."""
    kinds = (page.caption, page.warning, page.error, page.info, page.text)
    return " ".join([*(one.value for kind in kinds for one in kind), shown(page)])


def markdown(page: AppTest) -> str:
    """Return all texts that Streamlit would take for Markdown."""
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
