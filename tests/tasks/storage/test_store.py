"""Store: the same behaviour on a disk, on S3 and in memory; transient errors are retried, others are explained."""

import errno
import os
import pickle
import uuid
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import StoreUnavailable
from foliopress.tasks.storage import store as store_module
from foliopress.tasks.storage.backend import ObjectArchived, ObjectChanged
from foliopress.tasks.storage.local_backend import TEMPORARY
from foliopress.tasks.storage.store import Store
from tests.servers import free_port

PLAIN = StorageSettings()
HASTY = StorageSettings(retries=2)


@pytest.fixture(params=["disk", "s3", "memory"])
def store(request, tmp_path):
    if request.param == "disk":
        return Store(str(tmp_path / "root"), PLAIN)
    if request.param == "s3":
        return Store(request.getfixturevalue("s3_url") + "/some/where", PLAIN)
    return Store(f"memory://{uuid.uuid4().hex}", PLAIN)


@pytest.fixture
def no_pauses(monkeypatch):
    pauses = []
    monkeypatch.setattr(store_module.time, "sleep", pauses.append)
    return pauses


def keys_of(store, prefix=""):
    return [found.key for found in store.list_objects(prefix)]


def test_what_is_written_is_read_back_and_an_older_object_is_replaced(store):
    store.write_bytes("pages/a.jpg.avif", b"first")
    store.write_bytes("pages/a.jpg.avif", b"second, longer")
    store.write_bytes("pages/empty", b"")
    assert store.read_bytes("pages/a.jpg.avif") == b"second, longer"
    assert store.read_bytes("pages/empty") == b""
    assert store.exists("pages/empty") and not store.exists("pages/b") and not store.exists("pages")


def test_an_object_that_is_not_there_is_a_file_not_found(store):
    store.write_bytes("there", b"1")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("not/there")
    with pytest.raises(FileNotFoundError):
        store.read_bytes("there/below")
    store.delete("not/there")
    store.delete("there/below")
    assert keys_of(store) == ["there"]


def test_an_object_is_created_only_once(store):
    assert store.create_bytes("runs/lease.json", b"mine")
    assert not store.create_bytes("runs/lease.json", b"yours")
    assert store.read_bytes("runs/lease.json") == b"mine"
    store.delete("runs/lease.json")
    assert store.create_bytes("runs/lease.json", b"yours")


def test_an_object_is_replaced_only_by_who_has_seen_it_as_it_is(store):
    assert not store.replace_bytes("lease", "unseen", b"mine")
    store.write_bytes("lease", b"old")
    data, seen = store.read_versioned("lease")
    assert data == b"old"
    assert store.replace_bytes("lease", seen, b"mine")
    assert not store.replace_bytes("lease", seen, b"yours, too late")
    assert store.read_bytes("lease") == b"mine"


def test_of_many_that_replace_the_same_object_at_once_one_comes_through(store):
    store.write_bytes("lease", b"old")
    _, seen = store.read_versioned("lease")
    if store.url.startswith("memory"):
        pytest.skip("a file system of fsspec's has no conditions")
    with ThreadPoolExecutor(8) as takers:
        took = list(takers.map(lambda number: store.replace_bytes("lease", seen, b"%d" % number), range(8)))
    assert took.count(True) == 1
    assert store.read_bytes("lease") == b"%d" % took.index(True)


def test_a_listing_is_in_the_order_of_whole_keys_and_leaves_nothing_out(store):
    # '-' and '.' come before '/', '0' after it: the folder `a` stands between `a.b` and `a0`
    keys = ["Z", "a-b/c", "a.b", "a/b", "a/c/d", "a0", "b", "e\u0301", "ä", "é", "\uffee", "\U0001f600"]
    for key in reversed(keys):
        store.write_bytes(key, key.encode())
    found = list(store.list_objects())
    assert [item.key for item in found] == sorted(keys, key=str.encode)
    assert [item.size_bytes for item in found] == [len(item.key.encode()) for item in found]
    assert keys_of(store, "a/") == ["a/b", "a/c/d"]
    assert keys_of(store, "a") == ["a-b/c", "a.b", "a/b", "a/c/d", "a0"]
    assert keys_of(store, "none") == []


def test_a_version_changes_with_the_bytes_and_stays_without(store):
    store.write_bytes("a", b"one")
    [before] = store.list_objects()
    [again] = store.list_objects()
    store.write_bytes("a", b"two")
    [after] = store.list_objects()
    assert before == again and before.version != after.version


def test_keys_with_odd_letters_are_kept_as_they_are(store):
    keys = ["a b/c+d.jpg", "50%.jpg", "50%25.jpg", "a?b#c&d.jpg", "pages/%2E%2E/x", "quote'\".jpg", "a\\b.jpg", "~x"]
    for key in keys:
        store.write_bytes(key, key.encode())
    assert keys_of(store) == sorted(keys)
    assert all(store.read_bytes(key) == key.encode() for key in keys)


def test_a_store_travels_to_another_process_and_its_secrets_stay_out_of_sight(store):
    store.write_bytes("a", b"1")
    copy = pickle.loads(pickle.dumps(store))
    assert copy.read_bytes("a") == b"1"
    secretive = Store(store.url, StorageSettings(secret_access_key="hush-hush", access_key_id="whoami"))
    assert "hush" not in repr(secretive) and "whoami" not in repr(secretive)


def test_an_object_is_read_as_it_was_listed_or_not_at_all(store):
    store.write_bytes("in/a", b"half")
    [listed] = store.list_objects()
    assert store.is_as_listed(listed) and store.read_listed(listed) == b"half"
    store.write_bytes("in/a", b"more than half")
    assert not store.is_as_listed(listed)
    with pytest.raises(ObjectChanged, match="in/a"):
        store.read_listed(listed)
    store.delete("in/a")
    assert not store.is_as_listed(listed)
    with pytest.raises(FileNotFoundError):
        store.read_listed(listed)


def test_a_listing_that_tells_no_sizes_is_read_all_the_same():
    store = Store(f"memory://{uuid.uuid4().hex}", PLAIN)
    store.write_bytes("in/a", b"whole")
    [listed] = store.list_objects()
    unsized = listed._replace(size_bytes=0)
    assert store.is_as_listed(unsized) and store.read_listed(unsized) == b"whole"
    otherwise = listed._replace(modified="as only listings tell it")
    fs = store._backend.fs

    def find(path, **_):
        return {f"{path}/a": {"size": 5, "created": "as only listings tell it"}}

    with patch.object(fs, "find", find):
        assert store.read_listed(otherwise) == b"whole"


def test_a_file_for_parquet_can_be_read_from_any_place(store):
    store.write_bytes("stats/x.parquet", b"0123456789")
    with store.open_input("stats/x.parquet") as file:
        assert file.seek(-3, 2) == 7 and file.read() == b"789"
        assert file.seek(2) == 2 and file.read(2) == b"23"
    with pytest.raises(FileNotFoundError):
        store.open_input("stats/y.parquet")


def test_a_store_in_order_passes_its_checks_and_keeps_no_trace(store):
    store.check_writable()
    store.check_readable()
    assert keys_of(store) == []


# On a disk


def test_a_missing_folder_is_a_wrong_setting(tmp_path):
    with pytest.raises(ConfigError, match="nowhere"):
        Store(str(tmp_path / "nowhere"), PLAIN).check_readable()
    with pytest.raises(ConfigError, match="nowhere"):
        list(Store(str(tmp_path / "nowhere"), PLAIN).list_objects())


def test_a_protocol_that_nobody_knows_is_a_wrong_setting_and_a_password_in_a_url_is_not_shown():
    with pytest.raises(ConfigError, match="fsspec cannot open") as caught:
        Store("no-such-protocol://me:hush@host/x", PLAIN).check_readable()
    assert "hush" not in f"{caught.value}{Store('sftp://me:hush@host/x', PLAIN)!r}"


def test_a_file_url_is_the_folder_itself(tmp_path):
    (tmp_path / "100% ä").mkdir()
    (tmp_path / "100% ä" / "a").write_bytes(b"1")
    assert keys_of(Store(f"file://{tmp_path}/100% ä", PLAIN)) == ["a"]


def test_links_that_loop_pipes_and_links_to_nowhere_do_not_stop_a_listing(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "a.jpg").write_bytes(b"1")
    (tmp_path / "deep" / "er" / "up").symlink_to(tmp_path)
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "nowhere.jpg").symlink_to("gone")
    os.mkfifo(tmp_path / "pipe.jpg")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "b.jpg").write_bytes(b"22")
    (tmp_path / "linked").symlink_to(outside)
    (tmp_path / "link.jpg").symlink_to(outside / "b.jpg")
    store = Store(str(tmp_path), PLAIN)
    found = {item.key: item.size_bytes for item in store.list_objects()}
    assert found == {"deep/er/a.jpg": 1, "link.jpg": 2, "linked/b.jpg": 2, "nowhere.jpg": 0, "self": 0}
    assert list(found) == sorted(found)
    for key in ("nowhere.jpg", "self", "pipe.jpg"):
        with pytest.raises(OSError, match=r"."):
            store.read_bytes(key)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_must_not_be_read_is_named_and_its_neighbours_are_listed(tmp_path):
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(b"1")
    (tmp_path / "b").chmod(0)
    named = []
    found = [item.key for item in Store(str(tmp_path), PLAIN).list_objects(on_unreadable=named.append)]
    (tmp_path / "b").chmod(0o700)
    assert found == ["a/x", "c/x"] and named == ["b/"]


def test_a_folder_that_cannot_be_opened_is_named_and_its_neighbours_are_listed(tmp_path, monkeypatch):
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(b"1")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/b"):
            raise PermissionError(errno.EACCES, "denied")
        return real(path)

    monkeypatch.setattr(store_module.os, "scandir", scandir)
    named = []
    found = [item.key for item in Store(str(tmp_path), PLAIN).list_objects(on_unreadable=named.append)]
    assert found == ["a/x", "c/x"] and named == ["b/"]


def test_a_file_that_cannot_be_read_is_this_documents_trouble_only(tmp_path, monkeypatch, no_pauses):
    store = Store(str(tmp_path), HASTY)
    store.write_bytes("a", b"1")
    for number, kind in ((errno.EACCES, PermissionError), (errno.EIO, OSError)):

        def broken(*_, number=number):
            raise OSError(number, os.strerror(number))

        with monkeypatch.context() as patch:
            patch.setattr(store_module.os, "open", broken)
            with pytest.raises(kind):
                store.read_bytes("a")


@pytest.fixture
def deep_root(tmp_path):
    """Return a file 1,200 folders down; it is removed iteratively, since pytest's own cleanup recurses."""
    here = os.getcwd()
    os.chdir(tmp_path)
    for _ in range(1200):
        os.mkdir("d")
        os.chdir("d")
    with open("a.jpg", "wb") as file:
        file.write(b"1")
    os.chdir(here)
    yield tmp_path
    os.chdir(tmp_path)
    for _ in range(1200):
        os.chdir("d")
    os.remove("a.jpg")
    for _ in range(1200):
        os.chdir("..")
        os.rmdir("d")
    os.chdir(here)


def test_a_tree_deeper_than_python_may_recurse_is_listed(deep_root):
    assert keys_of(Store(str(deep_root), PLAIN)) == ["d/" * 1200 + "a.jpg"]


def test_file_names_that_are_no_text_get_keys_of_their_own(tmp_path):
    names = [b"caf\xe9.jpg", b"caf\xc3\xa9.jpg", "\uf7e9.jpg".encode(), b"\xe9.jpg", b"\xff\xfe"]
    for name in names:
        (tmp_path / os.fsdecode(name)).write_bytes(name)
    store = Store(str(tmp_path), PLAIN)
    keys = keys_of(store)
    assert len(set(keys)) == len(names)
    assert keys == sorted(keys, key=str.encode)  # so each can be written as UTF-8
    assert {store.read_bytes(key) for key in keys} == set(names)


def test_a_key_that_leads_out_of_the_folder_is_refused(tmp_path):
    (tmp_path / "secret").write_bytes(b"1")
    (tmp_path / "root").mkdir()
    store = Store(str(tmp_path / "root"), PLAIN)
    for key in ("../secret", str(tmp_path / "secret"), "a/../../secret", ""):
        with pytest.raises((ValueError, FileNotFoundError)):
            store.read_bytes(key)
        with pytest.raises((ValueError, ConfigError, StoreUnavailable)):
            store.write_bytes(key, b"2")
    assert (tmp_path / "secret").read_bytes() == b"1"


def test_nothing_half_written_is_ever_seen(tmp_path, monkeypatch):
    store = Store(str(tmp_path), StorageSettings(retries=0))
    store.write_bytes("a", b"old")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module.os, "replace", full)
    with pytest.raises(StoreUnavailable, match="No space left"):
        store.write_bytes("a", b"new")
    assert store.read_bytes("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_file_that_a_killed_run_left_half_written_is_no_object_and_is_cleared_away_once_it_is_old(tmp_path):
    store = Store(str(tmp_path), PLAIN)
    store.write_bytes("pages/deep/a", b"1")
    left = [tmp_path / place / f"{TEMPORARY}0123" for place in ("", "pages")]
    for path in left:
        path.write_bytes(b"half")
    assert keys_of(store) == ["pages/deep/a"]
    store.delete_partial_writes()
    assert all(path.exists() for path in left)  # somebody may be writing it
    for path in left:
        os.utime(path, (1, 1))
    store.delete_partial_writes()
    assert not any(path.exists() for path in left)
    assert keys_of(store) == ["pages/deep/a"]


def test_what_is_being_written_lies_where_leftovers_are_looked_for(tmp_path, monkeypatch):
    seen, temporary = [], f"**/{TEMPORARY}*"
    monkeypatch.setattr(store_module.os, "fsync", lambda _: seen.extend(tmp_path.glob(temporary)))
    store = Store(str(tmp_path), PLAIN)
    store.write_bytes("pages/very/deep/a", b"1")
    store.create_bytes("runs/lease.json", b"1")
    store.write_bytes("top", b"1")
    assert [path.parent for path in seen] == [tmp_path / "pages", tmp_path / "runs", tmp_path]
    assert list(tmp_path.glob(temporary)) == []


def test_deleting_the_last_object_of_a_folder_removes_the_folder(tmp_path):
    store = Store(str(tmp_path), PLAIN)
    store.write_bytes("pages/b.tif/0001.avif", b"1")
    store.write_bytes("pages/b.tif/0002.avif", b"1")
    store.delete("pages/b.tif/0001.avif")
    store.write_bytes("pages/b.tif/0003.avif", b"1")
    store.delete("pages/b.tif/0002.avif")
    store.delete("pages/b.tif/0003.avif")
    store.write_bytes("pages/b.tif", b"now a file")
    assert keys_of(store) == ["pages/b.tif"]


def test_a_documents_new_output_takes_the_place_of_its_old_page_folder_and_back(tmp_path):
    store = Store(str(tmp_path), PLAIN)
    store.write_bytes("pages/b.tif/0001.avif", b"1")
    store.write_bytes("pages/b.tif/0002.avif", b"1")
    store.write_bytes("pages/b.tif", b"kept")
    assert keys_of(store) == ["pages/b.tif"]
    store.delete("pages/b.tif/0001.avif")
    store.write_bytes("pages/b.tif/0001.avif", b"pages again")
    store.delete("pages/b.tif")
    assert keys_of(store) == ["pages/b.tif/0001.avif"]


def test_a_folder_of_someone_elses_files_is_never_cleared_away(tmp_path):
    (tmp_path / "pages" / "b.tif" / "notes").mkdir(parents=True)
    (tmp_path / "pages" / "b.tif" / "notes" / "mine.txt").write_bytes(b"dear")
    store = Store(str(tmp_path), PLAIN)
    with pytest.raises(ConfigError, match=r"b\.tif"):
        store.write_bytes("pages/b.tif", b"kept")
    assert keys_of(store) == ["pages/b.tif/notes/mine.txt"]


def test_a_file_system_without_hard_links_still_creates_only_once(tmp_path, monkeypatch):
    def no_links(*_, **__):
        raise PermissionError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(store_module.os, "link", no_links)
    store = Store(str(tmp_path), PLAIN)
    assert store.create_bytes("lease", b"mine")
    assert not store.create_bytes("lease", b"yours")
    assert store.read_bytes("lease") == b"mine"


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), max_size=6), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_that_a_disk_can_hold_comes_back_from_its_listing(tmp_path, parts):
    key = "/".join(part if part not in ("", ".", "..") else "x" for part in parts)
    store = Store(str(tmp_path / uuid.uuid4().hex), PLAIN)
    store.write_bytes(key, b"1")
    assert keys_of(store) == [key]
    assert store.read_bytes(key) == b"1"


# On S3


def test_a_listing_of_many_objects_comes_page_by_page(s3_server, s3_url, monkeypatch):
    bucket = s3_url.removeprefix("s3://")
    client = s3_server.client()
    for number in range(25):
        client.put_object(Bucket=bucket, Key=f"in/{number:03d}", Body=b"1")
    store = Store(f"{s3_url}/in", PLAIN)
    calls = counted_calls(store, monkeypatch, MaxKeys=10)
    found = store.list_objects()
    assert next(found).key == "000" and calls == ["list_objects_v2"]
    assert [item.key for item in found] == [f"{number:03d}" for number in range(1, 25)]
    assert calls == ["list_objects_v2"] * 3


def test_an_answer_without_anything_is_not_the_end_of_a_listing(s3_server, s3_url, monkeypatch, no_pauses):
    s3_server.client().put_object(Bucket=s3_url.removeprefix("s3://"), Key="a", Body=b"1")
    store = Store(s3_url, HASTY)
    real, answers = store._backend.fs.call_s3, [{"ResponseMetadata": {}}]
    monkeypatch.setattr(store._backend.fs, "call_s3", lambda *a, **b: answers.pop() if answers else real(*a, **b))
    assert keys_of(store) == ["a"] and len(no_pauses) == 1


def test_a_listing_that_is_interrupted_goes_on_where_it_was(s3_server, s3_url, monkeypatch, no_pauses):
    bucket = s3_url.removeprefix("s3://")
    client = s3_server.client()
    for number in range(25):
        client.put_object(Bucket=bucket, Key=f"{number:03d}", Body=b"1")
    store = Store(s3_url, HASTY)
    calls = counted_calls(store, monkeypatch, faults={2: ConnectionError("reset"), 3: TimeoutError()}, MaxKeys=10)
    assert keys_of(store) == [f"{number:03d}" for number in range(25)]
    assert len(calls) == 5 and len(no_pauses) == 2


def test_what_other_programs_show_as_folders_is_no_object(s3_server, s3_url):
    bucket = s3_url.removeprefix("s3://")
    client = s3_server.client()
    for key in ("in/", "in/sub/", "in/sub/a.jpg", "in2/b.jpg"):
        client.put_object(Bucket=bucket, Key=key, Body=b"" if key.endswith("/") else b"1")
    assert keys_of(Store(f"{s3_url}/in/", PLAIN)) == ["sub/a.jpg"]


def test_s3_keys_that_no_disk_could_hold_are_read_as_they_are(s3_server, s3_url):
    bucket = s3_url.removeprefix("s3://")
    keys = ["a//b.jpg", "a/./c.jpg", "tab\there.jpg"]
    client = s3_server.client()
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    store = Store(s3_url, PLAIN)
    assert keys_of(store) == sorted(keys)
    assert [store.read_bytes(key) for key in keys] == [key.encode() for key in keys]


def refused(code, kind=OSError):
    """Return the error that s3fs raises for a response with this code."""
    error = kind(errno.EINVAL, "refused")
    error.__cause__ = ClientError({"Error": {"Code": code, "Message": "no"}}, "AnyCall")
    return error


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])  # Ceph's comes as an OSError that says no more
def test_an_object_that_is_there_is_told_from_the_servers_code(s3_url, monkeypatch, no_pauses, code):
    store = Store(s3_url, PLAIN)
    counted_calls(store, monkeypatch, faults={2: refused(code)})  # the first asks whether it is there
    assert store.create_bytes("lease", b"mine") is False and no_pauses == []


def test_a_server_without_conditions_is_asked_first(s3_url, monkeypatch, no_pauses):
    store = Store(s3_url, PLAIN)
    calls = counted_calls(store, monkeypatch, faults={2: refused("NotImplemented")})
    assert store.create_bytes("lease", b"mine") is True
    assert store.create_bytes("lease", b"yours") is False
    assert calls == ["head_object", "put_object", "put_object", "head_object"] and no_pauses == []


def test_a_server_that_wants_an_etag_without_its_quotes_holds_to_it_too(s3_url, monkeypatch):
    store = Store(s3_url, PLAIN)
    store.write_bytes("lease", b"old")
    _, seen = store.read_versioned("lease")
    backend = store._backend
    real = backend.fs.call_s3

    def call(method, **arguments):  # as Ceph does
        if arguments.get("IfMatch", "").startswith('"'):
            raise refused("PreconditionFailed")
        return real(method, **arguments)

    monkeypatch.setattr(backend.fs, "call_s3", call)
    assert store.replace_bytes("lease", seen, b"mine") is True
    assert store.replace_bytes("lease", seen, b"yours, too late") is False
    assert store.read_bytes("lease") == b"mine"


def test_one_object_that_must_not_be_read_does_not_stop_the_run_but_wrong_credentials_do(
    s3_url, monkeypatch, no_pauses
):
    store = Store(s3_url, PLAIN)
    for code in ("AccessDenied", "InvalidObjectState"):
        with monkeypatch.context() as patch:
            counted_calls(store, patch, faults={1: refused(code, PermissionError)})
            with pytest.raises(PermissionError):
                store.read_bytes("a")
    for code in ("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"):
        with monkeypatch.context() as patch:
            counted_calls(store, patch, faults={1: refused(code, PermissionError)})
            with pytest.raises(ConfigError, match=code):
                store.read_bytes("a")
    counted_calls(store, monkeypatch, faults={1: refused("AccessDenied", PermissionError)})
    with pytest.raises(ConfigError, match="access is denied"):
        store.write_bytes("a", b"1")
    assert no_pauses == []


def test_a_server_that_asks_to_slow_down_is_obeyed(s3_url, monkeypatch, no_pauses):
    store = Store(s3_url, PLAIN)
    counted_calls(store, monkeypatch, faults={1: refused("SlowDown"), 2: refused("InternalError"), 3: refused("503")})
    store.write_bytes("a", b"1")
    assert len(no_pauses) == 3 and store.read_bytes("a") == b"1"


def test_a_large_object_is_one_put(s3_url, monkeypatch):
    store = Store(s3_url, PLAIN)
    calls = counted_calls(store, monkeypatch)
    data = os.urandom(1_000_000) * 12
    store.write_bytes("large", data)
    assert calls == ["put_object"]
    assert store.read_bytes("large") == data


def test_a_missing_bucket_is_a_wrong_setting(s3_server):
    store = Store(f"s3://no-bucket-{uuid.uuid4().hex[:8]}", PLAIN)
    for call in (store.check_readable, store.check_writable, lambda: store.read_bytes("a"), lambda: keys_of(store)):
        with pytest.raises(ConfigError, match="bucket"):
            call()


def test_an_impossible_bucket_name_is_a_wrong_setting(s3_server, no_pauses):
    with pytest.raises(ConfigError, match="Not_A"):
        Store("s3://Not_A Bucket!", PLAIN).check_readable()
    assert no_pauses == []


def test_missing_credentials_are_a_wrong_setting_and_say_what_to_set(s3_url, monkeypatch, tmp_path, no_pauses):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
        Store(s3_url, PLAIN).check_readable()
    assert no_pauses == []


def test_credentials_may_come_from_the_settings_and_never_show_in_messages(s3_server, s3_url, monkeypatch):
    for name in s3_server.environment:
        monkeypatch.delenv(name)
    storage = StorageSettings(
        endpoint_url=s3_server.endpoint_url, region="us-east-1", access_key_id="whoami", secret_access_key="hush-hush"
    )
    Store(s3_url, storage).write_bytes("a", b"1")
    assert keys_of(Store(s3_url, storage)) == ["a"]
    with pytest.raises(ConfigError) as caught:
        Store("s3://no-such-bucket-here", storage).check_readable()
    shown = f"{caught.value} {caught.value.__cause__!r}"
    assert "hush" not in shown and "whoami" not in shown


def test_a_server_that_is_not_there_is_waited_for_and_then_named(monkeypatch, no_pauses):
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    endpoint = f"http://127.0.0.1:{free_port()}"
    store = Store(f"s3://bucket-{uuid.uuid4().hex[:8]}", StorageSettings(endpoint_url=endpoint, retries=2))
    with pytest.raises(StoreUnavailable, match=r"read 'a\.jpg'"):
        store.read_bytes("a.jpg")
    assert len(no_pauses) == 2
    with pytest.raises((ConfigError, StoreUnavailable)):
        store.check_readable()


def test_a_fault_that_stays_is_said_with_operation_and_key(tmp_path, monkeypatch, no_pauses):
    def no_answer(*_):
        raise TimeoutError("no answer")

    monkeypatch.setattr(store_module.os, "replace", no_answer)
    with pytest.raises(StoreUnavailable, match=r"cannot write 'a\.jpg'.*TimeoutError, tried 3 times"):
        Store(str(tmp_path), HASTY).write_bytes("a.jpg", b"")
    assert len(no_pauses) == 2


def test_pauses_grow_and_a_fault_that_passes_is_forgotten(s3_url, monkeypatch, no_pauses):
    store = Store(s3_url, PLAIN)
    faults = {number: ConnectionResetError("reset") for number in range(1, 6)}
    calls = counted_calls(store, monkeypatch, faults=faults)
    store.write_bytes("a", b"1")
    assert len(calls) == 6 and len(no_pauses) == 5
    assert all(0 < pause < 15 for pause in no_pauses) and no_pauses[-1] > no_pauses[0]
    assert store.read_bytes("a") == b"1"


def test_a_mistake_in_the_program_is_not_tried_again(store, monkeypatch, no_pauses):
    def broken(*_):
        raise TypeError("a mistake")

    monkeypatch.setattr(type(store._backend), "read", broken)
    with pytest.raises(TypeError, match="a mistake"):
        store.read_bytes("a")
    assert no_pauses == []


def counted_calls(store, monkeypatch, faults=None, **more):
    """Record the calls to S3; those numbered in `faults` (from 1) fail, `more` is added to listings."""
    calls = []
    backend = store._backend
    real = backend.fs.call_s3

    def call(method, **arguments):
        calls.append(method)
        if faults and len(calls) in faults:
            raise faults[len(calls)]
        return real(method, **arguments, **(more if method == "list_objects_v2" else {}))

    monkeypatch.setattr(backend.fs, "call_s3", call)
    return calls


def test_no_try_begins_once_the_time_for_a_call_is_over(s3_url, monkeypatch, no_pauses):
    now = [0.0]
    monkeypatch.setattr(store_module.time, "monotonic", lambda: now[0])
    store = Store(s3_url, StorageSettings(retries=20, give_up_after_s=100))

    def stalled(*_):
        now[0] += 40
        raise TimeoutError("no answer")

    monkeypatch.setattr(store._backend, "write", stalled)
    with pytest.raises(StoreUnavailable, match="tried 3 times in 120 s"):
        store.write_bytes("a", b"1")


def test_objects_are_written_as_the_shop_keeps_them(s3_server, s3_url):
    bucket = s3_url.removeprefix("s3://")
    storage = StorageSettings(
        storage_class="STANDARD_IA",
        server_side_encryption="aws:kms",
        kms_key_id="alias/archive",
        acl="bucket-owner-full-control",
    )
    store = Store(s3_url, storage)
    store.write_bytes("pages/a.avif", b"1", is_output=True)
    store.write_bytes("stats/pages/x.parquet", b"1")
    store.create_bytes("runs/lease.json", b"1")
    store.replace_bytes("runs/lease.json", store.read_versioned("runs/lease.json")[1], b"2")
    client = s3_server.client()
    heads = {key: client.head_object(Bucket=bucket, Key=key) for key in keys_of(store)}
    assert {key: head.get("StorageClass") for key, head in heads.items()} == {
        "pages/a.avif": "STANDARD_IA",
        "runs/lease.json": None,  # the standard class is not told
        "stats/pages/x.parquet": None,
    }
    assert {(head["ServerSideEncryption"], head["SSEKMSKeyId"]) for head in heads.values()} == {
        ("aws:kms", "alias/archive")
    }
    grants = client.get_object_acl(Bucket=bucket, Key="pages/a.avif")["Grants"]
    assert "FULL_CONTROL" in {grant["Permission"] for grant in grants}


def test_without_such_settings_nothing_of_them_is_asked_for(s3_url, monkeypatch):
    store = Store(s3_url, PLAIN)
    asked = {}
    monkeypatch.setattr(store._backend.fs, "call_s3", lambda method, **options: asked.update(options))
    store.write_bytes("pages/a.avif", b"1", is_output=True)
    assert asked.keys() == {"Bucket", "Key", "Body"}


@pytest.mark.parametrize("code", ["KMS.NotFoundException", "InvalidStorageClass", "AccessControlListNotSupported"])
def test_what_the_shop_does_not_have_is_a_wrong_setting(s3_url, monkeypatch, no_pauses, code):
    store = Store(s3_url, PLAIN)
    counted_calls(store, monkeypatch, faults={1: refused(code)})
    with pytest.raises(ConfigError, match=rf"storage\..*{code}"):
        store.write_bytes("a", b"1")
    assert no_pauses == []


def test_an_archived_object_is_listed_and_told_from_one_that_is_denied(s3_server, s3_url, no_pauses):
    s3_server.client().put_object(Bucket=s3_url[5:], Key="a.jpg", Body=b"1", StorageClass="GLACIER")
    store = Store(s3_url, PLAIN)
    assert keys_of(store) == ["a.jpg"]
    with pytest.raises(ObjectArchived, match=r"a\.jpg.*restored"):
        store.read_bytes("a.jpg")
    assert no_pauses == []
