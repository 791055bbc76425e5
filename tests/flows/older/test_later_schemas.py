"""A DEST that commits 6cf421d and 6d95d41 wrote (statistics of schemas 5 and 6) is read, verified and continued."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from distributed import LocalCluster
from prefect.utilities.annotations import quote

from foliopress.configs.loading import load_settings
from foliopress.flows.compress import compress_archive
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.verify import verify_archive
from foliopress.tasks.records.footers import read_footers
from foliopress.tasks.records.schemas import SCHEMA_VERSION
from foliopress.tasks.records.statistics import live_rows
from tests.flows.older.test_older_dest import TEXTS, found, store
from tests.promises import RERUN

FIXTURES = Path(__file__).parent / "fixtures"


def versions(dest: Path) -> set[str]:
    return {footer.schema_version for footer in read_footers(store(dest)).values()}


@pytest.mark.promise(RERUN, "DEST was written by an older version")
@pytest.mark.parametrize(("commit", "version"), [("6cf421d", "5"), ("6d95d41", "6")])
@pytest.mark.parametrize(("name", "overrides"), [("out", ()), ("texts", TEXTS)])
def test_it_is_sound_and_a_rerun_passes_over_it_and_touches_no_output(
    prefect_api: None, tmp_path: Path, commit: str, version: str, name: str, overrides: tuple[str, ...]
) -> None:
    with tarfile.open(FIXTURES / f"{commit}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    dest = tmp_path / name
    assert versions(dest) == {version}
    paths = [path for path in (dest / "pages").rglob("*") if path.is_file()]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        settings = load_settings(
            "access", [f"cluster.scheduler={cluster.scheduler_address}", "shard.max_documents=4", *overrides]
        )
        assert found(verify_archive(str(dest), quote(settings))) == []
        summary = compress_archive(quote(RunRequest(str(tmp_path / "scans"), str(dest), settings)))
        assert (summary.shards_done, summary.shards_failed) == (0, 0) and summary.shards_passed_over > 0
        assert found(verify_archive(str(dest), quote(settings))) == []
    assert versions(dest) == {SCHEMA_VERSION}
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths} == before
    rows = list(live_rows(store(dest), "pages"))
    assert sorted({str(row["document_key"]) for row in rows}) == sorted(
        path.relative_to(tmp_path / "scans").as_posix() for path in (tmp_path / "scans").rglob("*") if path.is_file()
    )
    assert any(row["witness"] for row in rows)  # a column of schema 5
