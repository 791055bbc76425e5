"""Draw office pages: letters, typescripts, carbon copies, forms and index cards."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np

from foliopress.model.drawn.handwriting import PEN_COLOURS, random_pen, write, write_lines
from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.line_art import rosette
from foliopress.model.drawn.lines import draw_frame, draw_lines, translated
from foliopress.model.drawn.marks import annotate
from foliopress.model.drawn.printing import Paragraphs, Type, print_column, print_text, random_type
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.stationery import BIG, MIDDLE, PAPERS, SMALL, empty_sheet, rule_paper
from foliopress.model.drawn.wording import phrase
from foliopress.tasks.samples.paper import BLUE_BLACK, CREAM_PAPER, OLD_PAPER, VIOLET
from foliopress.tasks.samples.stamps import draw_signature
from foliopress.tasks.samples.texts import sample_text


def letter(rng: Rng) -> TracedSheet:
    """Draw a signed letter with a printed head, typed or printed."""
    sheet = empty_sheet(rng, BIG)
    head, width = random_type(rng, rng.uniform(14, 28)), sheet.width_mm
    top = print_text(sheet, phrase(rng, 3).upper(), (sheet.height_mm * 0.04, width / 2), head, rng, 0.5)
    small = replace(head, points=rng.uniform(6.5, 10))
    for _ in range(int(rng.integers(1, 3))):
        top = print_text(sheet, phrase(rng, 6).title(), (top, width / 2), small, rng, 0.5)
    if rng.random() < 0.6:
        with sheet.layer(Layer.RULE):
            sheet.rule((top + 2, 20), (top + 2, width - 20), rng.uniform(0.2, 0.8), head.colour)
    if rng.random() < 0.5:
        with sheet.layer(Layer.PICTURE):
            rings = [translated(ring, top * 0.5 + 6, 26.0) for ring in rosette(rng, 11)]
            draw_lines(sheet, rings, 0.2, head.colour)
    body = random_type(rng, is_typed=rng.random() < 0.6)
    end = print_column(sheet, (top + 14, 24, sheet.height_mm * rng.uniform(0.5, 0.8), width - 18), body, rng)
    with sheet.layer(Layer.HAND):
        mask = draw_signature(phrase(rng, 2).title(), sheet.px(rng.uniform(2.4, 4.2)), rng)
        sheet.lay(mask, end + 3, width * 0.45, pick(rng, PEN_COLOURS), 0.9)
    return annotate(sheet, rng)


def typescript(rng: Rng) -> TracedSheet:
    """Draw a typed page with office stamps and notes."""
    return annotate(_typed_page(empty_sheet(rng, BIG), rng, random_type(rng, is_typed=True)), rng, 6)


def carbon_copy(rng: Rng) -> TracedSheet:
    """Draw a pale, blurred carbon copy."""
    sheet = empty_sheet(rng, BIG, pick(rng, (OLD_PAPER, CREAM_PAPER, (0.95, 0.87, 0.42), (0.93, 0.78, 0.78))))
    colour = pick(rng, (VIOLET, VIOLET, BLUE_BLACK, (0.3, 0.3, 0.34)))
    style = replace(random_type(rng, is_typed=True), colour=colour, strength=float(rng.uniform(0.25, 0.7)), wear=0.4)
    sheet = _typed_page(sheet, rng, style)
    sigma = sheet.dpi * rng.uniform(0.002, 0.006)
    sheet.light = np.asarray(cv2.GaussianBlur(sheet.light, (0, 0), sigma), np.float32)
    sheet.ink = np.asarray(cv2.GaussianBlur(sheet.ink, (0, 0), sigma), np.float32)
    return annotate(sheet, rng)


def _typed_page(sheet: TracedSheet, rng: Rng, style: Type) -> TracedSheet:
    """Type date, address, subject, text and close in a typist's layout."""
    height, width = sheet.height_mm, sheet.width_mm
    left, right = width * rng.uniform(0.08, 0.16), width * rng.uniform(0.86, 0.95)
    top = height * rng.uniform(0.05, 0.2)
    if rng.random() < 0.7:
        top = print_text(sheet, phrase(rng, 3), (top, width * 0.62), style, rng) + rng.uniform(3, 14)
        for _ in range(int(rng.integers(1, 4))):
            top = print_text(sheet, phrase(rng, 3).title(), (top, left), style, rng)
        top = print_text(sheet, phrase(rng, 5), (top + 4, left + 18), style, rng) + rng.uniform(3, 10)
    bottom = height * (rng.uniform(0.35, 0.8) if rng.random() < 0.6 else 0.94)
    end = print_column(sheet, (top, left, bottom, right), style, rng, Paragraphs(indent=pick(rng, ("", "     "))))
    if end < height - 40 and rng.random() < 0.8:
        print_text(sheet, phrase(rng, 3).capitalize() + ",", (end + 6, width * 0.5), style, rng)
        print_text(sheet, phrase(rng, 2).title(), (end + rng.uniform(18, 28), width * 0.55), style, rng)
    return sheet


def form(rng: Rng) -> TracedSheet:
    """Draw a printed form, partly filled in by hand or typewriter."""
    sheet = empty_sheet(rng, [*BIG, *MIDDLE], pick(rng, (*PAPERS, (0.76, 0.87, 0.74), (0.74, 0.84, 0.9))))
    width = sheet.width_mm
    label, answer, pen = random_type(rng, rng.uniform(6, 9)), random_type(rng, is_typed=True), random_pen(rng)
    is_typed = rng.random() < 0.35
    top = print_text(sheet, phrase(rng, 4).upper(), (10, 14), random_type(rng, rng.uniform(13, 22)), rng) + 4
    while top < sheet.height_mm - 28:
        depth = rng.uniform(9, 17)
        splits = np.concatenate([[12], np.sort(rng.uniform(30, width - 40, int(rng.integers(0, 3)))), [width - 12]])
        for left, right in pairwise(splits):
            if rng.random() < 0.9:
                draw_frame(sheet, (top, left, top + depth, right), 0.25)
            print_text(sheet, f"{rng.integers(1, 30)}. {phrase(rng, 2)}", (top + 0.4, left + 1), label, rng)
            room = int((right - left - 4) / (2.6 if is_typed else pen.x_height_mm * 1.15))
            if rng.random() < 0.3 or room < 3:
                continue
            if is_typed:
                print_text(sheet, phrase(rng, 5)[:room], (top + depth * 0.45, left + 2), answer, rng)
            else:
                write(sheet, phrase(rng, 5)[:room], (top + depth * 0.85, left + 2), pen, rng)
        top += depth + pick(rng, (0.0, 0.0, 3.0, 12.0))
    return annotate(sheet, rng)


def index_card(rng: Rng) -> TracedSheet:
    """Draw a catalogue card, typed or handwritten."""
    sheet = empty_sheet(rng, SMALL, pick(rng, (CREAM_PAPER, (0.92, 0.84, 0.66), (0.93, 0.78, 0.78), (0.74, 0.84, 0.9))))
    height, width = sheet.height_mm, sheet.width_mm
    if rng.random() < 0.5:
        rule_paper(sheet, rng, rng.uniform(5, 7), 14)
    style, pen = random_type(rng, rng.uniform(8, 12), is_typed=True), random_pen(rng, rng.uniform(1.3, 2.2))
    print_text(sheet, phrase(rng, 2).upper(), (4, 8), style, rng)
    box = (14, rng.uniform(8, 24), height * rng.uniform(0.3, 0.9), width - 6)
    if rng.random() < 0.6:
        print_column(sheet, box, style, rng, Paragraphs(sample_text(rng, int(rng.integers(1, 5)))))
    else:
        write_lines(sheet, box, pen.x_height_mm * 3.4, pen, rng)
    return annotate(sheet, rng, 2)
