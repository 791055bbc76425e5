"""Draw printed, typed and handwritten text without a font file of our own.

Printed letters start from the one typeface bundled with Pillow, a sans; serifs and contrast are added to its shapes.
Handwriting follows the alphabet of strokes below with a pen of varying width. All functions return coverage masks:
float32 in [0, 1], 1 where ink covers the paper completely.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

Mask = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

LINE_HEIGHT = 1.4
"""Height of a line's mask as a multiple of its letter size."""
BASELINE = 1.05
"""Distance of the baseline from the top of a line's mask, as a multiple of the letter size."""

_EM = 160  # size at which letters are shaped before they are resized to the requested size


@dataclass(frozen=True)
class Face:
    """Changes to the bundled letters; lengths are fractions of the letter size."""

    name: str
    serif: float = 0.0
    """Length of a serif beyond its stem."""
    contrast: float = 0.0
    """Reduction of horizontal strokes against vertical ones."""
    weight: float = 0.0
    """Thickness added to the strokes on all sides."""
    pitch: float | None = None
    """Width of every letter's cell, as on a typewriter; None for proportional widths."""
    slant: float = 0.0
    """Shift to the right per height."""


SANS = Face("sans")
BOLD = Face("bold", weight=0.022)
SERIF = Face("serif", serif=0.06, contrast=0.03)
SERIF_BOLD = Face("serif bold", serif=0.06, contrast=0.02, weight=0.02)
ITALIC = Face("italic", serif=0.03, contrast=0.03, slant=0.22)
TYPEWRITER = Face("typewriter", serif=0.085, weight=-0.006, pitch=0.6)

_BOTTOM_SERIFS = frozenset("fhiklmnrxpqAFHIKMNPRTXY147")
_TOP_SERIFS_BOTH = frozenset("vwxyHIKMNUVWXYJ")
_TOP_SERIFS_LEFT = frozenset("bdhijklmnpruBDEFPRLT")


def print_line(
    text: str,
    size_px: float,
    face: Face = SERIF,
    *,
    rng: np.random.Generator | None = None,
    unevenness: float = 0.0,
    extra_space_px: float = 0.0,
) -> Mask:
    """Return one line of printed text.

    Args:
        text: Characters of the bundled typeface; others come out as boxes.
        size_px: Letter size (em) in pixels.
        face: Look of the letters.
        rng: Needed when `unevenness` is not 0.
        unevenness: Variation between letters in ink (fraction) and height (1/20 of a letter each way).
        extra_space_px: Width added to every space, to fill a line.

    Returns:
        (round(size_px * LINE_HEIGHT), width) float32.
    """
    height_px = round(size_px * LINE_HEIGHT)
    width_px = int(np.ceil(line_width(text, size_px, face) + extra_space_px * text.count(" "))) + round(size_px / 2) + 2
    line = np.zeros((height_px, width_px), np.float32)
    left = size_px / 4
    for character in text:
        glyph, offset_px, advance_px = _glyph(face, character, round(size_px * 4))
        row, ink = 0, 1.0
        if rng is not None and unevenness > 0:
            row = round(float(rng.normal(0, unevenness * size_px / 20)))
            ink = float(np.clip(1 - abs(rng.normal(0, unevenness)), 0.25, 1))
        _lay(line, glyph * np.float32(ink), row, round(left + offset_px))
        left += advance_px + (extra_space_px if character == " " else 0)
    return line


def line_width(text: str, size_px: float, face: Face = SERIF) -> float:
    """Return the length of a printed line in pixels, to the advance of its last letter."""
    return sum(_glyph(face, character, round(size_px * 4))[2] for character in text)


def wrap(text: str, width_px: float, size_px: float, face: Face = SERIF) -> list[str]:
    """Return the text as lines no wider than `width_px`, broken at spaces; a longer word gets a line of its own."""
    lines: list[str] = []
    current = ""
    for word in text.split():
        longer = f"{current} {word}" if current else word
        if current and line_width(longer, size_px, face) > width_px:
            lines.append(current)
            current = word
        else:
            current = longer
    return [*lines, current] if current else lines


@dataclass(frozen=True)
class BlockLayout:
    """Layout of paragraphs."""

    leading: float = 1.45
    """Distance of baselines, as a multiple of the letter size."""
    is_justified: bool = False
    """Whether full lines reach the right edge."""
    indent: str = ""
    """Start of every paragraph, usually a few spaces."""
    unevenness: float = 0.0
    """Unevenness of the letters as in `print_line`; other than 0, `print_block` needs a generator."""


PLAIN_BLOCK = BlockLayout()


def print_block(
    text: str,
    width_px: int,
    size_px: float,
    face: Face = SERIF,
    layout: BlockLayout = PLAIN_BLOCK,
    rng: np.random.Generator | None = None,
) -> Mask:
    """Return paragraphs of printed text, one for each line of `text`.

    Args:
        text: Paragraphs, separated by line breaks.
        width_px: Width of the column.
        size_px: Letter size (em) in pixels.
        face: Look of the letters.
        layout: Leading, justification, indent and unevenness.
        rng: Needed when the layout's `unevenness` is not 0.

    Returns:
        (height, about width_px) float32; a word longer than the column is cut off.
    """
    pad_px = round(size_px / 4)
    lines: list[tuple[str, float]] = []
    for paragraph in text.split("\n"):
        wrapped = wrap(f"{paragraph}", width_px - line_width(layout.indent, size_px, face), size_px, face)
        for index, line in enumerate(wrapped):
            whole = layout.indent + line if index == 0 else line
            spare_px = width_px - line_width(whole, size_px, face)
            spaces = whole.count(" ") or 1
            is_filled = layout.is_justified and index < len(wrapped) - 1
            lines.append((whole, min(spare_px / spaces, size_px * 0.6) if is_filled else 0.0))
        if not wrapped:
            lines.append(("", 0.0))
    step_px = size_px * layout.leading
    block = np.zeros(
        (round(step_px * max(len(lines) - 1, 0) + size_px * LINE_HEIGHT) + 1, width_px + 2 * pad_px), np.float32
    )
    for index, (line, extra_px) in enumerate(lines):
        mask = print_line(line, size_px, face, rng=rng, unevenness=layout.unevenness, extra_space_px=extra_px)
        _lay(block, mask, round(index * step_px), 0)
    return block


def write_line(
    text: str,
    x_height_px: float,
    rng: np.random.Generator,
    *,
    pen_px: float | None = None,
    slant: float = 0.3,
    carelessness: float = 1.0,
) -> Mask:
    """Return one line of joined handwriting.

    Args:
        text: Letters, digits and the signs `. , - / : ' ( )`; other characters leave a gap.
        x_height_px: Height of the small letters.
        rng: Source of the hand's irregularity.
        pen_px: Mean width of the strokes; default a tenth of the x-height.
        slant: Shift to the right per height.
        carelessness: 0 follows the alphabet exactly; 1 is an ordinary hurried hand.

    Returns:
        (round(5 * x_height_px), width) float32, the baseline 3 x-heights below the top.
    """
    pen_px = x_height_px / 10 if pen_px is None else pen_px
    strokes = list(_hand_strokes(text, rng, carelessness))
    longest = max((float(stroke[:, 0].max()) for stroke in strokes), default=1.0)
    zoom = 3
    height_px, width_px = round(5 * x_height_px), round((longest + 2) * x_height_px + slant * 2 * x_height_px) + 2
    canvas = np.zeros((height_px * zoom, width_px * zoom), np.uint8)
    drift = rng.normal(0, 0.06 * carelessness, 8)
    for stroke in strokes:
        curve = _smooth(stroke)
        x, y = curve[:, 0], curve[:, 1]
        y = y + np.interp(x, np.linspace(0, longest + 1, len(drift)), drift)
        columns = (x + slant * y + 0.7) * x_height_px * zoom
        rows = (3 - y) * x_height_px * zoom
        # A pen is pressed on downstrokes: they come out broader than upstrokes.
        down = np.gradient(rows) / (np.hypot(np.gradient(rows), np.gradient(columns)) + 1e-6)
        pressure = np.interp(np.arange(len(x)), np.linspace(0, len(x), 9), rng.normal(1, 0.12 * carelessness, 9))
        widths = np.maximum(pen_px * zoom * (0.85 + 0.35 * down) * pressure, 1.5)
        for index in range(len(x) - 1):
            start = (round(columns[index] * 8), round(rows[index] * 8))
            end = (round(columns[index + 1] * 8), round(rows[index + 1] * 8))
            cv2.line(canvas, start, end, 255, max(round(float(widths[index])), 1), cv2.LINE_AA, 3)
    small = cv2.resize(canvas, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _lay(canvas: Mask, mask: Mask, row: int, col: int) -> None:
    """Draw a mask onto the canvas; cut off the part outside."""
    top, left = max(row, 0), max(col, 0)
    bottom, right = min(row + mask.shape[0], canvas.shape[0]), min(col + mask.shape[1], canvas.shape[1])
    if top < bottom and left < right:
        part = canvas[top:bottom, left:right]
        np.maximum(part, mask[top - row : bottom - row, left - col : right - col], out=part)


@lru_cache(maxsize=4096)
def _glyph(face: Face, character: str, quarter_px: int) -> tuple[Mask, float, float]:
    """Return a letter's mask (as high as its line), its offset from the pen position and its advance, in pixels."""
    shape, advance = _shape(face, character)
    size_px = quarter_px / 4
    scale = size_px / _EM
    height_px, width_px = round(size_px * LINE_HEIGHT), max(round(shape.shape[1] * scale), 1)
    shrunk = cv2.resize(shape, (width_px, height_px), interpolation=cv2.INTER_AREA)
    return np.asarray(shrunk, np.float32) / np.float32(255), -_EM / 4 * scale, advance * scale


@lru_cache(maxsize=512)
def _shape(face: Face, character: str) -> tuple[npt.NDArray[np.uint8], float]:
    """Return a letter at `_EM` pixels with a margin of a quarter em on both sides, and its advance."""
    font = ImageFont.load_default(_EM)
    advance = font.getlength(character)
    room = _EM // 4
    image = Image.new("L", (int(np.ceil(advance)) + 2 * room, round(_EM * LINE_HEIGHT)))
    ImageDraw.Draw(image).text((room, _EM * BASELINE), character, fill=255, font=font, anchor="ls")
    shape = np.array(image)
    if face.contrast:
        shape = _morph(shape, cv2.MORPH_ERODE, 1, round(face.contrast * _EM))
    if face.weight > 0:
        shape = _morph(shape, cv2.MORPH_DILATE, round(face.weight * _EM), round(face.weight * _EM / 2))
    elif face.weight < 0:
        shape = _morph(shape, cv2.MORPH_ERODE, round(-face.weight * _EM) + 1, round(-face.weight * _EM) + 1)
    if face.pitch is not None:
        cell = round(face.pitch * _EM)
        inner = shape[:, room : room + max(round(advance), 1)]
        wanted = min(inner.shape[1], round(cell * 1.02))
        squeezed = cv2.resize(inner, (wanted, shape.shape[0]), interpolation=cv2.INTER_AREA)
        shape = np.zeros((shape.shape[0], cell + 2 * room), np.uint8)
        left = room + (cell - wanted) // 2
        shape[:, left : left + wanted] = squeezed
        advance = float(cell)
    if face.serif:
        shape = _with_serifs(shape, character, face)
        advance += 0 if face.pitch else 0.35 * face.serif * _EM
    if face.slant:
        turn = np.array([[1, -face.slant, face.slant * _EM * BASELINE], [0, 1, 0]], np.float64)
        shape = np.asarray(cv2.warpAffine(shape, turn, shape.shape[::-1]), np.uint8)
    return shape, advance


def _morph(shape: npt.NDArray[np.uint8], operation: int, width: int, height: int) -> npt.NDArray[np.uint8]:
    kernel = np.ones((max(height, 1), max(width, 1)), np.uint8)
    return np.asarray(cv2.morphologyEx(shape, operation, kernel), np.uint8)


def _with_serifs(shape: npt.NDArray[np.uint8], character: str, face: Face) -> npt.NDArray[np.uint8]:
    shape = shape.copy()
    baseline = round(_EM * BASELINE)
    bottoms = baseline + round(0.19 * _EM) if character in "pq" else baseline
    ink_rows = np.flatnonzero(shape.max(axis=1) > 127)
    if not len(ink_rows):
        return shape
    x_height_row = baseline - round(0.52 * _EM)
    top = x_height_row if character in "ijmnpruvwxy" else int(ink_rows[0])
    reach = face.serif * (1.6 if face.pitch and character in "ijlI1r" else 1.0)
    if character in _BOTTOM_SERIFS:
        for stem in _stems(shape[min(bottoms, int(ink_rows[-1]) + 1) - 5]):
            _add_serif(shape, min(bottoms, int(ink_rows[-1]) + 1), stem, (reach, reach), is_top=False)
    if character in _TOP_SERIFS_BOTH:
        for stem in _stems(shape[top + 5]):
            _add_serif(shape, top, stem, (reach, reach), is_top=True)
    elif character in _TOP_SERIFS_LEFT:
        runs = _stems(shape[top + 8], widest=0.9)
        runs = runs[-1:] if character == "d" else runs if character == "u" else runs[:1]
        for left, right in runs:
            _add_serif(shape, top, (left, min(right, left + round(0.09 * _EM))), (reach, 0), is_top=True)
    return shape


def _stems(row: npt.NDArray[np.uint8], widest: float = 0.2) -> list[tuple[int, int]]:
    """Return the half-open column range of each run of ink that is narrow enough to be a stem."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (row > 127).astype(np.int8), [0]])))
    runs = [(int(left), int(right)) for left, right in zip(edges[::2], edges[1::2], strict=True)]
    return [(left, right) for left, right in runs if right - left <= widest * _EM]


def _add_serif(
    shape: npt.NDArray[np.uint8], edge: int, stem: tuple[int, int], reach: tuple[float, float], *, is_top: bool
) -> None:
    """Draw a serif at a stem's (left, right) columns; it reaches (left, right) ems beyond them."""
    thickness = round(0.04 * _EM)
    top, bottom = (edge, edge + thickness) if is_top else (edge - thickness, edge)
    shape[top:bottom, max(stem[0] - round(reach[0] * _EM), 0) : stem[1] + round(reach[1] * _EM)] = 255


# Path of the pen through each letter, then its advance. Units are hundredths of the x-height: x from the letter's left,
# y up from the baseline. The first stroke of a small letter joins the letters before and after it.
_BOWL = "75,88 38,100 6,52 30,0 64,40"
_SMALL: dict[str, tuple[str, float]] = {
    "a": (f"{_BOWL} 78,96 75,40 86,4 110,25", 1.05),
    "b": ("0,30 34,130 44,195 25,190 15,100 15,15 40,0 65,30 56,75 45,60 78,56", 0.8),
    "c": ("66,80 42,100 10,55 30,0 72,22", 0.7),
    "d": (f"{_BOWL} 80,130 86,200 75,80 82,8 110,22", 1.05),
    "e": ("5,35 40,55 56,85 36,100 10,55 30,0 70,22", 0.66),
    "f": ("5,25 40,130 50,195 30,190 22,80 15,-70 26,-95 40,-60 30,0 65,30", 0.6),
    "g": (f"{_BOWL} 78,96 72,0 60,-80 30,-95 25,-60 75,-5 105,25", 1.0),
    "h": ("0,25 34,130 42,195 22,185 15,90 12,0 30,75 58,100 71,60 70,10 95,22", 0.92),
    "i": ("0,30 25,95 22,30 32,2 60,25|36,140 38,146", 0.55),
    "j": ("0,30 30,95 25,0 12,-80 -15,-95 -15,-60 55,20|40,140 42,146", 0.55),
    "k": ("0,25 34,130 42,195 22,185 15,90 12,0 25,60 60,95 55,60 25,50 50,10 85,18", 0.82),
    "l": ("0,25 34,120 42,190 25,190 15,100 20,10 50,22", 0.5),
    "m": ("0,30 20,95 15,0 35,80 55,95 58,50 55,0 75,80 95,95 100,50 100,8 125,25", 1.2),
    "n": ("0,30 20,95 15,0 35,80 58,97 66,50 66,8 90,25", 0.86),
    "o": ("50,95 15,85 8,30 35,0 62,40 50,92 55,75 90,80", 0.85),
    "p": ("0,30 20,95 12,0 5,-95 15,0 35,85 65,90 66,30 35,0 32,10 85,22", 0.85),
    "q": (f"{_BOWL} 75,96 70,0 65,-95 85,-60 80,-10 110,25", 1.05),
    "r": ("0,30 20,100 30,85 55,85 48,40 55,5 80,25", 0.76),
    "s": ("0,25 35,95 45,75 60,30 35,0 10,10 40,5 75,22", 0.72),
    "t": ("0,30 30,150 22,50 30,2 60,25|0,108 55,116", 0.56),
    "u": ("0,35 18,95 15,30 35,0 60,40 70,95 68,30 80,3 105,25", 1.0),
    "v": ("0,40 15,95 35,5 60,70 60,95 90,85", 0.85),
    "w": ("0,40 15,95 20,10 45,10 50,85 55,15 80,15 85,90 115,85", 1.1),
    "x": ("0,30 20,95 45,10 80,22|66,95 5,0", 0.78),
    "y": ("0,35 18,95 15,40 35,10 60,40 70,95 65,0 50,-80 20,-95 20,-60 65,-5 95,25", 0.92),
    "z": ("0,50 20,95 60,90 10,10 40,15 45,-50 25,-90 15,-60 75,22", 0.78),
}
_LARGE: dict[str, tuple[str, float]] = {
    "A": ("0,0 45,120 70,195 80,120 92,0|15,70 100,75", 1.15),
    "B": ("25,190 20,90 18,0|5,170 60,200 95,160 75,115 30,105 90,95 110,40 70,0 10,5", 1.25),
    "C": ("105,165 85,198 40,175 10,100 25,20 65,0 110,35", 1.2),
    "D": ("35,185 28,90 20,5|5,170 70,200 125,140 120,50 75,0 5,5", 1.35),
    "E": ("95,175 60,200 30,160 60,110 25,75 15,25 55,0 100,30", 1.1),
    "F": ("10,175 50,190 110,195|60,188 50,90 40,10 10,0|30,100 85,108", 1.1),
    "G": ("100,165 70,200 20,150 10,60 45,5 90,40 100,90 95,0 60,-60 30,-50 110,20", 1.2),
    "H": ("10,190 20,100 10,0|100,195 95,100 90,5 115,20|15,95 100,105", 1.25),
    "I": ("15,170 55,195 85,180|55,192 48,90 40,5 5,15", 0.9),
    "J": ("15,175 60,195 90,185|70,190 60,60 50,-60 15,-80 10,-40 80,20", 1.0),
    "K": ("15,195 20,100 12,0|100,195 55,120 30,95 70,50 110,5", 1.2),
    "L": ("60,190 35,180 30,90 20,15 5,20 30,0 70,15 110,10", 1.15),
    "M": ("0,5 25,100 35,190 65,50 75,40 115,195 120,100 130,5 150,20", 1.55),
    "N": ("0,0 20,100 30,190 60,100 90,5 105,100 115,195", 1.3),
    "O": ("60,198 10,140 15,40 60,0 110,60 105,150 60,195 45,160", 1.25),
    "P": ("30,185 25,90 15,0|5,165 60,200 105,160 85,105 30,95", 1.1),
    "Q": ("60,198 10,140 15,40 60,0 110,60 105,150 60,195|60,40 120,-20", 1.3),
    "R": ("28,185 22,90 12,0|5,165 60,200 100,160 75,110 28,98 70,50 115,5", 1.2),
    "S": ("100,170 70,200 35,160 60,110 85,60 60,5 15,10 5,40", 1.1),
    "T": ("5,170 50,190 115,195|65,190 55,90 45,5 15,10", 1.1),
    "U": ("10,190 12,60 45,0 90,50 105,195 100,60 115,5", 1.25),
    "V": ("5,190 30,90 50,0 85,110 110,195", 1.15),
    "W": ("5,190 25,80 35,0 70,130 85,0 120,110 140,195", 1.5),
    "X": ("10,190 60,100 110,5|105,195 50,95 5,0", 1.2),
    "Y": ("5,190 25,120 55,100 100,195 85,80 60,-60 20,-80 30,-30 100,20", 1.15),
    "Z": ("10,175 60,195 110,190 50,90 5,5 60,15 115,5", 1.2),
    "0": ("45,160 12,110 15,30 45,0 75,50 72,130 45,160", 0.95),
    "1": ("15,110 45,160 42,80 38,0", 0.7),
    "2": ("10,125 40,160 72,125 45,60 8,5 45,10 80,5", 0.95),
    "3": ("12,140 45,160 70,125 35,90 78,55 50,0 8,20", 0.9),
    "4": ("50,160 30,110 8,60 85,65|66,110 60,50 55,0", 0.95),
    "5": ("75,158 25,155 18,95 55,100 78,55 50,0 8,15", 0.92),
    "6": ("65,160 25,110 10,40 40,0 72,35 55,80 15,50", 0.9),
    "7": ("8,150 40,158 80,155 50,80 35,0", 0.9),
    "8": ("65,135 40,160 18,125 50,85 75,40 42,0 12,40 45,85 68,130", 0.9),
    "9": ("70,130 40,160 12,115 40,85 70,125 65,60 45,0", 0.9),
    ".": ("12,2 16,6", 0.5),
    ",": ("16,8 10,-25", 0.5),
    ":": ("14,10 18,14|20,75 24,79", 0.5),
    "-": ("5,58 55,62", 0.75),
    "/": ("0,-20 60,170", 0.7),
    "'": ("16,190 10,150", 0.35),
    "(": ("40,190 8,80 35,-30", 0.55),
    ")": ("5,190 38,80 8,-30", 0.55),
}


@lru_cache(maxsize=256)
def _letter_strokes(character: str) -> tuple[tuple[Points, ...], float]:
    path, advance = _SMALL.get(character) or _LARGE.get(character) or ("", 0.8)
    strokes = [[tuple(map(int, point.split(","))) for point in stroke.split()] for stroke in path.split("|") if stroke]
    return tuple(np.array(stroke, np.float64) / 100 for stroke in strokes), advance


def _hand_strokes(text: str, rng: np.random.Generator, carelessness: float) -> Iterator[Points]:
    """Yield the strokes of a line, joined letters as one stroke, as (n, 2) points (x, y) in x-heights."""
    x, joined = 0.0, list[Points]()
    later: list[Points] = []
    for character in f"{text} ":
        strokes, advance = _letter_strokes(character)
        stretch = 1 + float(rng.normal(0, 0.06 * carelessness))
        shaken = [
            (stroke + rng.normal(0, 0.035 * carelessness, stroke.shape)) * (stretch, stretch) + (x, 0)
            for stroke in strokes
        ]
        if character in _SMALL:
            # The exit stroke of the letter before and the entry stroke of this one are one line.
            if joined:
                joined[-1] = joined[-1][:-1]
            joined.append(shaken[0])
            later.extend(shaken[1:])
        else:
            if joined:
                yield np.concatenate(joined)
            yield from later
            yield from shaken
            joined, later = [], []
        x += advance * stretch


def _smooth(points: Points, steps: int = 7) -> Points:
    """Return a Catmull-Rom curve through the points."""
    if len(points) < 3:
        return np.linspace(points[0], points[-1], 4)
    ends: Sequence[Points] = (2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1])
    p = np.concatenate(ends)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    a, b, c, d = (p[first : len(p) - 3 + first, None, :] for first in range(4))
    curve = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return np.concatenate([curve.reshape(-1, 2), points[-1:]])
