"""Serve the window behind its gate; started by `foliopress app`."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.middleware import Middleware
from streamlit import config
from streamlit.starlette import App

from foliopress.app.request_gate import Gate

_HERE = Path(__file__).resolve().parent

_OPENS_AFTER_S = 0.5


@asynccontextmanager
async def _opening_a_browser(_app: App) -> AsyncIterator[None]:
    if not config.get_option("server.headless"):
        address = config.get_option("browser.serverAddress")
        url = f"http://{f'[{address}]' if ':' in address else address}:{config.get_option('server.port')}"
        asyncio.get_running_loop().call_later(_OPENS_AFTER_S, webbrowser.open, url)
    yield


app = App(_HERE / "main.py", middleware=[Middleware(Gate)], lifespan=_opening_a_browser)
