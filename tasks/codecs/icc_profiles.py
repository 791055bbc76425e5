"""Check ICC colour profiles, convert colours to sRGB, and replace a large profile by a compact approximation.

A scanner's own profile can be ten times its page's bytes. The compact one maps every colour to nearly the same Lab: one
table from the device's RGB to Lab on a coarse grid, fitted so that interpolated colours are right.
"""

from __future__ import annotations

import io
import struct
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

COMPACT_GRIDS = (5, 7, 9, 11, 12, 13, 15, 17)
"""Grid points per side of the tables that are tried, smallest first."""
MOST_MEAN_ERROR, MOST_HIGH_ERROR = 1.0, 3.5
"""Largest mean and 99th percentile of the colour difference (CIE 1976) between a compact profile and its original, over
all device colours; Lab has 8 bits on both sides, which alone causes up to 0.7."""

_FIT_LEVELS, _CHECK_LEVELS = 33, 29
_FIT_STEPS, _FIT_ANCHOR = 40, 1e-3
_D50 = (0xF6D6, 0x10000, 0xD32D)  # the PCS illuminant in s15Fixed16 (ICC.1:2010, 7.2.16)
_LARGEST_TEXT = 80
_PRECISE = ImageCms.Flags.NOOPTIMIZE | ImageCms.Flags.NOCACHE
_CMS_ERRORS = (ImageCms.PyCMSError, OSError, TypeError, ValueError)


def space_of(icc: bytes) -> str:
    """Return the colour space of a profile's device: `RGB`, `GRAY`, `CMYK`, …; empty if it cannot be used."""
    if not 132 <= int.from_bytes(icc[:4]) <= len(icc) or icc[36:40] != b"acsp":
        return ""
    try:
        return str(ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.xcolor_space).strip()
    except _CMS_ERRORS:
        return ""


def is_table(icc: bytes) -> bool:
    """Return whether a profile uses colour tables, not only a matrix and curves."""
    return any(name in _tags(icc) for name in (b"A2B0", b"A2B1", b"A2B2", b"D2B0"))


def to_srgb(image: Image.Image, icc: bytes | None = None) -> np.ndarray | None:
    """Return an image's colours in sRGB, (height, width, 3) uint8, by the profile's own rendering intent.

    Args:
        image: Mode L, RGB or CMYK with a profile of that space, or mode LAB without one.
        icc: Its profile.

    Returns:
        None if the profile does not fit the image.
    """
    try:
        if icc is None:
            own = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            own = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        converted = ImageCms.profileToProfile(
            image,
            own,
            ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
            renderingIntent=_intent(icc) if icc else ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except _CMS_ERRORS:
        return None
    return None if converted is None else np.array(converted)


@lru_cache(maxsize=8)
def compact_profile(icc: bytes) -> bytes | None:
    """Return a small profile that maps every device colour to nearly the same Lab as a large one.

    Its table of 8 bits (lut8Type, ICC.1:2010, 10.9) is fitted to the original's own rendering intent and used for all
    intents; description, copyright and white point are the original's.

    Args:
        icc: A profile of an RGB device.

    Returns:
        None if the profile cannot be used, or no grid of `COMPACT_GRIDS` is accurate enough.
    """
    if space_of(icc) != "RGB":
        return None
    try:
        fitted = _Samples(icc, _FIT_LEVELS)
        check = _Samples(icc, _CHECK_LEVELS)
        for grid in COMPACT_GRIDS:
            small = _profile(icc, fitted.table(grid), grid)
            error = np.linalg.norm(_lab(small, check.rgb) - check.lab, axis=1)
            if float(error.mean()) <= MOST_MEAN_ERROR and np.percentile(error, 99) <= MOST_HIGH_ERROR:
                return small if len(small) < len(icc) else None
    except _CMS_ERRORS:
        return None
    return None


class _Samples:
    """Evenly spaced device colours, and their Lab by a profile."""

    def __init__(self, icc: bytes, levels: int) -> None:
        self._icc = icc
        self.rgb = _lattice(np.rint(np.linspace(0, 255, levels)).astype(np.uint8))
        self.lab = _lab(icc, self.rgb)

    def table(self, grid: int) -> np.ndarray:
        """Return (grid³, 3) float Lab at a grid's points that reproduces the samples with least square error.

        The grid is interpolated in tetrahedra, as colour engines do. Conjugate gradients on the normal equations start
        from the profile's own Lab at the points; `_FIT_ANCHOR` keeps points without nearby samples close to it. Black
        and white are the profile's own: the eye adapts to them.
        """
        corners, weights = _tetrahedra(self.rgb / 255.0, grid)
        flat = corners.ravel()
        start = _lab(self._icc, _lattice(np.rint(np.linspace(0, 255, grid)).astype(np.uint8)))

        def between(table: np.ndarray) -> np.ndarray:
            return np.asarray((table[corners] * weights[..., np.newaxis]).sum(axis=1))

        def back(values: np.ndarray) -> np.ndarray:
            shared = (weights[..., np.newaxis] * values[:, np.newaxis]).reshape(-1, 3)
            return np.stack([np.bincount(flat, shared[:, axis], minlength=grid**3) for axis in range(3)], axis=1)

        change = np.zeros_like(start)
        residual = back(self.lab - between(start))
        direction, size = residual.copy(), float((residual**2).sum())
        for _ in range(_FIT_STEPS):
            if size < 1e-6:
                break
            image = back(between(direction)) + _FIT_ANCHOR * direction
            step = size / float((direction * image).sum())
            change += step * direction
            residual -= step * image
            previous, size = size, float((residual**2).sum())
            direction = residual + size / previous * direction
        change[[0, -1]] = 0.0
        return np.asarray(start + change)


def _lattice(levels: np.ndarray) -> np.ndarray:
    """Return (n³, 3) uint8: every colour of n levels, red varying slowest."""
    return np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)


def _tetrahedra(places: np.ndarray, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Return (n, 4) indices of grid points and their weights for positions (n, 3) in [0, 1].

    The tetrahedron's corners lead from a cell's lowest corner to its highest, along the axes in descending order of the
    fraction.
    """
    scaled = places * (grid - 1)
    lowest = np.minimum(scaled.astype(np.int64), grid - 2)
    fractions = scaled - lowest
    order = np.argsort(-fractions, axis=1, kind="stable")
    falling = np.take_along_axis(fractions, order, axis=1)
    steps = np.array([grid * grid, grid, 1])[order]
    corners = (lowest @ np.array([grid * grid, grid, 1]))[:, np.newaxis] + np.cumsum(
        np.concatenate([np.zeros((len(places), 1), np.int64), steps], axis=1), axis=1
    )
    ends = np.concatenate([np.ones((len(places), 1)), falling, np.zeros((len(places), 1))], axis=1)
    return corners, ends[:, :-1] - ends[:, 1:]


def _lab(icc: bytes, rgb: np.ndarray) -> np.ndarray:
    """Return (n, 3) float Lab of (n, 3) uint8 device colours, by a profile's own rendering intent."""
    transform = ImageCms.buildTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(icc)),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")),
        "RGB",
        "LAB",
        renderingIntent=_intent(icc),
        flags=_PRECISE,
    )
    colours = Image.fromarray(np.ascontiguousarray(rgb.reshape(1, -1, 3)))
    converted = ImageCms.applyTransform(colours, transform)
    if converted is None:
        raise ValueError("the colours could not be converted")
    planes = np.frombuffer(converted.tobytes(), np.uint8).reshape(-1, 3)
    return np.concatenate([planes[:, :1] * (100.0 / 255.0), planes[:, 1:].view(np.int8).astype(np.float64)], axis=1)


def _intent(icc: bytes) -> ImageCms.Intent:
    """Return a profile's rendering intent; absolute uses the same table as relative, and differs in the white point."""
    number = int.from_bytes(icc[64:68])
    return ImageCms.Intent(number) if number < 3 else ImageCms.Intent.RELATIVE_COLORIMETRIC


def _tags(icc: bytes) -> dict[bytes, bytes]:
    """Return a profile's tags by signature (ICC.1:2010, 7.3), without those that extend past its end."""
    found = {}
    for number in range(min(100, int.from_bytes(icc[128:132]))):
        entry = icc[132 + 12 * number : 144 + 12 * number]
        if len(entry) < 12:
            break
        name, start, size = struct.unpack(">4sII", entry)
        if start + size <= len(icc):
            found[name] = icc[start : start + size]
    return found


def _profile(icc: bytes, table: np.ndarray, grid: int) -> bytes:
    """Return an input profile of version 2.4 with one table, and the original's dates and device in its header."""
    old = ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile
    described = _ascii(f"{old.profile_description or 'RGB'} (stand-in)")
    parts = {
        b"cprt": b"text" + bytes(4) + _ascii(old.copyright or "none") + b"\0",
        b"desc": b"desc" + bytes(4) + struct.pack(">I", len(described) + 1) + described + b"\0" + bytes(8 + 3 + 67),
        b"wtpt": _tags(icc).get(b"wtpt", b"")[:20],
        b"A2B0": _lut8(table, grid),
    }
    if parts[b"wtpt"][:4] != b"XYZ " or len(parts[b"wtpt"]) < 20:
        parts[b"wtpt"] = b"XYZ " + bytes(4) + struct.pack(">3I", *_D50)
    at = 128 + 4 + 12 * len(parts)
    entries, contents = struct.pack(">I", len(parts)), b""
    for name, content in parts.items():
        entries += name + struct.pack(">II", at + len(contents), len(content))
        contents += content + bytes(-len(content) % 4)
    header = bytearray(128)
    header[:4] = struct.pack(">I", at + len(contents))
    header[8:24] = b"\x02\x40\0\0scnrRGB Lab "
    header[24:40] = icc[24:36] + b"acsp"
    header[48:68] = icc[48:64] + struct.pack(">I", _intent(icc))
    header[68:80] = struct.pack(">3I", *_D50)
    return bytes(header) + entries + contents


def _lut8(table: np.ndarray, grid: int) -> bytes:
    """Return a lut8Type: no matrix, linear curves, (grid³, 3) Lab in 8 bits (ICC.1:2010, 10.9 and 6.3.4.2)."""
    levels: np.ndarray = np.clip(np.rint(table * [2.55, 1, 1] + [0, 128, 128]), 0, 255).astype(np.uint8)
    straight = bytes(range(256)) * 3
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    return b"mft1" + bytes(4) + bytes([3, 3, grid, 0]) + unit + straight + levels.tobytes() + straight


def _ascii(text: str) -> bytes:
    return bytes(text.encode("ascii", "replace")[:_LARGEST_TEXT])
