"""The main job as a Prefect flow: an archive of scans in, compressed images and statistics out."""

from __future__ import annotations

import logging
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

from foliopress.configs.settings import Settings
from foliopress.flows.run.run import Run, new_run_id, open_run
from foliopress.flows.run.run_summary import RunSummary
from foliopress.flows.run.shards import Shard
from foliopress.flows.views.prefect_artifacts import RunArtifacts
from foliopress.tasks.errors import StoreUnavailable

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.futures import PrefectFuture
    from prefect.tasks import Task

_MOST_SHARDS_AT_ONCE = 64  # the upper bound of cluster.shards_at_once; the run itself holds them back
_MOST_FAILED_IN_A_ROW = 4  # a store that is down, or a disk that is full, would fail thousands, each tried three times

log = logging.getLogger(__name__)


class ShardsFailed(Exception):
    """Some shards could not be finished; a rerun repeats them."""

    def __init__(self, message: str, summary: RunSummary) -> None:
        super().__init__(message)
        self.summary = summary


def _is_transient(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
    return _is_of_the_store(state)


def _is_of_the_store(state: State[Any]) -> bool:
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
    """Take one shard's documents through all steps and commit it."""
    run.compress(shard)


def compress_documents(
    source: str,
    dest: str,
    settings: Settings,
    *,
    retry_failed: bool = False,
    overwrite: bool = False,
    run_id: str | None = None,
    log_file: str | None = None,
    deep: bool = False,
) -> RunSummary:
    """Do the work of `compress_archive`; to be called inside a flow whose task runner has threads for the shards."""
    with (
        open_run(
            source,
            dest,
            settings,
            retry_failed=retry_failed,
            overwrite=overwrite,
            run_id=run_id or new_run_id(),
            log_file=log_file,
            deep=deep,
        ) as run,
        RunArtifacts(lambda: run.progress.fraction, lambda: run.progress.pages) as artifacts,
    ):
        n_shards = n_ended = n_failed = in_a_row = 0
        # a future is let go once it has ended: there may be thousands
        ended: SimpleQueue[PrefectFuture[None]] = SimpleQueue()

        def end(shard: Shard, future: PrefectFuture[None]) -> None:
            run.free_slot(shard)
            ended.put(future)

        def take_ended() -> PrefectFuture[None]:
            future = ended.get()
            _let_go(future)
            return future

        for shard in run.shards_to_do():
            compress_shard.submit(shard, run).add_done_callback(partial(end, shard))
            n_shards += 1
            while not ended.empty():
                future = take_ended()
                n_ended, n_failed = n_ended + 1, n_failed + _has_failed(future)
                in_a_row = in_a_row + 1 if _is_of_the_store(future.state) else 0
            if in_a_row >= _MOST_FAILED_IN_A_ROW:
                log.error("the store or a machine failed %d shards in a row; no further one is begun", in_a_row)
                break
        while n_ended < n_shards:
            n_ended, n_failed = n_ended + 1, n_failed + _has_failed(take_ended())
        summary = run.summarise(n_shards - n_failed, n_failed)
        artifacts.publish_summary(summary)
    if n_failed:
        raise ShardsFailed(f"{n_failed} of {n_shards} shards failed; the same command repeats them", summary)
    if summary.shards_failed:
        raise ShardsFailed("statistics turned out to be damaged; the same command does their shards again", summary)
    return summary


def _has_failed(future: PrefectFuture[None]) -> bool:
    """Return whether a shard that has ended failed, and log why."""
    future.wait()
    if future.state.is_completed():
        return False
    log.error("shard task %s: %s", future.state.name, future.state.message)
    return True


def _let_go(future: PrefectFuture[None]) -> None:
    """Have Prefect forget a task run that has ended; it would keep 1.5 kB of each until the flow ends.

    To be called by the flow's own thread: at the flow's end its runner goes through what it keeps in that one.
    """
    context = FlowRunContext.get()
    if context is not None:
        getattr(context.task_runner, "_cancel_events", {}).pop(future.task_run_id, None)
        context.task_run_assets.pop(future.task_run_id, None)


SHARD_RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=_MOST_SHARDS_AT_ONCE)
"""Threads for the shards of a run; each waits for the Dask cluster most of the time."""


@flow(
    flow_run_name="{source} with {settings.profile}",
    task_runner=SHARD_RUNNER,  # type: ignore[arg-type]
    persist_result=False,
    validate_parameters=False,
)
def compress_archive(
    source: str,
    dest: str,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    retry_failed: bool = False,
    overwrite: bool = False,
    run_id: str | None = None,
    log_file: str | None = None,
    deep: bool = False,
) -> RunSummary:
    """Compress all documents of SOURCE into DEST, passing over the shards that earlier runs have finished.

    Args:
        source: Path or URL of the scans; never written to.
        dest: Path or URL of the output.
        settings: What to do and where.
        retry_failed: Do shards with failed pages again.
        overwrite: Replace pages that other settings, another model or scorer made.
        run_id: Name of the run; a new one without it.
        log_file: Where the workers of a local cluster write their log.
        deep: Read and hash all that earlier runs have written, and do again the shards of what has changed.

    Raises:
        ConfigError: Before the first page, if something about the settings or places is wrong.
        ShardsFailed: At the end, if shards could not be finished.
    """
    return compress_documents(
        source,
        dest,
        settings,
        retry_failed=retry_failed,
        overwrite=overwrite,
        run_id=run_id,
        log_file=log_file,
        deep=deep,
    )
