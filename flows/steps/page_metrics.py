"""Hold the measurements of a page, one type a step; `flows.steps.page_rows` turns them into the page's row."""

from __future__ import annotations

from dataclasses import dataclass, field

from foliopress.tasks.fit.outcome import FitMetrics, PageSize


@dataclass(frozen=True)
class ReadingMetrics:
    """Measurements of reading a page; None where the page was not decoded or not searched for text.

    `size` has the resolution of the file's tag, `dpi` is what the page is judged at; `seconds_encode` is the time of an
    encoding that needs no text.
    """

    page_kind: str | None = None
    size: PageSize | None = None
    dpi: float | None = None
    ocr_words: int | None = None
    quarter_turns: int | None = None
    n_tiles: int | None = None
    seconds_read: float = 0.0
    seconds_ocr: float | None = None
    seconds_encode: float | None = None


@dataclass(frozen=True)
class ScoringMetrics:
    """Measurements of scoring a page's tiles."""

    mean_importance: float
    seconds_score: float


@dataclass(frozen=True)
class WitnessMetrics:
    """Comparison of a page with its output by other decoders; the fields are columns of the page's row."""

    witness: str
    witness_error: float | None
    witness_worst_block: float | None
    seconds_witness: float


@dataclass(frozen=True)
class PageMetrics:
    """All measurements of a page; None for a step that it did not reach."""

    reading: ReadingMetrics = field(default_factory=ReadingMetrics)
    scoring: ScoringMetrics | None = None
    fit: FitMetrics = field(default_factory=FitMetrics)
    witness: WitnessMetrics | None = None

    @property
    def output_size(self) -> PageSize | None:
        """Size of the output: that of the fit, or the source's; None if the page was not decoded."""
        return self.fit.size or self.reading.size

    @property
    def n_pixels(self) -> int:
        """Number of the source's pixels; 1 if the page was not decoded."""
        return self.reading.size.height_px * self.reading.size.width_px if self.reading.size else 1

    @property
    def has_text(self) -> bool:
        """Whether OCR has read the page."""
        return self.reading.ocr_words is not None
