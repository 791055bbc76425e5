"""Test that drawn pages are read and labelled once, and then come from the cache."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from foliopress.configs.settings import OcrSettings
from foliopress.model import rendered
from foliopress.model.dataset import LabelledTiles
from foliopress.model.drawn.pages import draw_page
from foliopress.model.ink_truth import label_page
from foliopress.model.rendered import rendered_pages
from foliopress.tasks.ocr.recognition import Word


def arrays(page: LabelledTiles) -> Sequence[np.ndarray]:
    return page.plane, page.label, page.weight, page.handwritten, page.masked


def test_pages_are_drawn_and_read_once_and_then_taken_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[float] = []

    def read(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[Word, ...]:
        calls.append(dpi)
        return (Word(0, 0, 0, 40, 40, "quay", 90.0),)

    monkeypatch.setattr(rendered.recognition, "read_words", read)
    first = rendered_pages(2, 11, tmp_path, OcrSettings(), processes=1)
    again = rendered_pages(2, 11, tmp_path, OcrSettings(), processes=1)
    assert len(calls) == 2
    assert [page.scan.key for page in first] == ["rendered/0000", "rendered/0001"]
    for one, other in zip(first, again, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(arrays(one), arrays(other), strict=True))
        assert (one.plane[..., 3] == 255).any() and one.masked[0] > 0
    rendered_pages(1, 11, tmp_path, OcrSettings(min_dpi=150), processes=1)
    assert len(calls) == 3


def test_other_processes_draw_the_same_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = rendered_pages(2, 11, tmp_path, OcrSettings(), processes=2)
    monkeypatch.setattr(rendered.recognition, "read_words", lambda *_: ())
    for number, page in enumerate(together):
        alone = label_page(draw_page(number, 11), (), page.scan)
        assert np.array_equal(page.plane[..., :3], alone.plane[..., :3])
        assert np.array_equal(page.label, alone.label)
        assert np.array_equal(page.weight, alone.weight)
