"""Split a page that is too long for one OCR call into bands, without cutting through lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np

from foliopress.tasks.analysis.strokes import find_ink

LONGEST_PX = 6000
"""Longest band. Tesseract refuses sides above 32,767 pixels, and its search for columns is made for pages."""
_SHORTEST_PX = 2500
_LONGEST_SHARE = 4.0  # of the short side: a page has 1.4, and a receipt that is little longer is read at once
_LATEST_CUT = 0.5  # share of a band's length that may be given up to spare a line
_MARGIN_PX = 24  # of paper around the ink: letters at the very edge are read badly
_SEEN_AT = 2  # ink is searched at half size
_CLUSTER_PX = 9  # at that size, 2 mm at 200 dpi: about a letter
_LEAST_CLUSTER = 8 / _CLUSTER_PX**2
"""Least share of ink in the area of a letter: single pixels of paper grain may pass for ink."""


@dataclass(frozen=True)
class Band:
    """A part of a page that is read separately, and the position of its top left corner."""

    row_px: int
    col_px: int
    picture: np.ndarray = field(repr=False)


def cut_bands(grey: np.ndarray, dpi: float) -> list[Band]:
    """Return the bands of a page from start to end; an ordinary page is one band.

    A band ends where the rows (on a wide page the columns) have the least ink. Areas without ink belong to no band, so
    an empty page of this length has none.

    Args:
        grey: (height, width) uint8, at the size used for OCR.
        dpi: Its resolution.
    """
    height_px, width_px = grey.shape
    longest = int(np.clip(_LONGEST_SHARE * min(grey.shape), _SHORTEST_PX, LONGEST_PX))
    if max(grey.shape) <= longest:
        return [Band(0, 0, grey)]
    small = cv2.resize(grey, (-(-width_px // _SEEN_AT), -(-height_px // _SEEN_AT)), interpolation=cv2.INTER_AREA)
    ink = cv2.boxFilter(find_ink(small, dpi / _SEEN_AT).faint.astype(np.float32), -1, (_CLUSTER_PX, _CLUSTER_PX))
    is_tall = height_px >= width_px
    amount = np.asarray((ink >= _LEAST_CLUSTER).sum(axis=1 if is_tall else 0))
    bands = []
    for start, end in _spans(np.repeat(amount, _SEEN_AT), longest):
        start, end = max(0, start - _MARGIN_PX), min(max(grey.shape), end + _MARGIN_PX)
        part = grey[start:end] if is_tall else grey[:, start:end]
        bands.append(Band(start if is_tall else 0, 0 if is_tall else start, np.ascontiguousarray(part)))
    return bands


def _spans(amount: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of spans that begin and end with ink, none longer than `longest`.

    Args:
        amount: (length,) ink in each row.
        longest: Longest span, including its margins.

    >>> list(_spans(np.repeat([0, 1, 0, 1, 0], [50, 100, 3, 100, 900]), 200))
    [(50, 150), (153, 253)]
    """
    inked = np.flatnonzero(amount)
    most = longest - 2 * min(_MARGIN_PX, longest // 8)
    start = int(inked[0]) if len(inked) else len(amount)
    while start < len(amount):
        end = start + most
        if inked[-1] >= end:
            earliest = start + int(most * _LATEST_CUT)
            least = amount[earliest:end]
            # the last of several gaps
            end = earliest + len(least) - 1 - int(np.argmin(least[::-1]))
        within = inked[(inked >= start) & (inked < end)]
        yield start, int(within[-1]) + 1
        after = inked[inked >= end]
        start = int(after[0]) if len(after) else len(amount)
