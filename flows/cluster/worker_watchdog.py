"""Restart workers that a document occupies for too long, or that are out of memory and idle."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client

IDLE_OUT_OF_MEMORY_S = 20.0
"""Longest pause, in seconds, of a worker that lacks memory and runs no task that could free some."""
_CHECK_S = 1.0


def arm_watchdogs(client: Client) -> None:
    """Arm the watchdog of each worker of a cluster, and of those that join later.

    Dask pauses a worker that uses 80 % of its memory until it uses less. Memory that no task holds is never freed, and
    the run would wait for ever; such a worker is restarted.

    A worker without a nanny is left out: it would be lost for good, or is a thread of the driver.
    """
    from distributed import WorkerPlugin

    longest_s = IDLE_OUT_OF_MEMORY_S

    class Watched(WorkerPlugin):
        """Arms a worker's watchdog."""

        idempotent = True

        def setup(self, worker: Any) -> None:
            from foliopress.flows.cluster.worker_watchdog import restart_if_stuck
            from foliopress.tasks import watchdog

            if worker.nanny is not None:
                watchdog.arm()
                restart_if_stuck(worker, longest_s)

    client.register_plugin(Watched(), name="foliopress-watched")


def restart_if_stuck(worker: Any, longest_s: float) -> None:
    """Watch a worker, and have its nanny restart it when it stays paused with no task running.

    Args:
        worker: Dask worker of this process, with a nanny.
        longest_s: Longest such pause, in seconds.
    """
    from distributed import Status
    from tornado.ioloop import PeriodicCallback

    last_fine_at = monotonic()

    async def check() -> None:
        nonlocal last_fine_at
        if worker.status != Status.paused or worker.state.executing or worker.state.long_running:
            last_fine_at = monotonic()
        elif monotonic() - last_fine_at > longest_s:
            last_fine_at = monotonic()
            logging.getLogger(__name__).warning("restarting a worker that is out of memory with no task running")
            await worker.close(nanny=False, reason="out of memory with no task running")

    worker.periodic_callbacks["foliopress-stuck"] = PeriodicCallback(check, _CHECK_S * 1000)
    worker.periodic_callbacks["foliopress-stuck"].start()
