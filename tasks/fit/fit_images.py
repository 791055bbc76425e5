"""Fit a PDF page of several images: re-encode each image, and judge the page as a reader draws it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foliopress.tasks.checks.page_check import Check, Judgement
from foliopress.tasks.fit.fit_loop import Encoding, fit_candidate
from foliopress.tasks.fit.outcome import EncodedPage, Outcome, full_resolution, rejected, size_of
from foliopress.tasks.fit.quality_steps import QualitySteps
from foliopress.tasks.pdf import multi_image
from foliopress.tasks.pdf.multi_image import ExtractedPage, PageImage


class PageOfImages:
    """Candidate: the images of a PDF page, encoded with one quality."""

    form = "images anew"

    def __init__(self, page: ExtractedPage, check: Check) -> None:
        self._page, self._check, self._settings = page, check, check.settings
        self._images: list[PageImage] | None = None
        encoding = check.settings.encode
        self._steps = QualitySteps(encoding.quality or encoding.least_quality, encoding.retry_quality_step)
        self.max_attempts = check.settings.legibility.max_attempts
        self.is_judged = check.settings.legibility.mode != "off"

    def encode(self) -> Encoding:
        """Encode each image; the size is that of all images of the page."""
        if self._images is None:
            self._images = multi_image.read_images(self._page, self._settings)
        encoded = [image.encoded(self._steps.quality, self._settings.encode) for image in self._images]
        size_bytes = self._page.other_bytes + sum(len(image.data) for image in encoded)
        data = multi_image.container_of(encoded, self._page.numbers)
        page = EncodedPage(data, self._settings.encode.codec)
        analysis = self._check.analysis
        return Encoding(page, size_bytes, self._steps.quality, full_resolution(analysis), size_of(analysis))

    def decode(self, data: bytes) -> np.ndarray:
        """Draw the page with the new images, with as many channels as the source."""
        drawn = multi_image.drawn_with(self._page, data, self._settings)
        return np.ascontiguousarray(drawn[..., 0]) if self._check.analysis.page.pixels.ndim == 2 else drawn

    def judge(self, decoded: np.ndarray) -> Judgement:
        """Compare with the page as it was drawn before; ambiguous digit strings pass."""
        return replace(self._check.judge(decoded), is_ambiguous=False)

    def revise(self, judgement: Judgement) -> bool:
        """Raise the quality, or lower it after one that passed."""
        return self._steps.after_pass() if judgement.is_clear else self._steps.after_failure()


def fit_images(page: ExtractedPage, check: Check, most_bytes: int) -> Outcome:
    """Return the page's images in the lowest quality at which the page, drawn, passes its check; or the problem.

    Args:
        page: The page by itself.
        check: Check of the page as it is drawn.
        most_bytes: Size gate for its images together.
    """
    outcome = fit_candidate(PageOfImages(page, check), most_bytes)
    if outcome.problem is not None:  # nothing of the attempts is kept
        return rejected(outcome.problem, check.analysis, outcome.metrics.only_seconds())
    return outcome
