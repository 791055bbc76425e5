"""Share Prefect's test harness and small archives among the tests of the flows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foliopress.configs.settings import OcrSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition

os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}  # before Prefect is imported


@pytest.fixture(scope="session")
def prefect_api() -> Iterator[None]:
    """A Prefect API for the whole session."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=90):
        yield


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


@pytest.fixture
def no_answer_for_low_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """OCR gives no answer for pages of 350 rows."""
    real = recognition.read_words

    def read_words(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[recognition.Word, ...]:
        if pixels.shape[0] == 350:
            raise PageError("ocr_timeout", "OCR gave no answer in 1 s; page kept whole")
        return real(pixels, dpi, settings)

    monkeypatch.setattr(recognition, "read_words", read_words)
