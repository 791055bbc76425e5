"""Hold a finished page: its encoding or its problem, its measurements, words and tiles."""

from __future__ import annotations

from dataclasses import dataclass, field

from foliopress.flows.steps.page_metrics import PageMetrics
from foliopress.tasks.codecs.encode import Codec
from foliopress.tasks.errors import PageError
from foliopress.tasks.fit.outcome import EncodedPage
from foliopress.tasks.ocr.recognition import Word
from foliopress.tasks.records.rows import TileRow, WordRow


@dataclass(frozen=True)
class FinishedPage:
    """A page after its last step.

    A page without a problem has an encoding; one with a problem may have one that failed its check. `text` is written
    below DEST/text, boxes in the source's pixels; it is empty unless text is asked for.
    """

    page_index: int
    problem: PageError | None
    encoded: EncodedPage | None
    metrics: PageMetrics = field(repr=False)
    words: tuple[WordRow, ...] = field(default=(), repr=False)
    tiles: TileRow | None = field(default=None, repr=False)
    text: tuple[Word, ...] = field(default=(), repr=False)

    @property
    def data(self) -> bytes | None:
        """Bytes of the encoding."""
        return None if self.encoded is None else self.encoded.data

    @property
    def codec(self) -> Codec | None:
        """Codec of the encoding."""
        return None if self.encoded is None else self.encoded.codec

    @property
    def size_bytes(self) -> int:
        """Bytes of the encoding; 0 without one."""
        return 0 if self.encoded is None else len(self.encoded.data)

    @property
    def output(self) -> EncodedPage:
        """The encoding of a page that has no problem.

        Raises:
            ValueError: If the page has no encoding.
        """
        if self.encoded is None:
            raise ValueError(f"page {self.page_index} has no encoding")
        return self.encoded


@dataclass(frozen=True)
class CheckpointedPage:
    """The part of a finished page that is held while its encoding, words, tiles and text wait below DEST/work.

    `key` is that of the checkpoint; codec and size are those of the encoding.
    """

    page_index: int
    problem: PageError | None
    codec: Codec | None
    size_bytes: int
    metrics: PageMetrics = field(repr=False)
    key: str


PageResult = FinishedPage | CheckpointedPage
