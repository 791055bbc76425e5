"""The run's place in the Prefect UI: a progress bar while it works, tables when it has ended.

It is for looking at only: an API that gives no answer neither stops a run nor holds it up.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
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
    """Shows a run in the Prefect UI while the block lasts, from a thread of its own; to be opened inside the flow.

    Args:
        fraction: Asked every ten seconds, and at the end: the share of the work that is done, None while nobody knows.
        pages: Asked every quarter second: how many pages are done.
    """

    def __init__(self, fraction: Callable[[], float | None], pages: Callable[[], int] = lambda: 0) -> None:
        self._fraction, self._pages, self._rate = fraction, pages, ThroughputCurve()
        self._ended = threading.Event()
        self._summary: RunSummary | None = None
        context = contextvars.copy_context()  # Prefect looks there for the flow run and for its settings
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
        """Have the figures, the reasons and the worst pages shown at the end of the block."""
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
            bar = create_progress_artifact(progress=0.0, description="Share of the source's bytes done")
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
            create_markdown_artifact(text, key="foliopress-summary", description="What the run did")
            if self._summary.worst_pages:
                names = ("document_key", "page_index", "worst_block_ssim", "source_bytes", "output_bytes", "output_key")
                table = [{name: page[name] for name in names} for page in self._summary.worst_pages]
                create_table_artifact(table, key="foliopress-worst-pages", description="Pages whose ink lost most")
            if picture := self._rate.as_url():
                create_image_artifact(picture, key="foliopress-rate", description="Pages a minute over the run")
        except Exception as error:
            log.warning("the run is no longer shown in Prefect: %s: %s", type(error).__name__, error)


def _as_markdown(summary: RunSummary) -> str:
    rows = [("this run", summary.run), ("whole DEST", summary.whole)]
    per_minute = 60 * summary.run.pages / summary.seconds if summary.seconds else 0.0
    took = f"{summary.seconds:.0f} s, {per_minute:.1f} pages a minute"
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
