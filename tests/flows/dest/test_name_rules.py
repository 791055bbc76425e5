"""Test names in a run: a disk that folds names holds an output for each document, and the rules of a DEST stay."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from distributed import LocalCluster
from prefect.utilities.annotations import quote

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import StorageSettings
from foliopress.flows.compress import compress_archive
from foliopress.flows.dest.name_rules import NAMES_KEY, resolve_naming
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.run.run_summary import RunSummary
from foliopress.flows.verify import verify_archive
from foliopress.tasks.naming.key_spelling import ORDINARY, Naming
from foliopress.tasks.naming.output_keys import output_key
from foliopress.tasks.records.footers import Footer, ShardEntry
from foliopress.tasks.records.schemas import PAGES_SCHEMA
from foliopress.tasks.records.self_checksum import json_with_checksum, read_checked_json
from foliopress.tasks.records.statistics import live_rows
from foliopress.tasks.records.table_files import file_key, table_bytes
from foliopress.tasks.storage import store as store_module
from foliopress.tasks.storage.store import Store
from tests.disks import FOLDERS, REAL_DISKS, FoldingFolder, mounted, only_at
from tests.promises import NO_COLLISION

pytestmark = [
    pytest.mark.promise(NO_COLLISION, "runs to disks that fold names or refuse some, real ones and such as act alike"),
    pytest.mark.usefixtures("prefect_api"),
]

KEYS = ("Page.jpg", "page.jpg", "scan 10:30.jpg", "end./a.jpg", "end/a.jpg", "CON.jpg", "\u00e9.jpg", "e\u0301.jpg")


@pytest.fixture(scope="module")
def threads() -> Iterator[str]:
    """The address of a cluster in this process, where a folder that acts like a disk can take the real one's place."""
    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def compress(threads: str) -> Callable[..., RunSummary]:
    def run(source: object, dest: object, *overrides: str) -> RunSummary:
        wanted = [f"cluster.scheduler={threads}", 'text=["alto"]', "shard.max_documents=3", *overrides]
        return compress_archive(quote(RunRequest(str(source), str(dest), load_settings("access", wanted))))

    return run


def rows_of(dest: object) -> dict[str, dict[str, object]]:
    rows = list(live_rows(Store(str(dest), StorageSettings())))
    found = {str(row["document_key"]): row for row in rows}
    assert len(found) == len(rows)
    return found


def sha256_on(disk: Path) -> dict[str, str]:
    """Return what another process finds on a disk: the SHA-256 of each file below `pages`, by its path."""
    code = (
        "import hashlib, json, pathlib, sys; root = pathlib.Path(sys.argv[1]);"
        "print(json.dumps({str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest()"
        " for p in root.glob('pages/**/*') if p.is_file()}))"
    )
    told = subprocess.run([sys.executable, "-c", code, str(disk)], capture_output=True, check=True)
    return {str(key): str(value) for key, value in json.loads(told.stdout).items()}


def assert_each_has_its_own(source: Path, dest: Path, keys: tuple[str, ...]) -> None:
    rows, on_disk = rows_of(dest), sha256_on(dest)
    assert sorted(rows) == sorted(keys)
    assert {str(row["output_key"]): row["output_sha256"] for row in rows.values()} == on_disk
    assert len(on_disk) == len(keys)
    for key, row in rows.items():
        assert row["status"] == "compressed"
        assert row["source_sha256"] == hashlib.sha256((source / key).read_bytes()).hexdigest()
    texts = [path for path in dest.glob("text/**/*") if path.is_file()]
    assert len(texts) == len(keys)


@pytest.mark.parametrize("kind", ["Windows", pytest.param("old Mac", marks=pytest.mark.long)])
def test_a_disk_that_folds_names_holds_an_output_of_each_document(
    kind: str, archive: Callable[..., Path], compress: Callable[..., RunSummary], tmp_path: Path, monkeypatch
) -> None:
    source, dest = archive(*KEYS), tmp_path / "out"
    monkeypatch.setattr(store_module, "LocalBackend", only_at(dest, FOLDERS[kind]))
    assert compress(source, dest).exit_code == 0
    assert_each_has_its_own(source, dest, KEYS)
    written = sha256_on(dest)
    again = compress(source, dest)
    assert again.shards_done == 0 and sha256_on(dest) == written
    (source / "page.jpg").rename(source / "PAGE.jpg")
    assert compress(source, dest).exit_code == 0
    assert {str(row["output_key"]): row["output_sha256"] for row in rows_of(dest).values()} == sha256_on(dest)
    assert rows_of(dest).keys() >= {"PAGE.jpg", "Page.jpg"}


@pytest.mark.long
@pytest.mark.parametrize("kind", REAL_DISKS)
def test_a_real_disk_that_folds_names_holds_an_output_of_each_document(
    kind: str, archive: Callable[..., Path], compress: Callable[..., RunSummary], threads: str, tmp_path: Path
) -> None:
    source = archive(*KEYS)
    with mounted(kind, tmp_path) as disk:
        dest = disk / "out"
        assert compress(source, dest).exit_code == 0
        assert_each_has_its_own(source, dest, KEYS)
        settings = load_settings("access", [f"cluster.scheduler={threads}"])
        found = verify_archive(str(dest), quote(settings), source=str(source))
        assert found.is_sound and found.outputs == len(KEYS), found.as_text()
        shutil.copytree(dest, tmp_path / "copy")
    found = verify_archive(str(tmp_path / "copy"), quote(settings), source=str(source))
    assert found.is_sound and found.outputs == len(KEYS), found.as_text()
    assert compress(source, tmp_path / "copy").shards_done == 0


def test_a_name_that_dest_refuses_is_one_failed_row_and_its_neighbours_go_on(
    archive: Callable[..., Path], compress: Callable[..., RunSummary], tmp_path: Path, monkeypatch
) -> None:
    source, dest = archive("a.jpg", "odd.jpg", "z.jpg"), tmp_path / "out"

    class Refusing(FoldingFolder):
        refused = staticmethod(lambda name: name.startswith("odd"))

    monkeypatch.setattr(store_module, "LocalBackend", only_at(dest, Refusing))
    summary = compress(source, dest)
    assert (summary.exit_code, summary.shards_failed) == (3, 0)
    rows = rows_of(dest)
    assert {key: row["status"] for key, row in rows.items()} == {
        "a.jpg": "compressed",
        "odd.jpg": "failed",
        "z.jpg": "compressed",
    }
    assert rows["odd.jpg"]["reason"] == "name_refused" and rows["odd.jpg"]["output_key"] is None
    assert "another name" in str(rows["odd.jpg"]["message"])
    assert len(sha256_on(dest)) == 2


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "out"), StorageSettings())


def test_what_an_ordinary_dest_was_begun_with_is_written_down_and_said_to_nobody(dest: Store) -> None:
    said: list[str] = []
    assert resolve_naming(dest, said.append) == ORDINARY
    assert said == [] and Naming.model_validate(read_checked_json(dest.read_bytes(NAMES_KEY))) == ORDINARY


def begun_by(dest: Store, naming: Naming, keys: Sequence[str] = ()) -> None:
    """Leave a DEST as a run leaves it: its rules, and a row for each document."""
    dest.write_bytes(NAMES_KEY, json_with_checksum(naming.model_dump()))
    rows = [
        {"document_key": key, "page_index": 0, "output_key": output_key(key, extension="avif", naming=naming)}
        for key in keys
    ]
    footer = Footer("s", (ShardEntry("s", "r", min(keys, default=""), max(keys, default=""), len(keys)),))
    dest.write_bytes(file_key("pages", "s"), table_bytes(rows, PAGES_SCHEMA, footer.as_metadata()))


STRICT = Naming(folds_case=True, forms="equal")


def test_rules_that_are_stricter_than_a_disk_needs_stay_and_are_said(dest: Store) -> None:
    begun_by(dest, STRICT)
    said: list[str] = []
    assert resolve_naming(dest, said.append) == STRICT
    assert "upper and lower case are not distinguished, Unicode forms" in said[0]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_dest_that_was_copied_to_a_disk_of_fewer_names_is_refused(dest: Store, monkeypatch, is_lost: bool) -> None:
    begun_by(dest, ORDINARY, ["Page.jpg"])
    if is_lost:
        dest.delete(NAMES_KEY)
    monkeypatch.setattr(store_module, "LocalBackend", FOLDERS["Mac"])
    moved = Store(f"file://{dest.url}", StorageSettings())  # by another connection
    with pytest.raises(ConfigError, match="upper and lower case are not.*use a new DEST"):
        resolve_naming(moved, lambda _: None)


@pytest.mark.parametrize("content", [None, b"", b"{}x", b'{"folds_case": 7}'])
def test_rules_that_are_lost_or_spoiled_are_worked_out_from_the_rows(dest: Store, monkeypatch, content) -> None:
    for naming, found in ((ORDINARY, ORDINARY), (STRICT, STRICT)):
        begun_by(dest, naming, ["Page.jpg", "a/b.tif"])
        dest.delete(NAMES_KEY) if content is None else dest.write_bytes(NAMES_KEY, content)
        monkeypatch.setattr("foliopress.flows.dest.name_rules.find_naming", lambda _, found=found: found)
        assert resolve_naming(dest, lambda _: None) == naming
        assert Naming.model_validate(read_checked_json(dest.read_bytes(NAMES_KEY))) == naming


def test_rules_that_neither_stand_there_nor_follow_from_the_rows_are_a_wrong_setting(dest: Store) -> None:
    begun_by(dest, STRICT, ["Page.jpg"])
    dest.delete(NAMES_KEY)
    with pytest.raises(ConfigError, match="cannot be inferred from the rows"):
        resolve_naming(dest, lambda _: None)


def test_rules_of_another_version_are_a_wrong_setting(dest: Store) -> None:
    dest.write_bytes(NAMES_KEY, json_with_checksum({"from_the_future": True}))
    with pytest.raises(ConfigError, match="another version"):
        resolve_naming(dest, lambda _: None)


def test_a_bucket_is_asked_only_when_it_is_begun(s3_url: str, monkeypatch) -> None:
    dest = Store(f"{s3_url}/out", StorageSettings())
    assert resolve_naming(dest, lambda _: None) == ORDINARY
    monkeypatch.setattr("foliopress.flows.dest.name_rules.find_naming", lambda _: pytest.fail("it was asked before"))
    assert resolve_naming(dest, lambda _: None) == ORDINARY
