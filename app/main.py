"""Define the pages of the window, which `app/server.py` serves behind its gate."""

from __future__ import annotations

import threading
from pathlib import Path

import streamlit as st
from PIL import Image

_HERE = Path(__file__).resolve().parent


_STYLE = """<style>
.block-container { padding: 3.5rem 2rem 2rem; }
[data-testid="stMetricValue"] { font-size: 1.6rem; }
</style>"""


@st.cache_resource(show_spinner=False)
def _warm() -> threading.Thread:
    """Load in the background what the first page needs, while the user is still choosing it."""

    def load() -> None:
        import numpy as np

        from foliopress.configs.errors import ConfigError
        from foliopress.configs.settings import OcrSettings
        from foliopress.flows.steps import steps  # noqa: F401 - imports OpenCV, Pillow and the codecs
        from foliopress.model.scoring import load_scorer
        from foliopress.tasks.errors import PageError
        from foliopress.tasks.ocr.recognition import read_words

        try:
            load_scorer()
            read_words(np.full((64, 64), 255, np.uint8), 200, OcrSettings())
        except (ConfigError, PageError):
            pass  # reported when a page needs it

    thread = threading.Thread(target=load, name="warm-up", daemon=True)
    thread.start()
    return thread


def _is_gated() -> bool:
    from foliopress.app.request_gate import Gate

    return Gate.is_active


def _try() -> None:
    from foliopress.app import try_page

    try_page.draw()


def _look() -> None:
    from foliopress.app import run_page

    run_page.draw()


st.set_page_config("Foliopress", Image.open(_HERE / "icon.png"), layout="wide")
if not _is_gated():
    st.error("Other sites could send requests to this window: start it with `foliopress app`.")
    st.stop()
st.html(_STYLE)
_warm()
st.navigation(
    [
        st.Page(_try, title="Try a scan", icon=":material/compare:", url_path="try", default=True),
        st.Page(_look, title="Look through a run", icon=":material/library_books:", url_path="run"),
    ],
    position="top",
).run()
