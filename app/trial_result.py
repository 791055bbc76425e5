"""Hold the result of one page with given settings, and its first encoding before that."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np

from foliopress.app.page_images import Picture
from foliopress.configs.loading import settings_digest
from foliopress.configs.settings import Settings
from foliopress.flows.steps import steps
from foliopress.model.scoring import load_scorer
from foliopress.tasks.analysis.page_analysis import Findings
from foliopress.tasks.codecs.encode import EXTENSIONS
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.page_writer import read_back
from foliopress.tasks.images.image_reader import Page

_RUN = "trial"


@dataclass(frozen=True, eq=False)
class Draft:
    """A page's first encoding, not yet compared with its source; a stronger one may replace it.

    preview: As displayed to a reader. levels: (n_rows, n_cols) int8.
    """

    source: steps.SourceDocument
    found: Findings = field(repr=False)
    page_index: int
    data: bytes = field(repr=False)
    preview: Picture = field(repr=False)
    levels: np.ndarray = field(repr=False)

    @property
    def page(self) -> Page:
        """The source page."""
        return self.found.page

    @property
    def source_bytes(self) -> int:
        """The page's share of its document's bytes."""
        return steps.source_share(self.source, self.page_index)


@dataclass(frozen=True, eq=False)
class TrialResult:
    """The result of a page; `key` distinguishes it from the same page with other settings.

    found: None if the page was not scored. levels: (n_rows, n_cols) int8, None if `found` is. row: As in `stats/pages`.
    """

    key: Hashable
    source: steps.SourceDocument
    prepared: steps.PreparedPage
    found: Findings | None = field(repr=False)
    finished: steps.FinishedPage
    levels: np.ndarray | None
    row: dict[str, object] = field(repr=False)
    settings: Settings = field(repr=False)

    @property
    def page_index(self) -> int:
        """0-based."""
        return self.prepared.page_index

    @property
    def page(self) -> Page | None:
        """The source page; None if it could not be decoded."""
        return self.prepared.page

    @property
    def data(self) -> bytes | None:
        """The encoded page, or None."""
        return self.finished.data

    @property
    def problem(self) -> PageError | None:
        """The reason the page is kept unchanged, or None."""
        return self.finished.problem

    def output(self) -> Page | None:
        """Decode the output as a reader sees it; None if there is no output."""
        pixels, page = self.output_pixels(), self.prepared.page
        return None if pixels is None or page is None else replace(page, pixels=pixels)

    def output_pixels(self) -> np.ndarray | None:
        """Decode the output's pixels, upright, at their stored size; None if there is no output."""
        page, data = self.prepared.page, self.finished.data
        if page is None or data is None:
            return None
        return page.upright(read_back(data, self.settings.limits, self.finished.codec))

    @property
    def output_name(self) -> str:
        """File name for the download."""
        name = steps.output_key_of(self.source, self.finished).removeprefix("pages/").replace("/", "-")
        if self.is_one_of_many:
            extension = EXTENSIONS.get(str(self.finished.codec), "pdf")
            return f"{name}-{self.finished.page_index + 1:04d}.{extension}"
        return name

    @property
    def is_one_of_many(self) -> bool:
        """Whether a run would write the page into a document with other pages."""
        header = self.source.header
        return self.source.written_back is not None and header is not None and len(header.pages) > 1

    def output_file(self) -> bytes | None:
        """Return the download: the file a run would write or, for a multi-page document, this page's image."""
        if self.problem is not None or self.source.written_back is None or self.is_one_of_many:
            return self.finished.data
        return steps.put_together(self.source, [self.finished], job_of(self.settings))


def job_of(settings: Settings) -> steps.PageJob:
    """Return the job of a trial: the same as in a run, without SOURCE and DEST."""
    scorer = load_scorer(settings.importance.model)
    return steps.PageJob("", "", settings, _RUN, _RUN, settings_digest(settings), scorer.digest, scorer.name)
