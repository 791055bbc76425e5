"""Hold the result of a page under certain settings, and the draft shown before it is judged."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, replace

import numpy as np

from foliopress.app.page_images import Picture
from foliopress.configs.loading import settings_digest
from foliopress.configs.settings import Settings
from foliopress.flows.steps import steps
from foliopress.model.scoring import load_scorer
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.codecs.encode import EXTENSIONS
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.page_writer import read_back
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.records.rows import PageRow

_RUN = "trial"


@dataclass(frozen=True, eq=False)
class Draft:
    """A page's first encoding, not yet compared with its source: a stronger one may replace it.

    preview: The page as a reader sees it. levels: (n_rows, n_cols) int8.
    """

    source: steps.SourceDocument
    analysis: PageAnalysis = field(repr=False)
    page_index: int
    data: bytes = field(repr=False)
    preview: Picture = field(repr=False)
    levels: np.ndarray = field(repr=False)

    @property
    def page(self) -> Page:
        """The source's page."""
        return self.analysis.page

    @property
    def source_bytes(self) -> int:
        """The page's share of its document."""
        return steps.source_share(self.source, self.page_index)


@dataclass(frozen=True, eq=False)
class TrialResult:
    """Result of a page; `key` identifies page and settings.

    analysis: None if the page was not scored. levels: (n_rows, n_cols) int8, None with it. row: Row of `stats/pages`.
    """

    key: Hashable
    source: steps.SourceDocument
    prepared: steps.ReadPage
    analysis: PageAnalysis | None = field(repr=False)
    finished: steps.FinishedPage
    levels: np.ndarray | None
    row: PageRow = field(repr=False)
    settings: Settings = field(repr=False)

    @property
    def page_index(self) -> int:
        """Index of the page, from 0."""
        return self.prepared.page_index

    @property
    def page(self) -> Page | None:
        """The source's page; None if it was not decoded."""
        return None if isinstance(self.prepared, steps.UndecodedPage) else self.prepared.page

    @property
    def text(self) -> steps.PageText | None:
        """Words and tile grid of the source's page; None if it was not read."""
        return None if isinstance(self.prepared, steps.UndecodedPage) else self.prepared.text

    @property
    def data(self) -> bytes | None:
        """The encoded page, or None."""
        return self.finished.data

    @property
    def problem(self) -> PageError | None:
        """Problem that keeps the page as it is, if there is one."""
        return self.finished.problem

    def output(self) -> Page | None:
        """Return the decoded output as a reader sees it; None without one."""
        pixels, page = self.output_pixels(), self.page
        return None if pixels is None or page is None else replace(page, pixels=pixels)

    def output_pixels(self) -> np.ndarray | None:
        """Return the output's pixels, upright and of the stored size; None without an output."""
        page, data = self.page, self.finished.data
        if page is None or data is None:
            return None
        return page.upright(read_back(data, self.settings.limits, self.finished.codec))

    @property
    def output_name(self) -> str:
        """Name of the downloaded file."""
        name = steps.output_key_of(self.source, self.finished).removeprefix("pages/").replace("/", "-")
        if self.is_one_of_many:
            extension = EXTENSIONS.get(str(self.finished.codec), "pdf")
            return f"{name}-{self.finished.page_index + 1:04d}.{extension}"
        return name

    @property
    def is_one_of_many(self) -> bool:
        """Whether a run would write the page into one document with others."""
        header = self.source.header
        return self.source.written_back is not None and header is not None and len(header.pages) > 1

    def output_file(self) -> bytes | None:
        """Return the file to download: that of a run, or this page's image in a document of several pages."""
        if self.problem is not None or self.source.written_back is None or self.is_one_of_many:
            return self.finished.data
        return steps.assemble(self.source, [self.finished], job_of(self.settings))


def job_of(settings: Settings) -> steps.PageJob:
    """Return the job of a trial, which has no SOURCE and no DEST."""
    scorer = load_scorer(settings.importance.model)
    return steps.PageJob("", "", settings, _RUN, _RUN, settings_digest(settings), scorer.digest, scorer.name)
