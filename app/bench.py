"""Bench: one document in hand, and what its pages come to under settings that change.

Only what a change touches is done again: OCR, scores and results are remembered by what they were made from. Everything
is held in memory, by the session whose document it is.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel

from configs.loading import settings_digest
from configs.settings import OcrSettings, Settings
from flows import steps
from model.scoring import load_scorer
from tasks import ocr
from tasks.encode import EXTENSIONS
from tasks.errors import PageError
from tasks.findings import Findings
from tasks.pages import Page
from tasks.reading import WordCheck, check_words
from tasks.scan import Document
from tasks.writer import read_back

Say = Callable[[str], object]
"""Told what is being done, in words for a person."""

_RUN = "trial"
_VERSION = "in hand"
_Value = TypeVar("_Value")


class Remembered(Generic[_Value]):
    """The latest answers, by what they were asked for; the one that was not asked for longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[Hashable, _Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """Return the answer for a key, made if it is not there; an error is not remembered."""
        if key not in self._held:
            self._held[key] = make()
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        self._held.move_to_end(key)
        return self._held[key]


@dataclass(frozen=True, eq=False)
class Tried:
    """What a page came to; `key` tells it from the same page under other settings.

    found: None where the page was not scored. levels: (n_rows, n_cols) int8, None with it. row: As `stats/pages` would
    hold it.
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
    def problem(self) -> PageError | None:
        """What keeps the page whole, if anything does."""
        return self.finished.problem

    def output(self) -> Page | None:
        """Decode the output, as a reader sees it; None without one."""
        pixels, page = self.output_pixels(), self.prepared.page
        return None if pixels is None or page is None else replace(page, pixels=pixels)

    def output_pixels(self) -> np.ndarray | None:
        """Decode the output's pixels, upright, of the size that they are stored in; None without one."""
        page, data = self.prepared.page, self.finished.data
        if page is None or data is None:
            return None
        return page.upright(read_back(data, self.settings.limits, self.finished.codec))

    @property
    def output_name(self) -> str:
        """Name for the file that is downloaded."""
        name = steps.output_key_of(self.source, self.finished).removeprefix("pages/").replace("/", "-")
        if self.is_one_of_many:
            extension = EXTENSIONS.get(str(self.finished.codec), "pdf")
            return f"{name}-{self.finished.page_index + 1:04d}.{extension}"
        return name

    @property
    def is_one_of_many(self) -> bool:
        """Whether a run would put the page into one document with others."""
        header = self.source.header
        return self.source.written_back is not None and header is not None and len(header.pages) > 1

    def output_file(self) -> bytes | None:
        """Return what is downloaded: the file that a run would write; of a document of many pages, this one's image."""
        if self.problem is not None or self.source.written_back is None or self.is_one_of_many:
            return self.finished.data
        return steps.put_together(self.source, [self.finished], _job(self.settings))


class Bench:
    """A document, tried page by page.

    Args:
        name: Of its file; the key that it has in a folder of its own.
        data: Its bytes.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data = name, data
        self._opened: Remembered[steps.SourceDocument] = Remembered(2)
        self._prepared: Remembered[steps.PreparedPage] = Remembered(2)
        self._words: Remembered[tuple[ocr.Word, ...]] = Remembered(24)
        self._scores: Remembered[tuple[np.ndarray, float] | None] = Remembered(8)
        self._found: Remembered[Findings | None] = Remembered(2)
        self._tried: Remembered[Tried] = Remembered(4)
        self._checks: Remembered[tuple[WordCheck, ...]] = Remembered(6)

    def open(self, settings: Settings) -> steps.SourceDocument:
        """Return the document with its header, or with the problem that keeps it from having one."""
        document = Document(self.name, len(self.data), _VERSION)
        return self._opened.get(_json(settings.limits), lambda: steps.open_document(document, self.data, settings))

    def try_page(self, page_index: int, settings: Settings, say: Say = lambda _: None) -> Tried:
        """Take one page through all steps, as a run with these settings would.

        Args:
            page_index: 0-based.
            settings: As for a run.
            say: Told which step begins.
        """
        key = page_index, settings_digest(settings), settings.importance.model
        return self._tried.get(key, lambda: self._try(key, page_index, settings, say))

    def check_text(self, tried: Tried) -> tuple[WordCheck, ...]:
        """Read the output as its source was read, and return for every word that OCR was sure of what stands there.

        Raises:
            PageError: If Tesseract gives no answer.
        """
        return self._checks.get(tried.key, lambda: self._check(tried))

    def _try(self, key: Hashable, page_index: int, settings: Settings, say: Say) -> Tried:
        source, job = self.open(settings), _job(settings)
        encode = settings.encode
        profile = encode.codec, encode.deep_to_eight_bits, encode.largest_profile_bytes
        reading = page_index, _json(settings.limits), _json(settings.ocr), profile
        say("Reading the page and finding its text")
        prepared = self._prepared.get(reading, lambda: steps.prepare_page(source, page_index, job, self._read_words))
        say("Judging what matters on it")
        scored = self._scores.get(
            (reading, settings.importance.model), lambda: steps.score_pages([steps.scoring_input(prepared)], job)[0]
        )
        say("Compressing, and reading again what came of it")
        found = self._found.get((reading, settings.importance.model), lambda: steps.findings_of(prepared, scored))
        finished = steps.finish_page(prepared, scored, source, job, self._read_words, found)
        levels = np.array(finished.tiles["level"], np.int8) if finished.tiles else None
        return Tried(
            key=key,
            source=source,
            prepared=prepared,
            found=found,
            finished=finished,
            levels=levels.reshape(found.importance.shape) if levels is not None and found else None,
            row=steps.page_row(source, finished, job),
            settings=settings,
        )

    def _check(self, tried: Tried) -> tuple[WordCheck, ...]:
        page, pixels = tried.prepared.page, tried.output_pixels()
        if page is None or pixels is None or not tried.prepared.words:
            return ()
        height_px, width_px = page.pixels.shape[:2]
        if pixels.shape[:2] != (height_px, width_px):  # as the check saw it
            pixels = cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
        again = self._read_words(pixels, ocr.guess_dpi(height_px, width_px, page.dpi), tried.settings.ocr)
        return check_words(tried.prepared.words, again)

    def _read_words(self, pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[ocr.Word, ...]:
        digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()
        key = digest, pixels.shape, dpi, _json(settings)
        return self._words.get(key, lambda: ocr.read_words(pixels, dpi, settings))


def _job(settings: Settings) -> steps.PageJob:
    scorer = load_scorer(settings.importance.model)
    return steps.PageJob("", "", settings, _RUN, _RUN, settings_digest(settings), scorer.digest, scorer.name)


def _json(part: BaseModel) -> str:
    return part.model_dump_json()
