"""The window's pages: what `app/server.py` shows behind its gate."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import streamlit as st
from PIL import Image

_HERE = Path(__file__).resolve().parent
_ROOT = str(_HERE.parent)
if _ROOT not in sys.path:  # run by its file, a script knows only its own folder
    sys.path.insert(0, _ROOT)


_STYLE = """<style>
.block-container { padding: 3.5rem 2rem 2rem; }
[data-testid="stMetricValue"] { font-size: 1.6rem; }
</style>"""


@st.cache_resource(show_spinner=False)
def _warm() -> threading.Thread:
    """Load in the background what the first page needs, while a person still chooses it."""

    def load() -> None:
        import numpy as np

        from configs.settings import OcrSettings
        from flows import steps  # noqa: F401 - and with it OpenCV, Pillow and the codecs
        from model.scoring import load_scorer
        from tasks.errors import ConfigError, PageError
        from tasks.ocr import read_words

        try:
            load_scorer()
            read_words(np.full((64, 64), 255, np.uint8), 200, OcrSettings())
        except (ConfigError, PageError):
            pass  # said when a page needs it

    thread = threading.Thread(target=load, name="warm-up", daemon=True)
    thread.start()
    return thread


def _is_gated() -> bool:
    from app.gate import Gate

    return Gate.stands


def _try() -> None:
    from app import try_page

    try_page.draw()


def _look() -> None:
    from app import run_page

    run_page.draw()


st.set_page_config("Foliopress", Image.open(_HERE / "icon.png"), layout="wide")
if not _is_gated():
    st.error("Pages of other sites could ask this window for anything: start it with `foliopress app`.")
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
