"""Store: the same behaviour on a disk, on an S3 server and in memory; faults with clear words."""

import os
import pickle
import uuid

import pytest

from configs.settings import StorageSettings
from tasks import store as store_module
from tasks.errors import ConfigError, StoreUnavailable
from tasks.store import Store

SETTINGS = StorageSettings(retries=2)


@pytest.fixture(params=["disk", "s3", "memory"])
def store(request, tmp_path):
    if request.param == "disk":
        return Store(str(tmp_path), SETTINGS)
    if request.param == "memory":
        return Store(f"memory://{uuid.uuid4().hex}", SETTINGS)
    return Store(request.getfixturevalue("s3_url") + "/deep/root", SETTINGS)


def listed(store, prefix=""):
    return [found.key for found in store.list_objects(prefix)]


def test_what_is_written_is_read_found_listed_and_deleted(store):
    store.write_bytes("pages/a/b.avif", b"first")
    store.write_bytes("pages/a/b.avif", b"second")
    assert store.read_bytes("pages/a/b.avif") == b"second"
    assert store.exists("pages/a/b.avif") and not store.exists("pages/a")
    found = list(store.list_objects())
    assert [(item.key, item.size_bytes) for item in found] == [("pages/a/b.avif", 6)]
    store.delete("pages/a/b.avif")
    store.delete("pages/a/b.avif")
    assert not store.exists("pages/a/b.avif")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("pages/a/b.avif")


def test_keys_are_listed_in_the_order_of_their_bytes_and_by_prefix(store):
    keys = ["a/b.jpg", "a-1.jpg", "a.jpg", "a0.jpg", "b/a/c.jpg", "b/a.jpg", "é.jpg", "z.jpg", "b/ä ö.jpg"]
    for key in keys:
        store.write_bytes(key, b"x")
    assert listed(store) == sorted(keys, key=str.encode)
    assert listed(store, "b/") == ["b/a.jpg", "b/a/c.jpg", "b/ä ö.jpg"]
    assert listed(store, "b/a") == ["b/a.jpg", "b/a/c.jpg"]


def test_an_object_is_created_only_once(store):
    assert store.create_bytes("runs/lease.json", b"mine")
    assert not store.create_bytes("runs/lease.json", b"yours")
    assert store.read_bytes("runs/lease.json") == b"mine"


def test_a_version_changes_with_the_bytes(store):
    store.write_bytes("a.jpg", b"first")
    first = next(iter(store.list_objects())).version
    store.write_bytes("a.jpg", b"other, longer")
    assert next(iter(store.list_objects())).version != first


def test_a_store_travels_between_processes_and_shows_no_secret(store):
    secret = Store(store.url, StorageSettings(secret_access_key="canary-secret"))  # noqa: S106
    assert "canary" not in repr(secret) + str(secret.__dict__)
    store.write_bytes("k", b"v")
    assert pickle.loads(pickle.dumps(store)).read_bytes("k") == b"v"
    with store.open_input("k") as file:
        file.seek(0, os.SEEK_END)
        assert file.tell() == 1


def test_a_writable_root_is_left_as_it_was(store):
    store.write_bytes("a.jpg", b"x")
    store.check_readable()
    store.check_writable()
    assert listed(store) == ["a.jpg"]


def test_a_listing_of_more_than_one_answer_is_complete_though_an_answer_is_lost(s3_url, monkeypatch):
    store = Store(s3_url, SETTINGS)
    for number in range(25):
        store.write_bytes(f"{number:03d}.jpg", b"")
    real, calls = store_module._S3Bucket._call, []

    def shaky(self, method, **arguments):
        calls.append(method)
        if len(calls) == 2:
            raise ConnectionResetError("cut")
        return real(self, method, MaxKeys=10, **arguments)

    monkeypatch.setattr(store_module._S3Bucket, "_call", shaky)
    monkeypatch.setattr(store_module.time, "sleep", lambda _: None)
    assert len(listed(store)) == 25
    assert len(calls) == 4


@pytest.mark.parametrize(("faults", "survives"), [(2, True), (3, False)])
def test_a_fault_is_tried_again_and_then_said_with_operation_and_key(tmp_path, monkeypatch, faults, survives):
    store, calls = Store(str(tmp_path), SETTINGS), []

    def write(self, key, data):
        calls.append(key)
        if len(calls) <= faults:
            raise TimeoutError("no answer")

    monkeypatch.setattr(store_module._LocalFolder, "write", write)
    monkeypatch.setattr(store_module.time, "sleep", lambda _: None)
    if survives:
        store.write_bytes("a.jpg", b"")
    else:
        with pytest.raises(StoreUnavailable, match=r"cannot write 'a.jpg'.*tried 3 times"):
            store.write_bytes("a.jpg", b"")
    assert len(calls) == 3


def test_a_missing_bucket_and_a_missing_folder_stop_the_run(s3_server, tmp_path):
    with pytest.raises(ConfigError, match="bucket does not exist"):
        Store("s3://no-such-bucket-here", SETTINGS).check_readable()
    with pytest.raises(ConfigError, match="there is no folder"):
        Store(str(tmp_path / "nowhere"), SETTINGS).check_readable()
    with pytest.raises(ConfigError, match="fsspec cannot open"):
        Store("no-such-protocol://x", SETTINGS).check_readable()


def test_missing_credentials_stop_the_run_with_advice(s3_server, monkeypatch):
    for name in s3_server.environment:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    settings = StorageSettings(endpoint_url=s3_server.endpoint_url, region="us-east-1")
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        Store("s3://some-bucket", settings).check_readable()


def test_a_write_that_breaks_off_leaves_nothing_behind(tmp_path, monkeypatch):
    store = Store(str(tmp_path), SETTINGS)
    store.write_bytes("pages/a.avif", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.write_bytes("pages/a.avif", b"new")
    assert store.read_bytes("pages/a.avif") == b"old"
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["a.avif"]


def test_links_back_pipes_and_odd_names_do_not_stop_a_listing(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.jpg").write_bytes(b"x")
    (tmp_path / "a" / "back").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / os.fsdecode(b"odd\xff.jpg")).write_bytes(b"odd")
    store = Store(str(tmp_path), SETTINGS)
    keys = listed(store)
    assert keys[0] == "a/1.jpg"
    assert len(keys) == 2
    keys[1].encode()  # what Parquet and S3 need
    assert store.read_bytes(keys[1]) == b"odd"


def test_a_documents_page_folder_takes_the_place_of_its_kept_file_and_the_other_way_round(tmp_path):
    store = Store(str(tmp_path), SETTINGS)
    store.write_bytes("pages/b.tif", b"kept")
    store.write_bytes("pages/b.tif/0001.avif", b"page")
    assert listed(store) == ["pages/b.tif/0001.avif"]
    store.write_bytes("pages/b.tif", b"kept")
    assert listed(store) == ["pages/b.tif"]
