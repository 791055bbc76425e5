"""Generate an archive of pages that look scanned. Nothing is downloaded; the same seed gives the same pages.

`foliopress sample FOLDER` writes it.
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

from foliopress.tasks.samples.landscape import draw_landscape
from foliopress.tasks.samples.lettering import (
    BOLD,
    ITALIC,
    SANS,
    SERIF,
    SERIF_BOLD,
    TYPEWRITER,
    BlockLayout,
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
    ScanLook,
    Sheet,
    scan,
    turned,
    worn,
)
from foliopress.tasks.samples.stamps import draw_box_stamp, draw_round_stamp, draw_signature
from foliopress.tasks.samples.texts import GOODS, SHIPS, SURNAMES, sample_amount, sample_date, sample_paragraphs
from foliopress.tasks.samples.typesetting import (
    Ribbon,
    draw_frame,
    points_px,
    print_centred,
    print_paragraphs,
    print_right,
    print_text,
    type_paragraphs,
    write_text,
)

Pixels = npt.NDArray[np.uint8]
Rng = np.random.Generator

A4_MM = (297.0, 210.0)


def write_sample_archive(folder: Path, seed: int = 0) -> list[Path]:
    """Write a small archive of varied pages into a folder and its sub-folders.

    Args:
        folder: Created with its parents if absent; files of the same names are overwritten.
        seed: The same seed gives the same bytes with the same library versions.

    Returns:
        Paths of the files, in order of their keys.
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
    """Return the file content of one document of the sample archive.

    Raises:
        KeyError: If the archive has no such document.
    """
    number, make = _DOCUMENTS[key]
    return make(np.random.default_rng([seed, number]))


# Documents.
def _letter(rng: Rng) -> bytes:
    """Return a letter with letterhead, serif text and a signature in ink."""
    sheet = Sheet(*A4_MM, 200, CREAM_PAPER)
    blue: Colour = (0.16, 0.24, 0.42)
    print_centred(sheet, "KILBRAY HARBOUR BOARD", 16, 25, SERIF_BOLD, blue)
    print_centred(sheet, "Established 1846 - Pilotage, Moorings and Lights", 27, 10, ITALIC, blue)
    for gap, width in ((34.0, 0.7), (35.2, 0.2)):
        sheet.rule((gap, 24), (gap, 186), width, blue)
    for step in range(9):  # a small engraved wave on each side of the name
        x = np.linspace(0, 4 * math.pi, 60)
        for left in (24.0, 168.0):
            wave = np.stack([17 + step * 1.3 + 0.8 * np.sin(x + step), left + x * 1.4], axis=1)
            sheet.curve(wave, 0.18, blue)
    print_right(sheet, f"Kilbray, {sample_date(rng)}", 44, 186, 11, SERIF)
    print_paragraphs(
        sheet, "Mr. J. Whitlock\n14 Kirk Street\nKilbray", (54, 26, 80), 11.5, layout=BlockLayout(leading=1.3)
    )
    print_text(sheet, "Dear Sir,", (76, 26), 11.5)
    end = print_paragraphs(
        sheet,
        sample_paragraphs(rng, 4, 4, 3),
        (86, 26, 160),
        11.5,
        layout=BlockLayout(is_justified=True, indent="     "),
    )
    print_text(sheet, "I remain, Sir, yours faithfully,", (end + 6, 100), 11.5)
    sheet.lay(draw_signature("A. Lindqvist", sheet.px(3.6), rng), end + 9, 104, BLUE_BLACK)
    print_text(sheet, "Secretary to the Board", (end + 32, 108), 10, ITALIC)
    write_text(sheet, "answered 9 May - file under Moorings", (284, 30), rng, 2.0, PENCIL)
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=0.6, yellowing=0.08, stains=2)), 82, 200)


def _stamped_typescript(rng: Rng) -> bytes:
    """Return a typed letter with a round and a framed rubber stamp, and a note in the margin."""
    sheet = Sheet(*A4_MM, 200, OLD_PAPER)
    type_paragraphs(sheet, f"No. {rng.integers(100, 999)}/B\n{sample_date(rng)}", (24, 138, 60), rng)
    type_paragraphs(sheet, "To the Collector of Customs,\nKilbray.", (46, 28, 120), rng)
    type_paragraphs(sheet, f"Subject: Duty on {rng.choice(GOODS)}", (66, 46, 130), rng)
    end = type_paragraphs(sheet, sample_paragraphs(rng, 4, 3, 3), (80, 28, 156), rng)
    type_paragraphs(sheet, "Your obedient servant,", (end + 8, 106, 80), rng)
    sheet.lay(draw_signature("R. Mercer", sheet.px(3.2), rng), end + 12, 110, BLUE_BLACK)
    round_stamp = draw_round_stamp("CUSTOMS HOUSE  *  PORT OF KILBRAY", ["PAID", "14 FEB", "1934"], sheet.px(42), rng)
    sheet.lay(turned(round_stamp, 14), end + 6, 34, VIOLET, 0.85)
    box = draw_box_stamp(["RECEIVED", "16 FEB 1934", "REGISTRY  2071"], points_px(sheet, 13), rng)
    sheet.lay(turned(box, 4), 24, 34, RED, 0.85)
    margin = write_line("see also folio 88", sheet.px(2.0), rng)
    sheet.lay(np.rot90(margin), 120, 10, PENCIL)
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=-0.8, yellowing=0.1, stains=1, bleed=0.05)), 80, 200)


def _handwritten_letter(rng: Rng) -> bytes:
    """Return a page of handwriting on ruled paper."""
    sheet = Sheet(210, 165, 200, CREAM_PAPER)
    for row in np.arange(30, 202, 8.5):
        sheet.rule((float(row), 0), (float(row), 165), 0.2, (0.45, 0.6, 0.8), 0.55)
    write_text(sheet, f"Kilbray, {sample_date(rng)}", (30, 92), rng)
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
        write_text(sheet, line, (47 + index * 8.5, 12), rng, 2.15)
    sheet.lay(draw_signature("Ellen Pryce", sheet.px(3.0), rng), 151, 76, BLUE_BLACK)
    write_text(sheet, "P.S. The key is with the porter.", (192, 14), rng, 2.0)
    return _png(scan(sheet.light, rng, ScanLook(skew_degrees=0.4, bleed=0.09, yellowing=0.1, noise=0.008)), 200)


def _book_page(rng: Rng) -> bytes:
    """Return a page of a printed book: the plain text page."""
    sheet = Sheet(210, 140, 200, CREAM_PAPER)
    print_centred(sheet, "THE HARBOUR AND ITS PEOPLE", 14, 9.5, SERIF)
    print_text(sheet, "127", (14, 118), 9.5)
    print_centred(sheet, "CHAPTER IX", 30, 15, SERIF_BOLD)
    print_centred(sheet, "Of the Quay, and what was landed there", 39, 11.5, ITALIC)
    print_paragraphs(
        sheet,
        sample_paragraphs(rng, 6, 4, 3),
        (52, 19, 102),
        10.5,
        layout=BlockLayout(is_justified=True, indent="    "),
    )
    look = ScanLook(skew_degrees=-0.5, gutter=0.45, bleed=0.06, yellowing=0.1, blur_px=0.7)
    return _jpeg(scan(sheet.light, rng, look), 85, 200)


def _two_columns(rng: Rng) -> bytes:
    """Return a journal page in two columns with a headline, small print and show-through from the back."""
    sheet = Sheet(280, 205, 200, OLD_PAPER)
    print_text(sheet, "THE KILBRAY OBSERVER", (14, 16), 31, SERIF_BOLD)
    for row in (29.0, 36.5):
        sheet.rule((row, 15), (row, 190), 0.35)
    print_text(sheet, "Vol. XXIII. No. 41", (30, 16), 9.5)
    print_centred(sheet, sample_date(rng), 30, 9.5, ITALIC)
    print_right(sheet, "Price 5 cents", 30, 190, 9.5)
    sheet.rule((42, 102.5), (268, 102.5), 0.2)
    for left, titles in ((15.0, ("GALE ON THE COAST", "THE NEW LIGHT")), (106.5, ("NOTES FROM THE QUAY", "PRICES"))):
        top = 42.0
        for title, sizes in zip(titles, ((6, 5), (5, 4)), strict=True):
            print_text(sheet, title, (top, left + 4), 14, SERIF_BOLD)
            top = (
                print_paragraphs(
                    sheet,
                    sample_paragraphs(rng, *sizes),
                    (top + 9, left, 83),
                    9,
                    layout=BlockLayout(is_justified=True, indent="   ", leading=1.3),
                )
                + 5
            )
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=0.3, bleed=0.16, yellowing=0.13, stains=1)), 78, 200)


def _plate(rng: Rng) -> bytes:
    """Return a plate: a photograph with its caption."""
    sheet = Sheet(210, 150, 200, CREAM_PAPER)
    picture = draw_landscape(sheet.px(88), sheet.px(122), rng)
    sepia = 1 - (1 - picture[:, :, None]) * np.array([0.86, 0.92, 0.99], np.float32)
    row, col = sheet.px(28), sheet.px(14)
    sheet.light[row : row + picture.shape[0], col : col + picture.shape[1]] *= sepia
    draw_frame(sheet, 28, 14, 116, 136, 0.3)
    print_text(sheet, "PLATE VII", (16, 65), 10, SERIF)
    print_centred(sheet, "The lower basin at slack water, from the customs shed", 121, 10.5, ITALIC)
    print_centred(sheet, f"Photograph by T. Renfrew, {rng.integers(1899, 1925)}", 128, 9, SERIF)
    return _jpeg(scan(sheet.light, rng, ScanLook(skew_degrees=-0.3, gutter=0.3, stains=1)), 88, 200)


def _back_of_plate(rng: Rng) -> bytes:
    """Return an empty page with show-through from the other side."""
    sheet = Sheet(210, 150, 150, CREAM_PAPER)
    draw_frame(sheet, 28, 14, 116, 136, 0.4)
    ghost = sheet.light[:, ::-1].copy()
    empty = Sheet(210, 150, 150, CREAM_PAPER).light
    page = empty * (1 - 0.05 * (1 - ghost / ghost.max()))
    return _jpeg(scan(page.astype(np.float32), rng, ScanLook(skew_degrees=0.3, gutter=0.3, stains=2, dust=25)), 85, 150)


def _cover(rng: Rng) -> bytes:
    """Return a dark cloth cover with its title in gold."""
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
        mask = worn(print_line(text, points_px(sheet, points), face), rng, 0.25)
        sheet.paint(mask, top, (150 - sheet.mm(mask.shape[1])) / 2, gold)
    rows = np.arange(sheet.light.shape[0], dtype=np.float32)[:, None]
    cols = np.arange(sheet.light.shape[1], dtype=np.float32)[None, :]
    weave = 1 + 0.07 * np.sin(rows * 1.3) * np.sin(cols * 1.3)
    look = ScanLook(skew_degrees=0.5, grain=0.05, yellowing=0.03, dust=60, blur_px=0.8, backing=(0.93, 0.93, 0.92))
    return _jpeg(scan((sheet.light * weave[:, :, None]).astype(np.float32), rng, look), 84, 200)


def _ledger(rng: Rng) -> bytes:
    """Return a page of accounts: printed rules and headings, handwritten entries and amounts."""
    sheet = Sheet(*A4_MM, 150, OLD_PAPER)
    print_centred(sheet, "ACCOUNT OF HARBOUR DUES", 14, 17, SERIF_BOLD)
    columns = (14.0, 40.0, 112.0, 140.0, 168.0, 197.0)
    heads = ("Date", "Vessel and cargo", "Tons", "Due", "Paid")
    rows = [34 + 8.2 * index for index in range(31)]
    for index, row in enumerate(rows):
        sheet.rule((row, 14), (row, 197), 0.2, (0.4, 0.55, 0.75), 0.7 if index > 1 else 1)
    for column in columns:
        sheet.rule((34, column), (rows[-1], column), 0.3, RED, 0.75)
    for head, column in zip(heads, columns, strict=False):
        print_text(sheet, head, (35.6, column + 2), 10.5, SERIF_BOLD)
    total = 0.0
    for index, row in enumerate(rows[2:27]):
        due = float(np.round(rng.uniform(3, 180), 2))
        total += due
        paid = due if rng.random() < 0.8 else float(np.round(due / 2, 2))
        entries = (
            f"{1 + index} {rng.choice(('Mar', 'Apr'))}",
            f"{rng.choice(SHIPS)}, {str(rng.choice(GOODS)).split()[-1]}",
            f"{rng.integers(14, 260)}",
            f"{due:.2f}",
            f"{paid:.2f}",
        )
        for entry, column in zip(entries, columns, strict=False):
            write_text(sheet, entry, (row + 6.6, column + 1), rng, 2.0)
    write_text(sheet, "Total", (rows[29] - 1.4, 90), rng, 2.4)
    write_text(sheet, f"{total:.2f}", (rows[29] - 1.4, 141), rng, 2.4, RED)
    sheet.rule((rows[29] + 0.8, 140), (rows[29] + 0.8, 168), 0.4, BLUE_BLACK)
    return _png(
        scan(sheet.light, rng, ScanLook(skew_degrees=-0.4, yellowing=0.1, stains=3, noise=0.006, grain=0.012)), 150
    )


def _table_sideways(rng: Rng) -> bytes:
    """Return a printed table of numbers on a wide sheet that was scanned sideways."""
    sheet = Sheet(A4_MM[1], A4_MM[0], 200, WHITE_PAPER)
    print_centred(sheet, "TABLE 14. - Goods landed at Kilbray, by quarter, in tons and in dollars", 14, 13, SERIF_BOLD)
    columns = [20 + 32 * index for index in range(9)]
    rows = [30 + 7.4 * index for index in range(23)]
    for row in (rows[0], rows[1], rows[-2], rows[-1]):
        sheet.rule((row, 20), (row, 276), 0.35)
    for column in columns[1:-1]:
        sheet.rule((rows[0], column), (rows[-1], column), 0.15)
    heads = ("Year", "Timber", "Coal", "Slate", "Herring", "Salt", "Dues", "Total")
    for head, column in zip(heads, columns, strict=False):
        print_text(sheet, head, (rows[0] + 1.5, column + 4), 10, SERIF_BOLD)
    sums = [0] * 7
    for index, row in enumerate(rows[1:-2]):
        figures = [int(rng.integers(40, 9000)) for _ in range(6)]
        figures.append(sum(figures))
        sums = [before + now for before, now in zip(sums, figures, strict=True)]
        print_text(sheet, str(1898 + index), (row + 1.5, 24), 10)
        for figure, column in zip(figures, columns[1:], strict=False):
            print_right(sheet, f"{figure:,}", row + 1.5, column + 29, 10)
    print_text(sheet, "Sum", (rows[-2] + 1.5, 24), 10, SERIF_BOLD)
    for figure, column in zip(sums, columns[1:], strict=False):
        print_right(sheet, f"{figure:,}", rows[-2] + 1.5, column + 29, 10, SERIF_BOLD)
    upright = scan(sheet.light, rng, ScanLook(skew_degrees=0.5, yellowing=0.03, grain=0.01))
    return _jpeg(np.ascontiguousarray(np.rot90(upright)), 85, 200)


def _form(rng: Rng) -> bytes:
    """Return a printed form, filled in by hand, with ticked boxes and a stamp."""
    sheet = Sheet(*A4_MM, 200, WHITE_PAPER)
    print_text(sheet, "PORT OF KILBRAY", (14, 20), 12, BOLD)
    print_text(sheet, "APPLICATION FOR A MOORING", (20, 20), 22, BOLD)
    print_right(sheet, "Form 7 (rev. 1936)", 15, 190, 9, SANS)
    fields = (
        ("1. Name of applicant", "Thomas Abernethy"),
        ("2. Address", "22 Kirk Street, Kilbray"),
        ("3. Name of vessel", "Good Intent"),
        ("4. Length and draught", "38 ft, 4 ft 6"),
        ("5. Mooring asked for", "North quay, berth 11"),
        ("6. From - until", "1 May 1937 - 30 Sept. 1937"),
        ("7. Fee enclosed", f"{sample_amount(rng, 90)} dollars"),
    )
    for index, (label, answer) in enumerate(fields):
        top = 38 + index * 17.0
        draw_frame(sheet, top, 20, top + 15, 190)
        print_text(sheet, label, (top + 0.8, 22), 8.5, SANS)
        write_text(sheet, answer, (top + 12.2, 62), rng, 2.6, BLUE_BLACK)
    print_text(sheet, "8. The vessel is", (162, 22), 10, SANS)
    for index, (label, is_ticked) in enumerate(
        (("sailing", True), ("steam", False), ("motor", True), ("rowed", False))
    ):
        left = 58 + index * 32.0
        draw_frame(sheet, 162, left, 167, left + 5)
        print_text(sheet, label, (162, left + 7), 10, SANS)
        if is_ticked:
            tick = np.array([[164, left + 0.5], [166.6, left + 2.2], [159.5, left + 6.5]], np.float64)
            sheet.curve(tick + rng.normal(0, 0.2, tick.shape), 0.5, BLUE_BLACK)
    print_paragraphs(
        sheet,
        "I declare that the above is true, that the vessel is insured, and that I shall remove her at the harbour "
        "master's order. Moorings not taken up within 14 days are given to the next applicant.",
        (176, 20, 170),
        9,
        SANS,
    )
    sheet.rule((214, 22), (214, 90), 0.25)
    sheet.rule((214, 110), (214, 188), 0.25)
    print_text(sheet, "Date", (215, 22), 8.5, SANS)
    print_text(sheet, "Signature", (215, 110), 8.5, SANS)
    write_text(sheet, "11 April 1937", (212, 26), rng, 2.4)
    sheet.lay(draw_signature("T. Abernethy", sheet.px(3.0), rng), 201, 114, BLUE_BLACK)
    stamp = draw_round_stamp("HARBOUR MASTER  *  KILBRAY  *", ["GRANTED", "No. 118"], sheet.px(40), rng)
    sheet.lay(turned(stamp, -18), 228, 130, (0.15, 0.42, 0.3), 0.8)
    return _webp(scan(sheet.light, rng, ScanLook(skew_degrees=0.9, yellowing=0.02, grain=0.01, stains=1)), 82)


def _receipt(rng: Rng) -> bytes:
    """Return a narrow till receipt on thin paper, pale in places; without a resolution tag."""
    sheet = Sheet(196, 80, 203, WHITE_PAPER)
    for text, top, points in (
        ("KIRK STREET STORES", 8, 15),
        ("22 Kirk Street, Kilbray", 15, 9.5),
        ("Tel. 0164 2071", 20, 9.5),
    ):
        print_centred(sheet, text, top, points, BOLD if top == 8 else SANS)
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
        mask = print_line(row, points_px(sheet, 8.7), TYPEWRITER)
        sheet.lay(worn(mask, rng, 0.2, 3), 30 + index * 4.6, 6, (0.2, 0.2, 0.24), float(faded[index]))
    end = 30 + len(rows) * 4.6
    print_centred(sheet, "THANK YOU - COME AGAIN", end + 3, 10, BOLD, (0.3, 0.3, 0.33))
    bars = np.repeat(rng.random(90) < 0.5, 3)
    sheet.lay(np.tile(bars.astype(np.float32), (sheet.px(12), 1)), end + 11, 22, (0.2, 0.2, 0.24))
    crease = 1 - 0.12 * np.exp(-(((np.arange(sheet.light.shape[0]) - sheet.px(98)) / 5) ** 2))
    light = (sheet.light * crease[:, None, None]).astype(np.float32)
    return _jpeg(scan(light, rng, ScanLook(skew_degrees=1.6, blur_px=0.9, grain=0.012, noise=0.015)), 72, None)


def _faint_carbon(rng: Rng) -> bytes:
    """Return a faint carbon copy of a typescript on thin paper, grey."""
    sheet = Sheet(*A4_MM, 200, OLD_PAPER)
    type_paragraphs(sheet, f"COPY\n{sample_date(rng)}", (24, 150, 50), rng)
    type_paragraphs(sheet, "MEMORANDUM on the state of the breakwater", (46, 28, 150), rng)
    end = type_paragraphs(
        sheet, sample_paragraphs(rng, 5, 4, 4), (62, 28, 156), rng, Ribbon(strength=0.66, wear=0.38, colour=BLUE_BLACK)
    )
    type_paragraphs(sheet, "(signed)  H. Dunmore", (end + 10, 106, 80), rng, Ribbon(strength=0.6, wear=0.4))
    look = ScanLook(skew_degrees=-1.1, blur_px=1.0, fading=0.3, bleed=0.12, yellowing=0.12, stains=2, noise=0.02)
    return _jpeg(_grey(scan(sheet.light, rng, look)), 76, 200)


def _memo_sheet(rng: Rng, dpi: float, heading: str) -> Sheet:
    sheet = Sheet(*A4_MM, dpi, (1.0, 1.0, 1.0))
    print_text(sheet, heading, (18, 24), 20, BOLD)
    sheet.rule((29, 24), (29, 186), 0.5)
    for index, (label, value) in enumerate(
        (
            ("To:", "All wardens"),
            ("From:", f"{rng.choice(SURNAMES)}, Registry"),
            ("Date:", sample_date(rng)),
            ("File:", f"H/{rng.integers(1000, 9999)}/41"),
        )
    ):
        print_text(sheet, label, (33 + index * 6.5, 24), 11, BOLD)
        print_text(sheet, value, (33 + index * 6.5, 44), 11, SANS)
    sheet.rule((60, 24), (60, 186), 0.25)
    end = print_paragraphs(sheet, sample_paragraphs(rng, 5, 4), (66, 24, 162), 11, SANS)
    for index in range(4):
        print_text(sheet, f"{index + 1}.", (end + 3 + index * 7, 30), 11, SANS)
        print_text(
            sheet,
            f"{rng.choice(SHIPS)}: {sample_amount(rng)} dollars, due {sample_date(rng)}",
            (end + 3 + index * 7, 38),
            11,
            SANS,
        )
    sheet.lay(draw_signature("P. Castle", sheet.px(3.2), rng), end + 34, 120, BLACK)
    return sheet


def _two_tone(sheet: Sheet, rng: Rng, skew_degrees: float) -> Pixels:
    """Return a bitonal scan, (height, width) uint8, 0 or 255, with rough edges and specks."""
    look = ScanLook(skew_degrees=skew_degrees, noise=0.05, yellowing=0, grain=0.01, dust=70, backing=(1.0, 1.0, 1.0))
    grey = _grey(scan(sheet.light, rng, look))
    return np.where(grey > 150, 255, 0).astype(np.uint8)


def _bitonal_memo(rng: Rng) -> bytes:
    """Return an office memorandum, bitonal: TIFF, CCITT G4, 300 dpi."""
    return _tiff([_bitonal(_two_tone(_memo_sheet(rng, 300, "MEMORANDUM"), rng, 0.4))], (300,))


def _fax_saved_as_grey(rng: Rng) -> bytes:
    """Return a bitonal scan that was saved as a grey JPEG."""
    sheet = _memo_sheet(rng, 200, "TELEFAX")
    stamp = draw_box_stamp(["COPY", "NOT FOR ACCOUNTS"], points_px(sheet, 15), rng)
    sheet.lay(turned(stamp, 9), 20, 120)
    return _jpeg(_two_tone(sheet, rng, -0.7), 80, 200)


def _minutes(rng: Rng) -> bytes:
    """Return minutes of three pages in one TIFF: a bitonal page, a grey one and a colour one."""
    first = _bitonal(_two_tone(_memo_sheet(rng, 200, "MINUTES OF THE BOARD"), rng, 0.2))
    second = Sheet(*A4_MM, 150, CREAM_PAPER)
    print_paragraphs(
        second, sample_paragraphs(rng, 6, 5, 5, 4), (24, 24, 160), 11, layout=BlockLayout(is_justified=True)
    )
    print_centred(second, "- 2 -", 12, 10)
    grey = Image.fromarray(_grey(scan(second.light, rng, ScanLook(skew_degrees=-0.3, bleed=0.08))))
    third = Sheet(*A4_MM, 150, CREAM_PAPER)
    print_centred(third, "- 3 -", 12, 10)
    end = print_paragraphs(
        third, sample_paragraphs(rng, 4, 3), (24, 24, 160), 11, layout=BlockLayout(is_justified=True)
    )
    for index, name in enumerate(("O. Okafor", "E. Pryce", "T. Renfrew")):
        third.rule((end + 26 + index * 28, 100), (end + 26 + index * 28, 180), 0.25)
        third.lay(draw_signature(name, third.px(2.8), rng), end + 14 + index * 28, 104, BLUE_BLACK)
    seal = draw_round_stamp("BOARD OF HARBOUR WARDENS  *", ["SEAL"], third.px(44), rng)
    third.lay(turned(seal, 8), end + 40, 34, RED, 0.8)
    colour = Image.fromarray(scan(third.light, rng, ScanLook(skew_degrees=0.4)))
    return _tiff([first, grey, colour], (200, 150, 150))


def _drawing(rng: Rng) -> bytes:
    """Return a plan drawn in ink with dimensions and a pencilled note, as a grey PNG."""
    sheet = Sheet(A4_MM[1], A4_MM[0], 150, WHITE_PAPER)
    draw_frame(sheet, 10, 12, 200, 286, 0.6)
    walls = ((50.0, 40.0, 130.0, 150.0), (50.0, 150.0, 130.0, 240.0))
    for top, left, bottom, right in walls:
        for inset in (0.0, 3.0):
            draw_frame(sheet, top + inset, left + inset, bottom - inset, right - inset, 0.4)
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
        print_text(sheet, text, (143, (left + right) / 2 - 8), 9, SANS)
    angle = np.linspace(0, 2 * math.pi, 90)
    for radius in (9.0, 13.0):
        sheet.curve(np.stack([90 + radius * np.sin(angle), 195 + radius * np.cos(angle)], 1), 0.25)
    for label, top, left in (("BOAT HALL", 84, 78), ("WORKSHOP", 118, 184), ("CAPSTAN", 106, 186)):
        print_text(sheet, label, (top, left), 11 if label != "CAPSTAN" else 7, SANS)
    print_text(sheet, "PLAN OF THE OLD LIFEBOAT HOUSE", (164, 40), 15, SERIF_BOLD)
    print_text(sheet, "Scale 1 : 96.   Drawn by T. Renfrew, 6 July 1911", (173, 40), 10, ITALIC)
    write_text(sheet, "door moved 2 ft east, see letter of 3 May", (30, 120), rng, 2.2, PENCIL)
    sheet.curve(np.array([[32, 150], [40, 140], [48, 132]], np.float64), 0.3, PENCIL)
    return _png(
        _grey(scan(sheet.light, rng, ScanLook(skew_degrees=-0.5, noise=0.006, grain=0.008, yellowing=0.05))), 150
    )


def _phone_photo(rng: Rng) -> bytes:
    """Return a notice photographed by phone: lit from one side, stored rotated with an orientation tag, no dpi."""
    sheet = Sheet(250, 180, 170, WHITE_PAPER)
    print_centred(sheet, "NOTICE TO MARINERS", 24, 26, SERIF_BOLD)
    print_paragraphs(sheet, sample_paragraphs(rng, 4, 3, 2), (46, 22, 136), 13, SERIF)
    print_centred(sheet, "By order of the Harbour Master", 196, 13, ITALIC)
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
    exif[0x0112] = 6  # rotate clockwise by 90 degrees to see it upright
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
