"""Process the pages of one document under changing settings.

Only the steps that a change affects are repeated: OCR, scores and results are cached by their inputs. All of it is held
in memory, in the session of the document.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

import cv2
import numpy as np
from pydantic import BaseModel

from foliopress.app.page_images import picture_of
from foliopress.app.trial_result import Draft, TrialResult, job_of
from foliopress.app.uniform_baseline import UniformBaseline, find_uniform_baseline
from foliopress.configs.loading import settings_digest
from foliopress.configs.settings import OcrSettings, Settings
from foliopress.flows.steps import steps
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.checks.rereading import Rereading
from foliopress.tasks.ocr import recognition
from foliopress.tasks.storage.source_listing import Document

OnStatus = Callable[[str], object]
"""Called with the current activity, for display."""
READING, SCORING = "Reading the page and finding its text", "Judging what matters on it"
OnDraft = Callable[[Callable[[], Draft]], object]
"""Called for each encoding before it is judged, with a function that makes a draft of it."""

_VERSION = "in hand"
_Value = TypeVar("_Value")


class LruCache(Generic[_Value]):
    """A least-recently-used cache.

    Several threads may use it; two that ask for the same missing key at once both compute it.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._held: OrderedDict[Hashable, _Value] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _Value]) -> _Value:
        """Return the value of a key, computed if it is missing; an error is not cached."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        value = make()
        with self._lock:
            self._held[key] = value
            self._held.move_to_end(key)
            if len(self._held) > self._most:
                self._held.popitem(last=False)
        return value


class Workbench:
    """A document whose pages are processed one at a time.

    Args:
        name: Name of its file, used as its key.
        data: Bytes of the document.
    """

    def __init__(self, name: str, data: bytes) -> None:
        self.name, self.data = name, data
        self._opened: LruCache[steps.SourceDocument] = LruCache(2)
        self._prepared: LruCache[steps.ReadPage] = LruCache(2)
        self._words: LruCache[tuple[recognition.Word, ...]] = LruCache(24)
        self._scores: LruCache[steps.TileScores | None] = LruCache(8)
        self._analyses: LruCache[PageAnalysis | None] = LruCache(2)
        self._results: LruCache[TrialResult] = LruCache(4)
        self._checks: LruCache[Rereading | None] = LruCache(6)
        self._uniform: LruCache[UniformBaseline | None] = LruCache(6)

    def open(self, settings: Settings) -> steps.SourceDocument:
        """Return the document with its header, or with the problem that prevents reading it."""
        document = Document(self.name, len(self.data), _VERSION)
        return self._opened.get(_json(settings.limits), lambda: steps.open_document(document, self.data, settings))

    def try_page(
        self,
        page_index: int,
        settings: Settings,
        on_status: OnStatus = lambda _: None,
        on_draft: OnDraft = lambda _: None,
    ) -> TrialResult:
        """Process one page as a run with these settings would.

        Args:
            page_index: Index of the page, from 0.
            settings: Settings, as for a run.
            say: Called when a step begins. An exception from it or `see` ends the trial; finished steps stay cached.
            see: Called for each encoding before it is judged.
        """
        key = key_of(page_index, settings)
        return self._results.get(key, lambda: self._try(key, page_index, settings, on_status, on_draft))

    def check_text(self, result: TrialResult) -> Rereading | None:
        """Return the check of the page's words, word by word, as a run makes it; None without words or output.

        Raises:
            PageError: If Tesseract fails.
        """
        return self._checks.get(result.key, lambda: self._check(result))

    def uniform(self, result: TrialResult) -> UniformBaseline | None:
        """Return the page in the uniform quality that is as sharp; None if there is none."""
        return self._uniform.get(result.key, lambda: find_uniform_baseline(result))

    def _try(
        self, key: Hashable, page_index: int, settings: Settings, on_status: OnStatus, on_draft: OnDraft
    ) -> TrialResult:
        source, job = self.open(settings), job_of(settings)
        encode = settings.encode
        profile = encode.codec, encode.deep_to_eight_bits, encode.largest_profile_bytes
        # settings that decide whether a bitonal page is read
        wanted = settings.text, settings.documents.text_layer, settings.stats.words_of_kept, encode.least_gain
        reading = page_index, _json(settings.limits), _json(settings.ocr), profile, wanted
        on_status(READING)
        prepared = self._prepared.get(
            reading, lambda: steps.prepare_from_source(source, page_index, job, self._read_words)
        )
        on_status(SCORING)
        scored = self._scores.get(
            (reading, settings.importance.model), lambda: steps.score_pages([steps.scoring_input(prepared)], job)[0]
        )
        on_status("Compressing it")
        analysis = self._analyses.get(
            (reading, settings.importance.model), lambda: steps.analyse_page(prepared, scored)
        )

        def watch(data: bytes, pixels: np.ndarray, levels: np.ndarray) -> None:
            def draft(analysis: PageAnalysis) -> Draft:
                preview = picture_of(replace(analysis.page, pixels=pixels), is_preview=True)
                return Draft(source, analysis, page_index, data, preview, levels)

            if analysis is not None:  # of a page with a problem nothing is tried
                on_draft(partial(draft, analysis))

        hooks = steps.StepHooks(self._read_words, watch)
        finished = steps.compress_page(prepared, scored, source, job, analysis, hooks)
        levels = np.array(finished.tiles.level, np.int8) if finished.tiles else None
        return TrialResult(
            key=key,
            source=source,
            prepared=prepared,
            analysis=analysis,
            finished=finished,
            levels=levels.reshape(analysis.importance.shape) if levels is not None and analysis else None,
            row=steps.page_row(source, finished, job),
            settings=settings,
        )

    def _check(self, result: TrialResult) -> Rereading | None:
        pixels, analysis, prepared = result.output_pixels(), result.analysis, result.prepared
        if pixels is None or analysis is None or not isinstance(prepared, steps.DecodedPage) or not analysis.words:
            return None
        height_px, width_px = analysis.luma.shape
        if pixels.shape[:2] != (height_px, width_px):  # at the size the check used
            pixels = cv2.resize(pixels, (width_px, height_px), interpolation=cv2.INTER_CUBIC)
        reader = steps.reader_of(prepared, result.settings, self._read_words)
        return Check(analysis, reader, result.settings).reread(pixels)

    def _read_words(self, pixels: np.ndarray, dpi: float, settings: OcrSettings) -> tuple[recognition.Word, ...]:
        digest = hashlib.blake2b(np.ascontiguousarray(pixels).data, digest_size=16).digest()
        key = digest, pixels.shape, dpi, _json(settings)
        return self._words.get(key, lambda: recognition.read_words(pixels, dpi, settings))


def key_of(page_index: int, settings: Settings) -> Hashable:
    """Return the cache key of a trial."""
    return page_index, settings_digest(settings), settings.importance.model


def _json(part: BaseModel) -> str:
    return part.model_dump_json()
