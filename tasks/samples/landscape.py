"""Draw a photograph of a landscape."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.tasks.samples.paper import Light, cloud


def draw_landscape(height_px: int, width_px: int, rng: np.random.Generator) -> Light:
    """Return a grey photograph of hills, water and a cloudy sky, (height, width) float32, 0 to 1."""
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
    # A boat with its sail, and its reflection in the water.
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
