"""The Dask cluster: a local one of processes, or one that is already running; and what it offers."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any

from foliopress.configs.settings import ClusterSettings
from foliopress.flows.cluster.scheduler_address import look_for
from foliopress.flows.cluster.worker_watchdog import watch_workers
from foliopress.flows.host.host_checks import check_shared_memory
from foliopress.flows.host.machine import BYTES_PER_PIXEL, ROOM_FOR_WORKER, WORKER_BYTES, allocate_workers, this_machine
from foliopress.tasks.errors import ConfigError

if TYPE_CHECKING:
    from distributed import Client

GPU = "GPU"
"""Name of the Dask resource that workers with a GPU offer."""

_CONNECT_WAIT_S, _WORKER_WAIT_S = 15.0, 120.0

ONE_THREAD = dict.fromkeys(
    (
        *("OMP_THREAD_LIMIT", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
        "OPENCV_FOR_THREADS_NUM",  # `tasks.images.image_reader` keeps the decoder of AVIF to OMP_NUM_THREADS
    ),
    "1",
)
"""Workers are as many as there are cores; a library that starts threads of its own only makes them wait."""
_WORKER_ENVIRONMENT = {**ONE_THREAD, "DASK_LOGGING__DISTRIBUTED": "warning"}
"""Dask's own `MALLOC_TRIM_THRESHOLD_` is left out: it costs a fifth of all processor time."""
_ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
"""All of a worker's threads use what the last page left: 90 MB less at a book's 26 megapixel pages; 2 to 5 % slower."""
_TIGHT = 2 * 2**30
"""Workers with less memory have one heap."""

_SELDOM = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "2s",
    "distributed.admin.tick.cycle": "10s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.worker.memory.monitor-interval": "200ms",
    "distributed.client.scheduler-info-interval": "10s",
}
"""How often Dask looks at itself. As it is set otherwise (a hundred times a second, a profile of all threads included),
two idle workers and their scheduler took 15 % of a core; so 2 %. The dashboard's profile page is empty for it."""
_HEARTBEAT_S = 3.0
"""How often a local worker tells the scheduler how it is. Dask's half a second, which no setting changes, takes half a
per cent of a core for each worker; that a worker is gone is known by its connection."""

log = logging.getLogger(__name__)


class ClusterLost(Exception):
    """The Dask scheduler is gone, or has been without any worker for long."""

    def __init__(self, message: str = "the connection to the Dask scheduler is lost") -> None:
        super().__init__(message)


@contextmanager
def lost_if_closed(client: Client) -> Iterator[None]:
    """Raise ClusterLost for whatever goes wrong in this block because the connection to the scheduler is lost."""
    try:
        yield
    except Exception as error:
        if is_lost(client) and not isinstance(error, ClusterLost):
            raise ClusterLost from error
        raise


def is_lost(client: Client) -> bool:
    """Return whether a client has given its scheduler up; while it tries to connect again it has not."""
    return client.status not in ("running", "connecting")


@contextmanager
def open_cluster(settings: ClusterSettings, log_file: str | None) -> Iterator[Client]:
    """Connect to `settings.scheduler`, or start a cluster, of `settings.kind` or local, that ends with this block.

    A local one ends with this process too, however that ends.

    Args:
        settings: Where the work runs.
        log_file: Where the workers of a local cluster write their log; None leaves it to Dask.

    Raises:
        ConfigError: If there is no scheduler at that address, no such cluster can be started, or no worker joins it.
    """
    try:
        import dask
    except ValueError as error:
        raise ConfigError(f"Dask cannot read its settings: {' '.join(str(error).split())}") from error

    dask.config.set({"logging.distributed": "warning"})  # before the import, which sets the loggers up
    from distributed import Client

    if settings.scheduler is not None:
        try:
            look_for(settings.scheduler, _CONNECT_WAIT_S)
            client = Client(settings.scheduler, timeout=_CONNECT_WAIT_S, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"cluster.scheduler: no Dask scheduler answers at {settings.scheduler}: {error}"
            ) from error
        with client:
            _free_what_is_stranded(client)
            watch_workers(client)
            _wait_for_workers(client, settings.scheduler)
            yield client
        return
    if settings.kind is not None:
        with _named_cluster(settings) as cluster, Client(cluster, set_as_default=False) as client:
            _free_what_is_stranded(client)
            watch_workers(client)
            _wait_for_workers(client, settings.kind)
            yield client
        return
    _forget_settings_for_other_clusters()
    with _local_cluster(settings) as cluster, Client(cluster, set_as_default=False) as client:
        _free_what_is_stranded(client)
        watch_workers(client)
        if log_file is not None:
            client.register_plugin(_worker_log(log_file), name="foliopress-log")
        yield client


def _forget_settings_for_other_clusters() -> None:
    """Have Dask here be as it comes, but for the folder of its temporary files; workers take it over from here.

    What `DASK_…` variables and the user's YAML files say (encryption, limits, modules to load) is for a cluster that
    somebody set up.
    """
    import dask

    folder = dask.config.get("temporary-directory", None)
    dask.config.refresh(paths=[], env={})
    dask.config.set({"temporary-directory": folder, "logging.distributed": "warning"})


class ClusterShape:
    """How many workers there are and whether some offer a GPU; asked anew at most every few seconds."""

    def __init__(self, client: Client, every_s: float = 5.0) -> None:
        self._client, self._every_s = client, every_s
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
        """Return for how many seconds the cluster has been seen without any worker; 0 if it has one."""
        with self._lock:
            self._ask()
            return 0.0 if self._workers else monotonic() - self._had_one_at

    def _ask(self) -> None:
        if monotonic() - self._asked_at >= self._every_s:
            self._asked_at, self._workers = monotonic(), tuple(self._infos())
            if self._workers:
                self._had_one_at = self._asked_at

    @property
    def pixels_that_fit(self) -> int | None:
        """Return how many pixels the worker with the least memory may work on at once; None if none has a limit."""
        limits = [limit for worker in self._infos().values() if (limit := worker.get("memory_limit"))]
        return max(1, (min(limits) - WORKER_BYTES) // BYTES_PER_PIXEL) if limits else None

    def _infos(self) -> dict[str, dict[str, Any]]:
        # nothing is told while the connection is broken
        found: dict[str, dict[str, Any]] = self._client.scheduler_info(n_workers=-1).get("workers", {})
        return found

    @property
    def scoring_resources(self) -> dict[str, float]:
        """Return the Dask resources that a scoring task asks for."""
        return {GPU: 1} if self.n_gpus else {}


@contextmanager
def _named_cluster(settings: ClusterSettings) -> Iterator[Any]:
    """Start the cluster of a class that is named, and end it."""
    module, _, name = str(settings.kind).rpartition(".")
    try:
        start = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        package = module.partition(".")[0].replace("_", "-")
        raise ConfigError(f"cluster.kind: there is no {settings.kind} here ({error}); pip install {package}") from error
    try:
        cluster = start(**settings.options)
    except Exception as error:  # whatever a cluster's own machinery finds wrong
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

    # A task that takes its worker down twice is looked at alone; Dask's three more tries would only take
    # neighbours down with it. And a worker that is down 15 s after it died, because it is slow to come back or died
    # again, would be given up for good, one after the other, though its nanny is about to restart it.
    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": 1,
            "distributed.deploy.lost-worker-timeout": "365 days",
            "distributed.worker.multiprocessing-method": "spawn",
            **_SELDOM,
        }
    )
    n_workers, memory_limit = _share_of_machine(settings)
    check_shared_memory(n_workers)
    try:
        environment = _WORKER_ENVIRONMENT | (_ONE_HEAP if parse_bytes(memory_limit) < _TIGHT else {})
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
        message = f"cluster.memory_per_worker: {settings.memory_per_worker!r} is not possible, e.g. 4GiB or auto"
        raise ConfigError(f"{message} ({error})") from error
    _have_workers_report_seldom(cluster.scheduler.handlers)
    return cluster


def _share_of_machine(settings: ClusterSettings) -> tuple[int, str | int]:
    """Return how many local workers there are and the memory limit of each, as Dask takes it.

    Raises:
        ConfigError: If there is not enough free memory for them.
    """
    machine = this_machine()
    useful_bytes = WORKER_BYTES + settings.pixels_in_flight_per_worker * BYTES_PER_PIXEL
    if settings.memory_per_worker != "auto":
        room = max(1, min(machine.cores, machine.available_bytes // ROOM_FOR_WORKER))
        return settings.workers or room, settings.memory_per_worker
    share = allocate_workers(machine, settings.workers, useful_bytes)
    return share.n_workers, share.memory_bytes


def _have_workers_report_seldom(handlers: dict[str, Any]) -> None:
    """Have a scheduler's answer to a heartbeat name `_HEARTBEAT_S` for the next."""
    dask_answers = handlers["heartbeat_worker"]

    def answer(*arguments: object, **named: object) -> dict[str, Any]:
        told: dict[str, Any] = dask_answers(*arguments, **named)
        return told | {"heartbeat-interval": _HEARTBEAT_S} if "heartbeat-interval" in told else told

    handlers["heartbeat_worker"] = answer


def _free_what_is_stranded(client: Client) -> None:
    """Have tasks that rather than must run on a certain worker not wait for it when it is gone.

    When no worker is left, which may last a second only, Dask puts such a task aside until that worker comes, whose
    address no other will ever have.
    """
    from distributed import SchedulerPlugin

    class FreeStranded(SchedulerPlugin):
        """Sent to the scheduler as it stands here, since Foliopress need not be installed there."""

        idempotent = True

        def start(self, scheduler: Any) -> None:
            self.scheduler = scheduler

        def transition(self, key: Any, start: str, finish: str, *_: object, **__: object) -> None:  # noqa: ARG002
            if finish == "no-worker" and (task := self.scheduler.tasks[key]).loose_restrictions:
                task.worker_restrictions = None

    client.register_plugin(FreeStranded(), name="foliopress-free-stranded")


def _wait_for_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_WORKER_WAIT_S)
    except TimeoutError as error:
        raise ConfigError(f"cluster: {address} has no worker after {_WORKER_WAIT_S:g} s") from error


def _worker_log(path: str) -> Any:
    from distributed import WorkerPlugin

    class WorkerLog(WorkerPlugin):
        """Sends a worker's log to the run's log file instead of the user's terminal."""

        def setup(self, worker: object) -> None:  # noqa: ARG002 - Dask's signature
            from foliopress.flows.host.logs import log_to_file, send_output_to_file

            log_to_file(path)
            send_output_to_file(path)  # libraries in C write where they like

    return WorkerLog()
