"""Draw picture pages: maps, plates of engravings and plans, photographs with captions."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from foliopress.model.drawn.handwriting import random_pen, write
from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.line_art import machine, plant
from foliopress.model.drawn.lines import cut_corners, draw_frame, draw_lines, translated
from foliopress.model.drawn.marks import annotate
from foliopress.model.drawn.pictures import place_photo
from foliopress.model.drawn.printing import Paragraphs, print_column, print_text, random_type
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.stationery import MIDDLE, empty_sheet
from foliopress.model.drawn.wording import phrase
from foliopress.tasks.samples.lettering import print_line
from foliopress.tasks.samples.paper import RED, cloud, turned
from foliopress.tasks.samples.texts import sample_text


def map_page(rng: Rng) -> TracedSheet:
    """Draw a map: contours, a river, roads, and names at all angles."""
    sheet = empty_sheet(rng, MIDDLE)
    height, width = sheet.height_mm, sheet.width_mm
    field = cloud(round(height), round(width), width / rng.uniform(1.5, 4), rng, octaves=4)
    inner = np.zeros_like(field)
    inner[12:-12, 10:-10] = field[12:-12, 10:-10]
    lines = []
    for level in np.linspace(0.25, 0.8, int(rng.integers(4, 14))):
        found = cv2.findContours((inner > level).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
        lines += [cut_corners(line[:, 0, ::-1].astype(np.float64), 1) for line in found if len(line) > 8]
    with sheet.layer(Layer.PICTURE):
        draw_lines(sheet, lines, 0.15, pick(rng, ((0.55, 0.35, 0.2), (0.3, 0.3, 0.3))), 0.8)
        for colour in ((0.2, 0.4, 0.7), (0.1, 0.1, 0.1), RED):
            way = np.stack([np.linspace(14, height - 14, 9), np.cumsum(rng.normal(0, width / 16, 9)) + width / 2], 1)
            draw_lines(sheet, [cut_corners(way).clip(12, max(height, width))], 0.4, colour)
    draw_frame(sheet, (11, 9, height - 11, width - 9), 0.4)
    for _ in range(int(rng.integers(8, 30))):
        style = random_type(rng, rng.uniform(6, 13))
        mask = print_line(phrase(rng, 1).title(), style.size_px(sheet.dpi), style.face)
        mask = turned(mask, float(rng.choice([0, 0, rng.uniform(-80, 80)])))
        sheet.lay(mask, rng.uniform(14, height - 25), rng.uniform(12, width - 35), style.colour, style.strength)
    print_text(sheet, phrase(rng, 4).upper(), (3, width / 2), random_type(rng, 12), rng, 0.5)
    return annotate(sheet, rng, 1)


def drawing(rng: Rng) -> TracedSheet:
    """Draw a plate of engravings or plans with figures and captions."""
    sheet = empty_sheet(rng, MIDDLE)
    height, width = sheet.height_mm, sheet.width_mm
    label = random_type(rng, rng.uniform(6.5, 11))
    is_plan = rng.random() < 0.5
    cells = [(0.1, 0.08), (0.1, 0.52), (0.52, 0.08), (0.52, 0.52)]
    for row, col in cells[: int(rng.integers(1, 5))]:
        top, left = row * height, col * width
        lines = machine(rng, height * 0.33, width * 0.4) if is_plan else plant(rng, height * 0.3)
        place = (top, left) if is_plan else (top + height * 0.32, left + width * 0.18)
        with sheet.layer(Layer.PICTURE):
            draw_lines(sheet, [translated(line, *place) for line in lines], rng.uniform(0.12, 0.3), label.colour)
        for _ in range(int(rng.integers(1, 6))):
            spot = top + rng.uniform(0, 0.3) * height, left + rng.uniform(0, 0.35) * width
            print_text(sheet, pick(rng, ("a", "B", "Fig. 3", "12'-6", phrase(rng, 1))), spot, label, rng)
        print_text(sheet, f"Fig. {rng.integers(1, 60)}. {phrase(rng, 3)}", (top + height * 0.35, left), label, rng)
    return annotate(sheet, rng, 2)


def photo_page(rng: Rng) -> TracedSheet:
    """Draw photographs with captions: a plate, a text page with a picture, or an album's dark card with white ink."""
    is_dark = rng.random() < 0.35
    sheet = empty_sheet(rng, MIDDLE, (0.16, 0.15, 0.14) if is_dark else None)
    height, width = sheet.height_mm, sheet.width_mm
    pen = replace(random_pen(rng), colour=(0.92, 0.92, 0.88), strength=0.9) if is_dark else random_pen(rng)
    style, top = random_type(rng, rng.uniform(7, 11)), height * 0.07
    while top < height * 0.75:
        depth, left = rng.uniform(0.2, 0.45) * height, rng.uniform(0.06, 0.3) * width
        end = min(top + depth, height * 0.9)
        place_photo(sheet, (top, left, end, left + rng.uniform(0.35, 0.62) * width), rng)
        if is_dark or rng.random() < 0.5:
            write(sheet, phrase(rng, 4), (end + 6, left), pen, rng)
        else:
            print_text(sheet, phrase(rng, 5).capitalize(), (end + 2, left), style, rng)
        top = end + rng.uniform(10, 25)
        if not is_dark and rng.random() < 0.5 and top < height * 0.8:
            box = (top, width * 0.1, height * 0.93, width * 0.9)
            top = print_column(sheet, box, style, rng, Paragraphs(sample_text(rng, 5))) + 6
    return sheet
