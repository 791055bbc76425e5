"""Hold a page and its decoded encoding at reading size, for the checks that compare them there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from foliopress.tasks.checks.legibility import READING_DPI, at_reading_size, ssim_map
from foliopress.tasks.codecs.luma import luma_of


@dataclass(frozen=True)
class PagePair:
    """An upright page and the same page after encoding and decoding, at reading size.

    `before` and `after` are (height, width) uint8 luma; `scale` is their size relative to the page, at most 1.
    """

    before: np.ndarray
    after: np.ndarray
    scale: float

    @classmethod
    def of(cls, before: np.ndarray, decoded: np.ndarray, dpi: float) -> PagePair:
        """Reduce a decoded page, and pair it with its source.

        Args:
            before: Luma of the source at reading size.
            decoded: uint8, (height, width) or (height, width, 3), at the page's own resolution.
            dpi: The page's own resolution.
        """
        return cls(before, at_reading_size(luma_of(decoded), dpi), min(1.0, READING_DPI / dpi))

    @cached_property
    def similarity(self) -> np.ndarray:
        """SSIM of the two at every pixel, (height, width) float32."""
        return ssim_map(self.before, self.after)
