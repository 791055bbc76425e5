"""Open a real browser to test what users see; tests that need one are `slow`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, sync_playwright

_WAIT_MS = 30_000
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")


@contextmanager
def browser_page(
    width_px: int = 1280, height_px: int = 900, *, is_dark: bool = False, rules: str = ""
) -> Iterator[Page]:
    """Open a Chromium page that can only reach loopback; skip the test without a browser.

    `rules` map host names in the format of `--host-resolver-rules`; these names can be reached too.
    """
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        options = [*_QUIET, "--disable-component-update", *([f"--host-resolver-rules={rules}"] if rules else [])]
        browser = playwright.chromium.launch(executable_path=chromium, args=options)
        opened = browser.new_page(
            viewport={"width": width_px, "height": height_px}, color_scheme="dark" if is_dark else "light"
        )
        opened.set_default_timeout(_WAIT_MS)
        reached = ("127.0.0.1", *rules.split()[1:2])
        opened.route(
            "**/*",
            lambda route: route.continue_() if any(name in route.request.url for name in reached) else route.abort(),
        )
        yield opened
        browser.close()
