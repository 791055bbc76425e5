"""Find the size of the page in one uniform quality whose strokes are as sharp as in the output."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from foliopress.app.trial_result import TrialResult
from foliopress.tasks.codecs.encode import CODECS
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.fit import quality_search
from foliopress.tasks.fit.page_writer import Writer


@dataclass(frozen=True)
class UniformBaseline:
    """A page encoded in one quality throughout."""

    quality: int
    size_bytes: int


def find_uniform_baseline(result: TrialResult) -> UniformBaseline | None:
    """Return the lowest uniform quality of the same codec that keeps the strokes as sharp, and its size.

    Sharpness is the mean luma SSIM on the strokes of up to 12 places of the page, at 150 dpi and at the page's own
    resolution, as the quality of a page is analysis. None for a page of one bit or without strokes.
    """
    analysis, output = result.analysis, result.output_pixels()
    if analysis is None or output is None or result.finished.codec in (None, "g4"):
        return None
    settings = result.source.settings_for(result.settings)
    source = analysis.page.pixels if output.ndim == 3 else analysis.luma
    if max(source.shape[:2]) > CODECS[settings.encode.codec].largest_side_px:
        return None
    sample = quality_search.take_sample(source, _at_size(output, source), analysis.ink.plain)
    if sample is None:
        return None
    wanted = quality_search.sharpness(sample, lambda pixels, _: pixels, 100, analysis.dpi)
    resolution = settings.resolution.model_copy(update={"max_dpi": None})  # whatever cap the settings have
    writer = Writer.for_page(analysis, settings.model_copy(update={"resolution": resolution}))
    alike = quality_search.Sample(sample.source, sample.source, sample.ink)
    code = writer.coder(*alike.ink.shape)
    quality = quality_search.least_quality(
        lambda quality: quality_search.sharpness(alike, code, quality, analysis.dpi), wanted
    )
    return UniformBaseline(quality, len(writer.encode(source, quality)))


def _at_size(pixels: np.ndarray, source: np.ndarray) -> np.ndarray:
    if pixels.shape[:2] != source.shape[:2]:
        pixels = cv2.resize(pixels, source.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    if source.ndim == 3 and pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)
    return pixels if source.ndim == 3 else luma_of(pixels)
