"""Run the command with a two-second lease, and with a process that stops itself at a given write.

`PAUSE_DRIVER_BEFORE=n` stops the driver before its n-th write or deletion. `PAUSE_DRIVER_WITHIN=n` and
`PAUSE_WORKER_WITHIN=n` stop it, or a worker and the driver, within the n-th write: all checks are passed, the bytes are
on the disk, and only the rename is left.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foliopress.flows.run import lease
from foliopress.tasks.storage.local_backend import LocalBackend
from foliopress.tasks.storage.store import Store


def countdown(name: str) -> Callable[[], None]:
    """Return a function that stops this process and the driver on its n-th call."""
    left = int(os.environ.get(name) or 0)

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            for process in {int(os.environ["DRIVER"]), os.getpid()}:
                os.kill(process, signal.SIGSTOP)

    return count


def shorten_lease_and_pause(before: Callable[[], None], within: Callable[[], None]) -> None:
    """Change this process: its lease is short, and it may stop where it is told to."""
    lease.LENGTH_S, lease.RENEW_S, lease.WORKER_CHECK_S = 2.0, 0.5, 0.3
    write_bytes, delete, put = Store.write_bytes, Store.delete, LocalBackend._put

    def paused_write(self: Store, key: str, data: bytes, **more: Any) -> None:
        before()
        write_bytes(self, key, data, **more)

    def paused_delete(self: Store, key: str) -> None:
        before()
        delete(self, key)

    def paused_put(temporary: Path, path: Path, move: Callable[[Path, Path], None]) -> None:
        if path.name != "lease.json":
            within()
        put(temporary, path, move)

    Store.write_bytes, Store.delete = paused_write, paused_delete  # type: ignore[method-assign]
    LocalBackend._put = staticmethod(paused_put)  # type: ignore[method-assign]


if __name__ == "__main__":
    os.environ["DRIVER"] = str(os.getpid())
    shorten_lease_and_pause(countdown("PAUSE_DRIVER_BEFORE"), countdown("PAUSE_DRIVER_WITHIN"))
    from foliopress.flows.cli import main

    main()
elif __name__ == "__mp_main__":  # a worker, started like the driver
    shorten_lease_and_pause(countdown(""), countdown("PAUSE_WORKER_WITHIN"))
