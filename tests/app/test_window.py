"""Test the window in a real browser with its real server.

`FOLIOPRESS_SCREENSHOTS` names a folder for screenshots.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import browser_page
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]  # it needs a browser

_ROOT = Path(__file__).resolve().parents[2]
_LONG_MS = 120_000


@pytest.fixture(scope="module")
def temporary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server's folder for temporary files."""
    return tmp_path_factory.mktemp("temporary")


@pytest.fixture(scope="module")
def url(temporary: Path) -> Iterator[str]:
    """Address of the window started by `foliopress app`."""
    port = free_port()
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, "-m", "foliopress.flows.cli", "app", "--port", str(port), "--no-browser"]
    with (temporary.parent / "window.txt").open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output, cwd=temporary)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with suppress(OSError), urllib.request.urlopen(f"{address}/_stcore/health", timeout=5):
                break
            time.sleep(0.25)
        yield address
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def typescript(scans: Path) -> Path:
    """A typewritten A4 page at 300 dpi, in colour."""
    (found,) = (scans / "tapuscorpus" / "images").glob("*21574.pdf_page_9.png")
    return found


def give(page: Page, url: str, scan: Path) -> None:
    """Open the window and drop a scan into it."""
    page.goto(url)
    page.locator("input[type=file]").set_input_files(scan)
    page.locator(".stage").wait_for(timeout=_LONG_MS)
    loaded(page, 2)


def loaded(page: Page, least: int) -> None:
    page.wait_for_function(
        "least => { for (const host of document.querySelectorAll('*')) {"
        " const stage = host.shadowRoot && host.shadowRoot.querySelector('.stage');"
        " if (stage && +stage.dataset.loaded >= least) return true; } return false; }",
        arg=least,
        timeout=_LONG_MS,
    )


def state(page: Page, name: str) -> str:
    return str(page.locator(".stage").get_attribute(f"data-{name}"))


def settled(page: Page) -> None:
    """Wait until the page has finished drawing."""
    page.wait_for_timeout(1000)  # a change reaches the server
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for(timeout=_LONG_MS)
    expect(page.get_by_text("Time: read")).to_be_visible(timeout=_LONG_MS)


def saved(page: Page, label: str, folder: Path) -> Path:
    with page.expect_download() as started:
        page.get_by_role("button", name=label).click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def test_a_scan_is_tried_and_a_run_with_the_exported_profile_gives_the_same_bytes(
    page: Page, url: str, keep: Path, typescript: Path, tmp_path: Path, temporary: Path
) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    give(page, url, typescript)
    settled(page)
    page.screenshot(path=keep / "try.png")
    for overlay in ("heat", "levels", "words"):
        page.locator(f"[data-overlay={overlay}]").click()
        assert state(page, "overlay") == overlay
        expect(page.locator(".legend")).not_to_be_empty()
        page.screenshot(path=keep / f"try-{overlay}.png")
    page.locator("[data-overlay=none]").click()
    box = page.locator(".divider .grip").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] - 200, box["y"] + 10, steps=8)
    page.mouse.up()
    assert 0.2 < float(state(page, "split")) < 0.4
    page.locator("[data-do=most]").click()
    assert float(state(page, "zoom")) == 4.0
    loaded(page, 4)
    page.screenshot(path=keep / "try-close.png")

    page.get_by_text("Fixed quality").click()
    settled(page)
    page.get_by_role("slider", name="Quality").press("ArrowRight")
    settled(page)
    expect(page.get_by_text("at quality 51")).to_be_visible(timeout=_LONG_MS)
    page.get_by_role("slider", name="Importance threshold").press("ArrowRight")
    settled(page)
    page.get_by_role("slider", name="Coarsest resolution").press("ArrowLeft")
    settled(page)
    assert float(state(page, "zoom")) == 4.0, "the view jumped when a setting changed"

    row = saved(page, "Download its row", tmp_path)
    output = saved(page, "Download the output", tmp_path)
    profile = saved(page, "Download these settings", tmp_path)
    assert '"document_key"' in row.read_text()
    source = tmp_path / "scans"
    source.mkdir()
    (source / typescript.name).write_bytes(typescript.read_bytes())
    command = [
        sys.executable,
        "-m",
        "foliopress.flows.cli",
        "compress",
        str(source),
        str(tmp_path / "out"),
        "--profile",
        profile,
    ]
    subprocess.run([*command, "--workers", "1"], check=True, cwd=_ROOT)
    assert output.name == f"{typescript.name}.avif"
    assert (tmp_path / "out" / "pages" / output.name).read_bytes() == output.read_bytes()

    assert not [one for one in asked if "127.0.0.1" not in one and not one.startswith(("data:", "blob:"))]
    assert not [text for text in messages if "Content Security Policy" in text]
    left = [path for path in temporary.rglob("*") if path.is_file() and path.suffix != ".log"]
    assert not left, "something of the upload lies on disk"


def test_the_divider_and_the_page_obey_the_keyboard(page: Page, url: str, typescript: Path) -> None:
    give(page, url, typescript)
    divider = page.locator(".divider")
    divider.focus()
    for _ in range(5):
        divider.press("ArrowLeft")
    assert divider.get_attribute("aria-valuenow") == "40"
    stage = page.locator(".stage")
    stage.focus()
    stage.press("1")
    assert float(state(page, "zoom")) == 1.0
    before = state(page, "middle")
    stage.press("ArrowDown")
    assert state(page, "middle") != before


@pytest.mark.parametrize(("width_px", "is_dark"), [(1280, True), (820, False)])
def test_it_fits_a_tablet_and_the_dark(url: str, keep: Path, typescript: Path, width_px: int, is_dark: bool) -> None:
    with browser_page(width_px, 1100, is_dark=is_dark) as page:
        give(page, url, typescript)
        settled(page)
        page.screenshot(path=keep / f"try-{width_px}{'-dark' if is_dark else ''}.png")
        assert page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")
        stage = page.locator(".stage").bounding_box()
        assert stage is not None and stage["width"] > 0.4 * width_px


def test_a_page_of_69_megapixels_does_not_stop_the_browser(page: Page, url: str, tmp_path: Path) -> None:
    scan = tmp_path / "newspaper.tif"
    grey = np.full((9600, 7200), 230, np.uint8)
    grey[::97] = grey[:, ::89] = 40
    Image.fromarray(grey).save(scan, compression="tiff_lzw", dpi=(600, 600))
    page.goto(url)
    page.evaluate(
        "() => { window.longest = 0; let last = performance.now(); const step = () => { const now = performance.now();"
        " window.longest = Math.max(window.longest, now - last); last = now; requestAnimationFrame(step); };"
        " requestAnimationFrame(step); }"
    )
    page.locator("input[type=file]").set_input_files(scan)
    page.locator(".stage").wait_for(timeout=6 * _LONG_MS)
    loaded(page, 1)
    page.locator("[data-do=most]").click()
    loaded(page, 3)
    assert page.evaluate("window.longest") < 2000


def test_what_is_no_scan_is_told_in_words(page: Page, url: str, tmp_path: Path, keep: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"\xff\xd8 no more")
    page.goto(url)
    page.locator("input[type=file]").set_input_files(broken)
    expect(page.get_by_text("Try to open it in another program")).to_be_visible(timeout=_LONG_MS)
    expect(page.get_by_text("Traceback")).to_have_count(0)
    page.screenshot(path=keep / "broken.png")


def test_a_run_is_looked_through_to_one_of_its_pages(
    page: Page, url: str, keep: Path, scans: Path, tmp_path: Path
) -> None:
    source = tmp_path / "scans"
    for folder, name in (("sroie-receipts", "009.jpg"), ("ehri-typed", "EHRI-DR-19390519-US_01.jpg")):
        (source / folder).mkdir(parents=True)
        (source / folder / name).write_bytes((scans / folder / "images" / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "foliopress.flows.cli",
        "compress",
        str(source),
        str(tmp_path / "out"),
        "--workers",
        "2",
    ]
    subprocess.run(command, check=True, cwd=_ROOT)
    page.goto(f"{url}/run?dest={tmp_path / 'out'}")
    page.get_by_role("button", name="Open it").click()
    expect(page.get_by_text("Pages by result")).to_be_visible(timeout=_LONG_MS)
    expect(page.locator("canvas, svg.marks").first).to_be_visible(timeout=_LONG_MS)
    page.screenshot(path=keep / "run.png")
    page.get_by_role("tab", name="All pages").click()
    expect(page.get_by_text("2 pages found")).to_be_visible()
    page.screenshot(path=keep / "run-table.png")
    page.get_by_role("tab", name="Worst pages").click()
    page.screenshot(path=keep / "run-worst.png")
    page.get_by_role("button", name="Compare").first.click()
    page.locator(".stage").wait_for()
    loaded(page, 2)
    page.screenshot(path=keep / "run-page.png")


@pytest.fixture
def other_site(url: str) -> Iterator[str]:
    """A page of another site, on another port, that frames the window and opens its websocket."""
    host = url.removeprefix("http://")
    body = f"""<!doctype html><title>other</title><iframe id="framed" src="{url}" width="900" height="600"></iframe>
    <script>
    const told = [];
    const socket = new WebSocket("ws://{host}/_stcore/stream");
    socket.onopen = () => told.push("opened"); socket.onerror = () => told.push("refused");
    fetch("{url}/_stcore/host-config").then(answer => answer.text()).then(text => told.push("read " + text))
        .catch(() => told.push("not read"));
    </script>"""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


def test_a_page_of_another_site_that_frames_the_window_shows_nothing_and_reads_nothing(
    page: Page, url: str, other_site: str
) -> None:
    page.goto(other_site)
    page.wait_for_function("told.length >= 2", timeout=_LONG_MS)
    assert sorted(page.evaluate("told")) == ["not read", "refused"]
    page.wait_for_timeout(2000)
    framed = [frame for frame in page.frames if frame.parent_frame is not None]
    assert [frame for frame in framed if frame.url.startswith(url)] == []
    assert not any(frame.get_by_text("Try a scan").count() for frame in framed)


def test_a_name_that_a_stranger_lets_resolve_here_shows_nothing(url: str) -> None:
    """As with DNS rebinding, the browser contacts this machine under the stranger's name."""
    port = url.rpartition(":")[2]
    with browser_page(rules="MAP evil.example 127.0.0.1") as page:
        answer = page.goto(f"http://evil.example:{port}/")
        assert answer is not None and answer.status == 421
        expect(page.get_by_text("Try a scan")).to_have_count(0)
        assert page.goto(url).status == 200  # type: ignore[union-attr]


def test_what_a_name_says_is_shown_as_it_is_and_calls_nobody(page: Page, url: str, tmp_path: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    name = "![x](http:evil.example) www.evil.example :smile: <img src=x onerror=alert(1)> $a$.jpg"
    scan = tmp_path / name
    scan.write_bytes(b"\xff\xd8 no more")
    page.goto(url)
    page.locator("input[type=file]").set_input_files(scan)
    expect(page.get_by_text("Try to open it in another program")).to_be_visible(timeout=_LONG_MS)
    expect(page.locator("h3", has_text=name)).to_be_visible()
    assert page.locator('[data-testid="stMain"] img, [data-testid="stMain"] a[href*=evil]').count() == 0
    assert not [one for one in asked if "evil" in one]
