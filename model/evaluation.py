"""Evaluation: what the model keeps and frees on marked scans, beside the OCR mask alone; and the model card."""

from __future__ import annotations

import json
import logging
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.settings import ImportanceSettings, OcrSettings
from model.dataset import TEXT_FRACTION, TileTruth, read_marked_page, read_words_cached, tile_truth
from model.scoring import KERAS_FILE, LITERT_FILE, load_scorer, score_planes
from model.truth import data_folder, find_scans, read_truth
from tasks import kinds, ocr, tiles
from tasks.errors import ConfigError, PageError
from tasks.ink import luma_of

logger = logging.getLogger(__name__)

METRICS_FILE = "metrics.json"
CARD_FILE = "CARD.md"
DECIDERS = ("model", "mask", "model_or_mask")
"""Who says that a tile keeps its resolution: the network alone, the OCR mask alone, or either, as the pipeline does."""

_FREEING_KINDS = (kinds.PageKind.GREY, kinds.PageKind.COLOUR)  # other pages are not rescaled
_SHARES = {
    "printed": "recall_printed",
    "handwritten": "recall_handwritten",
    "blank": "freed_blank",
    "other": "freed_other",
}
_SOURCES = {
    "ehri-typed": ("FloChiff/ehri-dataset", "CC-BY 4.0"),
    "leptonica": ("DanBloomberg/leptonica", "BSD-2-Clause"),
    "maps": ("spatial-computing/map-ocr-ground-truth (map: US Geological Survey)", "public domain map"),
    "newspapers": ("marriott-library/newspaper_works_fixtures, nealcaren/newspaper-ocr", "Apache-2.0, MIT"),
    "noteshrink-notes": ("mzucker/noteshrink", "MIT"),
    "ocrd-assets": ("OCR-D/assets (Staatsbibliothek Berlin, Deutsches Textarchiv)", "see the repository"),
    "ocrd-gt": ("OCR-D/gt_structure_text", "CC-BY-SA 4.0"),
    "sroie-receipts": ("zzzDavid/ICDAR-2019-SROIE", "MIT"),
    "stanford-letters": ("PSL-Chartes-HTR-Students/HN2021-Memorials_Jane_Lathrop_Stanford", "CC-BY 4.0"),
    "tapuscorpus": ("HTR-United/tapuscorpus", "CC-BY 4.0"),
}


def evaluate_model(
    data: Path | None, model: Path | None, cache: Path, split: str = "test", out: Path | None = None
) -> dict[str, Any]:
    """Score every marked page of a split and count which tiles keep full resolution.

    Args:
        data: Folder of scans; by `FOLIOPRESS_DATA` without it.
        model: Folder of the model; the shipped one without it.
        cache: Folder where OCR words are kept.
        split: `test`, or `train` to see what was learnt.
        out: Folder for `metrics.json` and `CARD.md`; nothing is written without it.

    Returns:
        What `metrics.json` holds: the training's figures, if the model has them, and `evaluation`.

    Raises:
        ConfigError: If scans or model are missing, or no page of the split is marked.
    """
    settings = OcrSettings()
    scans = [scan for scan in find_scans(data_folder(data), split) if scan.truth and read_truth(scan.truth).lines]
    if not scans:
        raise ConfigError(f"no page of the split {split!r} has marked lines")
    read_words_cached(scans, cache, settings)
    scorer = load_scorer(str(model) if model else None, "litert-cpu")
    threshold = ImportanceSettings().threshold
    rows: list[dict[str, Any]] = []
    for scan in scans:
        try:
            page = read_marked_page(scan, cache, settings)
        except PageError as error:
            logger.info("%s is left out: %s", scan.key, error)
            continue
        height_px, width_px = page.pixels.shape[:2]
        grid = tiles.tile_grid(height_px, width_px, page.dpi)
        mask = ocr.text_mask(page.words, height_px, width_px)
        scores = score_planes(scorer, [(tiles.work_plane(page.pixels, mask, grid), grid)])[0]
        truth = tile_truth(luma_of(page.pixels), page.truth.lines if page.truth else (), grid)
        by_mask = tiles.masked_fraction(mask, grid).ravel() >= TEXT_FRACTION
        important = {"model": scores >= threshold, "mask": by_mask, "model_or_mask": (scores >= threshold) | by_mask}
        counts = {name: count_tiles(kept, truth, page.kind in _FREEING_KINDS) for name, kept in important.items()}
        rows.append({"key": scan.key, "page_kind": page.kind.value, "counts": counts})
        logger.info("%s %s", scan.key, shares(counts["model_or_mask"]))
    evaluation = {
        "split": split,
        "pages": len(rows),
        "threshold": threshold,
        "weights_sha256": scorer.digest,
        **{name: _summary(rows, name) for name in DECIDERS},
        "per_page": [{"key": row["key"], **{name: shares(row["counts"][name]) for name in DECIDERS}} for row in rows],
    }
    folder = model or out
    known = folder / METRICS_FILE if folder else None
    metrics: dict[str, Any] = json.loads(known.read_text(encoding="utf-8")) if known and known.is_file() else {}
    metrics["evaluation"] = evaluation
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / METRICS_FILE).write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
        (out / CARD_FILE).write_text(card(metrics), encoding="utf-8")
    return metrics


def count_tiles(important: np.ndarray, truth: TileTruth, may_free: bool) -> dict[str, int]:
    """Count the tiles of each kind, and those of them that are treated as they should be.

    Args:
        important: (n_tiles,) bool, True keeps full resolution.
        truth: What the tiles hold.
        may_free: False for a page that is not rescaled; then only text is counted.
    """
    counts: dict[str, int] = {}
    free = np.full(important.shape, may_free) & ~truth.marked
    wanted = {
        "printed": (truth.printed, important),
        "handwritten": (truth.handwritten, important),
        "blank": (free & truth.blank, ~important),
        "other": (free & truth.little_ink, ~important),
    }
    for name, (present, right) in wanted.items():
        counts[f"n_{name}"], counts[name] = int(present.sum()), int((present & right).sum())
    return counts


def shares(counts: Mapping[str, int]) -> dict[str, float | int | None]:
    """Return recall of text and share of freed tiles, None where there is no such tile, with the tile counts.

    >>> shares({"n_printed": 4, "printed": 3})
    {'recall_printed': 0.75, 'n_printed': 4}
    """
    found: dict[str, float | int | None] = {}
    for kind, name in _SHARES.items():
        if f"n_{kind}" in counts:
            n_tiles = counts[f"n_{kind}"]
            found |= {name: round(counts[kind] / n_tiles, 5) if n_tiles else None, f"n_{kind}": n_tiles}
    return found


def card(metrics: Mapping[str, Any]) -> str:
    """Return the model card in Markdown, from the figures alone."""
    evaluation, training = metrics["evaluation"], metrics.get("training")
    lines = [
        "# Model card: tile importance",
        "",
        "Generated by `foliopress train` and `foliopress evaluate`; do not edit.",
        "",
        _paragraph(
            "MobileNetV2 (alpha 0.35) with a fourth input channel for the OCR mask and one sigmoid. It sees a tile of",
            "32 px at 150 dpi (0.21 inch) with a margin of one tile round it, 96 x 96 x 4 uint8, and says how likely",
            f"the tile holds text or writing. `{LITERT_FILE}` scores on the CPU, `{KERAS_FILE}` on a GPU. SHA-256",
            f"of the former: `{evaluation['weights_sha256']}`.",
        ),
        "",
        f"## Figures on the {evaluation['split']} split",
        "",
        _paragraph(
            f"{evaluation['pages']} marked pages, threshold {evaluation['threshold']:g}. A tile of text has at least",
            "4 % of its area in a marked line, and ink there; a blank one has no mark and a luma standard deviation",
            "below 8, one of little ink below 16. Freed tiles are counted on grey and colour pages, recall on all.",
        ),
        "",
        "| what keeps a tile | recall printed | worst page | recall handwritten | freed blank | freed little ink |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    titles = {"model": "network", "mask": "OCR mask alone", "model_or_mask": "network or mask (as shipped)"}
    columns = ("recall_printed", "worst_recall_printed", "recall_handwritten", "freed_blank", "freed_other")
    for name in DECIDERS:
        figures = evaluation[name]
        cells = [figures[column] for column in columns]
        lines.append(f"| {titles[name]} | " + " | ".join("–" if c is None else f"{c:.4f}" for c in cells) + " |")
    counts = evaluation["model"]
    lines += [
        "",
        f"Tiles: {counts['n_printed']} printed, {counts['n_handwritten']} handwritten, {counts['n_blank']} blank, "
        f"{counts['n_other']} of little ink.",
        "",
    ]
    if training:
        lines += _training_lines(training)
    lines += [
        "## Limits",
        "",
        "- Few scans to train on: western scripts, mostly of 1750 to 1990, and receipts; few are written by hand.",
        "- Stamps, letterheads and drawings are seldom marked in the truth. They are never taught as unimportant, but",
        "  how well they are found is not measured here; the legibility check judges all ink whatever the score.",
        "- A score is not a probability: both classes had the same weight in training.",
        "",
    ]
    return "\n".join(lines)


def _paragraph(*parts: str) -> str:
    return textwrap.fill(" ".join(parts), 110, break_long_words=False, break_on_hyphens=False)


def _training_lines(training: Mapping[str, Any]) -> list[str]:
    settled = training["validation"]
    last = training["history"][-1] if training["history"] else {}
    best = min(training["history"], key=lambda row: row.get("val_loss", 0.0), default=last)
    lines = [
        "## Training",
        "",
        _paragraph(
            f"{training['pages']} pages, and {training['validation_pages']} to validate, parted by document. Labels",
            "come from marked lines, words that Tesseract read with confidence and blank paper; writing and stamps",
            f"drawn on blank paper are added. Seed {training['seed']}, {training['epochs']} epochs of",
            f"{training['tiles_per_epoch']} tiles after one of the head alone, {training['seconds'] / 60:.0f} minutes.",
            f"Best epoch on validation: loss {best.get('val_loss', 0):.4f}. The scores were then shifted so that 0.05",
            f"finds {settled['recall']:.4f} of the important validation tiles, half of them without their mask;",
            f"{settled['freed']:.4f}",
            "of the unimportant ones (many of them beside text) lie below.",
        ),
        "",
        _paragraph(
            "Backbone: MobileNetV2 alpha 0.35, ImageNet, Apache License 2.0, Copyright 2019 Google, taken from",
            "`googlecreativelab/teachablemachine-community`; SHA-256 of the file begins with",
            f"`{training['backbone_sha256'][:16]}`.",
        ),
        "",
        "| collection | source | licence |",
        "| --- | --- | --- |",
    ]
    for name in training["collections"]:
        source, licence = _SOURCES.get(name, ("not named", "not named"))
        lines.append(f"| {name} | {source} | {licence} |")
    return [*lines, ""]


def _summary(rows: Sequence[Mapping[str, Any]], decider: str) -> dict[str, float | int | None]:
    total: Counter[str] = Counter()
    for row in rows:
        total.update(row["counts"][decider])
    worst = [
        row["counts"][decider]["printed"] / row["counts"][decider]["n_printed"]
        for row in rows
        if row["counts"][decider]["n_printed"] >= 20
    ]
    names = ("printed", "handwritten", "blank", "other")
    counts = {key: total[key] for name in names for key in (f"n_{name}", name)}
    return {**shares(counts), "worst_recall_printed": round(min(worst), 5) if worst else None}
