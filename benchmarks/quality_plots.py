"""Plot bytes against words found and against stroke similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.arms import SOURCE
from benchmarks.curves import Measured, common_keys
from benchmarks.product import PRODUCT

WORDS_PLOT, SSIM_PLOT = "bytes-words.png", "bytes-ssim.png"

_DPI = 110


def write_plots(folder: Path, measured: Measured) -> list[str]:
    """Write the plots that have data, and return their names."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, figure in ((SSIM_PLOT, ssim_figure(measured)), (WORDS_PLOT, words_figure(measured))):
        if figure is not None:
            figure.savefig(folder / name, dpi=_DPI)
            written.append(name)
    return written


def ssim_figure(measured: Measured) -> Figure | None:
    """Draw the mean text SSIM over the bytes of all pages; None if no page is common to all arms."""
    arms = [arm for arm in measured.arms() if arm != SOURCE]
    keys = common_keys(measured, arms)
    if not keys:
        return None
    points = {}
    for arm in arms:
        rows = [row for row in measured.of_arm(arm) if row["key"] in keys]
        points[arm] = sum(row["bytes"] for row in rows), sum(row["text_ssim"] for row in rows) / len(rows)
    figure, axes = _axes(f"{len(keys)} scans", "SSIM on strokes of text, mean over scans")
    _draw(axes, measured, points)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.6))
    return figure


def words_figure(measured: Measured) -> Figure | None:
    """Draw the share of words found over the bytes of the pages with counted words; None without such pages."""
    arms = [arm for arm in measured.arms() if any("n_words" in row for row in measured.of_arm(arm))]
    keys = common_keys(measured, arms, with_words=True)
    if not keys:
        return None
    points = {}
    for arm in arms:
        rows = [row for row in measured.of_arm(arm) if row["key"] in keys]
        found = sum(row["words_found"] for row in rows) / sum(row["n_words"] for row in rows)
        points[arm] = sum(row["bytes"] for row in rows), found
    figure, axes = _axes(f"{len(keys)} scans of English print and typewriting", "ground-truth words found by OCR")
    if SOURCE in points:
        axes.axhline(points.pop(SOURCE)[1], color="black", linestyle=":", label="scans themselves")
    _draw(axes, measured, points)
    axes.set_ylim(bottom=max(axes.get_ylim()[0], 0.6))
    return figure


def _axes(title: str, upright: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    axes.set_xlabel("kB, all scans")
    axes.set_ylabel(upright)
    axes.set_title(title)
    axes.grid(alpha=0.3, which="both")
    return figure, axes


def _draw(axes: Axes, measured: Measured, points: Mapping[str, tuple[float, float]]) -> None:
    families: dict[str, list[tuple[float, float]]] = {}
    for arm, point in points.items():
        families.setdefault(measured.of_arm(arm)[0]["family"], []).append(point)
    for family, found in families.items():
        found.sort()
        is_ours = family.startswith(PRODUCT)
        axes.plot(
            *_columns(found),
            label=family,
            marker="*" if is_ours else "." if len(found) > 1 else "s",
            markersize=10 if is_ours else 7,
            linewidth=2 if is_ours else 1,
        )
    axes.legend(loc="lower right")


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x / 1000 for x, _ in points], [y for _, y in points]
