"""Test the compress flow under Prefect's test harness, with the real steps on small pages."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from distributed import LocalCluster
from PIL import Image
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.context import FlowRunContext
from prefect.utilities.annotations import quote

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import ClusterSettings
from foliopress.flows.compress import ShardsFailed, compress_archive
from foliopress.flows.run import run as run_module
from foliopress.flows.run.run import check_places
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.run.run_summary import RunSummary
from foliopress.flows.run.shards import Shard
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.storage.store import Store
from tests.papers import Sheet, paper, shown
from tests.promises import NO_SECRET, RERUN
from tests.servers import S3Server

pytestmark = pytest.mark.usefixtures("prefect_api")

Archive = Callable[..., Path]


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a running Dask cluster, as a user would name one."""
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def compress(scheduler: str, tmp_path: Path) -> Callable[..., RunSummary]:
    def run(source: object, dest: object = None, *overrides: str, **options: object) -> RunSummary:
        settings = load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=4", *overrides])
        return compress_archive(quote(RunRequest(str(source), str(dest or tmp_path / "out"), settings, **options)))

    return run


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("pages/**/*") if path.is_file()}


def rows_of(dest: object) -> list[dict[str, object]]:
    return sorted(
        live_rows(Store(str(dest), load_settings().storage)), key=lambda row: (row["document_key"], row["page_index"])
    )


def test_prefect_keeps_nothing_of_shards_that_have_ended(
    archive: Archive, compress: Callable[..., RunSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    summarise, kept = run_module.Run.summarise, []

    def spy(self: run_module.Run, *counts: int) -> RunSummary:
        context = FlowRunContext.get()
        assert context is not None
        kept.append((len(context.task_runner._cancel_events), len(context.task_run_assets)))
        return summarise(self, *counts)

    monkeypatch.setattr(run_module.Run, "summarise", spy)
    summary = compress(archive("a.png", "b.png", "c.png"), None, "shard.max_documents=1")
    assert summary.shards_done == 3
    assert kept == [(0, 0)]


def test_an_archive_is_compressed_and_every_page_accounted_for(
    archive: Archive, compress: Callable[..., RunSummary], draw_page, tmp_path: Path
) -> None:
    source = archive("letters/a.jpg", "letters/b.jpg", "c.png")
    book = [draw_page(f"Leaf {number}").convert("L") for number in range(3)]
    book[0].save(source / "book.tif", save_all=True, append_images=book[1:], dpi=(100, 100))
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")
    (source / "act.pdf").write_bytes(paper(Sheet(None, above=shown("An act"))))
    (source / ".hidden.jpg").write_bytes(b"x")
    (source / "notes.txt").write_text("no scan")

    summary = compress(source)

    rows = rows_of(tmp_path / "out")
    told = {(row["document_key"], row["page_index"]): (row["status"], row["reason"]) for row in rows}
    assert told == {
        ("act.pdf", 0): ("kept", "digital_page"),
        ("book.tif", 0): ("compressed", None),
        ("book.tif", 1): ("compressed", None),
        ("book.tif", 2): ("compressed", None),
        ("broken.jpg", 0): ("failed", "damaged"),
        ("c.png", 0): ("compressed", None),
        ("letters/a.jpg", 0): ("compressed", None),
        ("letters/b.jpg", 0): ("compressed", None),
    }
    assert set(outputs(tmp_path / "out")) == {
        "pages/act.pdf",
        "pages/book.tif/0001.avif",
        "pages/book.tif/0002.avif",
        "pages/book.tif/0003.avif",
        "pages/broken.jpg",
        "pages/c.png.avif",
        "pages/letters/a.jpg.avif",
        "pages/letters/b.jpg.avif",
    }
    assert all((tmp_path / "out" / str(row["output_key"])).exists() for row in rows)
    assert summary.exit_code == 3
    assert (summary.whole.pages, summary.whole.compressed, summary.whole.kept, summary.whole.failed) == (8, 6, 1, 1)
    assert (summary.scan.documents, summary.scan.hidden, summary.scan.not_documents) == (6, 1, 1)
    assert summary.whole.source_bytes == sum((source / key).stat().st_size for key, page in told if page == 0)
    record = json.loads((tmp_path / "out" / "runs" / summary.run_id / "run.json").read_text())
    assert (record["exit_code"], record["run"]["pages"], record["dest_totals"]["failed"]) == (3, 8, 1)
    assert record["versions"]["tesseract"].startswith("tesserocr ")
    assert not (tmp_path / "out" / "runs" / "lease.json").exists()
    events = pq.read_table(tmp_path / "out" / "evidence" / "events").to_pylist()
    assert {(event["document_key"], event["verdict"], event["n_pages"]) for event in events} == {
        ("act.pdf", "kept", 1),
        ("book.tif", "compressed", 3),
        ("broken.jpg", "failed", 1),
        ("c.png", "compressed", 1),
        ("letters/a.jpg", "compressed", 1),
        ("letters/b.jpg", "compressed", 1),
    }
    assert len(events) == 6
    assert all(json.loads(event["versions"]) == record["versions"] for event in events)


@pytest.mark.promise(
    RERUN,
    "nothing new, a new first file, a changed file",
)
def test_a_rerun_passes_over_what_is_done_and_a_new_first_file_redoes_one_shard(
    archive: Archive, compress: Callable[..., RunSummary], tmp_path: Path
) -> None:
    source = archive(*[f"p{number}.jpg" for number in range(8)])
    first = compress(source)
    assert (first.exit_code, first.shards_passed_over, first.whole.pages) == (0, 0, 8)

    def written() -> dict[Path, int]:
        found = [path for part in ("stats", "evidence") for path in (tmp_path / "out" / part).glob("**/*.*")]
        return {path: path.stat().st_mtime_ns for path in found}

    before = written()
    again = compress(source)
    assert (again.shards_done, again.shards_passed_over, again.run.pages) == (0, first.shards_done, 0)
    assert written() == before

    archive("a-new.jpg")
    grown = compress(source)
    assert (grown.shards_done, grown.whole.pages) == (1, 9)
    assert [row["document_key"] for row in rows_of(tmp_path / "out")] == ["a-new.jpg", *[f"p{n}.jpg" for n in range(8)]]

    archive("p3.jpg")  # written anew: the same bytes, another time
    changed = compress(source)
    assert (changed.shards_done, changed.whole.pages) == (1, 9)


@pytest.mark.promise(
    RERUN,
    "failed pages, with and without --retry-failed",
)
def test_failed_pages_are_passed_over_until_they_are_to_be_tried_again(
    archive: Archive, compress: Callable[..., RunSummary], tmp_path: Path
) -> None:
    source = archive("a.jpg")
    (source / "b.jpg").write_bytes(b"broken")
    assert compress(source).exit_code == 3
    again = compress(source)
    assert (again.shards_done, again.exit_code) == (0, 3)  # the exit code speaks of the whole DEST
    assert compress(source, retry_failed=True).shards_done >= 1


@pytest.mark.promise(
    RERUN,
    "other settings into the same DEST, with and without --overwrite",
)
def test_other_settings_in_the_same_dest_are_refused_unless_it_may_be_overwritten(
    archive: Archive, compress: Callable[..., RunSummary], tmp_path: Path
) -> None:
    source = archive("a.jpg", "b.jpg")
    compress(source)
    with pytest.raises(ConfigError, match=r"encode\.codec: avif there, jpeg now.*--overwrite"):
        compress(source, None, "encode.codec=jpeg")
    summary = compress(source, None, "encode.codec=jpeg", overwrite=True)
    assert (summary.shards_passed_over, summary.whole.pages) == (0, 2)
    assert set(outputs(tmp_path / "out")) == {"pages/a.jpg.jpg", "pages/b.jpg.jpg"}
    assert compress(source, None, "encode.codec=jpeg").shards_done == 0


@pytest.mark.promise(
    NO_SECRET,
    "a canary in the settings, looked for in Prefect's flow run, logs and DEST",
)
def test_no_secret_is_written_anywhere(
    archive: Archive, scheduler: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = archive("a.jpg")
    secrets = ["AKIA0SECRET1", "s3cr3tk3y", "t0k3n"]
    names = ["access_key_id", "secret_access_key", "session_token"]
    overrides = [f"storage.{name}={secret}" for name, secret in zip(names, secrets, strict=True)]
    settings = load_settings("access", [f"cluster.scheduler={scheduler}", *overrides])
    state = compress_archive(quote(RunRequest(str(source), str(tmp_path / "out"), settings)), return_state=True)
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
    written = [path.read_bytes() for path in (tmp_path / "out").glob("**/*") if path.is_file()]
    assert yaml.safe_load(next((tmp_path / "out").glob("runs/*/settings.yaml")).read_text())["storage"]["retries"] == 5
    told = flow_run.model_dump_json().encode() + caplog.text.encode() + b"".join(written)
    assert not [secret for secret in secrets if secret.encode() in told]


@pytest.mark.promise(NO_SECRET, "a canary in the options of a cluster, looked for in Prefect's flow run and its logs")
def test_prefect_is_told_no_secret_of_a_cluster_s_options(
    archive: Archive, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The package of that cluster is not installed here, so that the run ends with an error that names it."""
    options = {"address": "https://me:canary@gateway/x?token=canary"}  # refused where settings are checked
    cluster = ClusterSettings.model_construct(kind="dask_gateway.GatewayCluster", options=options)
    settings = load_settings("access").model_copy(update={"cluster": cluster})
    state = compress_archive(
        quote(RunRequest(str(archive("a.jpg")), str(tmp_path / "out"), settings)), return_state=True
    )
    assert state.is_failed()
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
    assert "dask_gateway.GatewayCluster" in flow_run.model_dump_json()
    assert "canary" not in flow_run.model_dump_json() + caplog.text + str(state)


def test_the_run_stands_in_prefect_with_its_name_its_progress_and_its_tables(
    archive: Archive, scheduler: str, tmp_path: Path
) -> None:
    source = archive("a.jpg", "b.jpg")
    settings = load_settings("access", [f"cluster.scheduler={scheduler}"])
    state: State[RunSummary] = compress_archive(
        quote(RunRequest(str(source), str(tmp_path / "out"), settings)), return_state=True
    )
    assert state.is_completed()
    with get_client(sync_client=True) as client:
        flow_run = client.read_flow_run(state.state_details.flow_run_id)
        task_runs = client.read_task_runs()
        of_run = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run.id]))
        artifacts = client.read_artifacts(artifact_filter=of_run)
    assert flow_run.name == f"{source} with access"
    names = {task.name for task in task_runs if task.flow_run_id == flow_run.id}
    assert names <= {"a.jpg to b.jpg", "a.jpg to a.jpg", "b.jpg to b.jpg"}
    by_type = {artifact.type: artifact for artifact in artifacts}
    assert float(str(by_type["progress"].data)) == 100.0
    assert "| whole DEST | 2 | 2 | 0 | 0 |" in str(by_type["markdown"].data)
    assert len(json.loads(str(by_type["table"].data))) == 2


def test_a_store_that_gives_no_answer_fails_the_shard_and_the_run_and_a_rerun_mends_it(
    archive: Archive, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = archive("a.jpg", "b.jpg")
    commit = run_module.Ledger.commit

    def down(*_: object) -> None:
        raise StoreUnavailable("no answer")

    settings = load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=1"])
    monkeypatch.setattr(run_module.Ledger, "commit", down)
    monkeypatch.setattr("foliopress.flows.compress.compress_shard.retries", 0)
    with pytest.raises(ShardsFailed, match="2 of 2 shards") as caught:
        compress_archive(quote(RunRequest(str(source), str(tmp_path / "out"), settings)))
    assert caught.value.summary.exit_code == 1
    assert caught.value.summary.as_dict()["status"] == "broken"
    monkeypatch.setattr(run_module.Ledger, "commit", commit)
    assert compress_archive(quote(RunRequest(str(source), str(tmp_path / "out"), settings))).exit_code == 0


@pytest.mark.long
def test_a_store_that_stays_down_ends_the_run_before_all_its_shards_are_tried(
    archive: Archive, scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = archive(*(f"{number}.jpg" for number in range(12)))
    commit = run_module.Ledger.commit
    tried: set[str] = set()

    def down(_: object, shard: Shard, *__: object) -> None:
        tried.add(shard.shard_id)
        raise StoreUnavailable("no answer")

    settings = load_settings("access", [f"cluster.scheduler={scheduler}", "shard.max_documents=1"])
    monkeypatch.setattr(run_module.Ledger, "commit", down)
    monkeypatch.setattr("foliopress.flows.compress.compress_shard.retries", 0)
    with pytest.raises(ShardsFailed) as caught:
        compress_archive(quote(RunRequest(str(source), str(tmp_path / "out"), settings)))
    assert caught.value.summary.exit_code == 1
    assert 4 <= len(tried) <= 8
    monkeypatch.setattr(run_module.Ledger, "commit", commit)
    assert compress_archive(quote(RunRequest(str(source), str(tmp_path / "out"), settings))).whole.compressed == 12


def test_dest_on_s3_holds_the_same_bytes_and_rows_as_a_local_one(
    archive: Archive, s3_url: str, tmp_path: Path, draw_page
) -> None:
    source = archive("letters/a.jpg", "b.jpg", "ü%/c d.png")
    draw_page("one bit").convert("1").save(source / "bit.tif", compression="tiff_lzw")
    (source / "broken.png").write_bytes(b"\x89PNG")
    settings = load_settings("access", ["cluster.workers=2", "shard.max_documents=3"])
    compress_archive(quote(RunRequest(str(source), str(tmp_path / "out"), settings)))
    compress_archive(quote(RunRequest(str(source), f"{s3_url}/deep/out", settings)))
    bucket = Store(f"{s3_url}/deep/out", settings.storage)
    there = {found.key: bucket.read_bytes(found.key) for found in bucket.list_objects("pages/")}
    assert there == outputs(tmp_path / "out")

    def lasting(dest: str) -> list[dict[str, object]]:
        return [
            {name: row[name] for name in row if name != "run_id" and not name.startswith("seconds_")}
            for row in rows_of(dest)
        ]

    assert lasting(f"{s3_url}/deep/out") == lasting(str(tmp_path / "out"))
    for table in ("words", "tiles"):
        local, remote = Store(str(tmp_path / "out"), settings.storage), bucket
        assert list(live_rows(local, table)) == list(live_rows(remote, table))


@pytest.mark.promise(RERUN, "a source in Glacier, then restored")
def test_an_archived_source_is_a_row_and_is_done_once_it_is_restored(
    archive: Archive, s3_server: S3Server, s3_url: str
) -> None:
    folder = archive("a.jpg", "b.jpg")
    client, bucket = s3_server.client(), s3_url.removeprefix("s3://")
    for path in folder.iterdir():
        put = {"Bucket": bucket, "Key": f"in/{path.name}", "Body": path.read_bytes()}
        client.put_object(**put, StorageClass="GLACIER" if path.name == "a.jpg" else "STANDARD")
    settings = load_settings("access", ["cluster.workers=1"])
    summary = compress_archive(quote(RunRequest(f"{s3_url}/in", f"{s3_url}/out", settings)))
    assert (summary.exit_code, summary.whole.compressed, summary.whole.reasons) == (3, 1, {"source_archived": 1})
    client.restore_object(Bucket=bucket, Key="in/a.jpg", RestoreRequest={"Days": 1})
    again = compress_archive(quote(RunRequest(f"{s3_url}/in", f"{s3_url}/out", settings, retry_failed=True)))
    assert (again.exit_code, again.whole.compressed) == (0, 2)


def test_from_s3_to_s3_the_source_stays_as_it_was(archive: Archive, s3_url: str) -> None:
    folder = archive("a.jpg", "b.jpg")
    settings = load_settings("access", ["cluster.workers=1"])
    source = Store(f"{s3_url}/in", settings.storage)
    for path in folder.iterdir():
        source.write_bytes(path.name, path.read_bytes())
    before = list(source.list_objects())
    summary = compress_archive(quote(RunRequest(f"{s3_url}/in", f"{s3_url}/out", settings)))
    assert (summary.failed_pages, summary.whole.reasons) == ([], {})
    assert (summary.exit_code, summary.whole.compressed) == (0, 2)
    assert list(source.list_objects()) == before


@pytest.mark.parametrize(
    ("source", "dest"),
    [("scans", "scans"), ("scans", "scans/out"), ("scans/a", "scans"), ("scans", "file://{}/scans/../scans/x")],
)
def test_source_and_dest_must_not_lie_in_one_another(source: str, dest: str, tmp_path: Path) -> None:
    (tmp_path / "scans" / "a").mkdir(parents=True)
    with pytest.raises(ConfigError, match="overlap; choose"):
        check_places(
            str(tmp_path / source), dest.format(tmp_path) if "{}" in dest else str(tmp_path / dest), load_settings()
        )


@pytest.mark.parametrize("places", [("sftp://me:hush@host/x", "out"), ("scans", "ftp://me:hush@host/x")])
def test_a_password_in_a_url_is_refused_and_not_repeated(places: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="contains a user, a password") as caught:
        check_places(*places, load_settings())
    assert "hush" not in str(caught.value)


@pytest.mark.promise(RERUN, "a folder that must not be read")
def test_a_folder_that_cannot_be_read_shows_in_the_exit_code(
    archive: Archive, compress: Callable[..., RunSummary], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = archive("a.jpg", "closed/b.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/closed"):
            raise PermissionError(errno.EACCES, "denied")
        return real(path)

    monkeypatch.setattr("os.scandir", scandir)
    summary = compress(source)
    assert (summary.whole.pages, summary.whole.failed, summary.exit_code) == (1, 0, 3)


def test_places_whose_names_only_begin_alike_are_fine(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "a.jpg").touch()
    check_places(str(tmp_path / "scans"), str(tmp_path / "scans-out"), load_settings())


def test_parquet_of_a_run_reads_like_a_plain_table(archive: Archive, compress, tmp_path: Path) -> None:
    compress(archive("a.jpg", "b.jpg"))
    table = pq.read_table(tmp_path / "out" / "stats" / "pages")
    assert table.num_rows == 2
    assert set(table.column("status").to_pylist()) == {"compressed"}
    with Image.open(tmp_path / "out" / table.column("output_key")[0].as_py()) as image:
        assert image.size == (480, 360)
