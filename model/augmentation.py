"""Augment training patches: vary the scanner, the paper and the ink, and add handwriting."""

from __future__ import annotations

import cv2
import numpy as np

from foliopress.tasks.analysis.tiles import CORE_PX

MASK_DROPOUT = 0.5
"""Share of patches that lose their OCR mask, so that the network does not rely on it."""
LEAST_STROKE_PX = 8.0
"""A tile counts as handwriting from this many full-ink pixels of a drawn stroke."""
LEAST_STROKE_CONTRAST = 25.0
"""Grey levels by which such a stroke must change at least one place of the tile."""

_INKS = ((20, 20, 25), (25, 30, 90), (60, 50, 45), (150, 30, 40), (20, 80, 60), (90, 90, 95), (60, 40, 120))
_SCRIPTS = (
    cv2.FONT_HERSHEY_SCRIPT_SIMPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_COMPLEX_SMALL | cv2.FONT_ITALIC,
)
_LETTERS = list("aabcdeeefghiiklmnnooprrssttuvwxyzABCDEFGHJKLMNPRSTW0123456789.,-&$ ")


def vary_scan(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a copy of a patch with varied tone, ink, sharpness, noise and compression, often without its mask.

    Args:
        patch: (side, side, 4) uint8.
        rng: Random generator.
    """
    side = patch.shape[0]
    colours: np.ndarray = patch[..., :3].astype(np.float32)
    paper = np.percentile(colours[::8, ::8].reshape(-1, 3), 80, axis=0).astype(np.float32)
    if rng.random() < 0.3:
        colours = paper + (colours - paper) * np.float32(rng.uniform(0.4, 1.0))  # faded ink
    if rng.random() < 0.5:
        gain = rng.uniform(0.75, 1.12) * rng.uniform(0.92, 1.05, 3)
        colours = colours * gain.astype(np.float32) + np.float32(rng.uniform(-12, 12))
    if rng.random() < 0.2:
        colours = np.repeat(colours.mean(axis=2, keepdims=True), 3, axis=2)
    if rng.random() < 0.2:  # a shadow across the patch
        slope = rng.normal(0, 0.06, 2)  # grey levels per pixel
        rows, cols = np.mgrid[:side, :side].astype(np.float32) - side / 2
        colours += (slope[0] * rows + slope[1] * cols)[..., np.newaxis].astype(np.float32)
    if rng.random() < 0.3:
        colours = cv2.GaussianBlur(colours, (0, 0), float(rng.uniform(0.3, 1.1)))
    if rng.random() < 0.4:
        grain: np.ndarray = rng.standard_normal((side, side), np.float32) * np.float32(rng.uniform(0.5, 6.0))
        if rng.random() < 0.4:
            grain = cv2.GaussianBlur(grain, (0, 0), 1.0) * np.float32(2.0)
        colours += grain[..., np.newaxis]
    if rng.random() < 0.05:
        colours = 255 - colours
    pixels = np.clip(colours, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))]
        pixels = np.asarray(cv2.imdecode(cv2.imencode(".jpg", pixels, quality)[1], cv2.IMREAD_COLOR))
    varied = np.empty_like(patch)
    varied[..., :3] = pixels
    varied[..., 3] = 0 if rng.random() < MASK_DROPOUT else patch[..., 3]
    return varied


def draw_handwriting(
    patch: np.ndarray, label: np.ndarray, weight: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw handwriting or a stamp on a patch, at random places; the mask stays as it is.

    Args:
        patch: (side, side, 4) uint8.
        label: (n, n) float32, labels of the tiles in the middle of the patch.
        weight: (n, n) float32.
        rng: Random generator.

    Returns:
        The new patch, label and weight. Tiles with visible strokes become important; tiles with only a trace of a
        stroke get weight 0.
    """
    side, n_tiles = patch.shape[0], label.shape[0]
    strokes = np.zeros((side, side), np.float32)
    for _ in range(int(rng.integers(1, 5))):
        _paste(_draw_strokes(rng), strokes, rng)
    ink = np.array(_INKS[int(rng.integers(len(_INKS)))], np.float32) + rng.normal(0, 10, 3)
    texture = 1 + rng.normal(0, 0.12, strokes.shape)  # pencil and dry pens skip
    cover = np.clip(strokes * texture * rng.uniform(0.3, 1.0), 0, 1)[..., np.newaxis]
    before = patch[..., :3].astype(np.float32)
    after = np.clip(before * (1 - cover) + ink * cover, 0, 255)
    written = patch.copy()
    written[..., :3] = after
    margin = (side - n_tiles * CORE_PX) // 2
    middle = np.s_[margin : side - margin, margin : side - margin]

    def tiles(plane: np.ndarray) -> np.ndarray:
        return np.asarray(plane[middle].reshape(n_tiles, CORE_PX, n_tiles, CORE_PX))

    amount = tiles(strokes).sum(axis=(1, 3))
    contrast = tiles(np.abs((after - before).mean(axis=2))).max(axis=(1, 3))
    has_strokes = (amount >= LEAST_STROKE_PX) & (contrast > LEAST_STROKE_CONTRAST)
    has_trace = (amount > 0) & ~has_strokes & (label == 0)
    return (
        written,
        np.where(has_strokes, np.float32(1), label),
        np.where(has_trace, np.float32(0), np.where(has_strokes & (label == 0), np.float32(1), weight)),
    )


def _draw_strokes(rng: np.random.Generator) -> np.ndarray:
    """Return one or more strokes of writing, (side, side) float32, 0 to 1; the side is 96, 160 or 224 px."""
    side = int(rng.choice([96, 160, 224]))
    zoom = 4 if side == 96 else 2
    canvas = np.zeros((side * zoom, side * zoom), np.uint8)
    thickness = int(np.clip(rng.normal(2.2, 1.0), 0.7, 5.0) * zoom)
    for _ in range(1 if side == 96 else int(rng.integers(1, 4))):
        draw = (_draw_cursive, _draw_cursive, _draw_script, _draw_stamp)[int(rng.integers(4))]
        draw(canvas, thickness, rng)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / 255


def _paste(piece: np.ndarray, strokes: np.ndarray, rng: np.random.Generator) -> None:
    """Paste a piece of writing at a random place on the stroke plane; parts may fall outside."""
    side, reach = piece.shape[0], strokes.shape[0]
    row, col = (int(place) for place in rng.integers(-side // 2, reach - side // 2, 2))
    top, left, bottom, right = max(row, 0), max(col, 0), min(row + side, reach), min(col + side, reach)
    part = strokes[top:bottom, left:right]
    np.maximum(part, piece[top - row : bottom - row, left - col : right - col], out=part)


def _draw_cursive(canvas: np.ndarray, thickness: int, rng: np.random.Generator) -> None:
    """Draw one line of joined loops of varying size, like cursive handwriting."""
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
    """Draw letters in a script font, slanted and at any angle."""
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
    """Draw the rim of a round or square stamp, or an underline, with optional letters."""
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
