"""Add marks to a page: stamps, numbers and handwriting."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from foliopress.model.drawn.handwriting import PEN_COLOURS, random_pen, write
from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.lines import cut_corners
from foliopress.model.drawn.printing import print_text, random_type
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.wording import phrase
from foliopress.tasks.samples.paper import BLACK, RED, VIOLET, turned
from foliopress.tasks.samples.stamps import draw_box_stamp, draw_round_stamp, draw_signature


def annotate(sheet: TracedSheet, rng: Rng, most: int = 3) -> TracedSheet:
    """Add up to `most` marks to a sheet, and return it."""
    for _ in range(int(rng.integers(0, most + 1))):
        pick(rng, _USUAL_MARKS)(sheet, rng)
    return sheet


def _put_stamp(sheet: TracedSheet, rng: Rng) -> None:
    """Add a round or framed rubber stamp, mostly near level."""
    date = f"{rng.integers(1, 29)} {pick(rng, ('JAN', 'APR', 'JUN', 'SEP', 'NOV'))} {rng.integers(1890, 1960)}"
    if rng.random() < 0.5:
        diameter = sheet.px(rng.uniform(18, 42))
        mask = draw_round_stamp(phrase(rng, 4).upper()[:34] + "  *", [phrase(rng, 1).upper()[:8], date], diameter, rng)
        if rng.random() < 0.35:
            mask = np.asarray(cv2.resize(mask, (round(diameter * 1.45), diameter)), np.float32)
    else:
        lines = [phrase(rng, 2).upper(), date, f"No. {rng.integers(10, 9999)}"][: int(rng.integers(1, 4))]
        mask = draw_box_stamp(lines, rng.uniform(8, 15) / 72 * sheet.dpi, rng)
    turn = float(rng.normal(0, 10) if rng.random() < 0.8 else rng.uniform(0, 360))
    top, left = rng.uniform(0.03, 0.85) * sheet.height_mm, rng.uniform(0.05, 0.75) * sheet.width_mm
    colour = pick(rng, (VIOLET, VIOLET, RED, (0.2, 0.3, 0.6), (0.15, 0.42, 0.3), BLACK))
    sheet.lay(turned(mask, turn), top, left, colour, rng.uniform(0.35, 0.9))


def _put_number(sheet: TracedSheet, rng: Rng) -> None:
    """Print a page number, or the number of a numbering machine."""
    text = pick(rng, (f"{rng.integers(2, 700)}", f"- {rng.integers(2, 90)} -", f"{rng.integers(1, 99999):06d}"))
    top = pick(rng, (0.03, 0.05, 0.93)) * sheet.height_mm
    middle = pick(rng, (0.1, 0.5, 0.9)) * sheet.width_mm
    print_text(sheet, text, (top, middle), random_type(rng, rng.uniform(9, 16)), rng, 0.5)


def _write_note(sheet: TracedSheet, rng: Rng) -> None:
    """Write a few words by hand, horizontally or up the margin."""
    text = phrase(rng, int(rng.integers(1, 6)))
    top, left = rng.uniform(0.05, 0.95) * sheet.height_mm, rng.uniform(0.02, 0.6) * sheet.width_mm
    if rng.random() < 0.25:
        write(sheet, text, (top, rng.uniform(0.01, 0.06) * sheet.width_mm), random_pen(rng), rng, 90.0)
    else:
        write(sheet, text, (top, left), random_pen(rng), rng, float(rng.normal(0, 5)))


def _sign(sheet: TracedSheet, rng: Rng) -> None:
    """Write a signature in the lower half."""
    mask = draw_signature(phrase(rng, 2).title(), sheet.px(rng.uniform(2.0, 4.5)), rng)
    with sheet.layer(Layer.HAND):
        top, left = rng.uniform(0.5, 0.85) * sheet.height_mm, rng.uniform(0.1, 0.55) * sheet.width_mm
        sheet.lay(mask, top, left, pick(rng, PEN_COLOURS), rng.uniform(0.5, 0.95))


def _write_initials(sheet: TracedSheet, rng: Rng) -> None:
    """Write two capital letters."""
    top, left = rng.uniform(0.05, 0.9) * sheet.height_mm, rng.uniform(0.1, 0.9) * sheet.width_mm
    write(sheet, phrase(rng, 2).title()[:2].upper(), (top, left), random_pen(rng, rng.uniform(1.5, 4)), rng)


def _draw_mark(sheet: TracedSheet, rng: Rng) -> None:
    """Draw a tick, a cross, a bracket, a loop or a line by hand."""
    places = {
        "tick": [(0, 0), (3, 1.5), (-5, 6)],
        "cross": [(0, 0), (5, 5), (2.5, 2.5), (5, 0), (0, 5)],
        "bracket": [(0, 2), (0.5, 0), (20, 0), (20.5, 2)],
        "line": [(0, 0), (0.4, 15), (-0.2, 32), (0.3, 48)],
        "loop": [(0, 0), (-4, 8), (0, 20), (5, 24), (7, 10), (4, -2), (-1, 1)],
    }
    points = np.array(places[pick(rng, sorted(places))], np.float64) * rng.uniform(0.6, 1.6)
    points = cut_corners(points + rng.normal(0, 0.3, points.shape), 2)
    points += rng.uniform(0.05, 0.9, 2) * (sheet.height_mm, sheet.width_mm)
    pen = random_pen(rng)
    with sheet.layer(Layer.HAND):
        sheet.curve(points, pen.width_mm * rng.uniform(1, 2), pen.colour, pen.strength)


MARKS: tuple[Callable[[TracedSheet, Rng], None], ...] = (
    _sign,
    _put_stamp,
    _put_number,
    _write_note,
    _write_initials,
    _draw_mark,
)
"""Every kind of mark."""
_USUAL_MARKS = (_put_stamp, _put_number, _write_note, _write_note, _sign, _write_initials, _draw_mark, _draw_mark)
