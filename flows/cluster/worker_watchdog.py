"""Watching: every worker that is started again when its process ends may be ended by a document that occupies it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import Client


def arm_watchdogs(client: Client) -> None:
    """Allow the workers of a cluster, and those that join later, to be ended over a document.

    A worker without a nanny would be lost for good, or is a thread of the driver; it stays.
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
