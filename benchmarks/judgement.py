"""Measure the loss of a page on its marked strokes and words, in the same way for every arm."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import Any

import cv2
import numpy as np

from benchmarks.arms import Arm, ArmFailed, ArmResult
from benchmarks.marked import MarkedPage, count_words, half_size, read_marked
from foliopress.configs.settings import OcrSettings
from foliopress.model.truth import Scan
from foliopress.tasks.checks.legibility import chroma_error, ssim_map
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.errors import PageError
from foliopress.tasks.ocr import recognition

_READING_PX, _READING_DPI = 3300, 300.0  # the long side of a letter page; longer pages are reduced to it

Row = dict[str, Any]


def judge_arm(scan: Scan, arm: Arm) -> Row:
    """Return one arm's row for one scan.

    Returns:
        `key`, `collection`, `arm`, `family`, `digest`, `read` (whether words were to be counted), and `error` if it
        failed; else `page_kind`, `source_bytes`, `bytes`, `seconds`, the values of `Made.more` and of `judge_page`; and
        `n_words` and `words_found`, if the page has words that count.
    """
    row: Row = {
        "key": scan.key,
        "collection": scan.collection,
        "arm": arm.name,
        "family": arm.family,
        "digest": arm.digest,
        "read": arm.reads_words,
    }
    try:
        page = _page_of(scan)
        made = arm.make(page)
        row |= _figures(page, made, reads_words=arm.reads_words)
    except (ArmFailed, PageError) as error:
        row["error"] = str(error)
    return row


def judge_page(page: MarkedPage, decoded: np.ndarray) -> Row:
    """Return the loss of a page.

    Args:
        page: The source.
        decoded: uint8, with the source's height and width.

    Returns:
        `text_ssim`: mean SSIM of luma on the strokes of the marked lines. `other_ssim`: mean SSIM of half-size luma on
        the other ink. Each is None without such ink. `chroma_error`: as `tasks.checks.legibility.chroma_error`.
    """
    luma = luma_of(decoded)
    text = ssim_map(page.luma, luma)[page.strokes] if page.strokes.any() else None
    other = None if page.other is None else ssim_map(half_size(page.luma), half_size(luma))[page.other]
    return {
        "text_ssim": None if text is None else float(text.mean()),
        "other_ssim": None if other is None else float(other.mean()),
        "chroma_error": chroma_error(page.pixels, decoded),
    }


def words_found(decoded: np.ndarray, expected: Counter[str]) -> int:
    """Return the number of expected words that Tesseract finds anywhere on a page, each up to its expected count.

    Raises:
        PageError: If Tesseract fails.
    """
    luma = luma_of(decoded)
    scale = _READING_PX / max(luma.shape)
    if scale < 1:
        luma = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    words = recognition.read_words(luma, _READING_DPI, OcrSettings(max_dpi=_READING_DPI))
    return (expected & count_words(" ".join(word.text for word in words))).total()


def _figures(page: MarkedPage, made: ArmResult, *, reads_words: bool) -> Row:
    figures: Row = {
        "page_kind": str(page.kind),
        "source_bytes": page.scan.path.stat().st_size,
        "bytes": made.size_bytes,
        "seconds": made.seconds,
        **made.more,
        **judge_page(page, made.pixels),
    }
    if reads_words and page.words:
        figures |= {"n_words": page.words.total(), "words_found": words_found(made.pixels, page.words)}
    return figures


@lru_cache(maxsize=1)
def _page_of(scan: Scan) -> MarkedPage:
    """Return a scan's page; a process handles all arms of a scan one after another."""
    return read_marked(scan)
