"""Share fixtures among the torture tests: an archive, the result of an undisturbed run, and the number of trials.

`make test` tries each fault once; `make torture` sets FOLIOPRESS_TORTURE and tries it often, including slow ones.
"""

from __future__ import annotations

import os

import pytest

from tests.torture.archives import write_archive
from tests.torture.outcome import outcome_of
from tests.torture.peace import IS_TORTURE, Undisturbed, scans_if_any
from tests.torture.runs import SMALL_SHARDS, compress

os.environ |= {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}


@pytest.fixture(scope="session")
def trials() -> int:
    """Return the number of moments at which a fault is tried."""
    return 20 if IS_TORTURE else 1


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """Return an archive of 64 pages (12 in `make test`) and the result of an undisturbed run, always the same."""
    folder = tmp_path_factory.mktemp("undisturbed")
    source = write_archive(folder / "source", 64 if IS_TORTURE else 12, scans_if_any())
    outcomes, seconds = [], []
    for dest in (folder / "first", folder / "second") if IS_TORTURE else (folder / "first",):
        ended = compress(source, dest, *SMALL_SHARDS, folder=folder)
        assert ended.returncode == 3, ended.told  # broken.jpg fails
        outcomes.append(outcome_of(str(dest)))
        seconds.append(ended.seconds)  # the first run fills caches; kills should come before the end
    assert outcomes[0].differences(outcomes[-1]) == []
    return Undisturbed(source, outcomes[0], ended.returncode, min(seconds))
