"""Measure the difference between two views of a page, over the page and in the block that differs most."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

LEAST_DPI = 50.0
"""Least resolution of a view: letters are shapes, strokes and stamps are in place, and paper grain is gone."""
BLOCK_INCH = 0.25
"""Side of a block on paper: about one line of print with its spacing, or a small stamp."""
MOST_ERROR = 12.0
"""Largest difference (grey levels, root mean square over the page) between two views of the same page."""
MOST_BLOCK = 0.8
"""Largest difference of the worst block, as a share of the block's own contrast, if nothing is missing in it.

Both bounds were chosen on all readable scans of the project's data in four profiles, where the largest values are well
below them; `docs/reliability.md` lists the planted faults that they detect.
"""
_LUMA_FLOOR, _CHROMA_FLOOR = 8.0, 12.0
"""Grey levels added to a block's contrast: much smaller differences are invisible on paper without any contrast."""
_BLUR_PX = 0.8  # two decoders and two ways of scaling may differ by a fraction of a pixel
_MOST_SIDE_PX = 4_000  # of a view; a map of more than five feet is viewed more coarsely
_LEAST_SIDE_PX = 8
_SHAPE_TOLERANCE = 0.01  # of the ratio of the sides, and one pixel


@dataclass(frozen=True)
class Difference:
    """Difference between two views of a page.

    error: Root mean square of the difference over the page, luma and chroma together, in grey levels. worst_block: The
    same over the block that differs most, divided by the larger of its contrasts in the two views; about 1 if something
    is missing or displaced, far above 1 if the paper itself has another tone.
    """

    error: float
    worst_block: float

    @property
    def is_same_page(self) -> bool:
        """Return whether both views show the same page."""
        return self.error <= MOST_ERROR and self.worst_block <= MOST_BLOCK


def look_step(dpi: float, height_px: int, width_px: int) -> int:
    """Return the factor by which an image is reduced for a view: a power of two.

    The view has at least `LEAST_DPI` and less than twice that, unless the image itself is coarser, tiny or huge.

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
    """Return whether an image has the aspect of another, (height_px, width_px)."""
    wanted_px = height_px * like[1] / like[0]
    return abs(width_px - wanted_px) <= max(1.5, 1.5 * height_px / like[0], _SHAPE_TOLERANCE * wanted_px)


def resampled(
    pixels: np.ndarray, size: tuple[int, int], per_px: tuple[float, float], start: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Return an image resampled, averaged down or interpolated up.

    Args:
        pixels: uint8, (height, width) or (height, width, 3).
        size: (height_px, width_px) of the result; beyond the image its edge is repeated.
        per_px: Vertical and horizontal pixels of the image per pixel of the result.
        start: Start of the result in the image, (row, column) in pixels of the result.
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
    """Compare two views of a page.

    Args:
        one: uint8 (height, width, 3) RGB.
        other: Another view of the same size.
        dpi: Their resolution.
        is_coarse: Whether they have about as many pixels as the page itself. They are halved then, to ignore a codec's
            effect on single pixels.

    Raises:
        ValueError: If their sizes differ.
    """
    if one.shape != other.shape:
        raise ValueError(f"views of {one.shape} and {other.shape} pixels cannot be compared")
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
    """Return Y, Cr and Cb of a view, slightly blurred, float32."""
    planes: np.ndarray = cv2.cvtColor(cv2.GaussianBlur(look, (0, 0), _BLUR_PX), cv2.COLOR_RGB2YCrCb)
    return planes.astype(np.float32)


def _squares(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the squares of luma, and the sum of the squares of both chroma planes."""
    squares = planes * planes
    return np.ascontiguousarray(squares[..., 0]), squares[..., 1] + squares[..., 2]


def _contrasts(planes: np.ndarray, cells: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of luma and of chroma in each block."""
    means = _blocks(planes, cells)
    luma, chroma = (_blocks(square, cells) for square in _squares(planes))
    mean_luma, mean_chroma = _squares(means)
    return np.maximum(luma - mean_luma, 0.0), np.maximum(chroma - mean_chroma, 0.0)


def _blocks(plane: np.ndarray, cells: tuple[int, int]) -> np.ndarray:
    """Return the means over blocks of 2 x 2 cells that overlap by half."""
    small = cv2.resize(plane, cells[::-1], interpolation=cv2.INTER_AREA)
    if min(cells) < 2:
        return small
    return np.asarray((small[:-1, :-1] + small[1:, :-1] + small[:-1, 1:] + small[1:, 1:]) / 4)


def _worst(square: np.ndarray, variance: np.ndarray, cells: tuple[int, int], floor: float) -> float:
    return float(np.sqrt((_blocks(square, cells) / (variance + floor**2)).max()))
