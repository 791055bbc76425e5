"""Draw many lines on a sheet at once; smooth, move and convert lines for OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.sheet import Box, TracedSheet
from foliopress.tasks.samples.lettering import Points
from foliopress.tasks.samples.paper import BLACK, Colour


def cut_corners(points: Points, rounds: int = 3) -> Points:
    """Return the (n, 2) line with its corners cut (Chaikin's algorithm)."""
    for _ in range(rounds):
        first, second = points[:-1], points[1:]
        cut = np.stack([0.75 * first + 0.25 * second, 0.25 * first + 0.75 * second], axis=1).reshape(-1, 2)
        points = np.concatenate([points[:1], cut, points[-1:]])
    return points


def translated(line: Points, row_mm: float, col_mm: float) -> Points:
    """Return a line of (n, 2) points (row, col) moved down and right.

    >>> translated(np.array([[0.0, 1.0]]), 10, 20).tolist()
    [[10.0, 21.0]]
    """
    return np.asarray(line + np.array([row_mm, col_mm]))


def as_fixed_point(way_px: Points) -> npt.NDArray[np.int32]:
    """Return a line of (n, 2) points (x, y) in OpenCV's format for `shift` 3: (n, 1, 2), in eighths of a pixel.

    >>> as_fixed_point(np.array([[1.5, 2.0]])).tolist()
    [[[12, 16]]]
    """
    return np.round(way_px * 8).astype(np.int32).reshape(-1, 1, 2)


def draw_lines(
    sheet: TracedSheet, lines: Sequence[Points], width_mm: float, colour: Colour = BLACK, strength: float = 1.0
) -> None:
    """Draw many lines at once, each (n, 2) points (row, col) in mm; lines thinner than a pixel are drawn paler."""
    canvas = np.zeros(sheet.light.shape[:2], np.uint8)
    width_px = width_mm / 25.4 * sheet.dpi
    places = [as_fixed_point(line[:, ::-1] / 25.4 * sheet.dpi) for line in lines]
    cv2.polylines(canvas, places, False, 255, max(round(width_px), 1), cv2.LINE_AA, 3)
    sheet.lay(np.asarray(canvas, np.float32) / np.float32(255), 0, 0, colour, strength * min(width_px, 1.0))


def draw_frame(sheet: TracedSheet, box_mm: Box, width_mm: float = 0.3) -> None:
    """Draw the four sides of a box."""
    top, left, bottom, right = box_mm
    corners = np.array([[top, left], [top, right], [bottom, right], [bottom, left], [top, left]])
    with sheet.layer(Layer.RULE):
        draw_lines(sheet, [corners], width_mm)
