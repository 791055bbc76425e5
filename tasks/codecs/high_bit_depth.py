"""Read pages of more than 8 bits a sample at full depth, and round them to 8 bits."""

from __future__ import annotations

import cv2
import numpy as np

LEAST_BRIGHT = 0.5
"""Share of the range that the brightest thousandth of a page must reach. A page of 12 bits stored in 16 reaches 1/16
and would be black in 8 bits. Half the range leaves at least 7 of the 8 bits in use."""
_SAMPLED_SIDE = 1_000
_BLOCK_ROWS = 128


def fills_range(samples: np.ndarray, bits: int) -> bool:
    """Return whether a page's values use enough of 0 to 2^bits - 1 to stay distinct in 8 bits."""
    steps = [max(1, side // _SAMPLED_SIDE) for side in samples.shape[:2]]
    bright = np.percentile(samples[:: steps[0], :: steps[1]], 99.9)
    return bool(bright >= LEAST_BRIGHT * (2**bits - 1))


def to_eight_bits(samples: np.ndarray, bits: int) -> np.ndarray:
    """Return uint8 samples, rounded: 0 stays 0, 2^bits - 1 becomes 255.

    >>> to_eight_bits(np.array([0, 128, 129, 65535], np.uint16), 16).tolist()
    [0, 0, 1, 255]
    """
    most = 2**bits - 1
    table = np.rint(np.arange(65_536) * (255.0 / most)).clip(0, 255).astype(np.uint8)
    pixels = np.empty(samples.shape, np.uint8)
    for rows in _row_blocks(len(samples)):
        pixels[rows] = table[samples[rows]]
    return pixels


def agree(samples: np.ndarray, shown: np.ndarray, bits: int) -> bool:
    """Return whether deep samples match Pillow's 8-bit ones; for JPEG 2000 Pillow rounds up, and past 255 to 0."""
    if samples.shape != shown.shape:
        return False
    return all(
        bool((shown[rows] - (samples[rows] >> (bits - 8)).astype(np.uint8) <= 1).all())
        for rows in _row_blocks(len(samples))
    )


def _row_blocks(n_rows: int) -> list[slice]:
    """Return slices of a few rows: NumPy's temporary arrays of a whole page would take eight times its bytes."""
    return [slice(start, start + _BLOCK_ROWS) for start in range(0, n_rows, _BLOCK_ROWS)]


def read_full_depth(data: bytes, frame: int) -> np.ndarray | None:
    """Return a colour page's 16-bit samples, (height, width, 3 or 4) uint16 RGB or RGBA; None if OpenCV has none.

    Pillow truncates such pages to the upper eight bits.

    Args:
        data: A PNG, TIFF or JPEG 2000.
        frame: A TIFF's page; 0 for the others.
    """
    coded = np.frombuffer(data, np.uint8)
    try:
        if frame:
            _, found = cv2.imdecodemulti(coded, cv2.IMREAD_UNCHANGED, range=(frame, frame + 1))
            samples = found[0] if found else None
        else:
            samples = cv2.imdecode(coded, cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    if samples is None or samples.dtype != np.uint16 or samples.ndim != 3 or samples.shape[2] not in (3, 4):
        return None
    return np.ascontiguousarray(samples[..., [2, 1, 0, 3][: samples.shape[2]]])
