"""Take the pictures of the window in docs/ from the sample archive: run `make compress` first.

    PYTHONPATH=. .venv/bin/python scripts/window_pictures.py

It needs a browser (`apt-get install chromium`).
"""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import browser_page
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).resolve().parents[1]
DOCS, DEST = ROOT / "docs", "sample/compressed"
SAMPLE = "typescripts/breakwater-copy.jpg"
SIZE_PX = (1280, 860)
LONG_MS = 120_000


def take(page: Page, name: str) -> None:
    """Write what the browser shows to docs/, as WebP."""
    page.wait_for_timeout(1500)  # pictures fade in
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.save(DOCS / f"{name}.webp", quality=80, method=6)


def try_sample(page: Page, url: str) -> None:
    """Take the pictures of the page that tries one scan."""
    page.goto(url)
    page.get_by_role("combobox", name="or a sample").click()
    page.get_by_text(SAMPLE, exact=True).click()
    page.locator(".stage").wait_for(timeout=LONG_MS)
    expect(page.get_by_text("Time: read")).to_be_visible(timeout=LONG_MS)
    for overlay, name in (("none", ""), ("heat", "-importance"), ("levels", "-resolution"), ("words", "-words")):
        page.locator(f"button[data-overlay={overlay}]").click()
        take(page, f"window{name}")


def look_through(page: Page, url: str) -> None:
    """Take the pictures of the pages that look through a run."""
    page.goto(f"{url}/run?dest={DEST}")
    page.get_by_role("button", name="Open it").click()
    expect(page.get_by_text("Pages by result")).to_be_visible(timeout=LONG_MS)
    take(page, "window-run")
    page.get_by_role("tab", name="All pages").click()
    take(page, "window-pages")
    page.get_by_role("tab", name="Worst pages").click()
    take(page, "window-worst")
    page.get_by_role("button", name="Compare").first.click()
    page.locator(".stage").wait_for(timeout=LONG_MS)
    take(page, "window-page")


def main() -> None:
    """Start the window, and take all pictures."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-P", "-m", "foliopress", "app", "--port", str(port), "--no-browser"]
    server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_port(port, server)
        with browser_page(*SIZE_PX) as page:
            try_sample(page, url)
            look_through(page, url)
    finally:
        server.terminate()
        server.wait(20)


if __name__ == "__main__":
    main()
