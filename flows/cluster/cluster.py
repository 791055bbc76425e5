"""Connect to a Dask cluster, or start a local one of processes, and watch its workers."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ClusterSettings
from foliopress.flows.cluster.scheduler_address import check_scheduler_address
from foliopress.flows.cluster.worker_watchdog import arm_watchdogs
from foliopress.flows.host.host_checks import check_shared_memory
from foliopress.flows.host.machine import BYTES_PER_PIXEL, ROOM_FOR_WORKER, WORKER_BYTES, allocate_workers, this_machine

if TYPE_CHECKING:
    from distributed import Client

GPU = "GPU"
"""Dask resource that workers with a GPU offer."""

_CONNECT_WAIT_S, _WORKER_WAIT_S = 15.0, 120.0

ONE_THREAD = dict.fromkeys(
    (
        *("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        "OPENCV_FOR_THREADS_NUM",  # `tasks.images.image_reader` limits the AVIF decoder to OMP_NUM_THREADS
    ),
    "1",
)
"""There is one worker for each core; further threads of a library only make workers wait."""
_WORKER_ENVIRONMENT = {**ONE_THREAD, "DASK_LOGGING__DISTRIBUTED": "warning"}
"""Dask's own `MALLOC_TRIM_THRESHOLD_` is left out, as it costs a fifth of all processor time."""
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
"""All threads of a worker reuse the memory of the last page: 90 MB less for 26-megapixel pages, 2 to 5 % slower."""
_LITTLE_MEMORY_BYTES = 2 * 2**30
"""Bytes; workers with less memory have one heap."""

_LOW_OVERHEAD = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.memory.monitor-interval": "200ms",
    "distributed.client.scheduler-info-interval": "10s",
}
"""Intervals of Dask's self-monitoring. With its defaults (up to 100 times a second, with a profile of all threads)
two idle workers and their scheduler took 15 % of a core, with these 2 %. The dashboard's profile page is empty."""
_HEARTBEAT_S = 3.0
"""Interval of a local worker's heartbeat. Dask's 0.5 s, which no setting changes, takes half a per cent of a core for
each worker; the scheduler notices a lost worker by its connection."""

log = logging.getLogger(__name__)


class ClusterLost(Exception):
    """The Dask scheduler is gone, or has had no worker for too long."""

    def __init__(self, message: str = "the connection to the Dask scheduler is lost") -> None:
        super().__init__(message)


@contextmanager
def raise_if_closed(client: Client) -> Iterator[None]:
    """Raise ClusterLost for any error in this block that follows from a lost connection to the scheduler."""
    try:
        yield
    except Exception as error:
        if is_lost(client) and not isinstance(error, ClusterLost):
            raise ClusterLost from error
        raise


def is_lost(client: Client) -> bool:
    """Return whether a client has given up its scheduler; while it reconnects it has not."""
    return client.status not in ("running", "connecting")


@contextmanager
def open_cluster(settings: ClusterSettings, log_file: str | None) -> Iterator[Client]:
    """Connect to `settings.scheduler`, or start a cluster, of `settings.kind` or local, that ends with this block.

    A local cluster also ends with this process, however the process ends.

    Args:
        settings: Cluster to use.
        log_file: Log of a local cluster's workers; None leaves it to Dask.

    Raises:
        ConfigError: If no scheduler answers at that address, the cluster cannot be started, or no worker joins it.
    """
    try:
        import dask
    except ValueError as error:
        raise ConfigError(f"Dask cannot read its settings: {' '.join(str(error).split())}") from error

    dask.config.set({"logging.distributed": "warning"})  # before the import, which configures the loggers
    from distributed import Client

    if settings.scheduler is not None:
        try:
            check_scheduler_address(settings.scheduler, _CONNECT_WAIT_S)
            client = Client(settings.scheduler, timeout=_CONNECT_WAIT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"cluster.scheduler: no Dask scheduler answers at {settings.scheduler}: {error}"
            ) from error
        with client:
            _release_stranded_tasks(client)
            arm_watchdogs(client)
            _wait_for_workers(client, settings.scheduler)
            yield client
        return
    if settings.kind is not None:
        with _named_cluster(settings) as cluster, Client(cluster, set_as_default=False) as client:
            _release_stranded_tasks(client)
            arm_watchdogs(client)
            _wait_for_workers(client, settings.kind)
            yield client
        return
    _reset_dask_settings()
    with _local_cluster(settings) as cluster, Client(cluster, set_as_default=False) as client:
        _release_stranded_tasks(client)
        arm_watchdogs(client)
        if log_file is not None:
            client.register_plugin(_worker_log(log_file), name="foliopress-log")
        yield client


def _reset_dask_settings() -> None:
    """Reset Dask's settings to its defaults, except for the temporary folder; workers inherit them.

    `DASK_…` variables and the user's YAML files (encryption, limits, modules to load) are meant for other clusters.
    """
    import dask

    folder = dask.config.get("temporary-directory", None)
    dask.config.refresh(paths=[], env={})
    dask.config.set({"temporary-directory": folder, "logging.distributed": "warning"})


class ClusterShape:
    """The workers of a cluster and their GPUs; the scheduler is asked again after some seconds.

    Args:
        client: Of the cluster.
        every_s: How long an answer counts.
        max_without_worker_s: How long the cluster may be without any worker.
    """

    def __init__(self, client: Client, every_s: float = 5.0, max_without_worker_s: float = 600.0) -> None:
        self.client, self._every_s, self._max_without_worker_s = client, every_s, max_without_worker_s
        self._lock, self._asked_at, self._had_one_at = threading.Lock(), float("-inf"), monotonic()
        self._workers: tuple[str, ...] = ()
        self.n_gpus = sum(GPU in worker["resources"] for worker in self._infos().values())

    @property
    def workers(self) -> tuple[str, ...]:
        """Return the addresses of the workers."""
        with self._lock:
            self._ask()
            return self._workers

    @property
    def n_workers(self) -> int:
        """Return the number of workers, at least 1."""
        return max(1, len(self.workers))

    @property
    def without_worker_s(self) -> float:
        """Return for how many seconds the cluster has had no worker; 0 if it has one."""
        with self._lock:
            self._ask()
            return 0.0 if self._workers else monotonic() - self._had_one_at

    def check(self) -> None:
        """Raise ClusterLost if the scheduler is gone, or the cluster has had no worker for too long."""
        if is_lost(self.client):
            raise ClusterLost
        if self.without_worker_s > self._max_without_worker_s:
            raise ClusterLost(f"the Dask cluster has had no worker for {self._max_without_worker_s:g} s")

    def _ask(self) -> None:
        if monotonic() - self._asked_at >= self._every_s:
            self._asked_at, self._workers = monotonic(), tuple(self._infos())
            if self._workers:
                self._had_one_at = self._asked_at

    @property
    def pixels_that_fit(self) -> int | None:
        """Return the number of pixels that fit the worker with the least memory; None if no worker has a limit."""
        limits = [limit for worker in self._infos().values() if (limit := worker.get("memory_limit"))]
        return max(1, (min(limits) - WORKER_BYTES) // BYTES_PER_PIXEL) if limits else None

    def _infos(self) -> dict[str, dict[str, Any]]:
        # empty while the connection is broken
        found: dict[str, dict[str, Any]] = self.client.scheduler_info(n_workers=-1).get("workers", {})
        return found

    @property
    def scoring_resources(self) -> dict[str, float]:
        """Return the Dask resources that a scoring task asks for."""
        return {GPU: 1} if self.n_gpus else {}


@contextmanager
def _named_cluster(settings: ClusterSettings) -> Iterator[Any]:
    """Start a cluster of the class `settings.kind`, and end it."""
    module, _, name = str(settings.kind).rpartition(".")
    try:
        start = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ConfigError(f"cluster.kind: {settings.kind} is not installed ({error}); pip install {package}") from error
    try:
        cluster = start(**settings.options)
    except Exception as error:  # errors of a cluster's own machinery
        message = f"cluster.kind: {settings.kind} cannot be started with cluster.options"
        raise ConfigError(f"{message}: {type(error).__name__}: {error}") from error
    with cluster:
        if settings.most_workers is not None:
            cluster.adapt(minimum=settings.workers or 1, maximum=settings.most_workers)
        elif settings.workers is not None:
            cluster.scale(settings.workers)
        yield cluster


def _local_cluster(settings: ClusterSettings) -> Any:
    import dask
    from dask.utils import parse_bytes
    from distributed import LocalCluster

    # A task that kills its worker twice is tried alone; Dask's three more tries would only take neighbours down with
    # it. And Dask would give up for good each worker that is still down 15 s after it died, because it is slow to come
    # back or died again, though its nanny is about to restart it.
    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 1,
            "distributed.deploy.lost-worker-timeout": "365 days",
            "distributed.worker.multiprocessing-method": "spawn",
            **_LOW_OVERHEAD,
        }
    )
    n_workers, memory_limit = _share_of_machine(settings)
    check_shared_memory(n_workers)
    try:
        environment = _WORKER_ENVIRONMENT | (_ONE_HEAP if parse_bytes(memory_limit) < _LITTLE_MEMORY_BYTES else {})
        dask.config.set({"distributed.nanny.pre-spawn-environ": environment})
        cluster = LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            memory_limit=memory_limit,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=False,
            scheduler_sync_interval=10,
            env=environment,
        )
    except ValueError as error:
        message = f"cluster.memory_per_worker: {settings.memory_per_worker!r} is invalid; use e.g. 4GiB or auto"
        raise ConfigError(f"{message} ({error})") from error
    _lengthen_heartbeats(cluster.scheduler.handlers)
    return cluster


def _share_of_machine(settings: ClusterSettings) -> tuple[int, str | int]:
    """Return the number of local workers and the memory limit of each, as Dask takes it.

    Raises:
        ConfigError: If there is too little free memory for them.
    """
    machine = this_machine()
    useful_bytes = WORKER_BYTES + settings.pixels_in_flight_per_worker * BYTES_PER_PIXEL
    if settings.memory_per_worker != "auto":
        room = max(1, min(machine.cores, machine.available_bytes // ROOM_FOR_WORKER))
        return settings.workers or room, settings.memory_per_worker
    share = allocate_workers(machine, settings.workers, useful_bytes)
    return share.n_workers, share.memory_bytes


def _lengthen_heartbeats(handlers: dict[str, Any]) -> None:
    """Make a scheduler answer each heartbeat with `_HEARTBEAT_S` until the next."""
    dask_answers = handlers["heartbeat_worker"]

    def answer(*arguments: object, **named: object) -> dict[str, Any]:
        answered: dict[str, Any] = dask_answers(*arguments, **named)
        return answered | {"heartbeat-interval": _HEARTBEAT_S} if "heartbeat-interval" in answered else answered

    handlers["heartbeat_worker"] = answer


def _release_stranded_tasks(client: Client) -> None:
    """Release tasks that wait for a preferred worker that has died.

    When no worker is left, if only for a second, Dask puts such a task aside until a worker with that address joins,
    which never happens.
    """
    from distributed import SchedulerPlugin

    class ReleaseStranded(SchedulerPlugin):
        """Sent to the scheduler by value, as Foliopress may not be installed there."""

        idempotent = True

        def start(self, scheduler: Any) -> None:
            self.scheduler = scheduler

        def transition(self, key: Any, start: str, finish: str, *_: object, **__: object) -> None:  # noqa: ARG002
            if finish == "no-worker" and (task := self.scheduler.tasks[key]).loose_restrictions:
                task.worker_restrictions = None

    client.register_plugin(ReleaseStranded(), name="foliopress-release-stranded")


def _wait_for_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_WORKER_WAIT_S)
    except TimeoutError as error:
        raise ConfigError(f"cluster: {address} has no worker after {_WORKER_WAIT_S:g} s") from error


def _worker_log(path: str) -> Any:
    from distributed import WorkerPlugin

    class WorkerLog(WorkerPlugin):
        """Sends a worker's log to the run's log file instead of the terminal."""

        def setup(self, worker: object) -> None:  # noqa: ARG002 - Dask's signature
            from foliopress.flows.host.logs import log_to_file, send_output_to_file

            log_to_file(path)
            send_output_to_file(path)  # C libraries write to the descriptors directly

    return WorkerLog()
