"""Test that a run reads SOURCE and writes DEST, even if links and mounts lead from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from distributed import LocalCluster
from prefect.utilities.annotations import quote

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import Settings
from foliopress.flows.compress import compress_archive
from foliopress.flows.dest.overlap_check import check_no_overlap
from foliopress.flows.run.run import check_places
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.verify import verify_archive
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.promises import NO_COLLISION

pytestmark = pytest.mark.promise(NO_COLLISION, "links and mounts between SOURCE and DEST, and out of DEST")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("at", ["", "/deep", "/new/out"])
def test_a_dest_that_is_reached_through_a_link_into_source_is_refused(tmp_path: Path, at: str) -> None:
    source = tmp_path / "scans"
    (source / "deep").mkdir(parents=True)
    (source / "a.jpg").write_bytes(b"scan")
    (tmp_path / "link").symlink_to(source)
    with pytest.raises(ConfigError, match="overlap; choose"):
        check_places(str(source), f"{tmp_path}/link{at}", Settings())
    assert contents(source) == {"a.jpg": b"scan"}


@pytest.mark.parametrize("name", ["pages", "stats", "text", "runs", "work", "evidence"])
def test_a_dest_of_whose_folders_one_is_a_link_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    for folder in ("scans", "out", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "scans" / "a.jpg").write_bytes(b"scan")
    (tmp_path / "out" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match=f"{name} is a link that leads out"):
        check_places(str(tmp_path / "scans"), f"file://{tmp_path}/out", Settings())
    assert contents(tmp_path) == {"scans/a.jpg": b"scan"}


@pytest.mark.parametrize(
    ("source", "dest"),
    [
        ("s3://bucket/scans", "s3a://bucket//scans/out"),
        ("s3://bucket", "s3://bucket/out"),
        ("memory://a", "memory://a"),
    ],
)
def test_places_that_are_no_folders_are_compared_by_their_names(source: str, dest: str) -> None:
    with pytest.raises(ConfigError, match="overlap; choose"):
        check_no_overlap(source, dest)
    check_no_overlap(source, "s3://bucketeer/scans")


@pytest.mark.usefixtures("prefect_api")
def test_what_a_link_in_source_shows_of_dest_never_becomes_a_document(
    archive: Callable[..., Path], tmp_path: Path
) -> None:
    source, dest, elsewhere = archive("a.jpg", "deep/b.jpg"), tmp_path / "out", tmp_path / "elsewhere"
    dest.mkdir()
    (source / "deep" / "link").symlink_to(dest)
    before = contents(source)
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        settings = load_settings("access", [f"cluster.scheduler={cluster.scheduler_address}"])
        for _ in range(2):  # the second time there is something to see
            summary = compress_archive(quote(RunRequest(str(source), str(dest), settings)))
            assert (summary.whole.documents, summary.scan.unreadable_folders, summary.exit_code) == (2, 1, 3)
        found = verify_archive(str(dest), quote(settings), source=str(source))
        assert found.is_sound, found.as_text()
        elsewhere.mkdir()
        (dest / "pages" / "new").symlink_to(elsewhere)
        archive("new/c.jpg")
        with pytest.raises(ConfigError, match="leads out"):
            compress_archive(quote(RunRequest(str(source), str(dest), settings)))
    assert contents(elsewhere) == {}
    assert {key: data for key, data in contents(source).items() if key in before} == before
    keys = {row["document_key"] for row in live_rows(Store(str(dest), settings.storage))}
    assert keys == {"a.jpg", "deep/b.jpg"}
