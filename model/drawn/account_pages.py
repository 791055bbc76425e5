"""Draw account pages: numbers in columns, in ledgers, tables and receipts."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from foliopress.model.drawn.handwriting import random_pen, write
from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.lines import draw_lines
from foliopress.model.drawn.marks import annotate
from foliopress.model.drawn.printing import print_text, random_type
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.stationery import BIG, MIDDLE, empty_sheet
from foliopress.model.drawn.wording import phrase
from foliopress.tasks.samples.paper import BLACK, CREAM_PAPER, RED, WHITE_PAPER


def ledger(rng: Rng) -> TracedSheet:
    """Draw a ledger page: printed rules and heads, handwritten entries, some lines empty."""
    sheet = empty_sheet(rng, [*BIG, *MIDDLE])
    step = rng.uniform(6.5, 10)
    top, bottom = sheet.height_mm * rng.uniform(0.08, 0.18), sheet.height_mm * 0.97
    inner = np.sort(rng.uniform(0.2, 0.88, int(rng.integers(2, 6))))
    columns = np.concatenate([[0.06], inner, [0.96]]) * sheet.width_mm
    rows = np.arange(top, bottom, step)
    with sheet.layer(Layer.RULE):
        lines = [np.array([[row, columns[0]], [row, columns[-1]]]) for row in rows]
        draw_lines(sheet, lines, 0.2, (0.4, 0.55, 0.75), rng.uniform(0.5, 1))
        bars = [np.array([[top, column], [rows[-1], column]]) for column in columns]
        draw_lines(sheet, bars, 0.3, pick(rng, (RED, BLACK, (0.4, 0.55, 0.75))), 0.8)
    head = random_type(rng, rng.uniform(8, 11))
    print_text(sheet, phrase(rng, 4).upper(), (top - 12, sheet.width_mm / 2), replace(head, points=15), rng, 0.5)
    for column in columns[:-1]:
        print_text(sheet, phrase(rng, 1).title(), (top + 0.5, column + 1), head, rng)
    pen = random_pen(rng, step * rng.uniform(0.2, 0.32))
    for row in rows[2 : int(len(rows) * rng.uniform(0.3, 1))]:
        for left, right in pairwise(columns):
            room = int((right - left - 2) / (pen.x_height_mm * 1.1))
            if room >= 2 and rng.random() < 0.8:
                entry = f"{rng.uniform(1, 900):.2f}" if right - left < 30 else phrase(rng, 3)
                write(sheet, entry[:room], (row - 0.22 * step, left + 1), pen, rng)
    return annotate(sheet, rng, 2)


def table(rng: Rng) -> TracedSheet:
    """Draw a printed or typed table of numbers, with all, some or none of its rules."""
    sheet = empty_sheet(rng, MIDDLE)
    style = random_type(rng, rng.uniform(7, 12), is_typed=rng.random() < 0.4)
    step = style.points * 0.3528 * rng.uniform(1.4, 2.6)
    columns = np.linspace(0.08, 0.92, int(rng.integers(4, 9))) * sheet.width_mm
    top = sheet.height_mm * 0.1
    rows = np.arange(top, sheet.height_mm * rng.uniform(0.4, 0.93), step)
    print_text(sheet, phrase(rng, 6), (top - 9, sheet.width_mm / 2), replace(style, points=style.points + 2), rng, 0.5)
    for number, row in enumerate(rows[:-1]):
        for left, right in pairwise(columns):
            if rng.random() < 0.75:
                text = phrase(rng, 1)[:7].title() if number == 0 or left == columns[0] else f"{rng.integers(1, 9999):,}"
                print_text(sheet, text, (row + 0.5, right - 2), style, rng, 1)
    across = [np.array([[row, columns[0]], [row, columns[-1]]]) for row in rows]
    down = [np.array([[rows[0], column], [rows[-1], column]]) for column in columns]
    ruled = pick(rng, (across + down, across[:2] + across[-1:], down, []))
    if ruled:
        with sheet.layer(Layer.RULE):
            draw_lines(sheet, ruled, rng.uniform(0.15, 0.4), style.colour)
    return annotate(sheet, rng, 2)


def receipt(rng: Rng) -> TracedSheet:
    """Draw a till receipt: narrow, often pale, with a bar code."""
    sheet = empty_sheet(rng, ((150, 72), (196, 80), (230, 80), (120, 58)), pick(rng, (WHITE_PAPER, CREAM_PAPER)))
    width = sheet.width_mm
    style = random_type(rng, rng.uniform(6, 9.5), is_typed=rng.random() < 0.7)
    style = replace(style, colour=pick(rng, (BLACK, (0.2, 0.2, 0.24), (0.3, 0.25, 0.5))), leading=1.3)
    top = print_text(sheet, phrase(rng, 2).upper(), (6, width / 2), replace(style, points=14), rng, 0.5)
    for _ in range(int(rng.integers(1, 4))):
        top = print_text(sheet, phrase(rng, 3), (top, width / 2), style, rng, 0.5)
    paleness = rng.uniform(0, 0.7)
    while top < sheet.height_mm - 30:
        style = replace(style, strength=0.95 - paleness * top / sheet.height_mm)
        if rng.random() < 0.12:
            top = print_text(sheet, "-" * int(width / 3), (top, 4), style, rng)
            continue
        print_text(sheet, phrase(rng, 2).upper()[:18], (top, 5), style, rng)
        top = print_text(sheet, f"{rng.uniform(1, 200):.2f}", (top, width - 5), style, rng, 1)
    if rng.random() < 0.5:
        with sheet.layer(Layer.PICTURE):
            bars = np.repeat(rng.random(70) < 0.5, max(sheet.px(0.5), 1)).astype(np.float32)
            sheet.lay(np.tile(bars, (sheet.px(10), 1)), top + 3, 12, style.colour)
    return annotate(sheet, rng, 1)
