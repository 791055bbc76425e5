"""Draw throughput over a run as a self-contained SVG."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise

_MOST_SAMPLES = 600
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 800, 260, 60, 34, 16


class ThroughputCurve:
    """Samples of pages done over time; when there are too many, every second one is dropped."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, int]] = []

    def add(self, seconds: float, pages: int) -> None:
        """Record the number of pages done at a time, in seconds since the start."""
        self._samples.append((seconds, pages))
        if len(self._samples) > _MOST_SAMPLES:
            self._samples = [*self._samples[:-1:2], self._samples[-1]]

    def rates(self, pieces: int = 60) -> list[tuple[float, float]]:
        """Return (end in seconds, pages per minute) for up to `pieces` intervals."""
        ends = self._samples[:: max(1, (len(self._samples) - 1) // pieces)]
        if len(self._samples) > 1 and ends[-1] != self._samples[-1]:
            ends.append(self._samples[-1])
        return [
            (end_s, 60.0 * (end - begin) / (end_s - begin_s))
            for (begin_s, begin), (end_s, end) in pairwise(ends)
            if end_s > begin_s
        ]

    def as_url(self) -> str | None:
        """Return the curve as a `data:` URL of an SVG image; None if there are too few samples."""
        rates = self.rates()
        if len(rates) < 2:
            return None
        return "data:image/svg+xml;base64," + base64.b64encode(as_svg(rates).encode()).decode()


def as_svg(rates: Sequence[tuple[float, float]]) -> str:
    """Return throughput over time as SVG."""
    longest_s, most = rates[-1][0], max(1.0, *(rate for _, rate in rates))
    width, height = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM

    def place(seconds: float, rate: float) -> str:
        return f"{_LEFT + width * seconds / longest_s:.1f},{_TOP + height * (1 - rate / most):.1f}"

    line = " ".join(place(*sample) for sample in rates)
    unit, name = (3600.0, "h") if longest_s >= 7200 else (60.0, "min") if longest_s >= 120 else (1.0, "s")
    base = _HEIGHT - _BOTTOM
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="#fff"/>'
        f'<path d="M{_LEFT},{_TOP}V{base}H{_WIDTH - 10}" fill="none" stroke="#888"/>'
        f'<polyline points="{line}" fill="none" stroke="#2b6cb0" stroke-width="2"/>'
        f'<text x="{_LEFT - 6}" y="{_TOP + 5}" text-anchor="end">{most:.0f}</text>'
        f'<text x="{_LEFT - 6}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{_LEFT + 6}" y="{_TOP + 5}">pages per minute</text>'
        f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 10}" text-anchor="end">{longest_s / unit:.3g} {name}</text></svg>'
    )
