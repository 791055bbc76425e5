"""A run in the Prefect UI, as whoever watches it sees it: a real browser before a real server.

`FOLIOPRESS_SCREENSHOTS` names a folder that keeps the pictures.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.deployments.conftest import ScheduledRun

pytestmark = pytest.mark.slow  # it needs a browser

_WAIT_MS = 30_000
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync")


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser on this machine: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*_QUIET, "--disable-component-update"])
        opened = browser.new_page(viewport={"width": 1280, "height": 900})
        opened.set_default_timeout(_WAIT_MS)
        opened.route("**/*", lambda route: route.continue_() if "127.0.0.1" in route.request.url else route.abort())
        yield opened
        browser.close()


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("FOLIOPRESS_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_a_scheduled_run_is_seen_completed_with_its_figures(
    scheduled_run: ScheduledRun, page: Page, keep: Path
) -> None:
    ui = scheduled_run.server.url.removesuffix("/api")
    page.goto(f"{ui}/runs")
    name = str(scheduled_run.run["name"])
    expect(page.get_by_text(name).first).to_be_visible()
    expect(page.get_by_text("Completed").first).to_be_visible()
    page.screenshot(path=keep / "runs.png")
    page.goto(f"{ui}/runs/flow-run/{scheduled_run.run['id']}")
    expect(page.get_by_text("Completed").first).to_be_visible()
    expect(page.get_by_text("is committed").first).to_be_visible()
    page.screenshot(path=keep / "run.png")
    page.get_by_text("Artifacts", exact=True).click()
    expect(page.get_by_text("foliopress-summary").first).to_be_visible()
    page.screenshot(path=keep / "artifacts.png")
    expect(page.get_by_text("foliopress-rate").first).to_be_visible()
    page.get_by_text("foliopress-summary").first.click()
    expect(page.get_by_text("whole DEST").first).to_be_visible()
    expect(page.get_by_text("pages a minute").first).to_be_visible()
    page.screenshot(path=keep / "summary.png")
    page.go_back()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("foliopress-rate").first.click()
    expect(page.locator("img[src^='data:image/svg']").first).to_be_visible()
    page.screenshot(path=keep / "rate.png")
