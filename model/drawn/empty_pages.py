"""Draw empty pages: completely blank, with one mark, or with a cover's title."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foliopress.model.drawn.marks import MARKS
from foliopress.model.drawn.printing import print_text, random_type
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.show_through import add_show_through, random_text_page
from foliopress.model.drawn.stationery import CLOTHS, MIDDLE, SMALL, add_weave, empty_sheet, rule_paper
from foliopress.model.drawn.wording import phrase
from foliopress.tasks.samples.paper import BLACK, CREAM_PAPER


def nearly_blank(rng: Rng) -> TracedSheet:
    """Draw an empty page with only a signature, stamp, number or note."""
    sheet = empty_sheet(rng, [*MIDDLE, *SMALL])
    if rng.random() < 0.25:
        rule_paper(sheet, rng, rng.uniform(6, 10), 15)
    pick(rng, MARKS)(sheet, rng)
    return sheet


def blank_back(rng: Rng) -> TracedSheet:
    """Draw the empty back of a leaf, through which its front shows."""
    front = random_text_page(rng)
    back = TracedSheet(front.height_mm, front.width_mm, front.dpi, front.paper)
    back.light = add_show_through(back.light, front.light, float(rng.uniform(0.05, 0.3)), front.dpi)
    return back


def empty_page(rng: Rng) -> TracedSheet:
    """Draw an empty page: plain, ruled or the cloth of a cover."""
    chance = rng.random()
    if chance > 0.6:
        sheet = empty_sheet(rng, MIDDLE, pick(rng, CLOTHS))
        return add_weave(sheet, rng)
    sheet = empty_sheet(rng, [*MIDDLE, *SMALL])
    if chance < 0.25:
        rule_paper(sheet, rng, rng.uniform(5, 10), 15, is_graph=rng.random() < 0.5)
    return sheet


def cover(rng: Rng) -> TracedSheet:
    """Draw a cloth cover with its title in gold or black, sometimes with a label."""
    sheet = empty_sheet(rng, MIDDLE, pick(rng, CLOTHS))
    colour = pick(rng, ((0.83, 0.68, 0.36), (0.9, 0.88, 0.8), (0.02, 0.02, 0.02)))
    height, middle = sheet.height_mm, sheet.width_mm / 2
    if rng.random() < 0.5:
        sheet.paint(np.ones((sheet.px(46), sheet.px(76)), np.float32), height * 0.2, middle - 38, CREAM_PAPER)
        sheet.ink[:] = 0
        colour = BLACK
    top = height * 0.2 + 4
    for _ in range(int(rng.integers(1, 4))):
        style = replace(random_type(rng, rng.uniform(12, 26)), colour=colour, strength=1.0, wear=0.2)
        title = phrase(rng, 1 if style.points > 17 else 2).upper()[:14]
        top = print_text(sheet, title, (top, middle), style, rng, 0.5) + 2
    return add_weave(sheet, rng)
