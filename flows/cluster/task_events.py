"""Submit Dask tasks and call back, in one thread, when they end."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from foliopress.flows.cluster.cluster import is_lost

if TYPE_CHECKING:
    from distributed import Client, Future

_GATHER_S = 10.0
"""Longest wait for a value that a worker holds; the worker may have died, and all others with it."""


class TaskEvents:
    """The tasks of one shard; all callbacks run in the thread that calls `process`.

    Args:
        client: Dask client; several shards may share it.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._events: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._watched: set[Future] = set()

    def submit(self, function: Callable[..., Any], *arguments: object, **options: object) -> Future:
        """Submit a task."""
        return self._client.submit(function, *arguments, pure=False, **options)

    def watch(self, future: Future, on_end: Callable[[Future], None]) -> None:
        """Call `on_end` when a task has ended, however it ended."""
        self._watched.add(future)

        def happened() -> None:
            self._watched.discard(future)
            on_end(future)

        future.add_done_callback(lambda _: self._events.put(happened))

    def gather(self, future: Future, then: Callable[[Any], None], on_end: Callable[[Future], None]) -> None:
        """Call `then` with the value of a finished task; call `on_end` anew if the worker that held it died."""
        try:
            value = future.result(timeout=_GATHER_S)
        except Exception as error:
            if future.status == "pending" or (isinstance(error, TimeoutError) and future.status == "finished"):
                self.watch(future, on_end)  # Dask computes it again
            elif future.status == "finished":
                raise
            else:
                on_end(future)
            return
        then(value)

    def process(self, timeout_s: float) -> None:
        """Wait for an event, at most so long, and handle all that have come."""
        try:
            self._events.get(timeout=timeout_s)()
            while True:
                self._events.get_nowait()()
        except queue.Empty:
            pass

    def cancel(self) -> None:
        """Cancel all tasks that have not ended."""
        if not is_lost(self._client):
            self._client.cancel(list(self._watched), force=True)


def error_of(future: Future) -> BaseException:
    """Return why a task ended without a value."""
    if future.status == "error":
        error: BaseException | None = future.exception()
        if error is not None:
            return error
    return RuntimeError(f"the task was {future.status}")


def has_lost_worker(future: Future, error: BaseException) -> bool:
    """Return whether a task ended because its worker's process died."""
    from distributed import KilledWorker

    return future.status in ("cancelled", "lost") or isinstance(error, KilledWorker)
