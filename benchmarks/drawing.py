"""Combine captioned panels into one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

_GAP_PX = 6
_LINE_PX = 22
_GROUND = 255
_LETTERS = 40  # grey level


def panel(pixels: np.ndarray, caption: str) -> np.ndarray:
    """Return pixels with a line of text above them, (height + 22, width, 3) uint8 RGB.

    Args:
        pixels: uint8, (height, width) or (height, width, 3) RGB.
        caption: Text for `text_line`.
    """
    return np.vstack([text_line(caption, pixels.shape[1]), as_rgb(pixels)])


def text_line(text: str, width_px: int) -> np.ndarray:
    """Return a line of text on white, (22, width, 3) uint8; longer text is cut off. OpenCV writes ASCII only."""
    line = np.full((_LINE_PX, width_px, 3), _GROUND, np.uint8)
    cv2.putText(line, text, (1, _LINE_PX - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (_LETTERS,) * 3, 1, cv2.LINE_AA)
    return line


def side_by_side(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return RGB pictures in a row with a gap between them, padded with white to the same height."""
    height_px = max(picture.shape[0] for picture in pictures)
    parts = [cv2.copyMakeBorder(picture, 0, height_px - picture.shape[0], 0, _GAP_PX, *_WHITE) for picture in pictures]
    return np.hstack(parts)[:, :-_GAP_PX]


def one_below_another(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Return RGB pictures in a column, padded with white to the same width."""
    width_px = max(picture.shape[1] for picture in pictures)
    parts = [cv2.copyMakeBorder(picture, 0, _GAP_PX, 0, width_px - picture.shape[1], *_WHITE) for picture in pictures]
    return np.vstack(parts)[:-_GAP_PX]


def as_rgb(pixels: np.ndarray) -> np.ndarray:
    """Convert a grey or RGB page to (height, width, 3) uint8."""
    return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


def window_round(middle: tuple[float, float], size: tuple[float, float], shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return rows and columns of a window, shifted onto the page or clipped to it.

    >>> window_round((5, 95), (20, 20), (100, 100))
    (slice(0, 20, None), slice(80, 100, None))
    """
    slices = []
    for centre, length, most in zip(middle, size, shape, strict=True):
        wanted = min(round(length), most)
        start = min(max(0, round(centre - wanted / 2)), most - wanted)
        slices.append(slice(start, start + wanted))
    return slices[0], slices[1]


def write_webp(path: Path, picture: np.ndarray, quality: int) -> None:
    """Write an RGB picture as WebP."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_WEBP_QUALITY, quality])


_WHITE = (cv2.BORDER_CONSTANT, None, (_GROUND,) * 3)
