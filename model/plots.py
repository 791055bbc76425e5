"""Plot the precision-recall curve, the calibration, the score histogram and heatmaps of the worst pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from foliopress.model.metrics import PICTURE_TILE_PX, SHIPPED_DECIDER, ScoredPage

MISSED_COLOUR = (220, 0, 0)
"""RGB outline of a text tile that loses resolution."""
KEPT_BLANK_COLOUR = (0, 60, 255)
"""RGB outline of a blank tile that keeps its resolution."""
KEPT_BARE_COLOUR = (0, 170, 220)
"""RGB outline of an unmarked tile with little ink that keeps its resolution."""

_SCORE_COLOUR = np.array([255, 190, 0], np.float32)
_STRONGEST_TINT = 0.55


def write_plots(folder: Path, pages: Sequence[ScoredPage], evaluation: Mapping[str, Any]) -> None:
    """Write `precision_recall.png`, `calibration.png`, `score_histogram.png` and `heatmaps/*.png`.

    Args:
        folder: Output folder; heatmaps of an earlier evaluation are removed.
        pages: The evaluated pages.
        evaluation: Their metrics, with `curve`, `calibration`, `threshold` and `worst`.
    """
    heatmaps = folder / "heatmaps"
    heatmaps.mkdir(parents=True, exist_ok=True)
    for old in heatmaps.glob("[0-9][0-9]-*.png"):
        old.unlink()
    threshold = evaluation["threshold"]
    curve_figure(evaluation["curve"], threshold).savefig(folder / "precision_recall.png")
    calibration_figure(evaluation["calibration"]).savefig(folder / "calibration.png")
    histogram_figure(pages, threshold).savefig(folder / "score_histogram.png")
    by_key = {page.key: page for page in pages}
    for number, row in enumerate(evaluation["worst"], start=1):
        picture = heatmap(by_key[row["key"]], threshold)
        name = f"{number:02d}-{row['for']}-{row['key'].split('/')[0]}-{Path(row['key']).stem[:40]}.png"
        cv2.imwrite(str(heatmaps / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))


def heatmap(page: ScoredPage, threshold: float) -> np.ndarray:
    """Return a page's thumbnail with each tile tinted amber by its score, and wrongly treated tiles outlined.

    Red: text that loses resolution. Blue: blank paper that keeps it; light blue: paper with little ink that keeps it.

    Returns:
        (n_rows * 13, n_cols * 13, 3) uint8 RGB.
    """
    shape = page.grid.n_rows, page.grid.n_cols
    strength = _STRONGEST_TINT * np.kron(page.scores.reshape(shape), np.ones((PICTURE_TILE_PX,) * 2, np.float32))
    grey = np.repeat(page.picture[..., np.newaxis], 3, axis=2).astype(np.float32)
    tinted = grey + strength[..., np.newaxis] * (_SCORE_COLOUR * grey / 255.0 - grey)
    picture = np.clip(np.round(tinted), 0, 255).astype(np.uint8)
    kept = page.kept(threshold)[SHIPPED_DECIDER]
    wrong_bare = page.bare & kept & page.may_free
    for tiles, colour in (
        (wrong_bare & ~page.truth.blank, KEPT_BARE_COLOUR),
        (wrong_bare & page.truth.blank, KEPT_BLANK_COLOUR),
        (page.text & ~kept, MISSED_COLOUR),
    ):
        for tile in np.flatnonzero(tiles):
            row, col = (int(place) * PICTURE_TILE_PX for place in divmod(int(tile), page.grid.n_cols))
            corner = col + PICTURE_TILE_PX - 1, row + PICTURE_TILE_PX - 1
            cv2.rectangle(picture, (col, row), corner, colour, 1)
    return picture


def curve_figure(curve: Sequence[Mapping[str, float | None]], threshold: float) -> Figure:
    """Draw precision over recall, and the recall of both kinds over the share of bare paper freed (top corner)."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    at = next(row for row in curve if row["threshold"] == threshold)
    for axes, across, names in (
        (left, "recall", {"precision": "all text"}),
        (right, "freed_other", {"recall_printed": "printed", "recall_handwritten": "handwritten"}),
    ):
        for name, label in names.items():
            axes.plot(*_points(curve, across, name), marker=".", label=label)
            axes.plot(*_points([at], across, name), "k*", markersize=11)
        axes.grid(alpha=0.3)
    stars = [_points([at], "freed_other", name) for name in ("recall_printed", "recall_handwritten")]
    right.set_xlim(min([0.9, *(x - 0.02 for star in stars for x in star[0])]), 1.002)
    right.set_ylim(min([0.96, *(y - 0.02 for star in stars for y in star[1])]), 1.001)
    right.legend()
    _label(left, "recall of text", "precision (text among text and bare paper)")
    _label(right, "share of tiles with little or no ink that is freed", "recall of text")
    figure.suptitle(f"Network only; the star marks the operating point, {threshold:g}")
    return figure


def calibration_figure(calibration: Mapping[str, Any]) -> Figure:
    """Draw the share of important tiles over each bin's mean score, and the number of tiles per bin."""
    figure = Figure(figsize=(6, 6.5), layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1))
    bins = [row for row in calibration["bins"] if row["count"]]
    upper.plot([0, 1], [0, 1], color="grey", linewidth=1, label="perfect calibration")
    upper.plot([row["mean_score"] for row in bins], [row["share_important"] for row in bins], marker="o", label="found")
    _label(upper, "mean score of the bin", "share of tiles with text")
    upper.legend()
    upper.grid(alpha=0.3)
    names = [f"{row['from']:g}–{row['to']:g}" for row in bins]
    lower.bar(names, [row["count"] for row in bins])
    lower.set_yscale("log")
    lower.tick_params(axis="x", rotation=45)
    _label(lower, "score", "tiles")
    error = calibration["expected_error"]
    if error is not None:
        figure.suptitle(f"Expected calibration error {error:.4f} over {calibration['tiles']} tiles")
    return figure


def histogram_figure(pages: Sequence[ScoredPage], threshold: float) -> Figure:
    """Draw the score distribution of each kind of tile on a log-odds axis."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    edges = np.linspace(-10.0, 10.0, 61).tolist()
    kinds = {
        "printed": [page.truth.printed for page in pages],
        "handwritten": [page.truth.handwritten for page in pages],
        "stamp or graphic": [page.truth.graphic for page in pages],
        "little ink, no mark": [page.bare & ~page.truth.blank for page in pages],
        "blank, no mark": [page.bare & page.truth.blank for page in pages],
    }
    for name, flags in kinds.items():
        scores = np.concatenate([page.scores[tiles] for page, tiles in zip(pages, flags, strict=True)])
        if len(scores):
            odds = np.clip(_log_odds(scores.astype(np.float64)), edges[0], edges[-1])
            axes.hist(odds, edges, histtype="step", linewidth=1.5, label=f"{name} ({len(scores)})")
    axes.axvline(float(_log_odds(np.array([threshold]))[0]), color="black", linestyle=":", label="operating point")
    ticks = np.array([0.0001, 0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999, 0.9999])
    axes.set_xticks(_log_odds(ticks), [f"{tick:g}" for tick in ticks], rotation=45)
    axes.set_yscale("log")
    axes.legend()
    _label(axes, "score", "tiles")
    return figure


def _points(rows: Sequence[Mapping[str, float | None]], across: str, up: str) -> tuple[list[float], list[float]]:
    pairs = [(x, y) for row in rows if (x := row[across]) is not None and (y := row[up]) is not None]
    return [x for x, _ in pairs], [y for _, y in pairs]


def _log_odds(scores: np.ndarray) -> np.ndarray:
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


def _label(axes: Axes, across: str, up: str) -> None:
    axes.set_xlabel(across)
    axes.set_ylabel(up)
