"""Arms: the ways of making a page small that are compared, and what each of them brings back of a page."""

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
"""The arm that leaves every page as it is."""


class ArmFailed(Exception):
    """An arm could not make a page; the message says why."""


@dataclass(frozen=True, eq=False)
class Made:
    """A page that an arm made.

    pixels: uint8 as decoded, of the source's height and width. size_bytes: The whole file. seconds: Of processor time;
    None where nothing was done. more: Further figures for the row.
    """

    pixels: np.ndarray
    size_bytes: int
    seconds: float | None
    more: dict[str, Any] = field(default_factory=dict)


class Arm(Protocol):
    """One way of making pages small. Arms travel to other processes, so they hold names and numbers, no pixels."""

    @property
    def name(self) -> str:
        """How it is called in rows and tables."""

    @property
    def family(self) -> str:
        """Arms of one family are points of one curve."""

    @property
    def reads_words(self) -> bool:
        """Whether its pages are read by OCR, which takes longer than all else."""

    @property
    def digest(self) -> str | None:
        """What changes when the result would; None where the name says it all."""

    def make(self, page: MarkedPage) -> Made:
        """Make the page and decode it again.

        Raises:
            ArmFailed: If it cannot be made or decoded.
        """


@dataclass(frozen=True)
class SourceArm:
    """The scans themselves: the words that are found on them are what others can keep."""

    reads_words: bool = True
    name: str = SOURCE
    family: str = SOURCE
    digest: str | None = None

    def make(self, page: MarkedPage) -> Made:
        """Return the page as it is."""
        return Made(page.pixels, page.scan.path.stat().st_size, None)


def decode(data: bytes, page: MarkedPage) -> np.ndarray:
    """Return an image file's first page, uint8, brought to the source's height and width (bicubic).

    Raises:
        ArmFailed: If the file cannot be decoded.
    """
    try:
        pixels = image_reader.read_page(data, 0, LimitSettings()).pixels
    except PageError as error:
        raise ArmFailed(f"the result cannot be decoded: {error}") from error
    return fitted(pixels, page)


def fitted(pixels: np.ndarray, page: MarkedPage) -> np.ndarray:
    """Return pixels brought to the source's height and width."""
    if pixels.shape[:2] == page.luma.shape:
        return pixels
    return cv2.resize(pixels, page.luma.shape[::-1], interpolation=cv2.INTER_CUBIC)
