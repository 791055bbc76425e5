"""Write: a page at the resolution that it may have, and back again to its source's size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from foliopress.configs.settings import LimitSettings, Settings
from foliopress.tasks.analysis.page_analysis import Findings
from foliopress.tasks.codecs import encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit import quality_search
from foliopress.tasks.images import image_reader
from foliopress.tasks.pdf import mrc_page

_LEAST_CAP = 0.95  # a page that is only just above the cap is not worth resampling


@dataclass(frozen=True)
class Writer:
    """Encodes a page at the resolution that it may have, and decodes it to its source's size again."""

    codec: encode.Codec
    carried: encode.CarriedMetadata
    size_px: tuple[int, int]
    written_px: tuple[int, int]
    settings: Settings
    page: image_reader.Page | None = None
    """Says how the page lies in its document; without one it stands upright."""

    @classmethod
    def for_page(cls, found: Findings, settings: Settings) -> Writer:
        """Return the writer of one page, which caps its resolution if the settings do."""
        carried = encode.carried_metadata(found.page)
        size_px = found.page.pixels.shape[0], found.page.pixels.shape[1]
        most = settings.resolution.max_dpi
        if most is None or most / found.dpi > _LEAST_CAP:
            return cls(settings.encode.codec, carried, size_px, size_px, settings, found.page)
        scale = most / found.dpi
        written_px = max(1, round(size_px[0] * scale)), max(1, round(size_px[1] * scale))
        dpi = carried.dpi * scale if carried.dpi else None
        return cls(settings.encode.codec, replace(carried, dpi=dpi), size_px, written_px, settings, found.page)

    def with_whole_chroma(self) -> Writer:
        """Return the same, but for chroma at the page's full resolution where the codec leaves the choice."""
        encoding = self.settings.encode.model_copy(update={"avif_chroma": "4:4:4"})
        return replace(self, settings=self.settings.model_copy(update={"encode": encoding}))

    def encode(self, pixels: np.ndarray, quality: int) -> bytes:
        """Return a page of the source's size as a file."""
        smaller = pixels
        if self.written_px != self.size_px:
            smaller = cv2.resize(pixels, self.written_px[::-1], interpolation=cv2.INTER_AREA)
        if self.page is not None:
            smaller = self.page.as_stored(smaller)
        return encode.encode(smaller, self.codec, quality, self.carried, self.settings.encode)

    def decode(self, data: bytes) -> np.ndarray:
        """Return a file's page at the source's size.

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
        """Return the codec there and back for a sample of another size."""
        rows, cols = self.written_px[0] / self.size_px[0], self.written_px[1] / self.size_px[1]
        written_px = max(1, round(height_px * rows)), max(1, round(width_px * cols))
        bare = replace(
            self, carried=encode.CarriedMetadata(), size_px=(height_px, width_px), written_px=written_px, page=None
        )
        return lambda pixels, quality: bare.decode(bare.encode(pixels, quality))

    def size_figures(self) -> dict[str, object]:
        """Return the columns of a page's row that tell the size of its output."""
        height_px, width_px = self.written_px
        return {"output_height_px": height_px, "output_width_px": width_px, "output_dpi": self.carried.dpi}


def read_back(data: bytes, limits: LimitSettings, codec: encode.Codec | None = None) -> np.ndarray:
    """Return the pixels of a page that was just encoded, as they lie in its document.

    `codec` is needed to know a page in layers.

    Raises:
        PageError: If its own decoder cannot read it (`encoder_failed`): no trouble of the source's, which is kept.
    """
    try:
        return mrc_page.decode_layers(data) if codec == "mrc" else image_reader.read_page(data, 0, limits).pixels
    except PageError as error:
        message = f"the codec cannot read what it wrote of this page ({error}); page kept whole"
        raise PageError("encoder_failed", message) from error
