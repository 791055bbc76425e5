"""Print, type and write text onto sheets. Letter sizes are printer's points, 72 to the inch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foliopress.tasks.samples.lettering import SERIF, TYPEWRITER, BlockLayout, Face, print_block, print_line, write_line
from foliopress.tasks.samples.paper import BLACK, BLUE_BLACK, Colour, Sheet, worn

TopLeft = tuple[float, float]
"""(top_mm, left_mm) on the sheet."""
Column = tuple[float, float, float]
"""(top_mm, left_mm, width_mm) on the sheet."""


@dataclass(frozen=True)
class Ribbon:
    """State of a typewriter's ribbon."""

    colour: Colour = BLACK
    strength: float = 0.9
    """Share of the light that a fresh letter absorbs."""
    wear: float = 0.25
    """Wear of the ink as in `worn`, 0 to 1."""


FRESH_RIBBON = Ribbon()


def points_px(sheet: Sheet, points: float) -> float:
    """Return a letter size in pixels of the sheet."""
    return points / 72 * sheet.dpi


def print_text(
    sheet: Sheet, text: str, top_left: TopLeft, points: float, face: Face = SERIF, colour: Colour = BLACK
) -> None:
    """Print one line."""
    sheet.lay(print_line(text, points_px(sheet, points), face), *top_left, colour)


def print_centred(
    sheet: Sheet, text: str, top_mm: float, points: float, face: Face = SERIF, colour: Colour = BLACK
) -> None:
    """Print one line centred on the sheet."""
    mask = print_line(text, points_px(sheet, points), face)
    sheet.lay(mask, top_mm, (sheet.width_mm - sheet.mm(mask.shape[1])) / 2, colour)


def print_right(sheet: Sheet, text: str, top_mm: float, right_mm: float, points: float, face: Face = SERIF) -> None:
    """Print one line that ends at `right_mm`."""
    mask = print_line(text, points_px(sheet, points), face)
    sheet.lay(mask, top_mm, right_mm - sheet.mm(mask.shape[1]))


def print_paragraphs(
    sheet: Sheet, text: str, column: Column, points: float, face: Face = SERIF, layout: BlockLayout | None = None
) -> float:
    """Print paragraphs and return the position of their end, in millimetres from the top."""
    top_mm, left_mm, width_mm = column
    mask = print_block(text, sheet.px(width_mm), points_px(sheet, points), face, layout or BlockLayout())
    sheet.lay(mask, top_mm, left_mm)
    return top_mm + sheet.mm(mask.shape[0])


def type_paragraphs(
    sheet: Sheet, text: str, column: Column, rng: np.random.Generator, ribbon: Ribbon = FRESH_RIBBON
) -> float:
    """Type paragraphs and return the position of their end, in millimetres from the top."""
    top_mm, left_mm, width_mm = column
    layout = BlockLayout(leading=1.7, unevenness=0.16)
    mask = print_block(text, sheet.px(width_mm), points_px(sheet, 11.5), TYPEWRITER, layout, rng)
    mask = worn(mask, rng, ribbon.wear, cell_px=sheet.px(0.35))
    sheet.lay(mask, top_mm, left_mm, ribbon.colour, ribbon.strength)
    return top_mm + sheet.mm(mask.shape[0])


def write_text(
    sheet: Sheet,
    text: str,
    baseline_left: TopLeft,
    rng: np.random.Generator,
    x_height_mm: float = 2.4,
    colour: Colour = BLUE_BLACK,
) -> None:
    """Write one line by hand from (baseline_mm, left_mm)."""
    baseline_mm, left_mm = baseline_left
    mask = write_line(text, x_height_mm / 25.4 * sheet.dpi, rng)
    sheet.lay(mask, baseline_mm - 3 * x_height_mm, left_mm, colour, 0.92)


def draw_frame(sheet: Sheet, top: float, left: float, bottom: float, right: float, width_mm: float = 0.3) -> None:
    """Draw a rectangle; its sides are millimetres from the top and left of the sheet."""
    for start, end in (
        ((top, left), (top, right)),
        ((bottom, left), (bottom, right)),
        ((top, left), (bottom, left)),
        ((top, right), (bottom, right)),
    ):
        sheet.rule(start, end, width_mm)
