"""Draw, age, mount and scan pages of every kind in turn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foliopress.model.drawn.account_pages import ledger, receipt, table
from foliopress.model.drawn.ageing import aged
from foliopress.model.drawn.empty_pages import blank_back, cover, empty_page, nearly_blank
from foliopress.model.drawn.leaf import Leaf
from foliopress.model.drawn.mounting import BACKINGS, mounted
from foliopress.model.drawn.office_pages import carbon_copy, form, index_card, letter, typescript
from foliopress.model.drawn.picture_pages import drawing, map_page, photo_page
from foliopress.model.drawn.printed_pages import book_page, newspaper, title_page
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.scanning import DrawnPage, rotated_page, scanned
from foliopress.model.drawn.sheet import TracedSheet
from foliopress.model.drawn.written_pages import handwritten_letter, notes

PAGES: tuple[Callable[[Rng], TracedSheet], ...] = (
    letter,
    handwritten_letter,
    book_page,
    nearly_blank,
    typescript,
    ledger,
    photo_page,
    blank_back,
    newspaper,
    notes,
    table,
    title_page,
    carbon_copy,
    form,
    map_page,
    index_card,
    receipt,
    handwritten_letter,
    empty_page,
    drawing,
    typescript,
    nearly_blank,
    cover,
    book_page,
)
"""The page kinds, in drawing order; the most important ones occur twice."""


def draw_page(number: int, seed: int) -> DrawnPage:
    """Draw, age and scan one page; the seed and the number determine all random choices."""
    rng = np.random.default_rng((seed, number))
    sheet = PAGES[number % len(PAGES)](rng)
    leaf = mounted(aged(Leaf(sheet.light, sheet.ink, sheet.dpi, pick(rng, BACKINGS)), rng), rng)
    page = scanned(leaf, rng)
    return rotated_page(page, int(rng.integers(1, 4))) if rng.random() < 0.5 else page
