"""Limit the pages that are in flight on each worker, by number and by pixels."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

ANY_WORKER = ""
"""Stands for a worker's address while none is known."""


class PageGate:
    """Admits pages to workers that have room for their pixels; one gate serves all shards of a run.

    Args:
        workers: Returns the workers' addresses; called for each page, since a cluster may grow and shrink.
        pages_per_worker: Maximum number of pages in flight.
        pixels_per_worker: Maximum number of pixels in flight; a larger page is admitted to a worker that has no other.
    """

    def __init__(self, workers: Callable[[], Sequence[str]], pages_per_worker: int, pixels_per_worker: int) -> None:
        self._workers, self._pages_per_worker, self._pixels_per_worker = workers, pages_per_worker, pixels_per_worker
        self._lock = threading.Lock()
        self._pages: Counter[str] = Counter()
        self._pixels: Counter[str] = Counter()
        self._alone: object = None

    @property
    def max_pages(self) -> int:
        """Return the number of pages that may be in flight now."""
        return self._pages_per_worker * max(1, len(self._workers()))

    @property
    def pixels_per_page(self) -> int:
        """Return the largest size at which `pages_per_worker` pages still fit together."""
        return max(1, self._pixels_per_worker // self._pages_per_worker)

    @property
    def is_empty(self) -> bool:
        """True if no page is in flight and no shard has reserved the workers."""
        with self._lock:
            return not self._pages and not self._pixels and self._alone is None

    def try_enter(self, pixels: int, alone: object = None) -> str | None:
        """Admit a page if a worker has room, and return that worker; return None at once if none has.

        Args:
            pixels: Size of the page.
            alone: Who reserves all workers: from the first call until `end_alone` no other page is admitted, and the
                owner's pages enter one at a time.
        """
        workers = self._workers() or (ANY_WORKER,)
        with self._lock:
            if alone is not None and self._alone is None:
                self._alone = alone
            if self._alone is not alone or (alone is not None and self._pages):
                return None
            with_room = [one for one in workers if self._has_room(one, pixels)]
            if not with_room:
                return None
            worker = min(with_room, key=lambda one: (self._pixels[one], self._pages[one]))
            self._pages[worker] += 1
            self._pixels[worker] += pixels
            return worker

    def _has_room(self, worker: str, pixels: int) -> bool:
        return not self._pages[worker] or (
            self._pages[worker] < self._pages_per_worker and self._pixels[worker] + pixels <= self._pixels_per_worker
        )

    def leave(self, pixels: int, worker: str) -> None:
        """Give back the room that an admitted page took on a worker, which may be gone by now."""
        with self._lock:
            self._pages[worker] -= 1
            self._pixels[worker] -= pixels
            if not self._pages[worker]:
                del self._pages[worker], self._pixels[worker]

    def end_alone(self, alone: object) -> None:
        """Lift a reservation."""
        with self._lock:
            if self._alone is alone:
                self._alone = None
