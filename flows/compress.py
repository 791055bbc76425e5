"""The main job as a Prefect flow: an archive of scans in, compressed images and statistics out."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ThreadPoolTaskRunner

from configs.settings import Settings
from flows.board import Board
from flows.run import Run, new_run_id, open_run
from flows.shards import Shard
from flows.summary import RunSummary
from tasks.errors import StoreUnavailable

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun
    from prefect.tasks import Task

_MOST_SHARDS_AT_ONCE = 64  # the upper bound of cluster.shards_at_once; the run itself holds them back

log = logging.getLogger(__name__)


class ShardsFailed(Exception):
    """Some shards could not be finished; a rerun repeats them."""

    def __init__(self, message: str, summary: RunSummary) -> None:
        super().__init__(message)
        self.summary = summary


def _is_transient(_task: Task[..., Any], _task_run: TaskRun, state: State[Any]) -> bool:
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
        ) as run,
        Board(lambda: run.progress.fraction) as board,
    ):
        futures = []
        for shard in run.shards_to_do():
            future = compress_shard.submit(shard, run)
            future.add_done_callback(lambda _: run.free_slot())
            futures.append(future)
        for future in futures:
            future.wait()
        failed = [future for future in futures if not future.state.is_completed()]
        for future in failed:
            log.error("shard task %s: %s", future.state.name, future.state.message)
        summary = run.summarise(len(futures) - len(failed), len(failed))
        board.put_up(summary)
    if failed:
        raise ShardsFailed(f"{len(failed)} of {len(futures)} shards failed; the same command repeats them", summary)
    return summary


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

    Raises:
        ConfigError: Before the first page, if something about the settings or places is wrong.
        ShardsFailed: At the end, if shards could not be finished.
    """
    return compress_documents(
        source, dest, settings, retry_failed=retry_failed, overwrite=overwrite, run_id=run_id, log_file=log_file
    )
