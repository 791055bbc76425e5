"""Examine the legibility check with planted damage, and with sound copies that it must let pass.

python -m benchmarks.gate DATA
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import Annotated

import cv2
import numpy as np
import typer
from PIL import Image
from rich.console import Console

from benchmarks.gate_report import FIT, OUTPUT, Verdict, show, write_report
from benchmarks.marked import find_marked
from benchmarks.planted_damage import plant_all
from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings, settings_digest
from foliopress.configs.settings import Settings
from foliopress.flows.steps import steps
from foliopress.flows.steps.document_plan import PageJob
from foliopress.flows.steps.page_steps import DecodedPage, analyse_page, reader_of
from foliopress.model.scoring import load_scorer
from foliopress.model.truth import Scan, read_truth
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.checks.page_check import Check, Judgement
from foliopress.tasks.fit.fit_page import fit_page
from foliopress.tasks.images.image_reader import read_page
from foliopress.tasks.ocr import recognition
from foliopress.tasks.storage.source_listing import Document

_NOISE_SEED = 7

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True)
class FittedPage:
    """A page, its analysis, and its output as it is decoded."""

    prepared: DecodedPage
    analysis: PageAnalysis
    decoded: np.ndarray
    attempts: int
    message: str


@app.command()
def main(
    data: Annotated[Path, typer.Argument(help="Folder of scans with ground truth, as for benchmarks.quality.")],
    split: Annotated[str, typer.Option(help="Split of the manifest.")] = "test",
    profile: Annotated[str, typer.Option(help="Profile of the settings.")] = "access",
    most: Annotated[int, typer.Option(min=1, help="Plants of each kind on a page.")] = 8,
    workers: Annotated[int, typer.Option(min=1, help="Processes, one per core.")] = 2,
    cache: Annotated[Path | None, typer.Option(help="Folder for prepared pages.", metavar="FOLDER")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for gate.json, gate.md and gate.png.", metavar="FOLDER")
    ] = None,
) -> None:
    """Plant damage in every page's output, and count how often the check notices."""
    try:
        scans = find_marked(data, split)
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(examine, scan, profile, most, cache) for scan in scans]
        verdicts = [verdict for future in futures for verdict in future.result()]
    if out is not None:
        write_report(out, verdicts, load_settings(profile).legibility)
    show(verdicts, Console(width=120))


def examine(scan: Scan, profile: str, most: int, cache: Path | None = None) -> list[Verdict]:
    """Return the check's verdicts on a page's output, on sound copies of the page and on planted damage.

    Args:
        scan: With ground truth.
        profile: Profile of the settings.
        most: Number of plants of each kind.
        cache: Folder in which prepared pages are kept; None for none.
    """
    cv2.setNumThreads(1)
    settings = load_settings(profile)
    page = _cached(scan, settings, cache)
    if page is None:
        return []
    check = Check(page.analysis, reader_of(page.prepared, settings, recognition.read_words), settings)

    def verdict(case: str, decoded: np.ndarray) -> Verdict:
        start = perf_counter()
        found = check.judge(decoded)
        seconds = perf_counter() - start
        return Verdict(
            scan.key,
            scan.collection,
            case,
            is_refused=found.problem is not None,
            is_strengthened=not found.is_clear,
            message=_message(found),
            seconds=seconds,
            word_change=found.metrics.word_change or 0.0,
            stroke_change=found.metrics.stroke_change or 0.0,
        )

    verdicts = [Verdict(scan.key, scan.collection, FIT, bool(page.message), page.attempts > 1, page.message, 0.0)]
    if not page.message:
        verdicts.append(verdict(OUTPUT, page.decoded))
    verdicts += [verdict(f"sound: {name}", copy) for name, copy in sound_copies(page.analysis.page.pixels)]
    if not page.message:
        plants = plant_all(page.decoded, page.analysis, most, _line_area(scan, page.decoded.shape[:2]))
        verdicts += [verdict(plant.kind, plant.on(page.decoded)) for plant in plants]
    return verdicts


def _line_area(scan: Scan, shape: tuple[int, ...]) -> np.ndarray:
    """Return the area of the lines marked on a scan, (height, width) bool."""
    area: np.ndarray = np.zeros(shape, np.uint8)
    for line in read_truth(scan.truth).lines if scan.truth else ():
        cv2.fillPoly(area, [line.polygon[:, ::-1].round().astype(np.int32)], 1)
    return area > 0


def sound_copies(pixels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Yield copies of a page that nobody can tell from it: noise of one grey level, encodings of high quality."""
    noise = np.random.default_rng(_NOISE_SEED).integers(-1, 2, pixels.shape)
    yield "noise", np.clip(pixels.astype(np.int16) + noise, 0, 255).astype(np.uint8)
    for name, form, options in (("avif", "AVIF", {"quality": 90, "speed": 9}), ("jpeg", "JPEG", {"quality": 95})):
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form, **options)
        yield name, np.asarray(Image.open(file).convert("L" if pixels.ndim == 2 else "RGB"))


def _cached(scan: Scan, settings: Settings, cache: Path | None) -> FittedPage | None:
    file = None if cache is None else cache / f"{scan.key.replace('/', '_')}.pickle"
    if file is not None and file.exists():
        page: FittedPage | None = pickle.loads(file.read_bytes())  # noqa: S301 - our own
        return page
    page = fitted_page(scan, settings)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(page))
    return page


def fitted_page(scan: Scan, settings: Settings) -> FittedPage | None:
    """Return a scan's first page with its output; None if it was not scored, or has none."""
    scorer = load_scorer(settings.importance.model)
    job = PageJob(
        str(scan.path.parent), "", settings, "gate", "gate", settings_digest(settings), scorer.digest, scorer.name
    )
    size_bytes = scan.path.stat().st_size
    source = steps.fetch_document(Document(scan.path.name, size_bytes, "1"), job)
    prepared = steps.prepare_page(source, 0, job)
    analysis = None
    if isinstance(prepared, DecodedPage):
        (scores,) = steps.score_pages([steps.scoring_input(prepared)], job)
        analysis = analyse_page(prepared, scores)
    if not isinstance(prepared, DecodedPage) or analysis is None:
        return None
    check = Check(analysis, reader_of(prepared, settings, recognition.read_words), settings)
    decoded: list[np.ndarray] = []
    outcome = fit_page(check, 10 * size_bytes, lambda _data, pixels, _levels: decoded.append(pixels))
    message = "" if outcome.problem is None else str(outcome.problem)
    if not decoded and outcome.data is not None:  # one bit a pixel
        decoded.append(read_page(outcome.data, 0, settings.limits).pixels)
    if not decoded:
        return None
    return FittedPage(prepared, analysis, decoded[-1], outcome.metrics.attempts or 1, message)


def _message(found: Judgement) -> str:
    return "ambiguous" if found.problem is None and found.is_ambiguous else str(found.problem or "")


if __name__ == "__main__":
    app()
