"""Share fixtures among all tests: an S3 server, and the real scans if available."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image, ImageDraw, ImageFont

from tests.reliability import Reliability
from tests.servers import S3Server, s3_server_process

if TYPE_CHECKING:
    from playwright.sync_api import Page

# CI runs the same examples every time; local runs try new ones.
settings.register_profile("ci", derandomize=True, suppress_health_check=[HealthCheck.too_slow])
if os.environ.get("CI"):
    settings.load_profile("ci")

os.environ.setdefault("OMP_THREAD_LIMIT", "1")  # Tesseract with several threads is several times slower
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")  # nothing answers there, and waiting takes seconds


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Reliability())


@pytest.fixture(scope="session", autouse=True)
def _no_power_cuts() -> Iterator[None]:
    """Disable fsync: no test survives a power cut, and waiting for the disk would cost minutes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session")
def s3_process() -> Iterator[S3Server]:
    """Run one S3 server process for the whole session, without changing the environment."""
    with s3_server_process() as server:
        yield server


@pytest.fixture
def s3_server(s3_process: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """Return the S3 server, with the usual AWS variables pointing to it during the test."""
    for name in [name for name in os.environ if name.startswith("AWS_") and name != "AWS_EC2_METADATA_DISABLED"]:
        monkeypatch.delenv(name)
    for name, value in s3_process.environment.items():
        monkeypatch.setenv(name, value)
    return s3_process


@pytest.fixture
def s3_url(s3_server: S3Server) -> str:
    """Return the URL of an empty bucket, `s3://…`."""
    return s3_server.new_bucket()


@pytest.fixture(scope="session")
def scans() -> Path:
    """Return the root of the real scans, with their `manifest.csv`; skip the test without them."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    root = Path(os.environ.get("FOLIOPRESS_DATA") or beside)
    if not (root / "manifest.csv").is_file():
        pytest.skip(f"no real scans: {root} holds no manifest.csv; FOLIOPRESS_DATA names their folder")
    return root


@pytest.fixture(scope="session")
def draw_page() -> Callable[[str], Image.Image]:
    """Return a function that draws a small page at 100 dpi like a scan: grainy paper with a few printed lines."""

    def draw(text: str) -> Image.Image:
        grain = np.random.default_rng(len(text)).normal(225, 6, (360, 480, 3)) - (0, 4, 16)
        image = Image.fromarray(np.clip(grain, 0, 255).astype(np.uint8))
        pen = ImageDraw.Draw(image)
        for number in range(4):
            pen.text(
                (40, 50 + 50 * number), f"{text} line {number + 1}", fill=(30, 30, 40), font=ImageFont.load_default(24)
            )
        return image

    return draw


@pytest.fixture
def page() -> Iterator[Page]:
    """Open a page in a real browser."""
    from tests.browser import browser_page

    with browser_page() as opened:
        yield opened


@pytest.fixture
def keep(tmp_path: Path) -> Path:
    """Return the folder for screenshots: the one named in the environment, to inspect them."""
    folder = Path(os.environ.get("FOLIOPRESS_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder for temporary files with 64 kB of space."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.decode().strip()}")
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)
