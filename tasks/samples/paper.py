"""Make generated pages look scanned: paper, age, ink and the scanner's own marks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from foliopress.tasks.samples.lettering import Mask

Light = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

BLACK: Colour = (0.09, 0.08, 0.08)
BLUE_BLACK: Colour = (0.13, 0.16, 0.33)
VIOLET: Colour = (0.36, 0.24, 0.55)
RED: Colour = (0.72, 0.16, 0.15)
PENCIL: Colour = (0.42, 0.42, 0.43)

WHITE_PAPER: Colour = (0.96, 0.96, 0.95)
CREAM_PAPER: Colour = (0.94, 0.91, 0.83)
OLD_PAPER: Colour = (0.89, 0.83, 0.70)


class Sheet:
    """A sheet of paper to draw on; positions and lengths are in millimetres from its top left corner.

    `light` is (height, width, 3) float32 RGB, 0 to 1: the light reflected by the sheet.
    """

    def __init__(self, height_mm: float, width_mm: float, dpi: float, paper: Colour = CREAM_PAPER) -> None:
        self.dpi = dpi
        self.height_mm, self.width_mm = height_mm, width_mm
        self.light: Light = np.empty((self.px(height_mm), self.px(width_mm), 3), np.float32)
        self.light[:] = paper

    def px(self, length_mm: float) -> int:
        """Return a length in whole pixels."""
        return round(length_mm / 25.4 * self.dpi)

    def mm(self, length_px: int) -> float:
        """Return a length in millimetres."""
        return length_px / self.dpi * 25.4

    def lay(self, mask: Mask, top_mm: float, left_mm: float, colour: Colour = BLACK, strength: float = 1.0) -> None:
        """Put ink where the mask is; ink on ink darkens. Cut off the part outside the sheet."""
        row, col = self.px(top_mm), self.px(left_mm)
        top, left = max(row, 0), max(col, 0)
        bottom = min(row + mask.shape[0], self.light.shape[0])
        right = min(col + mask.shape[1], self.light.shape[1])
        if top >= bottom or left >= right:
            return
        cover = mask[top - row : bottom - row, left - col : right - col, None] * np.float32(strength)
        self.light[top:bottom, left:right] *= 1 - cover * (1 - np.array(colour, np.float32))

    def paint(self, mask: Mask, top_mm: float, left_mm: float, colour: Colour) -> None:
        """Put opaque colour where the mask is, such as gold on a dark cover; the mask must start inside the sheet."""
        row, col = self.px(top_mm), self.px(left_mm)
        part = self.light[row : row + mask.shape[0], col : col + mask.shape[1]]
        cover = mask[: part.shape[0], : part.shape[1], None]
        part += cover * (np.array(colour, np.float32) - part)

    def rule(
        self,
        start_mm: tuple[float, float],
        end_mm: tuple[float, float],
        width_mm: float = 0.25,
        colour: Colour = BLACK,
        strength: float = 1.0,
    ) -> None:
        """Draw a straight line between two points (row, col)."""
        self.curve(np.array([start_mm, end_mm], np.float64), width_mm, colour, strength)

    def curve(
        self,
        points_mm: npt.NDArray[np.float64],
        width_mm: float = 0.25,
        colour: Colour = BLACK,
        strength: float = 1.0,
    ) -> None:
        """Draw a line through (n, 2) points (row, col)."""
        zoom = 2
        low = np.floor(points_mm.min(axis=0) - width_mm - 0.5)
        high = np.ceil(points_mm.max(axis=0) + width_mm + 0.5)
        height, width = (max(self.px(float(length)), 1) for length in high - low)
        canvas = np.zeros((height * zoom, width * zoom), np.uint8)
        pixels = np.round((points_mm - low)[:, ::-1] / 25.4 * self.dpi * zoom * 8).astype(np.int32)
        pen = max(round(width_mm / 25.4 * self.dpi * zoom), 1)
        cv2.polylines(canvas, [pixels.reshape(-1, 1, 2)], False, 255, pen, cv2.LINE_AA, 3)
        mask = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
        self.lay(np.asarray(mask, np.float32) / np.float32(255), float(low[0]), float(low[1]), colour, strength)


@dataclass(frozen=True)
class ScanLook:
    """Effects of age and scanning on a sheet; 0 turns an effect off."""

    skew_degrees: float = 0.0
    blur_px: float = 0.6
    """Standard deviation of the lens blur."""
    noise: float = 0.012
    """Standard deviation of the sensor noise, as a fraction of full light."""
    grain: float = 0.02
    """Contrast of the paper's fibres."""
    yellowing: float = 0.06
    """Darkening and browning of the edges against the middle."""
    stains: int = 0
    gutter: float = 0.0
    """Shadow along the left edge, where a book is bound."""
    bleed: float = 0.0
    """Strength of show-through from the back of the leaf; the mirrored front stands in for the back."""
    dust: int = 12
    fading: float = 0.0
    """Share of the contrast that is lost."""
    backing: Colour = (0.16, 0.15, 0.15)
    """Colour of the scanner's lid, visible around a skewed sheet."""


def scan(light: Light, rng: np.random.Generator, look: ScanLook) -> npt.NDArray[np.uint8]:
    """Return a scan of a sheet.

    Args:
        light: (height, width, 3) float32 RGB, 0 to 1; not modified.
        rng: Source of grain, stains, dust and noise.
        look: Effects of age and scanning.

    Returns:
        (height, width, 3) uint8 RGB of the same size.
    """
    height, width = light.shape[:2]
    page = light.copy()
    if look.bleed:
        back = cv2.GaussianBlur(page[:, ::-1], (0, 0), width / 700)
        page *= 1 - look.bleed * (1 - back / back.max())
    if look.fading:
        page += look.fading * (np.median(page, axis=(0, 1)).astype(np.float32) - page)
    page *= _fibres(height, width, look.grain, rng)[:, :, None]
    if look.yellowing:
        page *= _age(height, width, look.yellowing, rng)
    for _ in range(look.stains):
        _stain(page, rng)
    if look.gutter:
        shade = look.gutter * np.exp(-np.arange(width, dtype=np.float32) / (0.035 * width))
        page *= (1 - shade)[None, :, None]
    _scatter_dust(page, look.dust, rng)
    if look.skew_degrees:
        page = skew(page, look.skew_degrees, look.backing)
    if look.blur_px:
        page = np.asarray(cv2.GaussianBlur(page, (0, 0), look.blur_px), np.float32)
    page += rng.standard_normal((height, width, 1), np.float32) * np.float32(look.noise)
    page += rng.standard_normal((height, width, 3), np.float32) * np.float32(look.noise / 3)
    return np.asarray(np.clip(page * 255 + 0.5, 0, 255), np.uint8)


def skew(light: Light, degrees: float, backing: Colour) -> Light:
    """Return the sheet rotated anticlockwise about its centre at the same size, the corners filled with `backing`."""
    height, width = light.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turned = cv2.warpAffine(
        light, turn, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=backing
    )
    return np.asarray(turned, np.float32)


def cloud(height: int, width: int, cell_px: float, rng: np.random.Generator, octaves: int = 4) -> Mask:
    """Return smooth noise in [0, 1], (height, width): `octaves` layers, the coarsest with cells of `cell_px`."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        size = max(cell_px / 2**octave, 1)
        coarse = rng.standard_normal((int(height / size) + 4, int(width / size) + 4), np.float32)
        fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        total += np.asarray(fine, np.float32) / np.float32(1.8**octave)
    low, high = float(total.min()), float(total.max())
    return (total - np.float32(low)) / np.float32(high - low or 1)


def worn(mask: Mask, rng: np.random.Generator, wear: float, cell_px: float = 5.0) -> Mask:
    """Return the ink with gaps and thin spots, as left by a dry stamp or a worn ribbon; wear 0 to 1."""
    height, width = mask.shape
    fine = cloud(height, width, cell_px, rng, octaves=2)
    cover = fine * np.float32(0.6) + cloud(height, width, cell_px * 14, rng, octaves=2) * np.float32(0.4)
    left = np.clip((cover - 0.62 * wear) * 6 + 0.75 * (1 - wear), 0, 1).astype(np.float32)
    return np.asarray(mask * left, np.float32)


def turned(mask: Mask, degrees: float) -> Mask:
    """Return the mask rotated anticlockwise, enlarged so that nothing is cut off."""
    height, width = mask.shape
    sine, cosine = abs(math.sin(math.radians(degrees))), abs(math.cos(math.radians(degrees)))
    new_width, new_height = math.ceil(height * sine + width * cosine), math.ceil(height * cosine + width * sine)
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    turn[:, 2] += ((new_width - width) / 2, (new_height - height) / 2)
    return np.asarray(cv2.warpAffine(mask, turn, (new_width, new_height), flags=cv2.INTER_LINEAR), np.float32)


def _fibres(height: int, width: int, grain: float, rng: np.random.Generator) -> Mask:
    fine = rng.standard_normal((height, width), np.float32)
    fine = np.asarray(cv2.GaussianBlur(fine, (0, 0), sigmaX=1.4, sigmaY=0.8), np.float32)
    wide = cloud(height, width, max(height, width) / 12, rng, octaves=3) - np.float32(0.5)
    return 1 + np.float32(grain) * (fine * np.float32(1.5) + wide * np.float32(1.5))


def _age(height: int, width: int, yellowing: float, rng: np.random.Generator) -> Light:
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    cols = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    edge = np.clip(np.maximum(np.abs(rows), np.abs(cols)) * 1.1 - 0.35, 0, 1) ** 3
    edge = edge * (0.5 + cloud(height, width, width / 6, rng, octaves=3)) + np.float32(0.15)
    return np.asarray(1 - yellowing * edge[:, :, None] * np.array([0.7, 1.1, 2.0], np.float32), np.float32)


def _stain(page: Light, rng: np.random.Generator) -> None:
    """Draw the stain of a dried drop, with a dark rim."""
    height, width = page.shape[:2]
    radius = int(width * rng.uniform(0.02, 0.09))
    side = 4 * radius
    row, col = int(rng.integers(0, height - 1)) - side // 2, int(rng.integers(0, width - 1)) - side // 2
    rows, cols = np.mgrid[-2 : 2 : side * 1j, -2 : 2 : side * 1j].astype(np.float32)
    distance = np.hypot(rows, cols) + 0.35 * (cloud(side, side, side / 4, rng) - np.float32(0.5))
    spot = 0.35 / (1 + np.exp((distance - 1) * 22)) + 0.65 * np.exp(-(((distance - 1) / 0.07) ** 2))
    top, left = max(row, 0), max(col, 0)
    part = page[top : row + side, left : col + side]
    cover = spot[top - row :, left - col :][: part.shape[0], : part.shape[1], None].astype(np.float32)
    part *= 1 - cover * np.float32(rng.uniform(0.25, 0.6)) * np.array([0.22, 0.32, 0.5], np.float32)


def _scatter_dust(page: Light, count: int, rng: np.random.Generator) -> None:
    height, width = page.shape[:2]
    for _ in range(count):
        middle = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        axes = (int(rng.integers(1, max(width // 900, 1) + 2)), int(rng.integers(1, 3)))
        shade = float(rng.uniform(0.3, 0.7))
        cv2.ellipse(page, middle, axes, float(rng.uniform(0, 180)), 0, 360, (shade, shade * 0.95, shade * 0.85), -1)
