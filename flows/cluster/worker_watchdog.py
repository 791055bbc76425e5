"""Arm the watchdogs of workers, which end a worker that a document occupies for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client


def arm_watchdogs(client: Client) -> None:
    """Arm the watchdog of each worker of a cluster, and of those that join later.

    A worker without a nanny is left out: it would be lost for good, or is a thread of the driver.
    """
    from distributed import WorkerPlugin

    class Watched(WorkerPlugin):
        """Arms a worker's watchdog."""

        idempotent = True

        def setup(self, worker: Any) -> None:
            from foliopress.tasks import watchdog

            if worker.nanny is not None:
                watchdog.arm()

    client.register_plugin(Watched(), name="foliopress-watched")
