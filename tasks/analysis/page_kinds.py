"""Classify a page; its kind decides in which forms it may be encoded."""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np

from foliopress.tasks.analysis.colour_marks import find_colour_marks
from foliopress.tasks.analysis.resolution import reduced
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.ocr import recognition


class PageKind(StrEnum):
    """Kind of a page; the value of the `page_kind` column."""

    BLANK = "blank"
    BITONAL = "bitonal"
    TWO_TONE = "two-tone"
    GREY = "grey"
    COLOUR = "colour"


BLANK_STD = 3.0
"""Luma standard deviation (grey levels, at 1/4 size) up to which a page is blank."""
TWO_TONE_BETWEEN = 0.005
"""Largest share of pixels between the two tones of a bitonal scan: measured below 0.001 on bitonal scans
saved as JPEG, above 0.018 on low-resolution grey ones, whose soft edges carry their shapes."""
TONE_SPREAD = 24
"""Grey levels around each tone that JPEG noise may fill."""
GREY_CHROMA = ((95.0, 3.0), (99.9, 12.0))
"""(percentile, chroma) pairs: a page is grey if its chroma (grey levels at 1/8 size) is at most this at each one."""


def page_kind(page: Page) -> PageKind:
    """Return the kind of a page from its pixels alone; one coloured mark, however small, makes it a colour page."""
    luma = luma_of(page.pixels)
    if page.is_bitonal:
        return PageKind.BITONAL
    is_tinted = has_colour(page.pixels)
    has_marks = not is_tinted and has_colour_marks(page)
    small = reduced(luma, 4)
    if not has_marks and float(small.std()) <= BLANK_STD and int(small.max()) - int(small.min()) <= 8 * BLANK_STD:
        return PageKind.BLANK
    if is_tinted or has_marks:
        return PageKind.COLOUR
    return PageKind.TWO_TONE if is_two_tone(luma) else PageKind.GREY


def has_colour_marks(page: Page) -> bool:
    """Return whether a page has any stroke in a colour of its own: a tick, a word, a stamp."""
    dpi = recognition.guess_dpi(page.pixels.shape[0], page.pixels.shape[1], page.dpi)
    return len(find_colour_marks(page.pixels, dpi)) > 0


def is_two_tone(luma: np.ndarray) -> bool:
    """Return whether a (height, width) uint8 plane is black and white except for JPEG noise.

    Both tones must be pure (near 0 and near 255): paper with a tone of its own is a grey page.
    """
    dark, light = float((luma <= TONE_SPREAD).mean()), float((luma >= 255 - TONE_SPREAD).mean())
    return dark >= 0.0005 and light >= 0.4 and 1 - dark - light <= TWO_TONE_BETWEEN


def has_colour(pixels: np.ndarray) -> bool:
    """Return whether a large part of a page is coloured: tinted paper, a picture, a large stamp."""
    if pixels.ndim == 2:
        return False
    chroma = cv2.cvtColor(reduced(pixels, 8), cv2.COLOR_RGB2YCrCb)[..., 1:]
    distance = np.abs(chroma.astype(np.int16) - 128).max(axis=2)
    return any(float(np.percentile(distance, share)) > levels for share, levels in GREY_CHROMA)


def to_bitonal(luma: np.ndarray) -> np.ndarray:
    """Return the page in one bit, (height, width) bool, True is white; the threshold is half way between the tones."""
    return np.asarray(luma >= 128)
