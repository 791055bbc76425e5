"""Describe the request for a run: places, settings and flags."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

from foliopress.configs.settings import Settings


def new_run_id() -> str:
    """Return an id that sorts by time, in lower case for disks without capitals: `20260131t175900z-3f9c2a`."""
    return f"{datetime.now(UTC):%Y%m%dt%H%M%Sz}-{uuid4().hex[:6]}"


@dataclass(frozen=True)
class RunRequest:
    """A user's request for one run, from the command line, a deployment or a test."""

    source: str
    """Path or URL of the scans; never written to."""
    dest: str
    """Path or URL of the output."""
    settings: Settings = field(default_factory=Settings)
    """Settings of the compression and of the cluster."""
    retry_failed: bool = False
    """Redo shards with failed pages."""
    overwrite: bool = False
    """Replace pages that other settings, another model or another scorer made."""
    is_deep: bool = False
    """Read and hash everything that earlier runs wrote, and redo the shards of what has changed."""
    run_id: str = field(default_factory=new_run_id)
    """Id of the run."""
    log_file: str | None = None
    """File to which the workers of a local cluster write their log."""
