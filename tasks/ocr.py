"""Find text: Tesseract's words, their mask, and the resolution they betray. The only door to Tesseract."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytesseract

from configs.settings import OcrSettings
from tasks.errors import ConfigError, PageError

# One thread a process: 1.3 s a page instead of 6 to 8 s where several run at once.
os.environ["OMP_THREAD_LIMIT"] = "1"

LEAST_CONFIDENCE = 30.0
"""Words below it are mostly texture read as letters; they stay in the rows but not in the mask."""

_LETTER_HEIGHT_INCH = 8.0 / 72  # a word's box in 10 to 12 point type
_LETTER_PAGE_INCH = 11.7  # the long side of A4, for pages that tell nothing else
_WORDS_TO_TRUST = 20
_TRIES_IF_KILLED = 3
_FROM_OUTSIDE = (-signal.SIGKILL, -signal.SIGTERM)
"""How a program ends that somebody ended, e.g. the kernel for want of memory; one that breaks ends otherwise."""
_LEAST_SIDE_PX = 3  # Tesseract refuses thinner images, and no letter fits in


@dataclass(frozen=True)
class Word:
    """One word that Tesseract read; box in source pixels, confidence 0 to 100."""

    line_index: int
    row_px: int
    col_px: int
    height_px: int
    width_px: int
    text: str
    confidence: float


def read_words(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[Word, ...]:
    """Return the words of an upright page, in Tesseract's reading order.

    Args:
        pixels: uint8, (height, width) or (height, width, 3) RGB.
        dpi: Resolution of `pixels`; the page is read at `settings.min_dpi` to `settings.max_dpi`.

    Raises:
        PageError: If Tesseract gives no answer in time (`ocr_timeout`), ends in an error (`ocr_failed`) or is killed
            again and again (`ocr_killed`).
        ConfigError: If Tesseract or the language is not installed.
    """
    height_px, width_px = pixels.shape[:2]
    grey, scale = _for_reading(pixels, dpi, settings)
    if min(grey.shape) < _LEAST_SIDE_PX:
        return ()
    table = _run_tesseract([grey], f"--dpi {_told_dpi(dpi, scale)}", settings)
    return _words_of(table, 1, scale, height_px, width_px)


def read_lines(lines: Sequence[np.ndarray], dpi: float, settings: OcrSettings) -> list[tuple[Word, ...]]:
    """Return the words of pictures that hold one line of text each, all read in one call of Tesseract.

    Args:
        lines: Each uint8, (height, width) or (height, width, 3) RGB.
        dpi: Resolution of the pictures.

    Returns:
        For each picture its words, boxes in pixels of the picture.

    Raises:
        PageError: As `read_words`.
        ConfigError: If Tesseract or the language is not installed.
    """
    planes = [_for_reading(line, dpi, settings) for line in lines]
    readable = [number for number, (grey, _) in enumerate(planes) if min(grey.shape) >= _LEAST_SIDE_PX]
    found: list[tuple[Word, ...]] = [()] * len(lines)
    if not readable:
        return found
    config = f"--psm 7 --dpi {_told_dpi(dpi, reading_scale(dpi, settings))}"  # 7: a single line of text
    table = _run_tesseract([planes[number][0] for number in readable], config, settings)
    for place, number in enumerate(readable, start=1):
        found[number] = _words_of(table, place, planes[number][1], *lines[number].shape[:2])
    return found


def reading_scale(dpi: float, settings: OcrSettings) -> float:
    """Return the factor that brings a page of `dpi` to what Tesseract reads well, at most 2.

    >>> reading_scale(600, OcrSettings()), reading_scale(250, OcrSettings()), reading_scale(50, OcrSettings())
    (0.5, 1.0, 2.0)
    """
    if dpi > settings.max_dpi:
        return settings.max_dpi / dpi
    return min(2.0, settings.min_dpi / dpi) if dpi < settings.min_dpi else 1.0


def by_line(words: Iterable[Word]) -> list[tuple[Word, ...]]:
    """Return the words of each line, in the order in which the lines begin."""
    lines: dict[int, list[Word]] = {}
    for word in words:
        lines.setdefault(word.line_index, []).append(word)
    return [tuple(line) for line in lines.values()]


def box_round(words: Sequence[Word]) -> tuple[int, int, int, int]:
    """Return (top, bottom, left, right) px of the box round some words; bottom and right are the first beyond it."""
    top, bottom = min(word.row_px for word in words), max(word.row_px + word.height_px for word in words)
    left, right = min(word.col_px for word in words), max(word.col_px + word.width_px for word in words)
    return top, bottom, left, right


def text_mask(words: Sequence[Word], height_px: int, width_px: int) -> np.ndarray:
    """Return (height, width) bool, True inside the box of each word that was read with some confidence."""
    mask = np.zeros((height_px, width_px), bool)
    for word in words:
        if word.confidence >= LEAST_CONFIDENCE and any(letter.isalnum() for letter in word.text):
            mask[word.row_px : word.row_px + word.height_px, word.col_px : word.col_px + word.width_px] = True
    return mask


def guess_dpi(height_px: int, width_px: int, tagged: float | None) -> float:
    """Return the tag, or what the page would have if its long side were that of A4."""
    return tagged if tagged is not None else min(max(max(height_px, width_px) / _LETTER_PAGE_INCH, 72.0), 600.0)


def estimate_dpi(height_px: int, width_px: int, words: Sequence[Word], tagged: float | None) -> float:
    """Return a page's resolution: its tag where the text's height agrees within a factor of two, else by that height.

    Args:
        height_px: Height of the page.
        width_px: Width of the page.
        words: What OCR read; below 20 confident words the text is not believed.
        tagged: The file's own tag, None where it has no plausible one.
    """
    # of a page that lies on its side Tesseract returns standing boxes: a word's letters are as high as its short side
    heights = [
        min(word.height_px, word.width_px)
        for word in words
        if word.confidence >= 60 and sum(map(str.isalpha, word.text)) >= 3
    ]
    if len(heights) < _WORDS_TO_TRUST:
        return guess_dpi(height_px, width_px, tagged)
    by_text = float(np.clip(np.median(heights) / _LETTER_HEIGHT_INCH, 60.0, 1200.0))
    return tagged if tagged is not None and 0.5 <= tagged / by_text <= 2.0 else by_text


def check_tesseract(language: str) -> str:
    """Return Tesseract's version.

    Raises:
        ConfigError: If Tesseract, or a language of `language`, is not installed.
    """
    for tries_left in reversed(range(_TRIES_IF_KILLED)):
        try:
            present = set(pytesseract.get_languages())
            version = str(pytesseract.get_tesseract_version())
            break
        except (pytesseract.TesseractNotFoundError, OSError, subprocess.SubprocessError, SystemExit) as error:
            # pytesseract says the same of a program that is not there and of one that was killed
            if not tries_left or shutil.which(pytesseract.pytesseract.tesseract_cmd) is None:
                raise ConfigError("Tesseract is not installed; on Debian: apt-get install tesseract-ocr") from error
    if missing := [code for code in language.split("+") if code not in present]:
        raise ConfigError(
            f"ocr.language: Tesseract has no {' and no '.join(missing)}; installed are {', '.join(sorted(present))}"
        )
    return version


def _for_reading(pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[np.ndarray, float]:
    """Return (height, width) uint8 grey at the resolution that Tesseract reads well, and the factor it came by."""
    height_px, width_px = pixels.shape[:2]
    scale = reading_scale(dpi, settings)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.ndim == 3 else pixels
    if scale != 1.0:
        size = max(1, round(width_px * scale)), max(1, round(height_px * scale))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    return grey, scale


def _told_dpi(dpi: float, scale: float) -> int:
    return round(min(max(dpi * scale, 70), 2400))  # Tesseract takes no other


def _words_of(
    table: dict[str, list[int]], picture: int, scale: float, height_px: int, width_px: int
) -> tuple[Word, ...]:
    """Return the words of one picture (1-based) in Tesseract's table, boxes in pixels of what it was made from."""
    words: list[Word] = []
    lines: dict[tuple[int, int, int], int] = {}
    for number, text in enumerate(table["text"]):
        if table["page_num"][number] != picture or not str(text).strip():
            continue
        place = (table["block_num"][number], table["par_num"][number], table["line_num"][number])
        left, top = table["left"][number] / scale, table["top"][number] / scale
        right, bottom = left + table["width"][number] / scale, top + table["height"][number] / scale
        row_px, col_px = min(int(top), height_px - 1), min(int(left), width_px - 1)
        words.append(
            Word(
                line_index=lines.setdefault(place, len(lines)),
                row_px=row_px,
                col_px=col_px,
                height_px=max(1, min(round(bottom), height_px) - row_px),
                width_px=max(1, min(round(right), width_px) - col_px),
                text=str(text).strip(),
                confidence=float(table["conf"][number]),
            )
        )
    return tuple(words)


def _run_tesseract(planes: Sequence[np.ndarray], config: str, settings: OcrSettings) -> dict[str, list[int]]:
    # Handed over as uncompressed files: pytesseract would write a PNG first, seconds on a large page.
    with tempfile.TemporaryDirectory(prefix="foliopress-ocr-") as folder:
        names = [str(Path(folder) / f"{number}.pgm") for number in range(len(planes))]
        for name, grey in zip(names, planes, strict=True):
            cv2.imwrite(name, grey)
        path = names[0]
        if len(names) > 1:  # a list of files is one call and one start of the program
            path = str(Path(folder) / "pictures.txt")
            Path(path).write_text("\n".join(names), encoding="utf-8")
        for _ in range(_TRIES_IF_KILLED):
            try:
                return _table_of(path, config, settings)
            except pytesseract.TesseractError as error:
                if error.status not in _FROM_OUTSIDE:
                    message = f"Tesseract ended with {str(error)[:200]}; page kept whole"
                    raise PageError("ocr_failed", message) from error
    times = f"{_TRIES_IF_KILLED} times, perhaps for want of memory"
    raise PageError("ocr_killed", f"Tesseract was killed {times}; page kept whole")


def _table_of(path: str, config: str, settings: OcrSettings) -> dict[str, list[int]]:
    try:
        table: dict[str, list[int]] = pytesseract.image_to_data(
            path, lang=settings.language, config=config, timeout=settings.timeout_s, output_type=pytesseract.Output.DICT
        )
    except pytesseract.TesseractNotFoundError as error:
        raise ConfigError("Tesseract is not installed; on Debian: apt-get install tesseract-ocr") from error
    except pytesseract.TesseractError:
        raise
    except RuntimeError as error:  # pytesseract's word for a time-out
        raise PageError("ocr_timeout", f"OCR gave no answer in {settings.timeout_s:g} s; page kept whole") from error
    return table
