"""Compute metrics from scored pages: counts, precision and recall, calibration, rotation, worst pages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from foliopress.configs.settings import ImportanceSettings
from foliopress.model.tile_truth import TileTruth
from foliopress.tasks.analysis import page_kinds
from foliopress.tasks.analysis.resolution import important_tiles
from foliopress.tasks.analysis.tiles import TileGrid

DECIDERS = ("model", "mask", "model_or_mask")
"""Rules by which a tile keeps its resolution: network only, OCR mask only, or either one, as in the pipeline."""
SHIPPED_DECIDER = "model_or_mask"

KINDS = ("printed", "typewritten", "handwritten", "stamp_or_graphic")
"""Kinds of tiles that should keep their resolution; `typewritten` is a subset of `printed`."""
PICTURE_TILE_PX = 13
"""Side of a tile in a page's thumbnail, in pixels: 0.21 inch at about 60 dpi."""
LEAST_PAGE_TILES = 20
"""A page's recall counts among the worst only from this many printed tiles."""
WORST_PAGES = 20

CURVE_THRESHOLDS = (
    *(0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08),
    *(0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85),
    *(0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999),
)
# Most scores lie near 0 or 1, so the bins are narrow there.
CALIBRATION_EDGES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.98, 1.0)

_FREEING_KINDS = (page_kinds.PageKind.GREY, page_kinds.PageKind.COLOUR)  # other pages are not resized
_SHARES = {
    "printed": "recall_printed",
    "handwritten": "recall_handwritten",
    "blank": "freed_blank",
    "other": "freed_other",
}


@dataclass(frozen=True, eq=False)
class ScoredPage:
    """One marked page with the scores of its tiles, row by row.

    scores: (n_tiles,) float32. by_mask: (n_tiles,) bool, tiles kept by the OCR mask.
    picture: (n_rows * 13, n_cols * 13) uint8 luma, a thumbnail at about 60 dpi.
    """

    key: str
    page_kind: page_kinds.PageKind
    grid: TileGrid
    picture: np.ndarray
    scores: np.ndarray
    by_mask: np.ndarray
    truth: TileTruth

    @property
    def may_free(self) -> bool:
        """Whether pages of this kind are resized at all."""
        return self.page_kind in _FREEING_KINDS

    @property
    def text(self) -> np.ndarray:
        """(n_tiles,) bool, tiles of marked text."""
        return np.asarray(self.truth.printed | self.truth.handwritten)

    @property
    def bare(self) -> np.ndarray:
        """(n_tiles,) bool, unmarked tiles with little or no ink."""
        return np.asarray(self.truth.little_ink & ~self.truth.marked)

    def kept(self, threshold: float) -> dict[str, np.ndarray]:
        """Return the tiles that keep full resolution, (n_tiles,) bool, by each rule of `DECIDERS`."""
        scores = self.scores.reshape(self.grid.n_rows, self.grid.n_cols)
        by_model = important_tiles(scores, ImportanceSettings(threshold=threshold)).ravel()
        return {"model": by_model, "mask": self.by_mask, "model_or_mask": by_model | self.by_mask}


def count_tiles(important: np.ndarray, truth: TileTruth, may_free: bool) -> dict[str, int]:
    """Count the tiles of each kind, and how many of them are treated correctly.

    Args:
        important: (n_tiles,) bool, True keeps full resolution.
        truth: Ground truth of the tiles.
        may_free: False for a page that is not resized; then only text is counted.
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
    """Return the recall of text, the share of freed tiles and the counts; a share is None without such tiles.

    >>> shares({"n_printed": 4, "printed": 3})
    {'recall_printed': 0.75, 'n_printed': 4}
    """
    found: dict[str, float | int | None] = {}
    for kind, name in _SHARES.items():
        if f"n_{kind}" in counts:
            found |= {name: share_of(counts[kind], counts[f"n_{kind}"]), f"n_{kind}": counts[f"n_{kind}"]}
    return found


def share_of(part: float, whole: float) -> float | None:
    """Return part / whole to five decimals, or None if the whole is 0."""
    return round(part / whole, 5) if whole else None


def summary(pages: Sequence[ScoredPage], threshold: float, decider: str) -> dict[str, float | int | None]:
    """Return the pooled `shares` of all pages, and the lowest printed recall of a page with 20 or more such tiles."""
    rows = [count_tiles(page.kept(threshold)[decider], page.truth, page.may_free) for page in pages]
    total: Counter[str] = Counter(dict.fromkeys((f"{n}{kind}" for n in ("n_", "") for kind in _SHARES), 0))
    for row in rows:
        total.update(row)
    worst = [row["printed"] / row["n_printed"] for row in rows if row["n_printed"] >= LEAST_PAGE_TILES]
    return {**shares(total), "worst_recall_printed": round(min(worst), 5) if worst else None}


def kind_recalls(pages: Sequence[ScoredPage], threshold: float) -> dict[str, dict[str, float | int | None]]:
    """Return, for each of `KINDS`, the number of tiles (`count`) and the share that each of `DECIDERS` keeps."""
    names = {"stamp_or_graphic": "graphic"}
    found: dict[str, dict[str, float | int | None]] = {}
    for kind in KINDS:
        present = [getattr(page.truth, names.get(kind, kind)) for page in pages]
        count = sum(int(tiles.sum()) for tiles in present)
        found[kind] = {"count": count}
        for decider in DECIDERS:
            kept = sum(
                int((tiles & page.kept(threshold)[decider]).sum()) for page, tiles in zip(pages, present, strict=True)
            )
            found[kind][decider] = share_of(kept, count)
    return found


def curve(pages: Sequence[ScoredPage], threshold: float) -> list[dict[str, float | None]]:
    """Return recall, freed shares and precision of the network alone at `CURVE_THRESHOLDS` and `threshold`, ascending.

    Precision is the share of text among the tiles at or above a threshold that are text or bare (no marks, little or no
    ink). It counts all pages; freed shares count resized pages only. Precision is None if no tile reaches the
    threshold.
    """
    scores, text, bare = (_pooled(pages, name) for name in ("scores", "text", "bare"))
    printed, handwritten, blank = (
        np.concatenate([getattr(page.truth, name) for page in pages]) for name in ("printed", "handwritten", "blank")
    )
    may_free = np.concatenate([np.full(len(page.scores), page.may_free) for page in pages])
    other = bare & may_free
    blank = other & blank
    rows = []
    for at in sorted({*CURVE_THRESHOLDS, threshold}):
        kept = scores >= at
        found, wrong = int((kept & text).sum()), int((kept & bare).sum())
        rows.append(
            {
                "threshold": at,
                "precision": share_of(found, found + wrong),
                "recall": share_of(found, int(text.sum())),
                "recall_printed": _kept_share(kept, printed),
                "recall_handwritten": _kept_share(kept, handwritten),
                "freed_blank": _kept_share(~kept, blank),
                "freed_other": _kept_share(~kept, other),
            }
        )
    return rows


def calibration(pages: Sequence[ScoredPage]) -> dict[str, Any]:
    """Return the calibration of the network's scores over text and bare tiles; other ink has no ground truth.

    Returns:
        `bins`: for each bin of scores its limits `from` and `to`, `mean_score`, `share_important` (both None if the bin
        is empty) and `count`. `expected_error`: the mean of |share - mean score| over the bins, weighted by their
        counts (expected calibration error, Guo et al. 2017), None without tiles. `tiles`: number of tiles.
    """
    scores, text = _pooled(pages, "scores").astype(np.float64), _pooled(pages, "text")
    known = text | _pooled(pages, "bare")
    scores, text = scores[known], text[known]
    # 1.0 belongs to the last bin
    which = np.clip(np.digitize(scores, CALIBRATION_EDGES) - 1, 0, len(CALIBRATION_EDGES) - 2)
    bins: list[dict[str, float | int | None]] = []
    error = 0.0
    for number, limits in enumerate(pairwise(CALIBRATION_EDGES)):
        inside = which == number
        count = int(inside.sum())
        total, important = float(scores[inside].sum()), int(text[inside].sum())
        error += abs(important - total)
        bins.append(
            {
                "from": limits[0],
                "to": limits[1],
                "mean_score": share_of(total, count),
                "share_important": share_of(important, count),
                "count": count,
            }
        )
    return {"bins": bins, "expected_error": share_of(error, len(scores)), "tiles": len(scores)}


def rotation_falls(
    upright: Sequence[ScoredPage], turned: Sequence[ScoredPage], degrees: int, threshold: float
) -> dict[str, Any]:
    """Return the loss of text recall when the same pages are rotated.

    Args:
        upright: Pages padded to whole tiles, not rotated.
        turned: The same pages in the same order, rotated.
        degrees: The angle, for the row.
        threshold: The operating point.

    Returns:
        `degrees`, `pages`, `n_text` (tiles of the rotated pages), and for `model` and `model_or_mask` each `recall`,
        `recall_printed`, `recall_handwritten`, `recall_upright`, `fall` (both pooled) and `worst_page` with its `key`,
        `fall` and `n_text`.
    """
    row: dict[str, Any] = {
        "degrees": degrees,
        "pages": len(turned),
        "n_text": sum(int(page.text.sum()) for page in turned),
    }
    for decider in ("model", SHIPPED_DECIDER):
        pooled = summary(turned, threshold, decider)
        before, after = (_text_recalls(pages, threshold, decider) for pages in (upright, turned))
        falls = [
            (round(was - now, 5), page.key, int(page.text.sum()))
            for page, was, now in zip(turned, before[1], after[1], strict=True)
            if was is not None and now is not None
        ]
        worst = max(falls, default=None)
        row[decider] = {
            "recall": after[0],
            "recall_printed": pooled["recall_printed"],
            "recall_handwritten": pooled["recall_handwritten"],
            "recall_upright": before[0],
            "fall": None if before[0] is None or after[0] is None else round(before[0] - after[0], 5),
            "worst_page": worst and {"key": worst[1], "fall": worst[0], "n_text": worst[2]},
        }
    return row


def worst_pages(pages: Sequence[ScoredPage], threshold: float, most: int = WORST_PAGES) -> list[dict[str, Any]]:
    """Return metrics of the worst pages under the shipped rule: half for lost text, the rest for bare paper kept.

    Pages with lost text come first, by ascending recall, at most `most` / 2 of them; then the pages that free the
    lowest share of their bare tiles.

    Returns:
        For each page `key`, `page_kind`, `for` (`text` or `paper`), `recall`, `n_text`, `missed`, `freed`, `n_bare`,
        `kept`; recall and freed share are None if the page has no such tile.
    """
    rows: list[dict[str, Any]] = []
    for page in pages:
        important = page.kept(threshold)[SHIPPED_DECIDER]
        n_text, missed = int(page.text.sum()), int((page.text & ~important).sum())
        bare = page.bare & page.may_free
        n_bare, kept = int(bare.sum()), int((bare & important).sum())
        rows.append(
            {
                "key": page.key,
                "page_kind": page.page_kind.value,
                "recall": share_of(n_text - missed, n_text),
                "n_text": n_text,
                "missed": missed,
                "freed": share_of(n_bare - kept, n_bare),
                "n_bare": n_bare,
                "kept": kept,
            }
        )
    for_text = sorted((row for row in rows if row["missed"]), key=lambda row: row["recall"])[: most // 2]
    chosen = {row["key"] for row in for_text}
    left = [row for row in rows if row["key"] not in chosen and row["kept"]]
    for_paper = sorted(left, key=lambda row: row["freed"])[: most - len(for_text)]
    return [{**row, "for": "text"} for row in for_text] + [{**row, "for": "paper"} for row in for_paper]


def _kept_share(kept: np.ndarray, present: np.ndarray) -> float | None:
    return share_of(int((kept & present).sum()), int(present.sum()))


def _text_recalls(
    pages: Sequence[ScoredPage], threshold: float, decider: str
) -> tuple[float | None, list[float | None]]:
    """Return the recall of all text: pooled, and per page."""
    found = [int((page.text & page.kept(threshold)[decider]).sum()) for page in pages]
    present = [int(page.text.sum()) for page in pages]
    return share_of(sum(found), sum(present)), [share_of(*pair) for pair in zip(found, present, strict=True)]


def _pooled(pages: Sequence[ScoredPage], name: str) -> np.ndarray:
    return np.concatenate([getattr(page, name) for page in pages])
