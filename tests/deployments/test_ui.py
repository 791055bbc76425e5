"""A run in the Prefect UI, as whoever watches it sees it: a real browser before a real server.

`FOLIOPRESS_SCREENSHOTS` names a folder that keeps the pictures.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.deployments.conftest import ScheduledRun

pytestmark = pytest.mark.slow  # it needs a browser


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
    expect(page.get_by_text("pages per minute").first).to_be_visible()
    page.screenshot(path=keep / "summary.png")
    page.go_back()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("foliopress-rate").first.click()
    expect(page.locator("img[src^='data:image/svg']").first).to_be_visible()
    page.screenshot(path=keep / "rate.png")
