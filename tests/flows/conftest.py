"""What the tests of the flow share: Prefect's test harness, and small archives that are quick to read."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}  # before Prefect is imported


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A Prefect API for the whole session."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=90):
        yield


@pytest.fixture(scope="session")
def draw_page() -> Callable[[str], Image.Image]:
    """Draw a small page at 100 dpi that looks scanned: toned paper with grain and a few lines of print."""

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
def archive(tmp_path: Path, draw_page: Callable[[str], Image.Image]) -> Callable[..., Path]:
    """Write pages of the given names into a folder of scans and return it."""

    def write(*names: str, folder: str = "scans") -> Path:
        root = tmp_path / folder
        for name in names:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            draw_page(f"Page {name}").save(path, quality=92, dpi=(100, 100))
        return root

    return write
