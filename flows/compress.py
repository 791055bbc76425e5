"""Compress an archive of scans as a Prefect flow, one task for each shard."""

from __future__ import annotations

import logging
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

from foliopress.flows.run.run import Run, open_run
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.run.run_summary import RunSummary
from foliopress.flows.run.shards import Shard
from foliopress.flows.views.prefect_artifacts import RunArtifacts
from foliopress.tasks.errors import StoreUnavailable

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.futures import PrefectFuture
    from prefect.tasks import Task

_MAX_SHARDS_AT_ONCE = 64  # the upper bound of cluster.shards_at_once; the run itself holds them back
_MAX_UNAVAILABLE_IN_A_ROW = 4  # a store that is down, or a disk that is full, fails thousands, each tried three times

log = logging.getLogger(__name__)


class ShardsFailed(Exception):
    """Some shards failed; a rerun retries them."""

    def __init__(self, message: str, summary: RunSummary) -> None:
        super().__init__(message)
        self.summary = summary


def _is_transient(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    return _is_unavailable(state)


def _is_unavailable(state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), StoreUnavailable)


@task(
    task_run_name="{shard.first_key} to {shard.last_key}",
    retries=2,
    retry_delay_seconds=[5, 20],
    retry_condition_fn=_is_transient,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def compress_shard(shard: Shard, run: Run) -> None:
    """Compress one shard's documents and commit it."""
    run.compress(shard)


class _ShardTally:
    """Counts the shards of a run as their tasks end."""

    def __init__(self) -> None:
        self.n_begun = self.n_ended = self.n_failed = 0
        self._n_unavailable_in_a_row = 0
        self._ended: SimpleQueue[PrefectFuture[None]] = SimpleQueue()
        """Tasks that have ended; each is released then, as there may be thousands."""

    def submit(self, shard: Shard, run: Run) -> None:
        """Submit a shard to Prefect's task runner."""

        def on_end(future: PrefectFuture[None]) -> None:
            run.release_slot(shard)
            self._ended.put(future)

        compress_shard.submit(shard, run).add_done_callback(on_end)
        self.n_begun += 1

    def count_ended(self) -> None:
        """Count the tasks that have ended by now."""
        while not self._ended.empty():
            self._count_one()

    def wait(self) -> None:
        """Wait for all tasks and count them."""
        while self.n_ended < self.n_begun:
            self._count_one()

    @property
    def has_lost_the_store(self) -> bool:
        """True if so many shards failed in a row for want of a store or a machine that another would fail too."""
        return self._n_unavailable_in_a_row >= _MAX_UNAVAILABLE_IN_A_ROW

    def _count_one(self) -> None:
        future = self._ended.get()
        _release(future)
        self.n_ended += 1
        self.n_failed += _has_failed(future)
        self._n_unavailable_in_a_row = self._n_unavailable_in_a_row + 1 if _is_unavailable(future.state) else 0


def compress_documents(request: RunRequest) -> RunSummary:
    """Do the work of `compress_archive`, inside a flow whose task runner has threads for the shards."""
    with (
        open_run(request) as run,
        RunArtifacts(lambda: run.progress.fraction, lambda: run.progress.pages) as artifacts,
    ):
        tally = _ShardTally()
        for shard in run.pending_shards():
            tally.submit(shard, run)
            tally.count_ended()
            if tally.has_lost_the_store:
                log.error(
                    "the store or a machine failed %d shards in a row; no more are started",
                    _MAX_UNAVAILABLE_IN_A_ROW,
                )
                break
        tally.wait()
        summary = run.summarise(tally.n_begun - tally.n_failed, tally.n_failed)
        artifacts.publish_summary(summary)
    if tally.n_failed:
        message = f"{tally.n_failed} of {tally.n_begun} shards failed; run the same command again to retry them"
        raise ShardsFailed(message, summary)
    if summary.shards_failed:
        raise ShardsFailed("statistics are damaged; run the same command again to redo their shards", summary)
    return summary


def _has_failed(future: PrefectFuture[None]) -> bool:
    """Return whether a shard's task failed, and log why."""
    future.wait()
    if future.state.is_completed():
        return False
    log.error("shard task %s: %s", future.state.name, future.state.message)
    return True


def _release(future: PrefectFuture[None]) -> None:
    """Make Prefect forget a task run that has ended; it would keep 1.5 kB of each until the flow ends.

    To be called in the flow's own thread, where the task runner goes through what it keeps at the end of the flow.
    """
    context = FlowRunContext.get()
    if context is not None:
        getattr(context.task_runner, "_cancel_events", {}).pop(future.task_run_id, None)
        context.task_run_assets.pop(future.task_run_id, None)


SHARD_RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=_MAX_SHARDS_AT_ONCE)
"""Threads for the shards of a run; each waits for the Dask cluster most of the time."""


@flow(
    flow_run_name="{request.source} with {request.settings.profile}",
    task_runner=SHARD_RUNNER,  # type: ignore[arg-type]
    persist_result=False,
    validate_parameters=False,
)
def compress_archive(request: RunRequest) -> RunSummary:
    """Compress all documents of SOURCE into DEST, passing over the shards that earlier runs have finished.

    Args:
        request: What to do; quoted (`prefect.utilities.annotations.quote`), so that Prefect does not take it apart.

    Raises:
        ConfigError: Before the first page, if a setting, SOURCE or DEST is wrong.
        ShardsFailed: At the end, if shards could not be finished.
    """
    return compress_documents(request)
