"""Draw on a sheet of paper, and record all ink."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from foliopress.model.drawn.ink import Layer
from foliopress.tasks.samples.lettering import Mask
from foliopress.tasks.samples.paper import BLACK, CREAM_PAPER, Colour, Light, Sheet

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as `tasks.codecs.luma.luma_of`

Box = tuple[float, float, float, float]
"""(top, left, bottom, right) of an area of a sheet, in millimetres from its top left corner."""
Place = tuple[float, float]
"""(top, left) of a place on a sheet, in millimetres from its top left corner."""


class TracedSheet(Sheet):
    """A sheet that records the place and the kind of all its ink.

    `ink` is (height, width, 4) float32, one plane per `Layer`: the grey levels (0 to 255) by which the ink changed the
    sheet's luma. Ink lighter than the paper is opaque, like white ink on black card.
    """

    def __init__(self, height_mm: float, width_mm: float, dpi: float, paper: Colour = CREAM_PAPER) -> None:
        super().__init__(height_mm, width_mm, dpi, paper)
        self.paper = paper
        self.ink: Mask = np.zeros((*self.light.shape[:2], len(Layer)), np.float32)
        self._layer = Layer.PRINT

    @property
    def is_dark(self) -> bool:
        """Whether the paper itself is closer to black than to white."""
        return bool(np.dot(self.paper, _LUMA) < 0.5)

    @contextmanager
    def layer(self, layer: Layer) -> Iterator[None]:
        """Assign all ink drawn inside the block to this layer."""
        before, self._layer = self._layer, layer
        try:
            yield
        finally:
            self._layer = before

    def lay(self, mask: Mask, top_mm: float, left_mm: float, colour: Colour = BLACK, strength: float = 1.0) -> None:
        """Apply ink through the mask; anything outside the sheet is cut off."""
        if np.dot(colour, _LUMA) > np.dot(self.paper, _LUMA):
            self.paint(mask * np.float32(strength), top_mm, left_mm, colour)
            return
        part = self._part(mask, top_mm, left_mm)
        before = self.light[part] @ _LUMA
        super().lay(mask, top_mm, left_mm, colour, strength)
        self._trace(part, before)

    def paint(self, mask: Mask, top_mm: float, left_mm: float, colour: Colour) -> None:
        """Apply opaque colour through the mask; anything outside the sheet is cut off."""
        part = self._part(mask, top_mm, left_mm)
        before = self.light[part] @ _LUMA
        on_sheet = mask[max(-self.px(top_mm), 0) :, max(-self.px(left_mm), 0) :]
        super().paint(on_sheet, max(top_mm, 0.0), max(left_mm, 0.0), colour)
        self._trace(part, before)

    def print_picture(self, picture: Light, top_mm: float, left_mm: float) -> None:
        """Print a picture of (height, width, 3); its white counts as picture too. Its corner must be on the sheet."""
        part = self._part(picture[..., 0], top_mm, left_mm)
        self.light[part] *= picture[: self.light[part].shape[0], : self.light[part].shape[1]]
        self.ink[part][..., Layer.PICTURE] = 255

    def _part(self, mask: Mask, top_mm: float, left_mm: float) -> tuple[slice, slice]:
        """Return the rows and columns of the sheet that a mask covers."""
        row, col = self.px(top_mm), self.px(left_mm)
        return slice(max(row, 0), max(row + mask.shape[0], 0)), slice(max(col, 0), max(col + mask.shape[1], 0))

    def _trace(self, part: tuple[slice, slice], before: Mask) -> None:
        """Record how far the luma of a part changed."""
        change = np.abs(before - self.light[part] @ _LUMA) * np.float32(255)
        plane = self.ink[part][..., self._layer]
        np.maximum(plane, change, out=plane)
