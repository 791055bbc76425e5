"""Draw photographs of landscapes, faces or clouds, printed on a sheet or pasted on dark card."""

from __future__ import annotations

import math

import cv2
import numpy as np

from foliopress.model.drawn.ink import Layer
from foliopress.model.drawn.random_choice import Rng, pick
from foliopress.model.drawn.sheet import Box, TracedSheet
from foliopress.tasks.samples.landscape import draw_landscape
from foliopress.tasks.samples.lettering import Mask
from foliopress.tasks.samples.paper import WHITE_PAPER, Light, cloud


def place_photo(sheet: TracedSheet, box_mm: Box, rng: Rng) -> None:
    """Print or paste a photograph into a box on the sheet."""
    top, left, bottom, right = box_mm
    photo = _photo(max(sheet.px(bottom - top), 8), max(sheet.px(right - left), 8), rng)
    if sheet.is_dark:  # pasted on, with its own white
        with sheet.layer(Layer.PICTURE):
            sheet.paint(np.ones(photo.shape[:2], np.float32), top, left, WHITE_PAPER)
    sheet.print_picture(photo, top, left)


def _photo(height_px: int, width_px: int, rng: Rng) -> Light:
    """Return a photograph, continuous or halftone, grey, brown or coloured: (height, width, 3) float32."""
    kind = rng.random()
    if kind < 0.4 and min(height_px, width_px) > 60:
        grey = draw_landscape(height_px, width_px, rng)
    elif kind < 0.75:
        grey = _portrait(height_px, width_px, rng)
    else:
        grey = cloud(height_px, width_px, max(height_px, width_px) / rng.uniform(1.5, 8), rng, octaves=6)
    grey = np.clip(grey, 0, 1) ** np.float32(rng.uniform(0.6, 1.6)) * np.float32(0.92)
    if rng.random() < 0.35:  # a halftone screen, at 45 degrees
        rows, cols = np.ogrid[:height_px, :width_px]
        pitch = 2 * math.pi / rng.uniform(3, 7)
        screen = 0.5 + 0.25 * (np.cos((rows + cols) * pitch * 0.7) + np.cos((rows - cols) * pitch * 0.7))
        grey = np.clip((grey - screen) * 4 + 0.5, 0.05, 1)
    tint = np.array(pick(rng, ((1, 1, 1), (1, 1, 1), (0.84, 0.92, 1.0))), np.float32)
    photo = 1 - (1 - grey[:, :, None]) * tint
    if rng.random() < 0.2:
        hues = np.stack([cloud(height_px, width_px, width_px / 3, rng, octaves=3) for _ in "rgb"], axis=2)
        photo = photo * (0.7 + 0.5 * hues)
    return np.asarray(np.clip(photo, 0, 1), np.float32)


def _portrait(height_px: int, width_px: int, rng: Rng) -> Mask:
    """Return a head and shoulders in front of a backdrop, (height, width) float32, about 0 to 1."""
    grey = 0.55 + 0.4 * (cloud(height_px, width_px, width_px / 2, rng, octaves=4) - np.float32(0.5))
    middle, size = (round(width_px * rng.uniform(0.4, 0.6)), round(height_px * 0.42)), min(height_px, width_px)
    for row, axes, tone in (
        (1.05, (0.42, 0.4), 0.15),  # shoulders
        (0.42, (0.21, 0.28), 0.2),  # hair
        (0.45, (0.16, 0.22), 0.75),  # face
        (0.40, (0.11, 0.015), 0.4),  # eyes
        (0.55, (0.06, 0.012), 0.4),  # mouth
    ):
        lengths = max(round(size * axes[0]), 1), max(round(size * axes[1]), 1)
        tone += float(rng.normal(0, 0.06))
        cv2.ellipse(grey, (middle[0], round(height_px * row)), lengths, 0, 0, 360, tone, -1, cv2.LINE_AA)
    blurred = cv2.GaussianBlur(grey, (0, 0), max(size / 90, 0.5))
    return np.asarray(blurred + rng.normal(0, 0.03, grey.shape), np.float32)
