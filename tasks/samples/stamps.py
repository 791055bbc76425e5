"""Draw rubber stamps and signatures."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from foliopress.tasks.samples.lettering import BOLD, Mask, line_width, print_line, write_line
from foliopress.tasks.samples.paper import turned, worn


def draw_round_stamp(text: str, middle: Sequence[str], diameter_px: int, rng: np.random.Generator) -> Mask:
    """Return a rubber stamp: text around a double ring, lines in the middle; (diameter, diameter) float32."""
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


def draw_box_stamp(lines: Sequence[str], letter_px: float, rng: np.random.Generator) -> Mask:
    """Return a rubber stamp of framed lines, (height, width) float32."""
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


def draw_signature(name: str, x_height_px: float, rng: np.random.Generator) -> Mask:
    """Return a signature with a flourish, (height, width) float32."""
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
