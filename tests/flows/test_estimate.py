"""Test the estimate of an archive from a sample."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from distributed import LocalCluster
from prefect.utilities.annotations import quote

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.flows.compress import compress_archive
from foliopress.flows.estimate import Estimate, EstimateRequest, estimate_archive
from foliopress.flows.run.run_request import RunRequest
from foliopress.model.truth import find_scans
from foliopress.tasks.records.archive_estimate import EstimatedTotal, draw_sample, estimate_total
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.source_listing import ListingCounts, list_documents
from foliopress.tasks.storage.store import Store

pytestmark = pytest.mark.usefixtures("prefect_api")

Archive = Callable[..., Path]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


def test_a_sample_of_all_is_the_truth_and_nothing_is_left_behind(
    archive: Archive, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = archive(*[f"box {number % 2}/p{number}.jpg" for number in range(8)])
    (source / "broken.jpg").write_bytes(b"broken")
    (source / "empty.jpg").write_bytes(b"")
    settings = load_settings("access", [f"cluster.scheduler={scheduler}"])
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr("tempfile.tempdir", None)
    found = estimate_archive(
        quote(EstimateRequest(str(source), settings, n_documents=100, cores=4, price_per_gb_month=1e9))
    )
    whole = compress_archive(quote(RunRequest(str(source), str(tmp_path / "out"), settings))).whole
    assert found.output_bytes == EstimatedTotal(*[pytest.approx(whole.output_bytes)] * 3)
    assert (found.documents, found.sampled_documents, found.source_bytes) == (9, 9, whole.source_bytes)
    assert found.pages.value == pytest.approx(9)
    assert found.reasons == {"unreadable": 1}
    assert found.hours.value == pytest.approx(found.core_seconds.value / 3600 / 4)
    assert found.saved_per_month == pytest.approx(whole.source_bytes - whole.output_bytes)
    assert not [path for path in (tmp_path / "temporary").iterdir() if "estimate" in path.name]
    assert json.loads(json.dumps(found.as_dict()))["saved_fraction"] == found.saved_fraction


def test_part_of_an_archive_speaks_for_all_of_it(archive: Archive, scheduler: str) -> None:
    source = archive(*[f"p{number:02d}.jpg" for number in range(30)])
    settings = load_settings("access", [f"cluster.scheduler={scheduler}"])
    found = estimate_archive(quote(EstimateRequest(str(source), settings, n_documents=10)))
    assert 8 <= found.sampled_documents <= 14
    assert found.documents == 30
    assert found.output_bytes.low < found.output_bytes.value < found.output_bytes.high
    assert found.output_bytes.high - found.output_bytes.low < 0.2 * found.output_bytes.value  # the pages are alike


@pytest.mark.slow  # it takes all test scans and a sample of them through the pipeline
@pytest.mark.timeout(1200)
def test_what_is_said_of_real_scans_holds_what_they_come_to(scans: Path, tmp_path: Path) -> None:
    source = tmp_path / "scans"
    tested = find_scans(scans, "test")
    for scan in tested:
        (source / scan.key).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scan.path, source / scan.key)
    settings = load_settings("access", ["cluster.workers=2"])
    dest = Store(str(tmp_path / "out"), settings.storage)
    truth = compress_archive(quote(RunRequest(str(source), dest.url, settings))).whole.output_bytes
    rows = list(live_rows(dest))
    said = estimate_archive(quote(EstimateRequest(str(source), settings, n_documents=16)))
    assert said.sampled_documents < len(tested) / 2
    assert said.output_bytes.low <= truth <= said.output_bytes.high
    took = sum(row[name] or 0.0 for row in rows for name in row if name.startswith("seconds_"))
    assert 0.8 * said.core_seconds.low <= took <= 1.25 * said.core_seconds.high  # seconds are never twice the same

    documents = list(list_documents(Store(str(source), settings.storage), settings.scan, ListingCounts()))
    sizes = Counter[str]()
    for row in rows:
        sizes[str(row["document_key"])] += int(str(row["output_bytes"]))
    totals = [estimate_total(draw_sample(documents, 16, seed), sizes) for seed in range(300)]
    assert 0.85 <= sum(one.low <= truth <= one.high for one in totals) / len(totals) <= 0.97


def test_nothing_to_sample_is_a_wrong_setting(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(ConfigError, match="there is no file"):
        estimate_archive(quote(EstimateRequest(str(tmp_path / "none"), load_settings())))
    (tmp_path / "none/empty.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match="nothing to estimate"):
        estimate_archive(quote(EstimateRequest(str(tmp_path / "none"), load_settings())))


def test_the_text_says_the_figures_and_how_sure_they_are() -> None:
    found = Estimate(
        source="scans",
        profile="access",
        documents=1000,
        source_bytes=2_000_000_000,
        sampled_documents=50,
        sampled_bytes=100_000_000,
        output_bytes=EstimatedTotal(2e8, 1.5e8, 2.5e8),
        pages=EstimatedTotal(1000, 1000, 1000),
        core_seconds=EstimatedTotal(7200, 3600, 10_800),
        cores=2,
        price_per_gb_month=0.02,
        reasons={"no_gain": 3},
    )
    text = found.as_text()
    assert "2.0 GB; a sample of 50 (100.0 MB)" in text
    assert "200.0 MB (90 % interval 150.0 MB to 250.0 MB): 90 % saved" in text
    assert "1 hours (0.5 to 1.5) on 2 cores" in text
    assert "0.04 a month at 0.02 per GB" in text
    assert "3 x no_gain" in text
