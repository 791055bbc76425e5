"""Define the arms of the comparison: ways of compressing a page, each with its decoded result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np

from benchmarks.marked import MarkedPage
from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import image_reader

SOURCE = "source"
"""The arm that leaves every page unchanged."""


class ArmFailed(Exception):
    """An arm could not process a page; the message gives the reason."""


@dataclass(frozen=True, eq=False)
class ArmResult:
    """A page processed by an arm.

    pixels: uint8, decoded, with the source's height and width. size_bytes: Size of the whole file. seconds: Processor
    time; None if nothing was done. more: Further values for the row.
    """

    pixels: np.ndarray
    size_bytes: int
    seconds: float | None
    more: dict[str, Any] = field(default_factory=dict)


class Arm(Protocol):
    """One way of compressing pages. Arms are sent to other processes, so they hold names and numbers, not pixels."""

    @property
    def name(self) -> str:
        """Name in rows and tables."""

    @property
    def family(self) -> str:
        """Name of the curve that this arm is a point of."""

    @property
    def reads_words(self) -> bool:
        """Whether its pages are read by OCR, which takes most of the time."""

    @property
    def digest(self) -> str | None:
        """Digest that changes whenever the result would; None if the name determines the result."""

    def make(self, page: MarkedPage) -> ArmResult:
        """Compress the page and decode the result.

        Raises:
            ArmFailed: If encoding or decoding fails.
        """


@dataclass(frozen=True)
class SourceArm:
    """The scans themselves: the words found on them are the upper limit for the others."""

    reads_words: bool = True
    name: str = SOURCE
    family: str = SOURCE
    digest: str | None = None

    def make(self, page: MarkedPage) -> ArmResult:
        """Return the page unchanged."""
        return ArmResult(page.pixels, page.scan.path.stat().st_size, None)


def decode(data: bytes, page: MarkedPage) -> np.ndarray:
    """Return an image file's first page, uint8, resized to the source's height and width (bicubic).

    Raises:
        ArmFailed: If the file cannot be decoded.
    """
    try:
        pixels = image_reader.read_page(data, 0, LimitSettings()).pixels
    except PageError as error:
        raise ArmFailed(f"the result cannot be decoded: {error}") from error
    return resized(pixels, page)


def resized(pixels: np.ndarray, page: MarkedPage) -> np.ndarray:
    """Return pixels resized to the source's height and width."""
    if pixels.shape[:2] == page.luma.shape:
        return pixels
    return cv2.resize(pixels, page.luma.shape[::-1], interpolation=cv2.INTER_CUBIC)
