"""Test bags with the Library of Congress's own validator, bagit.py: valid until anything changes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import bagit
import pytest
from distributed import LocalCluster
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prefect.utilities.annotations import quote
from typer.testing import CliRunner

from foliopress.configs.errors import ConfigError
from foliopress.configs.loading import load_settings
from foliopress.configs.settings import EvidenceSettings, StorageSettings
from foliopress.flows.cli import app
from foliopress.flows.compress import compress_archive
from foliopress.flows.dest import bag as bag_module
from foliopress.flows.dest.bag import BagMade, bag_archive, invalidate_bag, make_bag, read_bag_info
from foliopress.flows.dest.premis_events import has_current_events
from foliopress.flows.run.lease import LEASE_KEY, Lease
from foliopress.flows.run.run_request import RunRequest
from foliopress.flows.verify import verify_archive
from foliopress.tasks.errors import PayloadDamaged
from foliopress.tasks.storage.local_backend import TEMPORARY
from foliopress.tasks.storage.store import Store
from tests.flows.dest.test_premis_events import commit, finished_run
from tests.flows.ledger.test_ledger import DyingStore, Killed
from tests.servers import S3Server
from tests.tasks.naming.test_output_keys import keys

STATUSES = {"letters/ä.tif": "compressed", "b.tif": "kept", "c d.tif": "failed"}


def make(dest: Store | str, *overrides: str) -> BagMade:
    url = dest if isinstance(dest, str) else dest.url
    return bag_archive(url, load_settings("access", overrides), "bagging", print)


def archive_at(url: str, statuses: dict[str, str] = STATUSES) -> Store:
    dest = Store(url, StorageSettings())
    dest.check_writable()
    finished_run(dest)
    commit(dest, "s1", statuses)
    return dest


def is_valid(folder: Path) -> bool:
    try:
        return bool(bagit.Bag(str(folder)).validate())
    except bagit.BagError:
        return False


@pytest.fixture
def dest(tmp_path: Path) -> Store:
    return archive_at(str(tmp_path / "bag" / "data"))


@pytest.fixture
def folder(dest: Store) -> Path:
    return Path(dest.url).parent


def test_a_dest_called_data_becomes_a_bag_that_bagit_finds_valid(dest: Store, folder: Path) -> None:
    made = make(dest)
    assert is_valid(folder)
    ended = subprocess.run(
        [sys.executable, "-m", "bagit", "--validate", "--quiet", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    files = [path for path in (folder / "data").glob("**/*") if path.is_file()]
    assert (made.n_files, made.size_bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert (made.bagit_version, made.algorithm, made.n_unnamed) == ("1.0", "sha256", 0)
    assert not (folder / "data" / LEASE_KEY).exists()


def test_its_manifest_holds_the_digests_that_the_rows_hold_and_no_output_is_read(
    dest: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, opened = [], Store.open_input
    monkeypatch.setattr(Store, "open_input", lambda self, key: read.append(key) or opened(self, key))
    make(dest)
    assert not [key for key in read if key.startswith("pages/")]
    lines = (folder / "manifest-sha256.txt").read_text().splitlines()
    told = {path.removeprefix("data/"): digest for digest, path in (line.split("  ", 1) for line in lines)}
    assert told == {key: hashlib.sha256(dest.read_bytes(key)).hexdigest() for key in told}
    assert f"data/{LEASE_KEY}" not in told and "pages/letters/ä.tif/0002.avif" in told


def test_its_info_says_what_it_holds_and_by_what_it_was_made(dest: Store, folder: Path) -> None:
    made = make(dest, "evidence.bag_info=['Source-Organization: City archive', 'Contact-Name:A: B']")
    info = bagit.Bag(str(folder)).info
    assert info["Payload-Oxum"] == f"{made.size_bytes}.{made.n_files}"
    assert info["Bag-Software-Agent"].startswith("Foliopress ")
    assert (info["Source-Organization"], info["Contact-Name"]) == ("City archive", "A: B")
    for words in ("3 documents, 6 pages (2 compressed, 2 kept, 2 failed)", "settings 5e, model 30"):
        assert words in info["External-Description"]
    make(dest, "evidence.bag_info=['External-Description: ours']")
    assert bagit.Bag(str(folder)).info["External-Description"] == "ours"


def test_with_sha512_every_output_is_read_and_held_against_its_rows(dest: Store, folder: Path) -> None:
    make(dest)
    make(dest, "evidence.bag_algorithm=sha512")
    assert is_valid(folder)
    assert not list(folder.glob("*sha256*"))
    path = folder / "data/pages/b.tif"
    path.write_bytes(path.read_bytes().swapcase())
    with pytest.raises(PayloadDamaged, match="does not match its rows"):
        make(dest, "evidence.bag_algorithm=sha512")
    assert not (folder / "bagit.txt").exists()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "an output changed": lambda bag: flip(bag / "data/pages/b.tif"),
    "statistics changed": lambda bag: flip(next((bag / "data/stats/pages").iterdir())),
    "events changed": lambda bag: flip(next((bag / "data/evidence/premis").iterdir())),
    "settings changed": lambda bag: flip(next(bag.glob("data/runs/*/run.json"))),
    "an output missing": lambda bag: (bag / "data/pages/b.tif").unlink(),
    "an output too many": lambda bag: (bag / "data/pages/extra.tif").write_bytes(b"x"),
    "a folder renamed": lambda bag: (bag / "data/pages/letters").rename(bag / "data/pages/Letters"),
    "the manifest changed": lambda bag: flip(bag / "manifest-sha256.txt"),
    "a line of the manifest missing": lambda bag: cut(bag / "manifest-sha256.txt"),
    "the tag manifest changed": lambda bag: flip(bag / "tagmanifest-sha256.txt"),
    "bag-info.txt changed": lambda bag: (bag / "bag-info.txt").open("a").write("Contact-Name: A\n"),
    "bag-info.txt missing": lambda bag: (bag / "bag-info.txt").unlink(),
    "bagit.txt missing": lambda bag: (bag / "bagit.txt").unlink(),
    "another Payload-Oxum": lambda bag: (bag / "bag-info.txt").write_text("Payload-Oxum: 1.1\n"),
}


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


@pytest.mark.parametrize("damage", DAMAGES)
def test_whatever_is_changed_in_it_bagit_finds(damage: str, dest: Store, folder: Path) -> None:
    make(dest)
    assert is_valid(folder)
    DAMAGES[damage](folder)
    assert not is_valid(folder)


def test_an_oxum_that_is_wrong_is_found_though_the_tag_manifest_agrees(dest: Store, folder: Path) -> None:
    make(dest)
    info, tags = folder / "bag-info.txt", folder / "tagmanifest-sha256.txt"
    old = hashlib.sha256(info.read_bytes()).hexdigest()
    info.write_text(info.read_text().replace("Payload-Oxum: ", "Payload-Oxum: 9"))
    tags.write_text(tags.read_text().replace(old, hashlib.sha256(info.read_bytes()).hexdigest()))
    with pytest.raises(bagit.BagValidationError, match="Oxum"):
        bagit.Bag(str(folder)).validate()


@pytest.mark.parametrize("problem", ["missing", "cut"])
def test_an_output_that_is_not_as_it_was_written_gets_no_bag(problem: str, dest: Store, folder: Path) -> None:
    make(dest)
    path = folder / "data/pages/b.tif"
    path.unlink() if problem == "missing" else path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(PayloadDamaged, match="pages/b.tif"):
        make(dest)
    assert not (folder / "bagit.txt").exists()
    ended = CliRunner().invoke(app, ["bag", dest.url])
    assert ended.exit_code == 3 and "foliopress verify" in ended.output


def test_an_output_that_changed_without_its_size_makes_a_bag_that_is_not_valid(dest: Store, folder: Path) -> None:
    """It holds the digests of what was written: whoever validates it learns of the change, which no bag blesses."""
    flip(folder / "data/pages/b.tif")
    make(dest)
    assert not is_valid(folder)


ODD = [
    "a.jpg.tif",
    "b.tif/c.tif",
    "50 %.tif",
    "x/../y.tif",
    "é.tif",
    "e\u0301.tif",
    " lead/trail .tif",
    "*.tif",
    "a\\b.tif",
]


def test_odd_keys_are_in_a_bag_that_bagit_finds_valid(tmp_path: Path) -> None:
    dest = archive_at(
        str(tmp_path / "odd" / "data"), dict.fromkeys(ODD, "compressed") | dict.fromkeys(("%.tif",), "kept")
    )
    made = make(dest)
    assert made.bagit_version == "0.97"  # of 1.0 bagit.py does not read paths with a `%`
    assert is_valid(tmp_path / "odd")
    flip(next((tmp_path / "odd").glob("data/pages/50*/0001.avif")))
    assert not is_valid(tmp_path / "odd")


@settings(max_examples=25, deadline=None)
@given(found=st.sets(keys, min_size=1, max_size=4))
@example(found={"a\nb.tif", "%.tif"})
def test_whatever_the_keys_are_the_manifest_leads_back_to_each_file(found, tmp_path_factory) -> None:
    stored = {key for key in found if key.encode(errors="ignore").decode() == key}  # Parquet holds no other text
    dest = archive_at(str(tmp_path_factory.mktemp("any") / "data"), dict.fromkeys(stored or {"a.tif"}, "kept"))
    made = make(dest)
    lines = (Path(dest.url).parent / "manifest-sha256.txt").read_bytes().decode().removesuffix("\n").split("\n")
    told = {}
    for digest, path in (line.split("  ", 1) for line in lines):
        for letter, written in (("\r", "%0D"), ("\n", "%0A"), ("%", "%25")) if made.bagit_version == "1.0" else ():
            path = path.replace(written, letter)
        told[path.removeprefix("data/")] = digest
    there = {one.key: hashlib.sha256(dest.read_bytes(one.key)).hexdigest() for one in dest.list_objects()}
    assert told == there


@pytest.mark.parametrize("changes", range(11))
def test_wherever_the_making_is_killed_there_is_no_bag_or_a_valid_one_and_the_next_is_valid(
    changes: int, dest: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(dest, "evidence.bag_algorithm=sha512")
    dest.write_bytes("runs/later/run.json", b"{}")  # the bag is out of date
    with monkeypatch.context() as patch, Lease(dest, "bagging") as lease, suppress(Killed):
        patch.setattr(bag_module, "Store", lambda url, storage: DyingStore(Store(url, storage), changes))
        make_bag(dest, EvidenceSettings(), lease)
    assert is_valid(folder) or changes == 0 or not (folder / "bagit.txt").exists()
    make(dest)
    assert is_valid(folder) and not list(folder.glob("*sha512*"))


def test_what_a_killed_process_left_half_written_is_not_in_it(dest: Store, folder: Path) -> None:
    (folder / "data/pages" / f"{TEMPORARY}0123").write_bytes(b"half")
    make(dest)
    assert is_valid(folder)


def test_outputs_that_no_row_names_are_in_it_and_told(dest: Store, folder: Path) -> None:
    dest.write_bytes("pages/stray.tif", b"x")
    made = make(dest)
    assert made.n_unnamed == 1 and "no row names" in made.as_text()
    assert is_valid(folder)


def test_a_dest_of_another_name_is_a_wrong_setting_that_tells_what_to_do(tmp_path: Path) -> None:
    archive_at(str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="must be named `data`"):
        make(str(tmp_path / "out"))
    (tmp_path / "bag").mkdir()
    (tmp_path / "out").rename(tmp_path / "bag/data")
    make(str(tmp_path / "bag/data/"))
    assert is_valid(tmp_path / "bag")


def test_a_place_without_statistics_gets_no_bag(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    with pytest.raises(ConfigError, match="nothing to bag"):
        make(str(tmp_path / "data"))


def test_tag_files_of_somebody_else_are_left_alone(dest: Store, folder: Path) -> None:
    (folder / "manifest-sha256.txt").write_text("not a bag's")
    with pytest.raises(ConfigError, match="did not make"):
        make(dest)
    invalidate_bag(dest)  # no bag without bagit.txt: a run may go on
    (folder / "manifest-sha256.txt").unlink()
    bagit.make_bag(str(folder))
    moved = Store(str(folder / "data"), StorageSettings())
    with pytest.raises(ConfigError, match="did not make"):
        invalidate_bag(moved)
    assert is_valid(folder)


def test_a_bag_is_made_while_nobody_else_holds_the_lease(dest: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    inner = bag_module.make_bag

    def made(*arguments):
        order.append(json.loads(dest.read_bytes(LEASE_KEY))["run_id"])
        return inner(*arguments)

    monkeypatch.setattr(bag_module, "make_bag", made)
    with Lease(dest, "a run"):
        waits: list[str] = []

        class Waited(Exception):
            pass

        def say(line: str) -> None:
            waits.append(line)
            raise Waited

        with pytest.raises(Waited):
            bag_archive(dest.url, load_settings(), "bagging", say)
        assert "in use by run a run" in waits[0] and not order
    make(dest)
    assert order == ["bagging"]


def test_the_events_in_it_are_up_to_date(dest: Store) -> None:
    assert not has_current_events(dest)
    make(dest)
    assert has_current_events(dest)


def test_the_command_says_what_it_made(dest: Store, folder: Path) -> None:
    ended = CliRunner().invoke(app, ["bag", dest.url, "--json", "--info", "Contact-Name: A", "--algorithm", "sha512"])
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout)["algorithm"] == "sha512"
    assert bagit.Bag(str(folder)).info["Contact-Name"] == "A"
    ended = CliRunner().invoke(app, ["bag", dest.url, "--info", "no label"])
    assert ended.exit_code == 2 and "Label: value" in ended.output
    ended = CliRunner().invoke(app, ["bag", dest.url, "--info", "Payload-Oxum: 1.1"])
    assert ended.exit_code == 2 and "is generated" in ended.output


def test_a_bag_on_s3_is_valid_once_it_is_brought_down(s3_server: S3Server, s3_url: str, tmp_path: Path) -> None:
    dest = archive_at(f"{s3_url}/1931/data", STATUSES | {"50 %.tif": "kept"})
    make(dest)
    assert read_bag_info(dest) is not None
    client = s3_server.client()
    bucket = s3_url.removeprefix("s3://")
    keys_there = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert {"1931/bagit.txt", "1931/bag-info.txt", "1931/manifest-sha256.txt"} < set(keys_there)
    for key in keys_there:
        path = tmp_path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    assert is_valid(tmp_path / "1931")
    flip(tmp_path / "1931/data/pages/b.tif")
    assert not is_valid(tmp_path / "1931")
    invalidate_bag(dest)
    assert read_bag_info(dest) is None
    left = [item["Key"] for item in client.list_objects_v2(Bucket=bucket)["Contents"]]
    assert [key for key in left if not key.startswith("1931/data/")] == []


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0") as cluster:
        yield cluster.scheduler_address


@pytest.mark.usefixtures("prefect_api")
def test_a_run_makes_a_bag_when_asked_and_voids_one_before_it_writes(
    archive: Callable[..., Path], scheduler: str, tmp_path: Path
) -> None:
    source, folder = archive("a.jpg", "b.jpg"), tmp_path / "bag"
    (source / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no more")

    def run(*overrides: str) -> object:
        given = load_settings("access", [f"cluster.scheduler={scheduler}", *overrides])
        return compress_archive(quote(RunRequest(str(source), str(folder / "data"), given)))

    with pytest.raises(ConfigError, match="must be named `data`"):
        compress_archive(
            quote(RunRequest(str(source), str(tmp_path / "out"), load_settings("access", ["evidence.bag=true"])))
        )
    assert not (tmp_path / "out").exists()

    run("evidence.bag=true")
    assert is_valid(folder)
    dest = Store(str(folder / "data"), StorageSettings())
    assert has_current_events(dest)
    found = verify_archive(dest.url, quote(load_settings("access", [f"cluster.scheduler={scheduler}"])))
    assert found.damages == []
    with pytest.raises(ConfigError, match="holds pages of other settings"):
        run("encode.codec=jpeg")
    assert is_valid(folder)  # neither a verification nor a run that was refused has touched it

    run()  # nothing new, and yet a record of the run is written
    assert read_bag_info(dest) is None and not list(folder.glob("*.txt"))
    archive("c.jpg")
    run("evidence.bag=true")
    assert is_valid(folder)
    told = read_bag_info(dest)
    assert told is not None and "4 documents" in told["External-Description"]
