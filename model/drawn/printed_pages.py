"""Draw printed pages of books and newspapers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.line_art import rosette
from foliopress.model.drawn.lines import draw_frame, draw_lines, translated
from foliopress.model.drawn.marks import annotate
from foliopress.model.drawn.pictures import place_photo
from foliopress.model.drawn.printing import Paragraphs, Type, print_column, print_text, random_type
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import Box, TracedSheet
from foliopress.model.drawn.stationery import MIDDLE, empty_sheet
from foliopress.model.drawn.wording import phrase
from foliopress.tasks.samples.lettering import wrap
from foliopress.tasks.samples.paper import CREAM_PAPER, OLD_PAPER
from foliopress.tasks.samples.texts import sample_text


def book_page(rng: Rng) -> TracedSheet:
    """Draw a book page in one or two columns, with head, page number and notes."""
    sheet = empty_sheet(rng, MIDDLE)
    height, width = sheet.height_mm, sheet.width_mm
    style = random_type(rng, pick(rng, (7.5, 8.5, 9.5, 10.5, 11.5, 13.0)))
    if rng.random() < 0.8:
        print_text(sheet, phrase(rng, 4).upper(), (height * 0.045, width / 2), replace(style, points=8.5), rng, 0.5)
        print_text(sheet, f"{rng.integers(2, 800)}", (height * 0.045, width * pick(rng, (0.12, 0.85))), style, rng)
    top, bottom = height * 0.1, height * rng.uniform(0.6, 0.93)
    if rng.random() < 0.4:
        title = random_type(rng, rng.uniform(13, 22))
        top = print_text(sheet, phrase(rng, 2).upper(), (top + 12, width / 2), title, rng, 0.5) + 5
    n_columns = pick(rng, (1, 1, 2))
    gap = 5.0
    breadth = (width * 0.8 - gap * (n_columns - 1)) / n_columns
    for column in range(n_columns):
        left = width * 0.1 + column * (breadth + gap)
        box = (top, left, bottom, left + breadth)
        print_column(sheet, box, style, rng, Paragraphs(is_justified=True, indent=pick(rng, ("", "   "))))
    if n_columns == 2 and rng.random() < 0.5:
        with sheet.layer(Layer.RULE):
            sheet.rule((top, width / 2), (bottom, width / 2), 0.2)
    if rng.random() < 0.3:
        notes = replace(style, points=max(style.points - 2.5, 6.0))
        print_column(
            sheet, (bottom + 3, width * 0.1, height * 0.97, width * 0.9), notes, rng, Paragraphs(sample_text(rng, 2))
        )
    return annotate(sheet, rng, 1)


def newspaper(rng: Rng) -> TracedSheet:
    """Draw a newspaper page: columns of small print with headlines, rules, advertisements and a picture."""
    paper = pick(rng, (OLD_PAPER, CREAM_PAPER, (0.8, 0.74, 0.6)))
    sheet = empty_sheet(rng, ((280, 205), (260, 180), (300, 190)), paper)
    width, bottom = sheet.width_mm, sheet.height_mm * 0.97
    style = replace(random_type(rng, rng.uniform(6, 9)), leading=float(rng.uniform(1.15, 1.35)))
    top = print_text(sheet, phrase(rng, 3).upper(), (7, width / 2), random_type(rng, rng.uniform(20, 32)), rng, 0.5) + 2
    n_columns = int(rng.integers(2, 6))
    breadth = (width - 14) / n_columns
    with sheet.layer(Layer.RULE):
        gaps = [7 + number * breadth for number in range(1, n_columns)]
        lines = [np.array([[top, gap], [bottom, gap]]) for gap in gaps]
        draw_lines(sheet, [*lines, np.array([[top, 7], [top, width - 7]])], 0.2)
    for number in range(n_columns):
        left, right, row = 8 + number * breadth, 6 + (number + 1) * breadth, top + 2
        while row < bottom - 12:
            row = _piece(sheet, (row, left, min(row + rng.uniform(20, 110), bottom), right), style, rng) + 2
    return annotate(sheet, rng, 1)


def _piece(sheet: TracedSheet, box_mm: Box, style: Type, rng: Rng) -> float:
    """Fill a newspaper box with a picture, an advertisement or an article, and return its lower end in mm."""
    top, left, bottom, right = box_mm
    chance = rng.random()
    if chance < 0.12:
        end = min(top + (right - left) * 0.8, bottom)
        place_photo(sheet, (top, left, end, right), rng)
        return end
    if chance < 0.3:
        end = min(top + rng.uniform(15, 45), bottom)
        _advertisement(sheet, (top, left, end, right), style, rng)
        return end
    return _article(sheet, box_mm, style, rng)


def _advertisement(sheet: TracedSheet, box_mm: Box, style: Type, rng: Rng) -> None:
    """Print a name, sometimes white on black, and a few lines into a frame."""
    top, left, end, right = box_mm
    draw_frame(sheet, box_mm, rng.uniform(0.2, 0.8))
    big = random_type(rng, rng.uniform(11, 18))
    if rng.random() < 0.4:  # white letters on black
        with sheet.layer(Layer.PICTURE):
            sheet.lay(np.ones((sheet.px(9), sheet.px(right - left - 2)), np.float32), top + 1, left + 1)
        big = replace(big, colour=(1.0, 1.0, 1.0), strength=1.0)
    row = print_text(sheet, phrase(rng, 1).upper()[:9], (top + 2, (left + right) / 2), big, rng, 0.5)
    print_column(sheet, (row + 1, left + 2, end - 1, right - 2), replace(style, points=style.points + 1), rng)


def _article(sheet: TracedSheet, box_mm: Box, style: Type, rng: Rng) -> float:
    """Print a headline, a column and sometimes a closing rule, and return their lower end in mm from the top."""
    row, left, bottom, right = box_mm
    middle = (left + right) / 2
    head = replace(style, points=style.points * rng.uniform(1.2, 1.8))
    for line in wrap(phrase(rng, 5).upper(), sheet.px(right - left - 2), head.size_px(sheet.dpi), head.face):
        row = print_text(sheet, line, (row, middle), head, rng, 0.5)
    end = print_column(sheet, (row, left, bottom, right), style, rng, Paragraphs(is_justified=True, indent="  "))
    if rng.random() < 0.5:
        with sheet.layer(Layer.RULE):
            sheet.rule((end + 0.8, middle - 8), (end + 0.8, middle + 8), 0.2)
    return end + 1


def title_page(rng: Rng) -> TracedSheet:
    """Draw a title page: few lines, large and small, with an ornament and a library stamp."""
    sheet = empty_sheet(rng, MIDDLE)
    top, middle = sheet.height_mm * rng.uniform(0.08, 0.2), sheet.width_mm / 2
    ornament = rng.uniform(0.4, 0.7) * sheet.height_mm
    is_drawn = False
    while top < sheet.height_mm * 0.88:
        style = random_type(rng, pick(rng, (8.0, 11.0, 14.0, 20.0, 30.0)))
        text = phrase(rng, 2 if style.points > 18 else 4)
        top = print_text(sheet, text.upper() if rng.random() < 0.5 else text, (top, middle), style, rng, 0.5)
        top += rng.uniform(1, 14)
        if top > ornament and not is_drawn:
            radius = rng.uniform(6, 18)
            with sheet.layer(Layer.PICTURE):
                draw_lines(sheet, [translated(ring, top + radius, middle) for ring in rosette(rng, radius)], 0.3)
            top, is_drawn = top + 2 * radius + 6, True
    return annotate(sheet, rng)
