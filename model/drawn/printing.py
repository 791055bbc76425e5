"""Print lines and columns of type on a sheet, in many typefaces."""

from __future__ import annotations

from dataclasses import dataclass

from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import Box, Place, TracedSheet
from foliopress.model.drawn.wording import prose
from foliopress.tasks.samples.lettering import LINE_HEIGHT, BlockLayout, Face, Mask, print_block, print_line
from foliopress.tasks.samples.paper import BLACK, BLUE_BLACK, VIOLET, Colour, worn


@dataclass(frozen=True)
class Type:
    """Letters of print or typescript.

    points: Letter size in printer's points. strength, wear: 0 to 1. unevenness, leading: As in
    `tasks.samples.lettering`.
    """

    face: Face
    points: float
    colour: Colour
    strength: float
    wear: float
    unevenness: float
    leading: float

    def size_px(self, dpi: float) -> float:
        """Return the letter size in pixels."""
        return self.points / 72 * dpi


def random_type(rng: Rng, points: float | None = None, *, is_typed: bool = False) -> Type:
    """Return random print or typewriter type; without `points`, in a common size."""
    return _typewriter(rng, points) if is_typed else _printer(rng, points)


def _typewriter(rng: Rng, points: float | None) -> Type:
    return Type(
        face=Face(
            "typed",
            serif=pick(rng, (0.06, 0.085, 0.1)),
            weight=pick(rng, (-0.012, -0.006, 0.0, 0.01)),
            pitch=pick(rng, (0.58, 0.6, 0.6, 0.64)),
        ),
        points=points or pick(rng, (10.0, 11.0, 11.5, 12.0)),
        colour=pick(rng, (BLACK, BLACK, BLUE_BLACK, VIOLET, (0.14, 0.14, 0.55), (0.3, 0.3, 0.32))),
        strength=float(rng.uniform(0.55, 0.95)),
        wear=float(rng.uniform(0.05, 0.45)),
        unevenness=float(rng.uniform(0.05, 0.25)),
        leading=pick(rng, (1.2, 1.45, 1.7, 2.2)),
    )


def _printer(rng: Rng, points: float | None) -> Type:
    return Type(
        face=Face(
            "printed",
            serif=pick(rng, (0.0, 0.0, 0.03, 0.06, 0.06, 0.085)),
            contrast=pick(rng, (0.0, 0.015, 0.03)),
            weight=pick(rng, (-0.006, 0.0, 0.0, 0.01, 0.022)),
            slant=pick(rng, (0.0, 0.0, 0.0, 0.12, 0.22)),
        ),
        points=points or pick(rng, (6.0, 7.0, 8.0, 9.0, 10.0, 10.5, 11.0, 11.5, 12.0, 12.0, 14.0, 17.0, 22.0, 30.0)),
        colour=pick(rng, (BLACK, BLACK, BLACK, (0.2, 0.19, 0.2), (0.27, 0.19, 0.13), (0.12, 0.2, 0.42))),
        strength=float(rng.uniform(0.7, 1.0)),
        wear=pick(rng, (0.0, 0.0, 0.15, 0.35)),
        unevenness=pick(rng, (0.0, 0.0, 0.1)),
        leading=float(rng.uniform(1.2, 1.6)),
    )


@dataclass(frozen=True)
class Paragraphs:
    """Text of a column; without a text the column is filled with prose.

    indent: Text before the first line of each paragraph.
    """

    text: str = ""
    is_justified: bool = False
    indent: str = ""


_PROSE = Paragraphs()


def print_text(sheet: TracedSheet, text: str, place_mm: Place, style: Type, rng: Rng, align: float = 0) -> float:
    """Print a line and return its lower end, in mm from the top.

    With `align` 0.5 the line is centred on the left edge of `place_mm`; with 1 it ends there.
    """
    top_mm, left_mm = place_mm
    size_px = style.size_px(sheet.dpi)
    mask = print_line(text, size_px, style.face, rng=rng, unevenness=style.unevenness)
    return _lay_print(sheet, mask, top_mm, left_mm - align * sheet.mm(mask.shape[1]), style, rng)


def print_column(sheet: TracedSheet, box_mm: Box, style: Type, rng: Rng, paragraphs: Paragraphs = _PROSE) -> float:
    """Print paragraphs into a box and return their lower end, in mm from the top; lines that do not fit are dropped."""
    top, left, bottom, right = box_mm
    size_px, width_px = style.size_px(sheet.dpi), max(sheet.px(right - left), 1)
    room = (sheet.px(bottom - top) - LINE_HEIGHT * size_px) / (style.leading * size_px)
    if room < 0:
        return top
    n_lines = int(room) + 1
    mask = print_block(
        paragraphs.text or prose(rng, n_lines * width_px / (0.45 * size_px)),
        width_px,
        size_px,
        style.face,
        BlockLayout(style.leading, paragraphs.is_justified, paragraphs.indent, style.unevenness),
        rng,
    )
    height_px = round(((n_lines - 1) * style.leading + LINE_HEIGHT) * size_px)
    return _lay_print(sheet, mask[:height_px], top, left, style, rng)


def _lay_print(sheet: TracedSheet, mask: Mask, top_mm: float, left_mm: float, style: Type, rng: Rng) -> float:
    """Put print on the sheet, worn as the style requires, and return its lower end, in mm from the top."""
    if style.wear:
        mask = worn(mask, rng, style.wear, cell_px=max(sheet.dpi * 0.014, 1.5))
    sheet.lay(mask, top_mm, left_mm, style.colour, style.strength)
    return top_mm + sheet.mm(mask.shape[0])
