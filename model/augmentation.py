"""Augmentation: a window as another scanner, another sheet or another hand would have given it."""

from __future__ import annotations

import cv2
import numpy as np

from tasks.tiles import CORE_PX, WINDOW_PX

MASK_DROPOUT = 0.5
"""Share of windows that lose their OCR mask, so that the network does not lean on it."""
LEAST_STROKE_PX = 6.0
"""Full-ink pixels of a drawn stroke in a tile from which the tile is one of writing."""

_INKS = ((20, 20, 25), (25, 30, 90), (60, 50, 45), (150, 30, 40), (20, 80, 60), (90, 90, 95), (60, 40, 120))
_SCRIPTS = (
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_COMPLEX_SMALL | cv2.FONT_ITALIC,
)
_LETTERS = list("aabcdeeefghiiklmnnooprrssttuvwxyzABCDEFGHJKLMNPRSTW0123456789.,-&$ ")


def vary_place(plane: np.ndarray, row: int, col: int, rng: np.random.Generator) -> np.ndarray:
    """Cut the window of a tile turned by 0, 90, 180 or 270 degrees, half of the time also skewed and scaled a little.

    Args:
        plane: (h, w, 4) uint8 page with one window's width drawn out on all sides.
        row: Tile's row.
        col: Tile's column.
        rng: Source of chance.

    Returns:
        (96, 96, 4) uint8, the tile in the middle as in `tasks.tiles.cut_windows`.
    """
    top, left = WINDOW_PX + row * CORE_PX - WINDOW_PX // 2, WINDOW_PX + col * CORE_PX - WINDOW_PX // 2
    reach = WINDOW_PX + CORE_PX  # holds a window turned by a few degrees
    region = plane[top : top + reach, left : left + reach]
    region = np.rot90(region, int(rng.integers(4)))
    margin = (reach - WINDOW_PX) // 2
    if rng.random() < 0.5:
        return np.ascontiguousarray(region[margin:-margin, margin:-margin])
    middle = (reach - 1) / 2
    matrix = cv2.getRotationMatrix2D((middle, middle), float(rng.normal(0, 2.0)), float(rng.uniform(0.95, 1.05)))
    matrix[:, 2] = matrix[:, 2] + rng.uniform(-1.0, 1.0, 2) - margin
    # The region is larger than the window by more than such a turn needs: nothing is drawn out here.
    return cv2.warpAffine(np.ascontiguousarray(region), matrix, (WINDOW_PX, WINDOW_PX), flags=cv2.INTER_LINEAR)


def vary_scan(window: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a window with other tone, ink, sharpness, noise and compression, and often without its mask.

    Args:
        window: (96, 96, 4) uint8.
        rng: Source of chance.
    """
    colours: np.ndarray = window[..., :3].astype(np.float32)
    paper = np.percentile(colours[::4, ::4].reshape(-1, 3), 80, axis=0).astype(np.float32)
    if rng.random() < 0.3:
        colours = paper + (colours - paper) * np.float32(rng.uniform(0.4, 1.0))  # faded ink
    if rng.random() < 0.5:
        gain = rng.uniform(0.75, 1.12) * rng.uniform(0.92, 1.05, 3)
        colours = colours * gain.astype(np.float32) + np.float32(rng.uniform(-12, 12))
    if rng.random() < 0.2:
        colours = np.repeat(colours.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.2:  # a shadow or a fold across the window
        slope = rng.normal(0, 12, 2) / WINDOW_PX
        rows, cols = np.mgrid[:WINDOW_PX, :WINDOW_PX].astype(np.float32) - WINDOW_PX / 2
        colours += (slope[0] * rows + slope[1] * cols)[..., np.newaxis].astype(np.float32)
    if rng.random() < 0.3:
        colours = cv2.GaussianBlur(colours, (0, 0), float(rng.uniform(0.3, 1.1)))
    if rng.random() < 0.4:
        grain: np.ndarray = rng.standard_normal((WINDOW_PX, WINDOW_PX), np.float32) * np.float32(rng.uniform(0.5, 6.0))
        if rng.random() < 0.4:
            grain = cv2.GaussianBlur(grain, (0, 0), 1.0) * np.float32(2.0)
        colours += grain[..., np.newaxis]
    if rng.random() < 0.05:
        colours = 255 - colours
    pixels = np.clip(colours, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))]
        pixels = np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR))
    varied = np.empty_like(window)
    varied[..., :3] = pixels
    varied[..., 3] = 0 if rng.random() < MASK_DROPOUT else np.where(window[..., 3] > 127, 255, 0)
    return varied


def write_on(window: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float | None]:
    """Write on a window of blank paper, by hand or with a stamp.

    Args:
        window: (96, 96, 4) uint8 without ink.
        rng: Source of chance.

    Returns:
        The written window without a mask, and its label: 1 if the tile in the middle holds strokes, 0 if only its
        surroundings do, None if it is too little to say.
    """
    zoom = 4
    canvas = np.zeros((WINDOW_PX * zoom, WINDOW_PX * zoom), np.uint8)
    thickness = int(np.clip(rng.normal(2.2, 1.0), 0.7, 5.0) * zoom)
    draw = (_draw_cursive, _draw_cursive, _draw_script, _draw_stamp)[int(rng.integers(4))]
    for _ in range(int(rng.integers(1, 4))):
        draw(canvas, thickness, rng)
    alpha = cv2.resize(canvas, (WINDOW_PX, WINDOW_PX), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    core = slice((WINDOW_PX - CORE_PX) // 2, (WINDOW_PX + CORE_PX) // 2)
    amount = float(alpha[core, core].sum())
    label = 1.0 if amount >= LEAST_STROKE_PX else 0.0 if amount == 0 else None
    ink = np.array(_INKS[int(rng.integers(len(_INKS)))], np.float32) + rng.normal(0, 10, 3)
    strength = float(rng.uniform(0.3, 1.0))
    texture = 1 + rng.normal(0, 0.12, alpha.shape)  # pencil and dry pens skip
    alpha = np.clip(alpha * texture * strength, 0, 1)[..., np.newaxis]
    written = window.copy()
    written[..., :3] = np.clip(window[..., :3] * (1 - alpha) + ink * alpha, 0, 255)
    written[..., 3] = 0
    return written, label


def _draw_cursive(canvas: np.ndarray, thickness: int, rng: np.random.Generator) -> None:
    """Draw a line of joined loops that swell and shrink like handwriting."""
    side = canvas.shape[0]
    n_points = 160
    time = np.linspace(0, 1, n_points)
    length = side * rng.uniform(0.3, 1.6)
    height = side * rng.uniform(0.04, 0.25)
    turns = length / (height * rng.uniform(0.6, 1.6))
    swell = np.interp(time, np.linspace(0, 1, 12), rng.uniform(0.25, 1.0, 12) * rng.choice([1, 1, 2], 12))
    phase = 2 * np.pi * turns * time + np.cumsum(rng.normal(0, 0.12, n_points))
    along = length * (time - 0.5) + height * rng.uniform(0.2, 0.7) * np.cos(phase)
    across = -height * swell * np.sin(phase) / 2
    angle = rng.normal(0, 0.15) + np.pi / 2 * rng.integers(4)
    row, col = rng.uniform(0.1, 0.9, 2) * side
    points = np.stack(
        [
            col + along * np.cos(angle) - across * np.sin(angle),
            row + along * np.sin(angle) + across * np.cos(angle),
        ],
        axis=1,
    )
    cv2.polylines(canvas, [np.round(points).astype(np.int32)], False, 255, max(1, thickness), cv2.LINE_AA)


def _draw_script(canvas: np.ndarray, thickness: int, rng: np.random.Generator) -> None:
    """Draw letters of a pen font, slanted and at any angle."""
    side = canvas.shape[0]
    layer = np.zeros_like(canvas)
    text = "".join(rng.choice(_LETTERS, int(rng.integers(3, 12))))
    size = float(rng.uniform(1.5, 6.0))
    place = int(rng.uniform(-0.5, 0.5) * side), int(rng.uniform(0.3, 0.9) * side)
    font = _SCRIPTS[int(rng.integers(len(_SCRIPTS)))]
    cv2.putText(layer, text, place, font, size, 255, max(1, thickness // 2), cv2.LINE_AA)
    matrix = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.normal(0, 8) + 90 * rng.integers(4)), 1.0)
    slant = float(rng.normal(0, 0.25))
    matrix = matrix @ np.array([[1, slant, -slant * side / 2], [0, 1, 0], [0, 0, 1]])
    np.maximum(canvas, cv2.warpAffine(layer, matrix, (side, side)), out=canvas)


def _draw_stamp(canvas: np.ndarray, thickness: int, rng: np.random.Generator) -> None:
    """Draw the rim of a round or square stamp, or an underline, with some letters in it."""
    side = canvas.shape[0]
    row, col = rng.uniform(0, 1, 2) * side
    reach = rng.uniform(0.2, 0.8) * side
    if rng.random() < 0.6:
        axes = int(reach), int(reach * rng.uniform(0.5, 1.0))
        turn = float(rng.uniform(0, 180))
        cv2.ellipse(canvas, (int(col), int(row)), axes, turn, 0, 360, 255, max(1, thickness), cv2.LINE_AA)
    else:
        box = cv2.boxPoints(((col, row), (2 * reach, reach), float(rng.normal(0, 20))))
        cv2.polylines(canvas, [np.round(box).astype(np.int32)], True, 255, max(1, thickness), cv2.LINE_AA)
    if rng.random() < 0.6:
        _draw_script(canvas, thickness, rng)
