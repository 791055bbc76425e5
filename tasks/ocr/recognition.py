"""Read the words of a page with Tesseract; derive their mask and the page's resolution from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.configs.settings import OcrSettings
from foliopress.tasks.ocr.page_bands import cut_bands
from foliopress.tasks.ocr.tesseract import SINGLE_LINE, WHOLE_PAGE, Reading, TimeLimit, check_tesseract, read_pictures

__all__ = ["check_tesseract"]

LEAST_CONFIDENCE = 30.0
"""Words below it are mostly texture read as letters; they are kept in the rows but not in the mask."""

_LETTER_HEIGHT_INCH = 8.0 / 72  # a word's box in 10 to 12 point type
_LETTER_PAGE_INCH = 11.7  # the long side of A4, for pages without other evidence
_RECEIPT_INCH = 80 / 25.4  # the usual width of receipt paper, e.g. 79.5 ± 0.5 mm for an Epson TM-T88
_LEAST_RECEIPT_DPI = 100.0  # a strip that would have less is a piece of a page, e.g. its head
_WORDS_TO_TRUST = 20
_LETTERS_OF_A_WORD = 3
_LEAST_SIDE_PX = 3  # Tesseract refuses thinner images, and no letter fits into them


@dataclass(frozen=True)
class Word:
    """One word that Tesseract read; box in source pixels, confidence 0 to 100.

    `quarter_turns` is the number of clockwise quarter turns that make the word upright; the box is in the page's own
    pixels regardless.
    """

    line_index: int
    row_px: int
    col_px: int
    height_px: int
    width_px: int
    text: str
    confidence: float
    quarter_turns: int = 0


def read_words(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[Word, ...]:
    """Return the words of an upright page, in Tesseract's reading order.

    A page longer than any sheet is read in bands. Each gets a share of the time by its size; unused time goes to the
    next band.

    Args:
        pixels: uint8, (height, width) or (height, width, 3) RGB.
        dpi: Resolution of `pixels`; the page is read at `settings.min_dpi` to `settings.max_dpi`.

    Raises:
        PageError: If Tesseract does not finish in time (`ocr_timeout`), fails (`ocr_failed`) or is killed repeatedly
            (`ocr_killed`).
        ConfigError: If Tesseract or the language is not installed.
    """
    height_px, width_px = pixels.shape[:2]
    grey, scale = _for_reading(pixels, dpi, settings)
    if min(grey.shape) < _LEAST_SIDE_PX:
        return ()
    told = _told_dpi(dpi, scale)
    bands = cut_bands(grey, dpi * scale)
    left_s, left_px = settings.timeout_s, sum(band.picture.size for band in bands)
    words: list[Word] = []
    for band in bands:
        limit = TimeLimit.of(settings, left_s / settings.timeout_s * band.picture.size / left_px)
        (found,) = read_pictures([band.picture], WHOLE_PAGE, told, settings, limit)
        left_s, left_px = left_s - limit.spent_s, left_px - band.picture.size
        n_lines = max((word.line_index for word in words), default=-1) + 1
        words += _words_of(found, scale, height_px, width_px, (band.row_px, band.col_px), n_lines)
    return tuple(words)


def read_lines(lines: Sequence[np.ndarray], dpi: float, settings: OcrSettings) -> list[tuple[Word, ...]]:
    """Return the words of images that hold one line of text each, all read in one call of Tesseract.

    Args:
        lines: Each uint8, (height, width) or (height, width, 3) RGB.
        dpi: Resolution of the images.

    Returns:
        The words of each image, boxes in the image's pixels.

    Raises:
        PageError: See `read_words`.
        ConfigError: If Tesseract or the language is not installed.
    """
    planes = [_for_reading(line, dpi, settings) for line in lines]
    readable = [number for number, (grey, _) in enumerate(planes) if min(grey.shape) >= _LEAST_SIDE_PX]
    found: list[tuple[Word, ...]] = [()] * len(lines)
    if not readable:
        return found
    told = _told_dpi(dpi, reading_scale(dpi, settings))
    read = read_pictures([planes[number][0] for number in readable], SINGLE_LINE, told, settings)
    for number, readings in zip(readable, read, strict=True):
        found[number] = _words_of(readings, planes[number][1], *lines[number].shape[:2])
    return found


def reading_scale(dpi: float, settings: OcrSettings) -> float:
    """Return the factor that scales a page of `dpi` to a resolution that Tesseract reads well, at most 2.

    >>> reading_scale(400, OcrSettings()), reading_scale(200, OcrSettings()), reading_scale(50, OcrSettings())
    (0.5, 1.0, 2.0)
    """
    if dpi > settings.max_dpi:
        return settings.max_dpi / dpi
    return min(2.0, settings.min_dpi / dpi) if dpi < settings.min_dpi else 1.0


def by_line(words: Iterable[Word]) -> list[tuple[Word, ...]]:
    """Return the words of each line, in the order of the lines' first words."""
    lines: dict[int, list[Word]] = {}
    for word in words:
        lines.setdefault(word.line_index, []).append(word)
    return [tuple(line) for line in lines.values()]


def letter_height(word: Word) -> int:
    """Return the height of a word's letters in px; for a sideways word, the width of its box."""
    if word.quarter_turns % 2:
        return word.width_px
    is_word = sum(map(str.isalnum, word.text)) >= _LETTERS_OF_A_WORD  # with fewer letters the box may be narrow
    return min(word.height_px, word.width_px) if is_word else word.height_px


def bounding_box(words: Sequence[Word]) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) px of the bounding box of some words; bottom and right are exclusive."""
    top, bottom = min(word.row_px for word in words), max(word.row_px + word.height_px for word in words)
    left, right = min(word.col_px for word in words), max(word.col_px + word.width_px for word in words)
    return top, bottom, left, right


def text_mask(words: Sequence[Word], height_px: int, width_px: int) -> np.ndarray:
    """Return (height, width) bool, True inside the box of each word read with at least `LEAST_CONFIDENCE`."""
    mask = np.zeros((height_px, width_px), bool)
    for word in words:
        if word.confidence >= LEAST_CONFIDENCE and any(letter.isalnum() for letter in word.text):
            mask[word.row_px : word.row_px + word.height_px, word.col_px : word.col_px + word.width_px] = True
    return mask


def guess_dpi(height_px: int, width_px: int, tagged: float | None) -> float:
    """Return the tag, or the dpi of a page as long as A4 or of a long strip as wide as a receipt.

    >>> round(guess_dpi(3508, 2480, None)), round(guess_dpi(30_000, 576, None)), guess_dpi(3508, 2480, 200.0)
    (300, 183, 200.0)
    """
    if tagged is not None:
        return tagged
    as_page, as_receipt = max(height_px, width_px) / _LETTER_PAGE_INCH, min(height_px, width_px) / _RECEIPT_INCH
    likely = min(as_page, as_receipt) if as_receipt >= _LEAST_RECEIPT_DPI else as_page
    return min(max(likely, 72.0), 600.0)


def estimate_dpi(height_px: int, width_px: int, words: Sequence[Word], tagged: float | None) -> float:
    """Return a page's resolution: its tag if the text's height agrees within a factor of two, else from that height.

    Args:
        height_px: Height of the page.
        width_px: Width of the page.
        words: Words from OCR; with fewer than 20 confident words the text is ignored.
        tagged: The file's own tag, None without a plausible one.
    """
    heights = [
        letter_height(word)
        for word in words
        if word.confidence >= 60 and sum(map(str.isalpha, word.text)) >= _LETTERS_OF_A_WORD
    ]
    if len(heights) < _WORDS_TO_TRUST:
        return guess_dpi(height_px, width_px, tagged)
    by_text = float(np.clip(np.median(heights) / _LETTER_HEIGHT_INCH, 60.0, 1200.0))
    return tagged if tagged is not None and 0.5 <= tagged / by_text <= 2.0 else by_text


def _for_reading(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[np.ndarray, float]:
    """Return (height, width) uint8 grey at a resolution that Tesseract reads well, and the scaling factor."""
    height_px, width_px = pixels.shape[:2]
    scale = reading_scale(dpi, settings)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    if scale != 1.0:
        size = max(1, round(width_px * scale)), max(1, round(height_px * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return grey, scale


def _told_dpi(dpi: float, scale: float) -> int:
    return round(min(max(dpi * scale, 70), 2400))  # Tesseract accepts no other values


def _words_of(
    readings: Sequence[Reading],
    scale: float,
    height_px: int,
    width_px: int,
    corner: tuple[int, int] = (0, 0),
    first_line: int = 0,
) -> tuple[Word, ...]:
    """Return the words of one image, boxes in pixels of the page it was made from.

    Args:
        readings: Words of the image.
        scale: Pixels of the image per pixel of the page.
        height_px: Height of the page.
        width_px: Width of the page.
        corner: (row, col) of the image's top left corner on the scaled page, in px.
        first_line: Index of its first line.
    """
    words: list[Word] = []
    lines: dict[tuple[int, int, int], int] = {}
    for reading in readings:
        left, top = (reading.left + corner[1]) / scale, (reading.top + corner[0]) / scale
        right, bottom = left + reading.width / scale, top + reading.height / scale
        row_px, col_px = min(int(top), height_px - 1), min(int(left), width_px - 1)
        words.append(
            Word(
                line_index=first_line + lines.setdefault(reading.line, len(lines)),
                row_px=row_px,
                col_px=col_px,
                height_px=max(1, min(round(bottom), height_px) - row_px),
                width_px=max(1, min(round(right), width_px) - col_px),
                text=reading.text,
                confidence=reading.confidence,
            )
        )
    return tuple(words)
