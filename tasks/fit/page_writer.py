"""Encode a page at its output resolution, and decode it to its source's size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from foliopress.configs.settings import LimitSettings, Settings
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit import quality_search
from foliopress.tasks.fit.outcome import PageSize
from foliopress.tasks.images import image_reader
from foliopress.tasks.pdf import mrc_page

_LEAST_CAP = 0.95  # a page that is only just above the cap is not worth resampling


@dataclass(frozen=True)
class Writer:
    """Encodes a page at its output resolution, and decodes it to its source's size.

    `page` gives the page's orientation in its document; None for one that stands upright.
    """

    codec: encode.Codec
    carried: encode.CarriedMetadata
    size_px: tuple[int, int]
    written_px: tuple[int, int]
    settings: Settings
    page: image_reader.Page | None = None

    @classmethod
    def for_page(cls, analysis: PageAnalysis, settings: Settings) -> Writer:
        """Return the writer of one page, with its resolution capped if the settings do so."""
        carried = encode.carried_metadata(analysis.page)
        size_px = analysis.page.pixels.shape[0], analysis.page.pixels.shape[1]
        most = settings.resolution.max_dpi
        if most is None or most / analysis.dpi > _LEAST_CAP:
            return cls(settings.encode.codec, carried, size_px, size_px, settings, analysis.page)
        scale = most / analysis.dpi
        written_px = max(1, round(size_px[0] * scale)), max(1, round(size_px[1] * scale))
        dpi = carried.dpi * scale if carried.dpi else None
        return cls(settings.encode.codec, replace(carried, dpi=dpi), size_px, written_px, settings, analysis.page)

    def with_whole_chroma(self) -> Writer:
        """Return this writer with chroma at full resolution, where the codec leaves the choice."""
        encoding = self.settings.encode.model_copy(update={"avif_chroma": "4:4:4"})
        return replace(self, settings=self.settings.model_copy(update={"encode": encoding}))

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """Return the file for a page of the source's size."""
        smaller = pixels
        if self.written_px != self.size_px:
            smaller = cv2.resize(pixels, self.written_px[::-1], interpolation=cv2.INTER_AREA)
        if self.page is not None:
            smaller = self.page.as_stored(smaller)
        return encode.encode(smaller, self.codec, quality, self.carried, self.settings.encode)

    def decode(self, data: bytes) -> np.ndarray:
        """Return the page of a file at the source's size.

        Raises:
            PageError: If it cannot be decoded (`encoder_failed`).
        """
        pixels = read_back(data, self.settings.limits)
        if self.page is not None:
            pixels = self.page.upright(pixels)
        if self.written_px != self.size_px:
            pixels = cv2.resize(pixels, self.size_px[::-1], interpolation=cv2.INTER_CUBIC)
        return pixels

    def coder(self, height_px: int, width_px: int) -> quality_search.Coder:
        """Return a function that encodes and decodes a sample of another size."""
        rows, cols = self.written_px[0] / self.size_px[0], self.written_px[1] / self.size_px[1]
        written_px = max(1, round(height_px * rows)), max(1, round(width_px * cols))
        bare = replace(
            self, carried=encode.CarriedMetadata(), size_px=(height_px, width_px), written_px=written_px, page=None
        )
        return lambda pixels, quality: bare.decode(bare.encode(pixels, quality))

    @property
    def output_size(self) -> PageSize:
        """Size of the output."""
        return PageSize(*self.written_px, self.carried.dpi)


def read_back(data: bytes, limits: LimitSettings, codec: encode.Codec | None = None) -> np.ndarray:
    """Return the pixels of a page that was just encoded, oriented as in its document.

    `codec` is needed for a page in layers, `mrc`.

    Raises:
        PageError: If the codec's own decoder cannot read it (`encoder_failed`): the source, which is kept, is not at
            fault.
    """
    try:
        return mrc_page.decode_layers(data) if codec == "mrc" else image_reader.read_page(data, 0, limits).pixels
    except PageError as error:
        message = f"the codec cannot read what it wrote of this page ({error}); page kept whole"
        raise PageError("encoder_failed", message) from error
