"""Show a run in the Prefect UI: a progress bar during the run, tables at its end.

The view is optional: an API that does not answer neither stops nor delays a run.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from types import TracebackType
from typing import Self

from foliopress.flows.run.run_summary import RunSummary
from foliopress.flows.views.progress import megabytes
from foliopress.flows.views.throughput_chart import ThroughputCurve

_SAMPLED_EVERY_S = 0.25
_SHOWN_EVERY_S = 10.0
_LAST_WAIT_S = 20.0

log = logging.getLogger(__name__)


class RunArtifacts:
    """Show a run in the Prefect UI while the context is open, from a separate thread; open it inside the flow.

    Args:
        fraction: Called every ten seconds and at the end; returns the fraction of the work done, None if unknown.
        pages: Called every quarter second; returns the number of pages done.
    """

    def __init__(self, fraction: Callable[[], float | None], pages: Callable[[], int] = lambda: 0) -> None:
        self._fraction, self._pages, self._rate = fraction, pages, ThroughputCurve()
        self._ended = threading.Event()
        self._summary: RunSummary | None = None
        context = contextvars.copy_context()  # Prefect stores the flow run and its settings there
        self._thread = threading.Thread(target=context.run, args=(self._keep_showing,), name="artifacts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if kind is None:
            self._thread.join(_LAST_WAIT_S)

    def publish_summary(self, summary: RunSummary) -> None:
        """Show totals, reasons and the worst pages when the context closes."""
        self._summary = summary

    def _keep_showing(self) -> None:
        from prefect.artifacts import (
            create_image_artifact,
            create_markdown_artifact,
            create_progress_artifact,
            create_table_artifact,
            update_progress_artifact,
        )

        try:
            bar = create_progress_artifact(progress=0.0, description="Fraction of source bytes processed")
            shown, begun = 0.0, time.monotonic()
            shown_at = begun
            is_last = False
            while not is_last:
                is_last = self._ended.wait(_SAMPLED_EVERY_S)
                now = time.monotonic()
                self._rate.add(now - begun, self._pages())
                if not is_last and now - shown_at < _SHOWN_EVERY_S:
                    continue
                shown_at = now
                percent = round(100 * (self._fraction() or 0.0), 1)
                if percent != shown:
                    update_progress_artifact(bar, progress=percent)  # type: ignore[arg-type]
                    shown = percent
            if self._summary is None:
                return
            text = _as_markdown(self._summary)
            create_markdown_artifact(text, key="foliopress-summary", description="Run summary")
            if self._summary.worst_pages:
                table = [asdict(page) for page in self._summary.worst_pages]
                create_table_artifact(
                    table, key="foliopress-worst-pages", description="Pages with the largest loss of ink detail"
                )
            if picture := self._rate.as_url():
                create_image_artifact(picture, key="foliopress-rate", description="Throughput in pages per minute")
        except Exception as error:
            log.warning("the run is no longer shown in Prefect: %s: %s", type(error).__name__, error)


def _as_markdown(summary: RunSummary) -> str:
    rows = [("this run", summary.run), ("whole DEST", summary.whole)]
    per_minute = 60 * summary.run.pages / summary.seconds if summary.seconds else 0.0
    took = f"{summary.seconds:.0f} s, {per_minute:.1f} pages per minute"
    lines = [f"`{summary.source}` to `{summary.dest}` with {summary.profile}: {took}", ""]
    lines += ["| | pages | compressed | kept | failed | before | after | saved |", "| --- " * 8 + "|"]
    for name, part in rows:
        lines.append(
            f"| {name} | {part.pages} | {part.compressed} | {part.kept} | {part.failed} "
            f"| {megabytes(part.source_bytes)} | {megabytes(part.output_bytes)} | {100 * part.saved_fraction:.1f} % |"
        )
    if summary.whole.reasons:
        lines += ["", "| reason | pages |", "| --- | --- |"]
        lines += [f"| {reason} | {count} |" for reason, count in sorted(summary.whole.reasons.items())]
    return "\n".join(lines)
