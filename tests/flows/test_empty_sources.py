"""Test a SOURCE that is empty, mistyped, not mounted or one file, from the command line and a schedule."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from foliopress.configs.errors import ConfigError
from foliopress.deployments import scheduled
from foliopress.deployments.form import Changes
from tests.flows.test_cli import foliopress, shards
from tests.servers import S3Server

Archive = Callable[..., Path]


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob("**/*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["empty"], "there is no file; check its spelling, and whether it is mounted"),
        (["scans", "--include", "*.tif"], "all of its 1 documents are excluded by scan.include"),
        (["scans/notes.txt"], "none of its 1 files has a document"),
        (["gone"], "there is no folder"),
        (["gone", "--allow-empty"], "there is no folder"),
    ],
    ids=["empty", "filtered", "no document", "gone", "gone though empty is allowed"],
)
def test_a_source_without_documents_ends_with_2_before_anything_is_made(
    arguments: list[str], words: str, archive: Archive, tmp_path: Path
) -> None:
    (archive("a.jpg") / "notes.txt").touch()
    (tmp_path / "empty").mkdir()
    source, *options = arguments
    for command in (["compress", tmp_path / source, tmp_path / "out"], ["estimate", tmp_path / source]):
        ended = foliopress(*command, *options, folder=tmp_path)
        assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
        assert words in ended.stderr
    assert not (tmp_path / "out").exists()


def test_a_mistyped_prefix_of_a_bucket_ends_with_2(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.new_bucket()
    s3_server.client().put_object(Bucket=bucket.removeprefix("s3://"), Key="scans/a.jpg", Body=b"scan")
    aws = s3_server.environment
    ended = foliopress("compress", f"{bucket}/scns", f"{bucket}/out", folder=tmp_path, **aws)
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
    assert f"SOURCE {bucket}/scns: there is no file" in ended.stderr


@pytest.mark.long
def test_one_file_is_one_document_in_a_folder_or_a_bucket(
    archive: Archive, s3_server: S3Server, tmp_path: Path
) -> None:
    source = archive("a.jpg", "b.jpg")
    ended = foliopress("compress", source / "b.jpg", source / "out", "--workers", 1, "--json", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["dest_totals"]["pages"] == 1
    assert [path.name for path in (source / "out" / "pages").iterdir()] == ["b.jpg.avif"]
    bucket = s3_server.new_bucket()
    for name in ("a.jpg", "b.jpg"):
        body = (source / name).read_bytes()
        s3_server.client().put_object(Bucket=bucket.removeprefix("s3://"), Key=f"in/{name}", Body=body)
    aws, dest = s3_server.environment, tmp_path / "out"
    ended = foliopress("compress", f"{bucket}/in/b.jpg/", dest, "--workers", 1, folder=tmp_path, **aws)
    assert ended.returncode == 0, ended.stderr
    [row] = [row for path in shards(dest) for row in pq.read_table(path).to_pylist()]
    assert (row["document_key"], row["status"]) == ("b.jpg", "compressed")
    ended = foliopress(
        "verify", dest, "--source", f"{bucket}/in/b.jpg", "--look", "--workers", 1, folder=tmp_path, **aws
    )
    assert ended.returncode == 0, ended.stdout


@pytest.mark.long
def test_a_source_that_is_suddenly_empty_changes_nothing_unless_a_schedule_allows_it(
    archive: Archive, tmp_path: Path
) -> None:
    source, dest = archive("a.jpg", "b.jpg"), tmp_path / "out"
    assert foliopress("compress", source, dest, "--workers", 1, folder=tmp_path).returncode == 0
    shutil.rmtree(source)
    source.mkdir()
    before = bytes_of(dest)
    for command in (["compress", source, dest], ["verify", dest, "--source", source]):
        ended = foliopress(*command, folder=tmp_path)
        assert (ended.returncode, "Traceback" in ended.stderr) == (2, False), ended.stderr
        assert f"SOURCE {source}: it is empty, though {dest} holds rows of earlier runs" in ended.stderr
        assert bytes_of(dest) == before
    ended = foliopress("compress", source, dest, "--allow-empty", "--workers", 1, folder=tmp_path)
    assert (ended.returncode, "SOURCE holds 0 documents" in ended.stdout) == (0, True), ended.stderr
    kept = {key: data for key, data in bytes_of(dest).items() if not key.startswith(("runs/", "evidence/"))}
    assert kept.items() <= before.items()
    assert {key for key in before if key.startswith(("pages/", "stats/"))} <= set(kept)
    ended = foliopress("verify", dest, "--source", source, "--allow-empty", "--workers", 1, folder=tmp_path)
    assert ended.returncode == 0, ended.stdout
    ended = foliopress("estimate", source, "--allow-empty", "--json", folder=tmp_path)
    assert (ended.returncode, json.loads(ended.stdout)["documents"]) == (0, 0), ended.stderr


@pytest.mark.usefixtures("prefect_api")
def test_a_schedule_says_so_too_and_its_form_allows_it(tmp_path: Path) -> None:
    source = tmp_path / "scans"
    source.mkdir()
    with pytest.raises(ConfigError, match="there is no file"):
        scheduled.compress(str(source), str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="there is no file"):
        scheduled.estimate(str(source))
    allowed = Changes(scan={"allow_empty": True}, cluster={"workers": 1})
    scheduled.estimate(str(source), changes=allowed)
    scheduled.compress(str(source), str(tmp_path / "out"), changes=allowed)
    [summary] = (tmp_path / "out" / "runs").glob("*/run.json")
    assert json.loads(summary.read_text("utf-8"))["dest_totals"]["documents"] == 0
