"""Run the window without a browser, with Streamlit's own script runner."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from foliopress.app.request_gate import Gate

_MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
_RUN_PAGE = "from foliopress.app import run_page\nrun_page.draw()"


@pytest.fixture(autouse=True)
def _gated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Gate, "is_active", True)  # as app/server.py makes it


@pytest.fixture(autouse=True)
def _keeps_its_main_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo Streamlit's change of `__main__`: processes that later tests start would import the whole window."""
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])


@pytest.fixture
def window() -> AppTest:
    """The window after start-up."""
    return AppTest.from_file(str(_MAIN), default_timeout=120).run()


@pytest.fixture
def look_through() -> Callable[..., AppTest]:
    """Open the page of a DEST through a link that is clicked."""

    def run(dest: object) -> AppTest:
        page = AppTest.from_string(_RUN_PAGE, default_timeout=120)
        page.query_params["dest"] = str(dest)
        page.run()
        return next(one for one in page.button if one.label == "Open it").click().run()

    return run
