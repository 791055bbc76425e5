"""Compare: hold two looks at a page against each other, over the page and in the block that differs most."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LEAST_DPI = 50.0
"""Least resolution of a look: letters are shapes, strokes and stamps are in place, and paper grain is gone."""
BLOCK_INCH = 0.25
"""Side of a block on paper: about one line of print with its spacing, or a small stamp."""
MOST_ERROR = 12.0
"""Grey levels (root mean square over the page) up to which two looks show the same page."""
MOST_BLOCK = 0.8
"""Difference of the worst block, as a share of the block's own contrast, up to which nothing is missing in it.

Both bounds were chosen on all readable scans of the project's data in four profiles, where the largest values are well
below them; `docs/reliability.md` tells which planted faults they catch.
"""
_LUMA_FLOOR, _CHROMA_FLOOR = 8.0, 12.0
"""Grey levels added to a block's contrast: differences far below them are not seen on paper without any contrast."""
_BLUR_PX = 0.8  # two decoders and two ways of scaling may differ by a fraction of a pixel
_MOST_SIDE_PX = 4_000  # of a look; a map of more than five feet is looked at in a coarser way
_LEAST_SIDE_PX = 8
_SHAPE_TOLERANCE = 0.01  # of the ratio of the sides, and one pixel


@dataclass(frozen=True)
class Difference:
    """How far two looks at a page are apart.

    error: Root mean square of the difference over the page, luma and chroma together, in grey levels. worst_block: The
    same over the block that differs most, divided by the contrast that it has in either look; about 1 where something
    is missing or elsewhere, far above 1 where the paper itself has another tone.
    """

    error: float
    worst_block: float

    @property
    def is_same_page(self) -> bool:
        """Return whether both looks show the same page."""
        return self.error <= MOST_ERROR and self.worst_block <= MOST_BLOCK


def look_step(dpi: float, height_px: int, width_px: int) -> int:
    """Return how many pixels of an image, each way, become one of a look: a power of two.

    The look has `LEAST_DPI` at least and less than twice that, unless the image is coarser itself, tiny or huge.

    >>> [look_step(dpi, 3508, 2480) for dpi in (72, 150, 200, 300, 600)]
    [1, 2, 4, 4, 8]
    """
    step = 1
    while max(height_px, width_px) / step > _MOST_SIDE_PX or (
        dpi / step >= 2 * LEAST_DPI and min(height_px, width_px) / step >= 2 * _LEAST_SIDE_PX
    ):
        step *= 2
    return step


def has_same_aspect(height_px: int, width_px: int, like: tuple[float, float]) -> bool:
    """Return whether an image has the proportions of another, (height_px, width_px)."""
    wanted_px = height_px * like[1] / like[0]
    return abs(width_px - wanted_px) <= max(1.5, 1.5 * height_px / like[0], _SHAPE_TOLERANCE * wanted_px)


def resampled(
    pixels: np.ndarray, size: tuple[int, int], per_px: tuple[float, float], start: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Return an image averaged down, or interpolated up.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        size: (height_px, width_px) of the result; what it has more than the image is drawn out from the edge.
        per_px: How many pixels of the image, down and across, become one of the result.
        start: Where in the image the result begins, (row, column) in pixels of the result.
    """
    down, across = per_px
    while down >= 2 and across >= 2:  # halving is ten times as fast as any other averaging
        if pixels.shape[0] % 2 or pixels.shape[1] % 2:
            rest = pixels.shape[0] % 2, pixels.shape[1] % 2
            pixels = cv2.copyMakeBorder(pixels, 0, rest[0], 0, rest[1], cv2.BORDER_REPLICATE)
        half = pixels.shape[1] // 2, pixels.shape[0] // 2
        pixels = cv2.resize(pixels, half, interpolation=cv2.INTER_AREA)
        down, across = down / 2, across / 2
    if (down, across, *start) == (1, 1, 0, 0) and pixels.shape[:2] == size:
        return pixels
    row, col = start
    place = np.array([[across, 0, across * (col + 0.5) - 0.5], [0, down, down * (row + 0.5) - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    result: np.ndarray = cv2.warpAffine(pixels, place, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return result


def difference(one: np.ndarray, other: np.ndarray, dpi: float, *, is_coarse: bool = False) -> Difference:
    """Compare two looks at a page.

    Args:
        one: uint8 (height, width, 3) RGB.
        other: The same of the same size.
        dpi: Their resolution.
        is_coarse: Whether they hold about as many pixels as the page itself. Half as many are compared then: what a
            codec does to single pixels is not looked at.

    Raises:
        ValueError: If their sizes differ.
    """
    if one.shape != other.shape:
        raise ValueError(f"looks of {one.shape} and {other.shape} pixels cannot be compared")
    if is_coarse and min(one.shape[:2]) >= 2 * _LEAST_SIDE_PX:
        half = -(-one.shape[0] // 2), -(-one.shape[1] // 2)
        one, other, dpi = resampled(one, half, (2, 2)), resampled(other, half, (2, 2)), dpi / 2
    a, b = _planes(one), _planes(other)
    delta = a - b
    luma, chroma = _squares(delta)
    cells = max(1, round(2 * one.shape[0] / (BLOCK_INCH * dpi))), max(1, round(2 * one.shape[1] / (BLOCK_INCH * dpi)))
    contrasts = [_contrasts(planes, cells) for planes in (a, b)]
    worst = max(
        _worst(square, np.maximum(*variances), cells, floor)
        for square, variances, floor in zip(
            (luma, chroma), zip(*contrasts, strict=True), (_LUMA_FLOOR, _CHROMA_FLOOR), strict=True
        )
    )
    return Difference(float(np.sqrt(luma.mean() + chroma.mean())), worst)


def _planes(look: np.ndarray) -> np.ndarray:
    """Return Y, Cr and Cb of a look, a little softened, float32."""
    planes: np.ndarray = cv2.cvtColor(cv2.GaussianBlur(look, (0, 0), _BLUR_PX), cv2.COLOR_RGB2YCrCb)
    return planes.astype(np.float32)


def _squares(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the squares of luma, and of both chroma planes together."""
    squares = planes * planes
    return np.ascontiguousarray(squares[..., 0]), squares[..., 1] + squares[..., 2]


def _contrasts(planes: np.ndarray, cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of luma and of chroma in each block."""
    means = _blocks(planes, cells)
    luma, chroma = (_blocks(square, cells) for square in _squares(planes))
    mean_luma, mean_chroma = _squares(means)
    return np.maximum(luma - mean_luma, 0.0), np.maximum(chroma - mean_chroma, 0.0)


def _blocks(plane: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Return the means over blocks of 2 x 2 cells, each half over its neighbour."""
    small = cv2.resize(plane, cells[::-1], interpolation=cv2.INTER_AREA)
    if min(cells) < 2:
        return small
    return np.asarray((small[:-1, :-1] + small[1:, :-1] + small[:-1, 1:] + small[1:, 1:]) / 4)


def _worst(square: np.ndarray, variance: np.ndarray, cells: tuple[int, int], floor: float) -> float:
    return float(np.sqrt((_blocks(square, cells) / (variance + floor**2)).max()))
