"""A sample archive of pages that look scanned, generated: nothing is downloaded, and a seed gives the same pages.

python -m foliopress.tasks.samples.sample_archive FOLDER [SEED]
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from foliopress.tasks.samples.lettering import (
    BOLD,
    ITALIC,
    SANS,
    SERIF,
    SERIF_BOLD,
    TYPEWRITER,
    Face,
    Mask,
    line_width,
    print_block,
    print_line,
    write_line,
)
from foliopress.tasks.samples.paper import (
    BLACK,
    BLUE_BLACK,
    CREAM_PAPER,
    OLD_PAPER,
    PENCIL,
    RED,
    VIOLET,
    WHITE_PAPER,
    Colour,
    Light,
    ScanLook,
    Sheet,
    cloud,
    scan,
    turned,
    worn,
)

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

A4_MM = (297.0, 210.0)


def write_sample_archive(folder: Path, seed: int = 0) -> list[Path]:
    """Write a small archive of varied pages into a folder, in sub-folders as an archive has them.

    Args:
        folder: Created with its parents if absent; files of the same names are written over.
        seed: The same seed gives the same bytes with the same library versions.

    Returns:
        The files written, in order of their keys.
    """
    paths = []
    for key in sample_keys():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sample_document(key, seed))
        paths.append(path)
    return paths


def sample_keys() -> tuple[str, ...]:
    """Return the keys of the sample archive's documents, in order."""
    return tuple(sorted(_DOCUMENTS))


def sample_document(key: str, seed: int = 0) -> bytes:
    """Return the file of one document of the sample archive.

    Raises:
        KeyError: If the archive has no such document.
    """
    number, make = _DOCUMENTS[key]
    return make(np.random.default_rng([seed, number]))


def sample_text(rng: Rng, sentences: int) -> str:
    """Return English sentences of a harbour town's records, with names, dates and amounts."""
    order = [int(index) for index in rng.permutation(len(_TEMPLATES))]
    return " ".join(_sentence(rng, _TEMPLATES[order[index % len(order)]]) for index in range(sentences))


def draw_round_stamp(text: str, middle: Sequence[str], diameter_px: int, rng: Rng) -> Mask:
    """Return a rubber stamp: text round a double ring, lines in the middle; (diameter, diameter) float32."""
    size = diameter_px * 2
    canvas = np.zeros((size, size), np.uint8)
    centre, radius = (size // 2, size // 2), size // 2 - 6
    cv2.circle(canvas, centre, radius, 255, max(size // 70, 2), cv2.LINE_AA)
    cv2.circle(canvas, centre, round(radius * 0.62), 255, max(size // 140, 1), cv2.LINE_AA)
    ring = np.asarray(canvas, np.float32) / np.float32(255)
    letter_px = radius * 0.26
    letter_px *= min(1.0, 2 * math.pi * radius * 0.78 / (1.08 * line_width(text, letter_px, BOLD)))
    total = line_width(text, letter_px, BOLD) * 1.05
    along = 0.0
    for character in text:
        width = line_width(character, letter_px, BOLD)
        angle = (along + width / 2 - total / 2) / (radius * 0.78)
        glyph = turned(print_line(character, letter_px, BOLD), -math.degrees(angle))
        row = round(centre[1] - math.cos(angle) * radius * 0.77 - glyph.shape[0] / 2)
        col = round(centre[0] + math.sin(angle) * radius * 0.77 - glyph.shape[1] / 2)
        part = ring[row : row + glyph.shape[0], col : col + glyph.shape[1]]
        np.maximum(part, glyph[: part.shape[0], : part.shape[1]], out=part)
        along += width * 1.05
    for index, line in enumerate(middle):
        glyphs = print_line(line, radius * 0.24, BOLD)
        row = round(centre[1] + (index - len(middle) / 2) * radius * 0.3 - glyphs.shape[0] * 0.05)
        col = centre[0] - glyphs.shape[1] // 2
        part = ring[row : row + glyphs.shape[0], col : col + glyphs.shape[1]]
        np.maximum(part, glyphs, out=part)
    small = cv2.resize(ring, (diameter_px, diameter_px), interpolation=cv2.INTER_AREA)
    return worn(np.asarray(small, np.float32), rng, 0.45, cell_px=diameter_px / 60)


def draw_box_stamp(lines: Sequence[str], letter_px: float, rng: Rng) -> Mask:
    """Return a rubber stamp of lines in a frame, (height, width) float32."""
    printed = [print_line(line, letter_px, BOLD) for line in lines]
    pad = round(letter_px * 0.5)
    step = round(letter_px * 1.25)
    width = max(line.shape[1] for line in printed) + 2 * pad
    stamp = np.zeros((step * len(lines) + 2 * pad, width), np.float32)
    for index, line in enumerate(printed):
        row, col = pad + index * step - round(letter_px * 0.1), (width - line.shape[1]) // 2
        part = stamp[row : row + line.shape[0], col : col + line.shape[1]]
        np.maximum(part, line[: part.shape[0]], out=part)
    edge = max(round(letter_px * 0.09), 1)
    frame = np.ones_like(stamp)
    frame[edge:-edge, edge:-edge] = 0
    return worn(np.maximum(stamp, frame), rng, 0.5, cell_px=letter_px / 7)


def draw_signature(name: str, x_height_px: float, rng: Rng) -> Mask:
    """Return a signature with its flourish, (height, width) float32."""
    written = write_line(name, x_height_px, rng, slant=0.45, carelessness=1.8, pen_px=x_height_px / 8)
    height, width = written.shape
    canvas = np.zeros((height, width), np.uint8)
    x = np.linspace(0.1, 0.95, 60)
    y = 0.76 + 0.05 * np.sin(x * 9) - 0.1 * (x - 0.3)
    points = np.stack([x * width, y * height], axis=1)
    cv2.polylines(
        canvas,
        [np.round(points * 8).astype(np.int32).reshape(-1, 1, 2)],
        False,
        255,
        max(round(x_height_px / 11), 1),
        cv2.LINE_AA,
        3,
    )
    return np.asarray(np.maximum(written, canvas.astype(np.float32) / np.float32(255)), np.float32)


def draw_landscape(height_px: int, width_px: int, rng: Rng) -> Light:
    """Return a grey photograph of hills over water under a cloudy sky, (height, width) float32, 0 to 1."""
    horizon = round(height_px * 0.52)
    picture = np.empty((height_px, width_px), np.float32)
    sky = cloud(horizon, width_px, width_px / 3, rng, octaves=6)
    rise = np.linspace(0.55, 0.95, horizon, dtype=np.float32)[:, None]
    picture[:horizon] = np.clip(rise * 0.8 + (sky - np.float32(0.45)) * 0.55, 0.1, 1)
    water = cloud(height_px - horizon, width_px // 4 or 1, width_px / 30, rng, octaves=5)
    water = np.asarray(cv2.resize(water, (width_px, height_px - horizon)), np.float32)
    fall = np.linspace(0.75, 0.35, height_px - horizon, dtype=np.float32)[:, None]
    picture[horizon:] = np.clip(fall + (water - np.float32(0.5)) * 0.5, 0, 1)
    for layer, (height, tone) in enumerate(((0.2, 0.55), (0.13, 0.38), (0.07, 0.22))):
        line = cloud(1, width_px, width_px / (3 + layer), rng, octaves=7)[0]
        tops = horizon - np.round(line * height * height_px + 0.01 * height_px).astype(int)
        rows = np.arange(height_px)[:, None]
        texture = cloud(height_px, width_px, width_px / 25, rng, octaves=5)
        hill = np.float32(tone) + (texture - np.float32(0.5)) * 0.3
        covered = (rows >= tops[None, :]) & (rows < horizon + round(0.015 * height_px))
        picture = np.where(covered, hill, picture).astype(np.float32)
    # A boat with its sail, and what the water shows of it.
    row, col = horizon + round(0.16 * height_px), round(width_px * rng.uniform(0.3, 0.6))
    length = round(0.09 * width_px)
    sail = np.array([[col, row - 2 * length], [col, row - length // 5], [col + length, row - length // 5]], np.int32)
    hull = np.array(
        [
            [col - length, row - length // 6],
            [col + length, row - length // 6],
            [col + length // 2, row + length // 5],
            [col - length // 2, row + length // 5],
        ],
        np.int32,
    )
    mirror = sail.copy()
    mirror[:, 1] = 2 * (row + length // 5) - mirror[:, 1]
    glimmer = picture.copy()
    cv2.fillPoly(glimmer, [mirror], 0.8, cv2.LINE_AA)
    picture = picture * np.float32(0.6) + glimmer * np.float32(0.4)
    cv2.fillPoly(picture, [sail], 0.93, cv2.LINE_AA)
    cv2.fillPoly(picture, [hull], 0.12, cv2.LINE_AA)
    grain = rng.standard_normal(picture.shape).astype(np.float32)
    return np.clip(picture + cv2.GaussianBlur(grain, (0, 0), 0.9) * np.float32(0.05), 0, 1).astype(np.float32)


# What the records are made of.
_SURNAMES = (
    "Harding",
    "Okafor",
    "Lindqvist",
    "Mercer",
    "Dunmore",
    "Pryce",
    "Abernethy",
    "Castle",
    "Whitlock",
    "Renfrew",
)
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
_GOODS = ("timber", "salt herring", "roof slate", "coal", "oak staves", "tallow", "window glass", "hemp rope", "lime")
_SHIPS = ("Margaret Ann", "Fulmar", "Provider", "Good Intent", "Hesperus", "Two Brothers")
_PLACES = ("the north quay", "the lower basin", "the customs shed", "Kirk Street", "the old lifeboat house")
_TEMPLATES = (
    "On {day} {month} {year} the schooner {ship} discharged {count} tons of {goods} at {place}.",
    "Mr. {name} reported that the repairs to {place} had cost {amount} dollars, and asked the board to approve.",
    "The committee considered the letter of {name} and resolved to pay {amount} dollars before the end of {month}.",
    "It was found that {count} barrels of {goods} had been entered twice, and the account was corrected.",
    "No vessel of more than {count} feet may lie at {place} between sunset and sunrise without a lantern.",
    "The harbour master was told to write to Messrs. {name} and {other} about the {goods} left in the open in {month}.",
    "Water stood in the cellar of {place} for {small} days, but the registers had been carried upstairs in good time.",
    "A copy of this report was sent to every member, together with the plan drawn by {name} in {year}.",
    "The clerk read the minutes of the last meeting, which were approved and signed.",
    "It is now {small} years since the light was first lit, and in all that time it has not failed for a single night.",
    "Fees received during the quarter came to {amount} dollars, against {amount2} dollars in the year before.",
    "Both wardens agreed that the timber was sound, although the lower courses showed some wear from the tide.",
)


def _amount(rng: Rng, most: int = 4000) -> str:
    return f"{int(rng.integers(20, most)):,}.{int(rng.integers(0, 100)):02d}"


def _date(rng: Rng) -> str:
    return f"{rng.integers(1, 29)} {rng.choice(_MONTHS)} {rng.integers(1898, 1939)}"


def _sentence(rng: Rng, template: str) -> str:
    return template.format(
        day=rng.integers(1, 29),
        month=rng.choice(_MONTHS),
        year=rng.integers(1898, 1939),
        ship=rng.choice(_SHIPS),
        count=rng.integers(14, 260),
        small=rng.integers(3, 40),
        goods=rng.choice(_GOODS),
        place=rng.choice(_PLACES),
        name=rng.choice(_SURNAMES),
        other=rng.choice(_SURNAMES),
        amount=_amount(rng),
        amount2=_amount(rng),
    )


def _paragraphs(rng: Rng, *sentences: int) -> str:
    return "\n".join(sample_text(rng, count) for count in sentences)


# Pieces of pages. Letter sizes are printer's points.
def _points(sheet: Sheet, points: float) -> float:
    return points / 72 * sheet.dpi


def _line(
    sheet: Sheet, text: str, top_mm: float, left_mm: float, points: float, face: Face = SERIF, colour: Colour = BLACK
) -> None:
    sheet.lay(print_line(text, _points(sheet, points), face), top_mm, left_mm, colour)


def _centred(sheet: Sheet, text: str, top_mm: float, points: float, face: Face = SERIF, colour: Colour = BLACK) -> None:
    mask = print_line(text, _points(sheet, points), face)
    sheet.lay(mask, top_mm, (sheet.width_mm - sheet.mm(mask.shape[1])) / 2, colour)


def _right(sheet: Sheet, text: str, top_mm: float, right_mm: float, points: float, face: Face = SERIF) -> None:
    mask = print_line(text, _points(sheet, points), face)
    sheet.lay(mask, top_mm, right_mm - sheet.mm(mask.shape[1]))


def _block(
    sheet: Sheet,
    text: str,
    top_mm: float,
    left_mm: float,
    width_mm: float,
    points: float,
    face: Face = SERIF,
    *,
    is_justified: bool = False,
    leading: float = 1.45,
    indent: str = "",
) -> float:
    """Print paragraphs and return where they end, in millimetres from the top."""
    mask = print_block(
        text,
        sheet.px(width_mm),
        _points(sheet, points),
        face,
        is_justified=is_justified,
        leading=leading,
        indent=indent,
    )
    sheet.lay(mask, top_mm, left_mm)
    return top_mm + sheet.mm(mask.shape[0])


def _typed(
    sheet: Sheet,
    text: str,
    top_mm: float,
    left_mm: float,
    width_mm: float,
    rng: Rng,
    *,
    strength: float = 0.9,
    wear: float = 0.25,
    leading: float = 1.7,
    colour: Colour = BLACK,
) -> float:
    """Type paragraphs and return where they end, in millimetres from the top."""
    mask = print_block(
        text, sheet.px(width_mm), _points(sheet, 11.5), TYPEWRITER, leading=leading, rng=rng, unevenness=0.16
    )
    mask = worn(mask, rng, wear, cell_px=sheet.px(0.35))
    sheet.lay(mask, top_mm, left_mm, colour, strength)
    return top_mm + sheet.mm(mask.shape[0])


def _hand(
    sheet: Sheet,
    text: str,
    baseline_mm: float,
    left_mm: float,
    rng: Rng,
    x_height_mm: float = 2.4,
    colour: Colour = BLUE_BLACK,
    carelessness: float = 1.0,
) -> None:
    x_height_px = x_height_mm / 25.4 * sheet.dpi
    sheet.lay(
        write_line(text, x_height_px, rng, carelessness=carelessness),
        baseline_mm - 3 * x_height_mm,
        left_mm,
        colour,
        0.92,
    )


def _frame(sheet: Sheet, top: float, left: float, bottom: float, right: float, width_mm: float = 0.3) -> None:
    for start, end in (
        ((top, left), (top, right)),
        ((bottom, left), (bottom, right)),
        ((top, left), (bottom, left)),
        ((top, right), (bottom, right)),
    ):
        sheet.rule(start, end, width_mm)


# The documents.
def _letter(rng: Rng) -> bytes:
    """A letter with letterhead, serif text and a signature in ink."""
    sheet = Sheet(*A4_MM, 200, CREAM_PAPER)
    blue: Colour = (0.16, 0.24, 0.42)
    _centred(sheet, "KILBRAY HARBOUR BOARD", 16, 25, SERIF_BOLD, blue)
    _centred(sheet, "Established 1846 - Pilotage, Moorings and Lights", 27, 10, ITALIC, blue)
    for gap, width in ((34.0, 0.7), (35.2, 0.2)):
        sheet.rule((gap, 24), (gap, 186), width, blue)
    for step in range(9):  # a small engraved wave on each side of the name
        x = np.linspace(0, 4 * math.pi, 60)
        for left in (24.0, 168.0):
            wave = np.stack([17 + step * 1.3 + 0.8 * np.sin(x + step), left + x * 1.4], axis=1)
            sheet.curve(wave, 0.18, blue)
    _right(sheet, f"Kilbray, {_date(rng)}", 44, 186, 11, SERIF)
    _block(sheet, "Mr. J. Whitlock\n14 Kirk Street\nKilbray", 54, 26, 80, 11.5, leading=1.3)
    _line(sheet, "Dear Sir,", 76, 26, 11.5)
    end = _block(sheet, _paragraphs(rng, 4, 4, 3), 86, 26, 160, 11.5, is_justified=True, indent="     ")
    _line(sheet, "I remain, Sir, yours faithfully,", end + 6, 100, 11.5)
    sheet.lay(draw_signature("A. Lindqvist", sheet.px(3.6), rng), end + 9, 104, BLUE_BLACK)
    _line(sheet, "Secretary to the Board", end + 32, 108, 10, ITALIC)
    _hand(sheet, "answered 9 May - file under Moorings", 284, 30, rng, 2.0, PENCIL)
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=0.6, yellowing=0.08, stains=2)), 82, 200)


def _stamped_typescript(rng: Rng) -> bytes:
    """A typed letter with a round and a framed rubber stamp, and a note in the margin."""
    sheet = Sheet(*A4_MM, 200, OLD_PAPER)
    _typed(sheet, f"No. {rng.integers(100, 999)}/B\n{_date(rng)}", 24, 138, 60, rng)
    _typed(sheet, "To the Collector of Customs,\nKilbray.", 46, 28, 120, rng)
    _typed(sheet, f"Subject: Duty on {rng.choice(_GOODS)}", 66, 46, 130, rng)
    end = _typed(sheet, _paragraphs(rng, 4, 3, 3), 80, 28, 156, rng)
    _typed(sheet, "Your obedient servant,", end + 8, 106, 80, rng)
    sheet.lay(draw_signature("R. Mercer", sheet.px(3.2), rng), end + 12, 110, BLUE_BLACK)
    round_stamp = draw_round_stamp("CUSTOMS HOUSE  *  PORT OF KILBRAY", ["PAID", "14 FEB", "1934"], sheet.px(42), rng)
    sheet.lay(turned(round_stamp, 14), end + 6, 34, VIOLET, 0.85)
    box = draw_box_stamp(["RECEIVED", "16 FEB 1934", "REGISTRY  2071"], _points(sheet, 13), rng)
    sheet.lay(turned(box, 4), 24, 34, RED, 0.85)
    margin = write_line("see also folio 88", sheet.px(2.0), rng)
    sheet.lay(np.rot90(margin), 120, 10, PENCIL)
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=-0.8, yellowing=0.1, stains=1, bleed=0.05)), 80, 200)


def _handwritten_letter(rng: Rng) -> bytes:
    """A page of handwriting on ruled paper."""
    sheet = Sheet(210, 165, 200, CREAM_PAPER)
    for row in np.arange(30, 202, 8.5):
        sheet.rule((float(row), 0), (float(row), 165), 0.2, (0.45, 0.6, 0.8), 0.55)
    _hand(sheet, f"Kilbray, {_date(rng)}", 30, 92, rng)
    lines = (
        "Dear Mr. Harding,",
        "    I have gone through the nine boxes that you",
        "sent, and found the deed at the bottom of the last",
        "one, quite dry, though the mice have been at the",
        "ribbon. It is dated 14 March 1847 and names your",
        "grandfather as tenant of the lower field at a rent",
        "of 12 dollars 50 for every year of the lease.",
        "    The map that belongs to it is missing. Perhaps",
        "your sister took it to Glasgow when she sorted the",
        "papers in the winter of 1921? If so, I would be",
        "glad to see it before the hearing on 3 June.",
        "    Please do not send the originals by post.",
        "                 Yours very truly,",
    )
    for index, line in enumerate(lines):
        _hand(sheet, line, 47 + index * 8.5, 12, rng, 2.15)
    sheet.lay(draw_signature("Ellen Pryce", sheet.px(3.0), rng), 151, 76, BLUE_BLACK)
    _hand(sheet, "P.S. The key is with the porter.", 192, 14, rng, 2.0)
    return _png(scan(sheet.light, rng, ScanLook(skew_degrees=0.4, bleed=0.09, yellowing=0.1, noise=0.008)), 200)


def _book_page(rng: Rng) -> bytes:
    """A page of a printed book: the plain text page."""
    sheet = Sheet(210, 140, 200, CREAM_PAPER)
    _centred(sheet, "THE HARBOUR AND ITS PEOPLE", 14, 9.5, SERIF)
    _line(sheet, "127", 14, 118, 9.5)
    _centred(sheet, "CHAPTER IX", 30, 15, SERIF_BOLD)
    _centred(sheet, "Of the Quay, and what was landed there", 39, 11.5, ITALIC)
    _block(sheet, _paragraphs(rng, 6, 4, 3), 52, 19, 102, 10.5, is_justified=True, indent="    ")
    look = ScanLook(skew_degrees=-0.5, gutter=0.45, bleed=0.06, yellowing=0.1, blur_px=0.7)
    return _jpeg(scan(sheet.light, rng, look), 85, 200)


def _two_columns(rng: Rng) -> bytes:
    """A page of a journal in two columns with a headline, small print and what shines through from the back."""
    sheet = Sheet(280, 205, 200, OLD_PAPER)
    _line(sheet, "THE KILBRAY OBSERVER", 14, 16, 31, SERIF_BOLD)
    for row in (29.0, 36.5):
        sheet.rule((row, 15), (row, 190), 0.35)
    _line(sheet, "Vol. XXIII. No. 41", 30, 16, 9.5)
    _centred(sheet, _date(rng), 30, 9.5, ITALIC)
    _right(sheet, "Price 5 cents", 30, 190, 9.5)
    sheet.rule((42, 102.5), (268, 102.5), 0.2)
    for left, titles in ((15.0, ("GALE ON THE COAST", "THE NEW LIGHT")), (106.5, ("NOTES FROM THE QUAY", "PRICES"))):
        top = 42.0
        for title, sizes in zip(titles, ((6, 5), (5, 4)), strict=True):
            _line(sheet, title, top, left + 4, 14, SERIF_BOLD)
            top = (
                _block(
                    sheet, _paragraphs(rng, *sizes), top + 9, left, 83, 9, is_justified=True, indent="   ", leading=1.3
                )
                + 5
            )
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=0.3, bleed=0.16, yellowing=0.13, stains=1)), 78, 200)


def _plate(rng: Rng) -> bytes:
    """A plate: a photograph with its caption."""
    sheet = Sheet(210, 150, 200, CREAM_PAPER)
    picture = draw_landscape(sheet.px(88), sheet.px(122), rng)
    sepia = 1 - (1 - picture[:, :, None]) * np.array([0.86, 0.92, 0.99], np.float32)
    row, col = sheet.px(28), sheet.px(14)
    sheet.light[row : row + picture.shape[0], col : col + picture.shape[1]] *= sepia
    _frame(sheet, 28, 14, 116, 136, 0.3)
    _line(sheet, "PLATE VII", 16, 65, 10, SERIF)
    _centred(sheet, "The lower basin at slack water, from the customs shed", 121, 10.5, ITALIC)
    _centred(sheet, f"Photograph by T. Renfrew, {rng.integers(1899, 1925)}", 128, 9, SERIF)
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=-0.3, gutter=0.3, stains=1)), 88, 200)


def _back_of_plate(rng: Rng) -> bytes:
    """An empty page through which the other side shines."""
    sheet = Sheet(210, 150, 150, CREAM_PAPER)
    _frame(sheet, 28, 14, 116, 136, 0.4)
    ghost = sheet.light[:, ::-1].copy()
    empty = Sheet(210, 150, 150, CREAM_PAPER).light
    page = empty * (1 - 0.05 * (1 - ghost / ghost.max()))
    return _jpeg(scan(page.astype(np.float32), rng, ScanLook(skew_degrees=0.3, gutter=0.3, stains=2, dust=25)), 85, 150)


def _cover(rng: Rng) -> bytes:
    """A dark cloth cover with its title in gold."""
    sheet = Sheet(215, 150, 200, (0.13, 0.22, 0.19))
    gold: Colour = (0.83, 0.68, 0.36)
    for inset, width in ((9.0, 1.0), (11.5, 0.3)):
        height, breadth = sheet.px(215 - 2 * inset), sheet.px(150 - 2 * inset)
        border = np.ones((height, breadth), np.float32)
        edge = max(sheet.px(width), 1)
        border[edge:-edge, edge:-edge] = 0
        sheet.paint(worn(border, rng, 0.2), inset, inset, gold)
    for text, top, points, face in (
        ("REGISTER", 48, 40, SERIF_BOLD),
        ("OF SHIPS AND CARGOES", 68, 18, SERIF),
        ("KILBRAY HARBOUR", 92, 18, SERIF),
        ("1898 - 1907", 106, 22, SERIF_BOLD),
        ("VOLUME 3", 170, 14, SERIF),
    ):
        mask = worn(print_line(text, _points(sheet, points), face), rng, 0.25)
        sheet.paint(mask, top, (150 - sheet.mm(mask.shape[1])) / 2, gold)
    rows = np.arange(sheet.light.shape[0], dtype=np.float32)[:, None]
    cols = np.arange(sheet.light.shape[1], dtype=np.float32)[None, :]
    weave = 1 + 0.07 * np.sin(rows * 1.3) * np.sin(cols * 1.3)
    look = ScanLook(skew_degrees=0.5, grain=0.05, yellowing=0.03, dust=60, blur_px=0.8, backing=(0.93, 0.93, 0.92))
    return _jpeg(scan((sheet.light * weave[:, :, None]).astype(np.float32), rng, look), 84, 200)


def _ledger(rng: Rng) -> bytes:
    """A page of accounts: printed rules and heads, entries and figures by hand."""
    sheet = Sheet(*A4_MM, 150, OLD_PAPER)
    _centred(sheet, "ACCOUNT OF HARBOUR DUES", 14, 17, SERIF_BOLD)
    columns = (14.0, 40.0, 112.0, 140.0, 168.0, 197.0)
    heads = ("Date", "Vessel and cargo", "Tons", "Due", "Paid")
    rows = [34 + 8.2 * index for index in range(31)]
    for index, row in enumerate(rows):
        sheet.rule((row, 14), (row, 197), 0.2, (0.4, 0.55, 0.75), 0.7 if index > 1 else 1)
    for column in columns:
        sheet.rule((34, column), (rows[-1], column), 0.3, RED, 0.75)
    for head, column in zip(heads, columns, strict=False):
        _line(sheet, head, 35.6, column + 2, 10.5, SERIF_BOLD)
    total = 0.0
    for index, row in enumerate(rows[2:27]):
        due = float(np.round(rng.uniform(3, 180), 2))
        total += due
        paid = due if rng.random() < 0.8 else float(np.round(due / 2, 2))
        entries = (
            f"{1 + index} {rng.choice(('Mar', 'Apr'))}",
            f"{rng.choice(_SHIPS)}, {str(rng.choice(_GOODS)).split()[-1]}",
            f"{rng.integers(14, 260)}",
            f"{due:.2f}",
            f"{paid:.2f}",
        )
        for entry, column in zip(entries, columns, strict=False):
            _hand(sheet, entry, row + 6.6, column + 1, rng, 2.0)
    _hand(sheet, "Total", rows[29] - 1.4, 90, rng, 2.4)
    _hand(sheet, f"{total:.2f}", rows[29] - 1.4, 141, rng, 2.4, RED)
    sheet.rule((rows[29] + 0.8, 140), (rows[29] + 0.8, 168), 0.4, BLUE_BLACK)
    return _png(
        scan(sheet.light, rng, ScanLook(skew_degrees=-0.4, yellowing=0.1, stains=3, noise=0.006, grain=0.012)), 150
    )


def _table_sideways(rng: Rng) -> bytes:
    """A printed table of figures on a wide sheet that was scanned standing on its side."""
    sheet = Sheet(A4_MM[1], A4_MM[0], 200, WHITE_PAPER)
    _centred(sheet, "TABLE 14. - Goods landed at Kilbray, by quarter, in tons and in dollars", 14, 13, SERIF_BOLD)
    columns = [20 + 32 * index for index in range(9)]
    rows = [30 + 7.4 * index for index in range(23)]
    for row in (rows[0], rows[1], rows[-2], rows[-1]):
        sheet.rule((row, 20), (row, 276), 0.35)
    for column in columns[1:-1]:
        sheet.rule((rows[0], column), (rows[-1], column), 0.15)
    heads = ("Year", "Timber", "Coal", "Slate", "Herring", "Salt", "Dues", "Total")
    for head, column in zip(heads, columns, strict=False):
        _line(sheet, head, rows[0] + 1.5, column + 4, 10, SERIF_BOLD)
    sums = [0] * 7
    for index, row in enumerate(rows[1:-2]):
        figures = [int(rng.integers(40, 9000)) for _ in range(6)]
        figures.append(sum(figures))
        sums = [before + now for before, now in zip(sums, figures, strict=True)]
        _line(sheet, str(1898 + index), row + 1.5, 24, 10)
        for figure, column in zip(figures, columns[1:], strict=False):
            _right(sheet, f"{figure:,}", row + 1.5, column + 29, 10)
    _line(sheet, "Sum", rows[-2] + 1.5, 24, 10, SERIF_BOLD)
    for figure, column in zip(sums, columns[1:], strict=False):
        _right(sheet, f"{figure:,}", rows[-2] + 1.5, column + 29, 10, SERIF_BOLD)
    upright = scan(sheet.light, rng, ScanLook(skew_degrees=0.5, yellowing=0.03, grain=0.01))
    return _jpeg(np.ascontiguousarray(np.rot90(upright)), 85, 200)


def _form(rng: Rng) -> bytes:
    """A printed form, filled in by hand, with ticked boxes and a stamp."""
    sheet = Sheet(*A4_MM, 200, WHITE_PAPER)
    _line(sheet, "PORT OF KILBRAY", 14, 20, 12, BOLD)
    _line(sheet, "APPLICATION FOR A MOORING", 20, 20, 22, BOLD)
    _right(sheet, "Form 7 (rev. 1936)", 15, 190, 9, SANS)
    fields = (
        ("1. Name of applicant", "Thomas Abernethy"),
        ("2. Address", "22 Kirk Street, Kilbray"),
        ("3. Name of vessel", "Good Intent"),
        ("4. Length and draught", "38 ft, 4 ft 6"),
        ("5. Mooring asked for", "North quay, berth 11"),
        ("6. From - until", "1 May 1937 - 30 Sept. 1937"),
        ("7. Fee enclosed", f"{_amount(rng, 90)} dollars"),
    )
    for index, (label, answer) in enumerate(fields):
        top = 38 + index * 17.0
        _frame(sheet, top, 20, top + 15, 190)
        _line(sheet, label, top + 0.8, 22, 8.5, SANS)
        _hand(sheet, answer, top + 12.2, 62, rng, 2.6, BLUE_BLACK)
    _line(sheet, "8. The vessel is", 162, 22, 10, SANS)
    for index, (label, is_ticked) in enumerate(
        (("sailing", True), ("steam", False), ("motor", True), ("rowed", False))
    ):
        left = 58 + index * 32.0
        _frame(sheet, 162, left, 167, left + 5)
        _line(sheet, label, 162, left + 7, 10, SANS)
        if is_ticked:
            tick = np.array([[164, left + 0.5], [166.6, left + 2.2], [159.5, left + 6.5]], np.float64)
            sheet.curve(tick + rng.normal(0, 0.2, tick.shape), 0.5, BLUE_BLACK)
    _block(
        sheet,
        "I declare that the above is true, that the vessel is insured, and that I shall remove her at the harbour "
        "master's order. Moorings not taken up within 14 days are given to the next applicant.",
        176,
        20,
        170,
        9,
        SANS,
    )
    sheet.rule((214, 22), (214, 90), 0.25)
    sheet.rule((214, 110), (214, 188), 0.25)
    _line(sheet, "Date", 215, 22, 8.5, SANS)
    _line(sheet, "Signature", 215, 110, 8.5, SANS)
    _hand(sheet, "11 April 1937", 212, 26, rng, 2.4)
    sheet.lay(draw_signature("T. Abernethy", sheet.px(3.0), rng), 201, 114, BLUE_BLACK)
    stamp = draw_round_stamp("HARBOUR MASTER  *  KILBRAY  *", ["GRANTED", "No. 118"], sheet.px(40), rng)
    sheet.lay(turned(stamp, -18), 228, 130, (0.15, 0.42, 0.3), 0.8)
    return _webp(scan(sheet.light, rng, ScanLook(skew_degrees=0.9, yellowing=0.02, grain=0.01, stains=1)), 82)


def _receipt(rng: Rng) -> bytes:
    """A narrow till receipt on thin paper, pale in places; without a resolution tag."""
    sheet = Sheet(196, 80, 203, WHITE_PAPER)
    for text, top, points in (
        ("KIRK STREET STORES", 8, 15),
        ("22 Kirk Street, Kilbray", 15, 9.5),
        ("Tel. 0164 2071", 20, 9.5),
    ):
        _centred(sheet, text, top, points, BOLD if top == 8 else SANS)
    rows = [f"Date: 14/03/2016{'Time: 16:42':>18}", f"Till: 03{'No: 004871':>26}", "-" * 36]
    total = 0.0
    for item in (
        "COAL TAR SOAP",
        "ROPE 8MM 10M",
        "LAMP OIL 1L",
        "BRASS HOOK",
        "TEA 250G",
        "OATCAKES",
        "MATCHES",
        "TWINE",
    ):
        price, count = float(rng.integers(85, 1900)) / 100, int(rng.integers(1, 4))
        total += price * count
        rows += [f"{item:<24}{price * count:>12.2f}", f"   {count} x {price:.2f}"]
    rows += [
        "-" * 36,
        f"{'TOTAL':<24}{total:>12.2f}",
        f"{'CASH':<24}{math.ceil(total / 10) * 10:>12.2f}",
        f"{'CHANGE':<24}{math.ceil(total / 10) * 10 - total:>12.2f}",
        "-" * 36,
    ]
    faded = np.linspace(0.95, 0.6, len(rows))
    for index, row in enumerate(rows):
        mask = print_line(row, _points(sheet, 8.7), TYPEWRITER)
        sheet.lay(worn(mask, rng, 0.2, 3), 30 + index * 4.6, 6, (0.2, 0.2, 0.24), float(faded[index]))
    end = 30 + len(rows) * 4.6
    _centred(sheet, "THANK YOU - COME AGAIN", end + 3, 10, BOLD, (0.3, 0.3, 0.33))
    bars = np.repeat(rng.random(90) < 0.5, 3)
    sheet.lay(np.tile(bars.astype(np.float32), (sheet.px(12), 1)), end + 11, 22, (0.2, 0.2, 0.24))
    crease = 1 - 0.12 * np.exp(-(((np.arange(sheet.light.shape[0]) - sheet.px(98)) / 5) ** 2))
    light = (sheet.light * crease[:, None, None]).astype(np.float32)
    return _jpeg(scan(light, rng, ScanLook(skew_degrees=1.6, blur_px=0.9, grain=0.012, noise=0.015)), 72, None)


def _faint_carbon(rng: Rng) -> bytes:
    """A faint carbon copy of a typescript on thin paper, grey."""
    sheet = Sheet(*A4_MM, 200, OLD_PAPER)
    _typed(sheet, f"COPY\n{_date(rng)}", 24, 150, 50, rng)
    _typed(sheet, "MEMORANDUM on the state of the breakwater", 46, 28, 150, rng)
    end = _typed(sheet, _paragraphs(rng, 5, 4, 4), 62, 28, 156, rng, strength=0.66, wear=0.38, colour=BLUE_BLACK)
    _typed(sheet, "(signed)  H. Dunmore", end + 10, 106, 80, rng, strength=0.6, wear=0.4)
    look = ScanLook(skew_degrees=-1.1, blur_px=1.0, fading=0.3, bleed=0.12, yellowing=0.12, stains=2, noise=0.02)
    return _jpeg(_grey(scan(sheet.light, rng, look)), 76, 200)


def _memo_sheet(rng: Rng, dpi: float, heading: str) -> Sheet:
    sheet = Sheet(*A4_MM, dpi, (1.0, 1.0, 1.0))
    _line(sheet, heading, 18, 24, 20, BOLD)
    sheet.rule((29, 24), (29, 186), 0.5)
    for index, (label, value) in enumerate(
        (
            ("To:", "All wardens"),
            ("From:", f"{rng.choice(_SURNAMES)}, Registry"),
            ("Date:", _date(rng)),
            ("File:", f"H/{rng.integers(1000, 9999)}/41"),
        )
    ):
        _line(sheet, label, 33 + index * 6.5, 24, 11, BOLD)
        _line(sheet, value, 33 + index * 6.5, 44, 11, SANS)
    sheet.rule((60, 24), (60, 186), 0.25)
    end = _block(sheet, _paragraphs(rng, 5, 4), 66, 24, 162, 11, SANS)
    for index in range(4):
        _line(sheet, f"{index + 1}.", end + 3 + index * 7, 30, 11, SANS)
        _line(
            sheet, f"{rng.choice(_SHIPS)}: {_amount(rng)} dollars, due {_date(rng)}", end + 3 + index * 7, 38, 11, SANS
        )
    sheet.lay(draw_signature("P. Castle", sheet.px(3.2), rng), end + 34, 120, BLACK)
    return sheet


def _two_tone(sheet: Sheet, rng: Rng, skew_degrees: float) -> Pixels:
    """Scan as a bitonal scanner does: (height, width) uint8, 0 or 255, with rough edges and specks."""
    look = ScanLook(skew_degrees=skew_degrees, noise=0.05, yellowing=0, grain=0.01, dust=70, backing=(1.0, 1.0, 1.0))
    grey = _grey(scan(sheet.light, rng, look))
    return np.where(grey > 150, 255, 0).astype(np.uint8)


def _bitonal_memo(rng: Rng) -> bytes:
    """An office memorandum, bitonal: TIFF, CCITT G4, 300 dpi."""
    return _tiff([_bitonal(_two_tone(_memo_sheet(rng, 300, "MEMORANDUM"), rng, 0.4))], (300,))


def _fax_saved_as_grey(rng: Rng) -> bytes:
    """A two-tone scan that somebody saved as a grey JPEG."""
    sheet = _memo_sheet(rng, 200, "TELEFAX")
    stamp = draw_box_stamp(["COPY", "NOT FOR ACCOUNTS"], _points(sheet, 15), rng)
    sheet.lay(turned(stamp, 9), 20, 120)
    return _jpeg(_two_tone(sheet, rng, -0.7), 80, 200)


def _minutes(rng: Rng) -> bytes:
    """Minutes of three pages in one TIFF: a bitonal page, a grey one and a colour one."""
    first = _bitonal(_two_tone(_memo_sheet(rng, 200, "MINUTES OF THE BOARD"), rng, 0.2))
    second = Sheet(*A4_MM, 150, CREAM_PAPER)
    _block(second, _paragraphs(rng, 6, 5, 5, 4), 24, 24, 160, 11, is_justified=True)
    _centred(second, "- 2 -", 12, 10)
    grey = Image.fromarray(_grey(scan(second.light, rng, ScanLook(skew_degrees=-0.3, bleed=0.08))))
    third = Sheet(*A4_MM, 150, CREAM_PAPER)
    _centred(third, "- 3 -", 12, 10)
    end = _block(third, _paragraphs(rng, 4, 3), 24, 24, 160, 11, is_justified=True)
    for index, name in enumerate(("O. Okafor", "E. Pryce", "T. Renfrew")):
        third.rule((end + 26 + index * 28, 100), (end + 26 + index * 28, 180), 0.25)
        third.lay(draw_signature(name, third.px(2.8), rng), end + 14 + index * 28, 104, BLUE_BLACK)
    seal = draw_round_stamp("BOARD OF HARBOUR WARDENS  *", ["SEAL"], third.px(44), rng)
    third.lay(turned(seal, 8), end + 40, 34, RED, 0.8)
    colour = Image.fromarray(scan(third.light, rng, ScanLook(skew_degrees=0.4)))
    return _tiff([first, grey, colour], (200, 150, 150))


def _drawing(rng: Rng) -> bytes:
    """A plan drawn in ink with measures, and a note in pencil; grey PNG."""
    sheet = Sheet(A4_MM[1], A4_MM[0], 150, WHITE_PAPER)
    _frame(sheet, 10, 12, 200, 286, 0.6)
    walls = ((50.0, 40.0, 130.0, 150.0), (50.0, 150.0, 130.0, 240.0))
    for top, left, bottom, right in walls:
        for inset in (0.0, 3.0):
            _frame(sheet, top + inset, left + inset, bottom - inset, right - inset, 0.4)
        for offset in np.arange(0, right - left, 2.2):
            sheet.rule((top + 3, left + float(offset)), (top, left + float(offset) + 2), 0.12)
    for left in (60.0, 90.0, 120.0, 170.0, 205.0):
        sheet.paint(np.ones((sheet.px(3.6), sheet.px(12)), np.float32), 49.7, left, WHITE_PAPER)
        sheet.curve(
            np.stack([50 + 12 * np.sin(np.linspace(0, 1.57, 20)), left + 12 * np.cos(np.linspace(0, 1.57, 20))], 1), 0.2
        )
    for left, right, text in ((40, 150, "36'-0\""), (150, 240, "29'-6\"")):
        sheet.rule((142, left), (142, right), 0.15)
        for end in (left, right):
            sheet.rule((139, end), (145, end), 0.15)
        _line(sheet, text, 143, (left + right) / 2 - 8, 9, SANS)
    angle = np.linspace(0, 2 * math.pi, 90)
    for radius in (9.0, 13.0):
        sheet.curve(np.stack([90 + radius * np.sin(angle), 195 + radius * np.cos(angle)], 1), 0.25)
    for label, top, left in (("BOAT HALL", 84, 78), ("WORKSHOP", 118, 184), ("CAPSTAN", 106, 186)):
        _line(sheet, label, top, left, 11 if label != "CAPSTAN" else 7, SANS)
    _line(sheet, "PLAN OF THE OLD LIFEBOAT HOUSE", 164, 40, 15, SERIF_BOLD)
    _line(sheet, "Scale 1 : 96.   Drawn by T. Renfrew, 6 July 1911", 173, 40, 10, ITALIC)
    _hand(sheet, "door moved 2 ft east, see letter of 3 May", 30, 120, rng, 2.2, PENCIL)
    sheet.curve(np.array([[32, 150], [40, 140], [48, 132]], np.float64), 0.3, PENCIL)
    return _png(
        _grey(scan(sheet.light, rng, ScanLook(skew_degrees=-0.5, noise=0.006, grain=0.008, yellowing=0.05))), 150
    )


def _phone_photo(rng: Rng) -> bytes:
    """A notice photographed by phone: lit from one side, stored on its side with an orientation tag, no resolution."""
    sheet = Sheet(250, 180, 170, WHITE_PAPER)
    _centred(sheet, "NOTICE TO MARINERS", 24, 26, SERIF_BOLD)
    _block(sheet, _paragraphs(rng, 4, 3, 2), 46, 22, 136, 13, SERIF)
    _centred(sheet, "By order of the Harbour Master", 196, 13, ITALIC)
    height, width = sheet.light.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = (
        corners * 0.9
        + np.array([width, height], np.float32) * 0.05
        + rng.normal(0, width / 70, (4, 2)).astype(np.float32)
    )
    table = (0.36, 0.27, 0.2)
    warp = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    seen = cv2.warpPerspective(sheet.light, warp, (width, height), borderValue=table)
    lit = (
        np.linspace(1.03, 0.62, width, dtype=np.float32)[None, :, None]
        * np.linspace(1, 0.85, height, dtype=np.float32)[:, None, None]
    )
    page = scan(np.asarray(seen * lit, np.float32), rng, ScanLook(blur_px=1.1, noise=0.02, yellowing=0.02))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by 90 degrees to see it upright
    return _jpeg(np.ascontiguousarray(np.rot90(page)), 75, None, exif)


def _grey(page: Pixels) -> Pixels:
    return np.asarray(cv2.cvtColor(page, cv2.COLOR_RGB2GRAY), np.uint8)


def _bitonal(page: Pixels) -> Image.Image:
    return Image.fromarray(page).convert("1", dither=Image.Dither.NONE)


def _jpeg(page: Pixels, quality: int, dpi: int | None, exif: Image.Exif | None = None) -> bytes:
    options = {"dpi": (dpi, dpi)} if dpi else {}
    return _saved(page, "JPEG", quality=quality, exif=(exif or Image.Exif()).tobytes() if exif else b"", **options)


def _png(page: Pixels, dpi: int) -> bytes:
    return _saved(page, "PNG", dpi=(dpi, dpi), compress_level=4)


def _webp(page: Pixels, quality: int) -> bytes:
    return _saved(page, "WEBP", quality=quality, method=2)


def _saved(page: Pixels, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(page).save(buffer, file_format, **options)
    return buffer.getvalue()


def _tiff(pages: Sequence[Image.Image], dpis: Sequence[int]) -> bytes:
    """Return one TIFF: bitonal pages in CCITT G4, the others in JPEG (colour) and LZW (grey)."""
    compression = {"1": "group4", "L": "tiff_lzw", "RGB": "jpeg"}
    buffer = io.BytesIO()
    writer = TiffImagePlugin.AppendingTiffWriter(buffer, new=True)
    for page, dpi in zip(pages, dpis, strict=True):
        page.save(writer, "TIFF", compression=compression[page.mode], dpi=(dpi, dpi))
        writer.newFrame()
    return buffer.getvalue()


_Maker = Callable[[Rng], bytes]
_DOCUMENTS: dict[str, tuple[int, _Maker]] = {
    "books/back-of-plate.jpg": (1, _back_of_plate),
    "books/harbour-p127.jpg": (2, _book_page),
    "books/plate-7.jpg": (3, _plate),
    "books/register-cover.jpg": (4, _cover),
    "drawings/lifeboat-house.png": (5, _drawing),
    "forms/mooring-118.webp": (6, _form),
    "ledgers/dues-1903.png": (7, _ledger),
    "ledgers/table-14-sideways.jpg": (8, _table_sideways),
    "letters/1931/board-to-whitlock.jpg": (9, _letter),
    "letters/1934/customs-stamped.jpg": (10, _stamped_typescript),
    "letters/pryce-to-harding.png": (11, _handwritten_letter),
    "newspapers/observer-p1.jpg": (12, _two_columns),
    "office/fax.jpg": (13, _fax_saved_as_grey),
    "office/memorandum.tif": (14, _bitonal_memo),
    "office/minutes.tif": (15, _minutes),
    "phone/notice.jpg": (16, _phone_photo),
    "receipts/kirk-street-stores.jpg": (17, _receipt),
    "typescripts/breakwater-copy.jpg": (18, _faint_carbon),
}
