"""Write lines in many hands: in joined letters, in single ones, or in strokes that only resemble letters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.lines import as_fixed_point, cut_corners
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import Box, Place, TracedSheet
from foliopress.model.drawn.wording import prose
from foliopress.tasks.samples.lettering import Mask, Points, write_line
from foliopress.tasks.samples.paper import BLACK, BLUE_BLACK, PENCIL, RED, VIOLET, Colour, cloud, turned, worn

Script = Literal["joined", "single", "strokes"]

_ZOOM = 2  # letters are drawn larger and then reduced


@dataclass(frozen=True)
class Pen:
    """A hand and its pen: joined letters, single letters, or strokes of no alphabet.

    slant: Shift to the right per unit of height. carelessness: As in `tasks.samples.lettering.write_line`. strength,
    dryness: 0 to 1.
    """

    script: Script
    x_height_mm: float
    width_mm: float
    slant: float
    carelessness: float
    colour: Colour
    strength: float
    dryness: float


PEN_COLOURS: tuple[Colour, ...] = (
    BLUE_BLACK,
    BLUE_BLACK,
    BLACK,
    BLACK,
    (0.33, 0.22, 0.13),
    (0.12, 0.2, 0.62),
    RED,
    (0.12, 0.42, 0.25),
    VIOLET,
)


def random_pen(rng: Rng, x_height_mm: float | None = None) -> Pen:
    """Return a random hand, with ink or a pencil."""
    height_mm = float(rng.uniform(1.4, 3.2)) if x_height_mm is None else x_height_mm
    is_pencil = rng.random() < 0.25
    scripts: tuple[Script, ...] = ("joined", "joined", "single", "strokes")
    return Pen(
        script=pick(rng, scripts),
        x_height_mm=height_mm,
        width_mm=float(np.clip(rng.normal(0.3, 0.1) + 0.04 * height_mm, 0.18, 0.8)),
        slant=float(rng.normal(0.3, 0.25)),
        carelessness=float(rng.uniform(0.3, 1.8)),
        colour=PENCIL if is_pencil else pick(rng, PEN_COLOURS),
        strength=float(rng.uniform(0.35, 0.85) if is_pencil else rng.uniform(0.55, 0.97)),
        dryness=float(rng.uniform(0.1, 0.35) if is_pencil else pick(rng, (0.0, 0.0, 0.2))),
    )


def write(sheet: TracedSheet, text: str, start_mm: Place, pen: Pen, rng: Rng, turn_degrees: float = 0.0) -> None:
    """Write a line by hand from the start of its baseline, rotated anticlockwise by `turn_degrees`."""
    baseline_mm, left_mm = start_mm
    x_height_px = pen.x_height_mm / 25.4 * sheet.dpi
    pen_px = pen.width_mm / 25.4 * sheet.dpi
    if pen.script == "joined":
        mask = write_line(text, x_height_px, rng, pen_px=pen_px, slant=pen.slant, carelessness=pen.carelessness)
    elif pen.script == "single":
        mask = _single_letters(text, x_height_px, pen_px, pen.slant, rng)
    else:
        mask = _meaningless_strokes(len(text), x_height_px, pen_px, pen.slant, rng)
    if pen.dryness:
        mask = worn(mask, rng, pen.dryness, cell_px=max(sheet.dpi * 0.01, 1.2))
    if turn_degrees:
        mask = turned(mask, turn_degrees)
    with sheet.layer(Layer.HAND):
        sheet.lay(mask, baseline_mm - 3 * pen.x_height_mm, left_mm, pen.colour, pen.strength)


def write_lines(sheet: TracedSheet, box_mm: Box, step_mm: float, pen: Pen, rng: Rng) -> float:
    """Fill a box with handwriting and return the last baseline, in mm from the top."""
    top, left, bottom, right = box_mm
    n_letters = (right - left) / (pen.x_height_mm * (1.15 if pen.script == "single" else 0.92))
    words = iter(prose(rng, 2 * n_letters * (bottom - top) / step_mm).split())
    baseline, slope = top, float(rng.normal(0, 0.5))
    while baseline <= bottom:
        line = ""
        share = 1.0 if rng.random() < 0.85 else rng.uniform(0.3, 1)
        while len(line) < share * n_letters - 3:
            line += f"{next(words, 'and')} "
        write(sheet, line.strip(), (baseline, left + float(rng.normal(0, 0.8))), pen, rng, slope)
        baseline += step_mm
    return baseline - step_mm


def _single_letters(text: str, x_height_px: float, pen_px: float, slant: float, rng: Rng) -> Mask:
    """Return letters written one by one, no two alike; measures as in `tasks.samples.lettering.write_line`."""
    unit = x_height_px * _ZOOM
    font = pick(rng, (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX))
    size, pen = unit / 14, max(round(pen_px * _ZOOM), 1)  # Hershey's small letters are 14 units high
    canvas = np.zeros((round(5 * unit), round((1.6 * len(text) + 3) * unit)), np.uint8)
    col = 0.8 * unit
    for letter in text:
        letter_size = size * float(rng.normal(1, 0.08))
        base = round(3 * unit + float(rng.normal(0, 0.06 * unit)))
        cv2.putText(canvas, letter, (round(col), base), font, letter_size, 255, pen, cv2.LINE_AA)
        col += cv2.getTextSize(letter, font, letter_size, pen)[0][0] * 0.97 + rng.normal(0, 0.06 * unit)
    canvas = canvas[:, : max(round(col + unit), 1)]
    height, width = canvas.shape
    rows, cols = np.meshgrid(np.arange(height, dtype=np.float32), np.arange(width, dtype=np.float32), indexing="ij")
    shaken = [(cloud(height, width, unit, rng, octaves=2) - np.float32(0.5)) * np.float32(0.5 * unit) for _ in "rc"]
    cols = cols + np.float32(slant) * (rows - np.float32(3 * unit)) + shaken[0]
    return _reduced(np.asarray(cv2.remap(canvas, cols, rows + shaken[1], cv2.INTER_LINEAR), np.uint8))


def _meaningless_strokes(n_letters: int, x_height_px: float, pen_px: float, slant: float, rng: Rng) -> Mask:
    """Return words of up and down strokes, some with ascenders or descenders.

    Measures are as in `tasks.samples.lettering.write_line`.
    """
    unit = x_height_px * _ZOOM
    breadth = float(rng.uniform(0.25, 0.5))
    words: list[Points] = []
    x = 0.6
    while x < 0.85 * n_letters:
        points = [(x, 0.4)]
        for _ in range(int(rng.integers(3, 16))):
            height = 1 + rng.normal(0, 0.08) + (rng.uniform(0.7, 1.3) if rng.random() < 0.18 else 0)
            depth = rng.normal(0, 0.06) - (rng.uniform(0.5, 1.0) if rng.random() < 0.12 else 0)
            sway = rng.normal(0, 0.08, 2)
            points += [(x + 0.15 + sway[0], height), (x + 0.05 + sway[1], height * 0.5), (x + 0.1, depth)]
            x += breadth * rng.uniform(0.6, 1.5)
        words.append(cut_corners(np.array([*points, (x + 0.2, 0.3)])))
        x += rng.uniform(0.5, 1.1)
    canvas = np.zeros((round(5 * unit), round((x + 2) * unit)), np.uint8)
    for word in words:
        way = np.stack([(word[:, 0] + slant * word[:, 1]) * unit, (3 - word[:, 1]) * unit], axis=1)
        cv2.polylines(canvas, [as_fixed_point(way)], False, 255, max(round(pen_px * _ZOOM), 1), cv2.LINE_AA, 3)
    return _reduced(canvas)


def _reduced(canvas: npt.NDArray[np.uint8]) -> Mask:
    """Return a drawing of (height, width) uint8 as a mask at final size, at least one column wide."""
    height, width = canvas.shape
    small = cv2.resize(canvas, (max(width // _ZOOM, 1), height // _ZOOM), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)
