"""Draw handwritten pages: letters and notes."""

from __future__ import annotations

from dataclasses import replace

from foliopress.model.drawn.handwriting import random_pen, write, write_lines
from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.line_art import machine
from foliopress.model.drawn.lines import draw_lines, translated
from foliopress.model.drawn.marks import annotate
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.stationery import BIG, MIDDLE, empty_sheet, rule_paper
from foliopress.model.drawn.wording import phrase
from foliopress.tasks.samples.paper import CREAM_PAPER, WHITE_PAPER


def handwritten_letter(rng: Rng) -> TracedSheet:
    """Draw a page in one hand, on plain or ruled paper."""
    sheet = empty_sheet(rng, [*MIDDLE, *MIDDLE, *BIG])
    step = rng.uniform(6.5, 12)
    top = sheet.height_mm * rng.uniform(0.08, 0.2)
    if rng.random() < 0.45:
        rule_paper(sheet, rng, step, top)
    pen = random_pen(rng, step * rng.uniform(0.2, 0.34))
    left, right = sheet.width_mm * rng.uniform(0.05, 0.18), sheet.width_mm * rng.uniform(0.85, 0.97)
    write(sheet, phrase(rng, 3), (top, sheet.width_mm * 0.55), pen, rng)
    bottom = sheet.height_mm * (rng.uniform(0.3, 0.8) if rng.random() < 0.5 else 0.95)
    end = write_lines(sheet, (top + 2 * step, left, bottom, right), step, pen, rng)
    if end < sheet.height_mm - 3 * step:
        write(sheet, phrase(rng, 2).title(), (end + 2 * step, sheet.width_mm * 0.5), replace(pen, slant=0.5), rng)
    return annotate(sheet, rng, 1)


def notes(rng: Rng) -> TracedSheet:
    """Draw notes and sketches in several pens on ruled or graph paper."""
    sheet = empty_sheet(rng, [*MIDDLE, *BIG], pick(rng, (WHITE_PAPER, CREAM_PAPER, (0.95, 0.92, 0.62))))
    step = rng.uniform(5, 9)
    rule_paper(sheet, rng, step, rng.uniform(5, 25), is_graph=rng.random() < 0.5)
    pens = [random_pen(rng) for _ in range(3)]
    baseline = 14.0
    while baseline < sheet.height_mm - 14:
        left = rng.uniform(0.08, 0.3) * sheet.width_mm
        if rng.random() < 0.2:
            with sheet.layer(Layer.PICTURE):
                sketch = [translated(line, baseline, left) for line in machine(rng, 30, 45)]
                draw_lines(sheet, sketch, 0.35, pick(rng, pens).colour, 0.9)
            baseline += 36
            continue
        box = (baseline, left, min(baseline + rng.uniform(0, 30), sheet.height_mm - 8), sheet.width_mm * 0.93)
        baseline = write_lines(sheet, box, step * rng.uniform(1, 1.6), pick(rng, pens), rng) + rng.uniform(1, 4) * step
    return annotate(sheet, rng)
