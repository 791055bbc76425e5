"""The window without a browser: Streamlit's own script runner."""

from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

_MAIN = Path(__file__).resolve().parents[2] / "app" / "main.py"
_RUN_PAGE = "from app import run_page\nrun_page.draw()"


@pytest.fixture
def window() -> AppTest:
    """The window as it opens."""
    return AppTest.from_file(str(_MAIN), default_timeout=120).run()


@pytest.fixture
def look_through() -> Callable[..., AppTest]:
    """Open the page that looks through a DEST."""

    def opened(dest: object) -> AppTest:
        page = AppTest.from_string(_RUN_PAGE, default_timeout=120)
        page.query_params["dest"] = str(dest)
        return page.run()

    return opened
