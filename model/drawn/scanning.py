"""Scan a leaf: convert its tones, rotate it and compress it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from foliopress.model.drawn.ink import TRACE_CONTRAST, VISIBLE_CONTRAST, Layer, weakened
from foliopress.model.drawn.leaf import Leaf
from foliopress.model.drawn.random_choice import Rng
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.samples.lettering import Mask
from foliopress.tasks.samples.paper import ScanLook, scan, skew

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class DrawnPage:
    """A scanned page with its truth.

    pixels: uint8, (height, width) or (height, width, 3) RGB. ink: (height, width, 4) float32, for each `Layer` the grey
    levels by which its ink stands out on `pixels`. dpi: the resolution in the file, right or wrong.
    """

    pixels: Pixels
    ink: Mask
    dpi: float


def scanned(leaf: Leaf, rng: Rng) -> DrawnPage:
    """Return a simulated scan of the leaf: colour, grey, high-contrast or two-tone, often JPEG-compressed."""
    chance = rng.random()
    look = ScanLook(
        skew_degrees=float(rng.uniform(-4, 4) if chance < 0.15 else rng.normal(0, 0.8) if chance < 0.75 else 0.0),
        blur_px=float(rng.uniform(0.25, 1.3) * leaf.dpi / 200),
        noise=float(rng.choice([0.003, 0.006, 0.012, 0.012, 0.02, 0.03])),
        grain=float(rng.uniform(0.003, 0.03)),
        yellowing=float(rng.choice([0.0, 0.03, 0.08, 0.14])),
        stains=int(rng.choice([0, 0, 0, 1, 3])),
        dust=int(rng.choice([0, 8, 20, 60, 250])),
        backing=leaf.backing,
    )
    pixels = scan(leaf.light, rng, look)
    # Blur without skew or skew without blur: the ink is transformed as `scan` transforms the light.
    ink = skew(leaf.ink, look.skew_degrees, (0.0, 0.0, 0.0)) if look.skew_degrees else leaf.ink
    ink = np.asarray(cv2.GaussianBlur(ink, (0, 0), look.blur_px), np.float32)
    # A wrong tag is accepted within a factor of two: see `tasks.ocr.recognition.estimate_dpi`.
    page = DrawnPage(pixels, ink, leaf.dpi * (1.0 if rng.random() < 0.75 else float(rng.uniform(0.65, 1.5))))
    page = _with_random_tones(page, rng)
    return _as_jpeg(page, int(rng.integers(25, 91))) if rng.random() < 0.85 else page


def rotated_page(page: DrawnPage, quarters: int) -> DrawnPage:
    """Return the page rotated anticlockwise by `quarters` right angles."""
    pixels = np.ascontiguousarray(np.rot90(page.pixels, quarters))
    return replace(page, pixels=pixels, ink=np.ascontiguousarray(np.rot90(page.ink, quarters)))


def apply_tone_curve(page: DrawnPage, curve: Pixels) -> DrawnPage:
    """Return the page with a tone curve of 256 levels applied to every channel, and its ink updated.

    The curve is applied to the page's own levels and to its levels without ink, so the page must be dark on light.
    """
    pixels = np.asarray(cv2.LUT(page.pixels, curve), np.uint8)
    left = np.empty_like(page.ink)
    for layer in Layer:
        ink = page.ink[..., layer] if page.pixels.ndim == 2 else page.ink[..., layer, None]
        bare = np.clip(page.pixels + ink, 0, 255).astype(np.uint8)
        difference = cv2.absdiff(luma_of(np.asarray(cv2.LUT(bare, curve), np.uint8)), luma_of(pixels))
        left[..., layer] = np.where(page.ink[..., layer] >= TRACE_CONTRAST, difference, 0)
    return replace(page, pixels=pixels, ink=weakened(page.ink, left))


def _with_random_tones(page: DrawnPage, rng: Rng) -> DrawnPage:
    """Keep the page in colour, or make it grey, high-contrast or two-tone, without losing most of its ink."""
    chance = rng.random()
    grey = replace(page, pixels=luma_of(page.pixels))
    paper = float(np.percentile(grey.pixels[::4, ::4], 70))
    if chance > 0.45:
        return page
    if chance > 0.3 or paper < 130:
        return grey
    levels = np.arange(256, dtype=np.float32)
    if chance > 0.16:
        dark, light = rng.uniform(0, 0.3) * paper, rng.uniform(0.85, 1.1) * paper
        curve = np.clip((levels - dark) / (light - dark) * 255, 0, 255)
    else:
        curve = np.where(levels > paper * rng.uniform(0.6, 0.85), 255, 0)
    is_grey = chance <= 0.16 or rng.random() < 0.5
    hard = apply_tone_curve(grey if is_grey else page, np.asarray(curve, np.uint8))
    return hard if _readable(hard) > 0.7 * _readable(page) else page


def _readable(page: DrawnPage) -> int:
    """Return the number of pixels with readable ink."""
    return int((page.ink >= VISIBLE_CONTRAST).sum())


def _as_jpeg(page: DrawnPage, quality: int) -> DrawnPage:
    """Return the page after JPEG compression; quality 0 to 100."""
    # OpenCV expects blue, green, red; reversing twice restores the order.
    pixels = page.pixels[..., ::-1] if page.pixels.ndim == 3 else page.pixels
    coded = cv2.imencode(".jpg", np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8)
    return replace(page, pixels=np.ascontiguousarray(pixels[..., ::-1]) if pixels.ndim == 3 else pixels)
