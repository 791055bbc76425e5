"""Compute what an arm saved and lost, and the size of uniform quality with the same loss, from page rows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.arms import SOURCE
from benchmarks.uniform import CODECS, family_of

Row = Mapping[str, Any]

FORGIVEN_WORDS = 2
"""Words that a page may lose or gain through OCR noise."""
LEAST_WORDS_TO_DROP = 40
"""The drop is measured only on pages with this many words: on shorter ones, one word would be several per cent."""


class Measured:
    """All rows, by arm and page.

    Args:
        rows: From `benchmarks.judgement.judge_arm`; rows with an error are set apart.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self.failed: list[Row] = []
        self._arms: dict[str, dict[str, Row]] = {}
        self._families: dict[tuple[str, str], list[Row]] = {}
        for row in rows:
            if "error" in row:
                self.failed.append(row)
                continue
            self._arms.setdefault(row["arm"], {})[row["key"]] = row
            self._families.setdefault((row["family"], row["key"]), []).append(row)

    def arms(self) -> list[str]:
        """Return the names of all arms, in order of first appearance."""
        return list(self._arms)

    def of_arm(self, arm: str) -> list[Row]:
        """Return an arm's rows."""
        return list(self._arms.get(arm, {}).values())

    def source(self, key: str) -> Row:
        """Return a scan's own row; an empty one if it has none."""
        return self._arms.get(SOURCE, {}).get(key, {})

    def collections(self) -> list[str]:
        """Return the names of all collections, in alphabetical order."""
        return sorted({row["collection"] for rows in self._arms.values() for row in rows.values()})

    def uniform_bytes(self, row: Row, codec: str) -> float | None:
        """Return the size at which one uniform quality of a codec reaches the text SSIM of a row."""
        if row.get("text_ssim") is None:
            return None
        swept = self._families.get((family_of(codec), row["key"]), [])
        points = [(one["text_ssim"], one["bytes"]) for one in sorted(swept, key=lambda one: one["quality"])]
        return bytes_at(points, row["text_ssim"])


def bytes_at(points: Sequence[tuple[float, float]], ssim: float) -> float | None:
    """Return the bytes at which a sweep reaches an SSIM, log-linearly between its points.

    Args:
        points: (SSIM, bytes), from the lowest quality to the highest.
        ssim: The target.

    Returns:
        None if even the lowest quality reaches it, or there are no points; the bytes of the highest quality if that
        does not reach it.

    >>> round(bytes_at([(0.5, 100.0), (0.75, 400.0)], 0.625))
    200
    """
    previous: tuple[float, float] | None = None
    for reached, size_bytes in points:
        if reached >= ssim:
            if previous is None:
                return None
            share = (ssim - previous[0]) / max(reached - previous[0], 1e-9)
            return math.exp(math.log(previous[1]) * (1 - share) + math.log(size_bytes) * share)
        previous = reached, size_bytes
    return None if previous is None else float(previous[1])


def summarise(rows: Sequence[Row], measured: Measured) -> dict[str, Any]:
    """Return the summary of one arm, over some or all of its pages.

    Returns:
        `pages`, `kept` (not compressed), `source_bytes`, `bytes`, `saved`; `text_ssim` (mean over pages),
        `text_ssim_worst`, `other_ssim_worst`, `chroma_error_worst`; `ratio` and `ratio_median`: bytes relative to
        uniform quality in the same codec at equal text SSIM, of all pages together and of the median page; `ratio_avif`
        and `ratio_avif_median`: the same relative to AVIF, whatever the codec; `n_words`, `words_source` and
        `words_found` (shares of all ground-truth words), `worst_drop`; `seconds` (mean per page). None if not measured.
    """
    source_bytes, size_bytes = (sum(row[name] for row in rows) for name in ("source_bytes", "bytes"))
    changed = [row for row in rows if row.get("status", "compressed") == "compressed"]
    compared = [row for row in changed if row["arm"] != SOURCE]
    own = [(row["bytes"], measured.uniform_bytes(row, _codec_to_beat(row))) for row in compared]
    avif = [(row["bytes"], measured.uniform_bytes(row, "avif")) for row in compared]
    return {
        "pages": len(rows),
        "kept": len(rows) - len(changed),
        "source_bytes": source_bytes,
        "bytes": size_bytes,
        "saved": 1 - size_bytes / source_bytes if source_bytes else None,
        "text_ssim": _over(statistics.fmean, rows, "text_ssim"),
        "text_ssim_worst": _over(min, rows, "text_ssim"),
        "other_ssim_worst": _over(min, rows, "other_ssim"),
        "chroma_error_worst": _over(max, rows, "chroma_error"),
        **_ratios("ratio", own),
        **_ratios("ratio_avif", avif),
        **_words(rows, measured),
        "seconds": _over(statistics.fmean, rows, "seconds"),
    }


def common_keys(measured: Measured, arms: Sequence[str], *, with_words: bool = False) -> set[str]:
    """Return the pages that all given arms have, with counted words if `with_words`; only these are summed."""
    figure = "n_words" if with_words else "text_ssim"
    keys = [{row["key"] for row in measured.of_arm(arm) if row.get(figure) is not None} for arm in arms]
    return set.intersection(*keys) if keys else set()


def _codec_to_beat(row: Row) -> str:
    """Return the codec of a row's uniform rival: its own if it has a quality setting, else AVIF."""
    codec = row.get("codec")
    return codec if codec in CODECS else "avif"


def _ratios(name: str, pairs: Sequence[tuple[int, float | None]]) -> dict[str, float | None]:
    compared = [(size_bytes, needed) for size_bytes, needed in pairs if needed is not None]
    total = sum(needed for _, needed in compared)
    return {
        name: sum(size_bytes for size_bytes, _ in compared) / total if total else None,
        f"{name}_median": statistics.median(size / needed for size, needed in compared) if compared else None,
    }


def _words(rows: Sequence[Row], measured: Measured) -> dict[str, Any]:
    pairs = [(row, measured.source(row["key"])) for row in rows if "n_words" in row]
    pairs = [(row, source) for row, source in pairs if "n_words" in source]
    n_words = sum(row["n_words"] for row, _ in pairs)
    drops = [
        max(0.0, (source["words_found"] - row["words_found"] - FORGIVEN_WORDS) / row["n_words"])
        for row, source in pairs
        if row["n_words"] >= LEAST_WORDS_TO_DROP
    ]
    return {
        "n_words": n_words,
        "words_source": sum(source["words_found"] for _, source in pairs) / n_words if n_words else None,
        "words_found": sum(row["words_found"] for row, _ in pairs) / n_words if n_words else None,
        "worst_drop": max(drops, default=None),
    }


def _over(function: Any, rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row.get(name) is not None]
    return float(function(values)) if values else None
