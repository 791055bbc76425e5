"""Run `foliopress` with the page steps replaced by recorded results: everything else is real, and takes its time.

python -m benchmarks.recorded RECORD [--on-workers] compress SOURCE DEST …

RECORD is a finished DEST; each document of SOURCE gets the rows of one of its documents. With `--on-workers`, Dask
workers return the rows, with as many tasks as in a real run; without it, the driver has them in memory.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import foliopress.flows.cli
from foliopress.flows.cluster.driver_memory import use_one_heap

if TYPE_CHECKING:
    from foliopress.flows.steps.document_plan import PageJob
    from foliopress.flows.steps.store_document import DocumentResult
    from foliopress.tasks.storage.source_listing import Document

ON_WORKERS = "--on-workers"

_CHECK_EVERY = 16  # documents

_Call = Callable[[], None]


class RecordedDispatcher:
    """Stands in for `flows.cluster.dispatcher.ShardDispatcher`: gives documents their rows at once, and asks no worker.

    Args:
        record: Whole documents.
        check: Called regularly; raises when the run must stop.
        page_done: Called for each page.
    """

    def __init__(self, record: Sequence[DocumentResult], check: _Call, page_done: _Call) -> None:
        self._record, self._check, self._page_done = record, check, page_done

    def compress(self, documents: Sequence[Document], job: PageJob) -> Iterator[DocumentResult]:
        """Yield each document's rows."""
        from benchmarks.replay import replayed

        for number, document in enumerate(documents):
            if number % _CHECK_EVERY == 0:
                self._check()
            result = replayed(self._record, document, job)
            for _ in result.pages:
                self._page_done()
            yield result


def main() -> None:
    """Run the command with its steps replaced."""
    use_one_heap()  # as the command does, before there are threads and before Arrow is imported
    from benchmarks import replay_steps
    from benchmarks.replay import read_record
    from foliopress.flows.cluster.dispatcher import RunHooks, ShardDispatcher

    folder = sys.argv.pop(1)
    if ON_WORKERS in sys.argv[:2]:
        sys.argv.remove(ON_WORKERS)
        os.environ[replay_steps.RECORD_VARIABLE] = folder
        put_in_place(partial(ShardDispatcher, steps=replay_steps))
    else:
        record = read_record(folder)

        def dispatcher(*_: object, hooks: RunHooks) -> RecordedDispatcher:
            return RecordedDispatcher(record, hooks.check, hooks.page_done)

        put_in_place(dispatcher)
    foliopress.flows.cli.main()


def put_in_place(dispatcher: Callable[..., object]) -> None:
    """Have a run make its `ShardDispatcher` by another function."""
    from foliopress.flows.run import run

    setattr(run, "ShardDispatcher", dispatcher)  # noqa: B010 - a stand-in, on purpose past the type checker


if __name__ == "__main__":
    main()
