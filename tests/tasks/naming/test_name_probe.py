"""Name probe: finds the names that disks distinguish; names by these rules are listed as written."""

import subprocess
import sys

import pytest
from botocore.exceptions import ClientError

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.errors import NameRefused, StoreUnavailable
from foliopress.tasks.naming import name_probe
from foliopress.tasks.naming.key_spelling import LONGEST_KEY_BYTES, ORDINARY, WINDOWS_LETTERS, Naming
from foliopress.tasks.naming.name_probe import find_naming
from foliopress.tasks.naming.output_keys import output_key
from foliopress.tasks.storage import store as store_module
from foliopress.tasks.storage.s3_backend import S3Backend
from foliopress.tasks.storage.store import Store
from tests.disks import FOLDERS, REAL_DISKS, mounted
from tests.promises import NO_COLLISION

pytestmark = pytest.mark.promise(NO_COLLISION, "disks that fold names or refuse some, real ones and such as act alike")

PLAIN = StorageSettings()

KEYS = [
    *(
        "Page.jpg",
        "page.jpg",
        "PAGE.JPG",
        "scan 10:30.jpg",
        "end./a.jpg",
        "end/a.jpg",
        "End/a.jpg",
        "CON.jpg",
        "con.jpg",
    ),
    *("aux/nul.tif", "\u00e9.jpg", "e\u0301.jpg", "\u00c9.jpg", "\u212a.jpg", "K.jpg", "k.jpg", "\u00df.jpg", "ss.jpg"),
    *(
        "what?.jpg",
        'say "no".jpg',
        "a<b>|*.jpg",
        "end /a.jpg",
        "LONGNA~1.JPG",
        "longna~1.jpg",
        "\U0001f4dc.jpg",
        "\ud55c.jpg",
    ),
    *(
        "N" * 230 + ".jpg",
        "n" * 230 + ".jpg",
        "\u03a3.jpg",
        "\u03c2.jpg",
        "\u03c3.jpg",
        "b.TIF/0001.avif",
        "\uf7ff.jpg",
    ),
    "/".join(["Deep" * 20] * 12) + "/a.jpg",
]


@pytest.fixture
def folder_like(monkeypatch, tmp_path):
    def make(kind):
        monkeypatch.setattr(store_module, "LocalBackend", FOLDERS[kind])
        return Store(str(tmp_path / "out"), PLAIN)

    return make


FOUND = {
    "Windows": Naming(folds_case=True, not_held=WINDOWS_LETTERS, is_windows=True),
    "silent Windows": Naming(folds_case=True, not_held=WINDOWS_LETTERS, is_windows=True),
    "Mac": Naming(folds_case=True, forms="equal", not_held=WINDOWS_LETTERS, is_windows=True),
    "old Mac": Naming(folds_case=True, forms="changed", not_held=WINDOWS_LETTERS, is_windows=True),
    "ZFS": Naming(forms="equal"),
    "short ASCII": Naming(letters="ascii", longest_name_bytes=100),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_what_a_disk_tells_apart_and_holds_is_found_out_and_nothing_of_it_stays(folder_like, kind, tmp_path):
    assert find_naming(folder_like(kind)) == FOUND[kind]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def put_and_list(dest, naming):
    """Write an output with different bytes for every key; return the listed and the written outputs."""
    written = {output_key(key, extension="avif", naming=naming): key.encode("utf-8", "surrogatepass") for key in KEYS}
    assert len(written) == len(KEYS)
    for place, data in written.items():
        dest.write_bytes(place, data)
    return {found.key: dest.read_bytes(found.key) for found in dest.list_objects("pages/")}, written


@pytest.mark.parametrize("kind", FOLDERS)
def test_names_by_the_rules_of_a_disk_come_back_as_they_were_written(folder_like, kind):
    dest = folder_like(kind)
    listed, written = put_and_list(dest, find_naming(dest))
    assert listed == written


@pytest.mark.parametrize("kind", REAL_DISKS)
def test_names_by_the_rules_of_a_real_disk_come_back_as_they_were_written(kind, tmp_path):
    with mounted(kind, tmp_path) as disk:
        dest = Store(str(disk / "out"), PLAIN)
        naming = find_naming(dest)
        assert naming.folds_case and ":" in naming.not_held
        listed, written = put_and_list(dest, naming)
        assert listed == written
        names = subprocess.run(  # another process asks the disk itself
            [
                sys.executable,
                "-c",
                f"import os; print(sum(len(files) for *_, files in os.walk({str(disk / 'out')!r})))",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        assert int(names.stdout) == len(KEYS)


@pytest.mark.parametrize("kind", ["disk", "memory", "s3"])
def test_an_ordinary_store_is_asked_for_one_object_and_its_twins(kind, request, tmp_path, monkeypatch):
    place = {"disk": str(tmp_path / "out"), "memory": f"memory://{tmp_path.name}"}
    dest = Store(place.get(kind) or request.getfixturevalue("s3_url") + "/some/where", PLAIN)
    calls = []
    real = Store._try

    def counted(self, what, key, call):
        calls.append(what)
        return real(self, what, key, call)

    monkeypatch.setattr(Store, "_try", counted)
    assert find_naming(dest) == ORDINARY
    assert {what: calls.count(what) for what in calls if what != "list"} == {"write": 1, "look for": 2, "delete": 1}
    assert [found.key for found in dest.list_objects()] == []


def test_a_long_prefix_of_a_bucket_leaves_less_room_for_keys(s3_url, monkeypatch):
    real = S3Backend._put

    def put(self, key, data, **options):
        if len(self.prefix + key) > 1024:
            raise ClientError({"Error": {"Code": "KeyTooLongError"}}, "PutObject")
        real(self, key, data, **options)

    monkeypatch.setattr(S3Backend, "_put", put)
    dest = Store(f"{s3_url}/{'deep/' * 60}", PLAIN)
    naming = find_naming(dest)
    assert naming == Naming(longest_key_bytes=600)
    dest.write_bytes(output_key("x/" * 500 + "a.jpg", naming=naming), b"")


def test_what_a_probe_that_was_killed_left_is_deleted_by_the_next(tmp_path):
    dest = Store(str(tmp_path / "out"), PLAIN)
    dest.write_bytes(f"{name_probe.SCRATCH}0123/x", b"")
    find_naming(dest)
    assert list(dest.list_objects()) == []


def test_a_store_that_does_not_hold_plain_names_is_a_wrong_setting(folder_like, monkeypatch):
    monkeypatch.setattr(FOLDERS["Windows"], "refused", staticmethod(lambda name: "%" in name))
    with pytest.raises(ConfigError, match="choose another DEST"):
        find_naming(folder_like("Windows"))


def test_a_store_that_fails_while_it_is_asked_is_not_taken_for_one_of_few_names(tmp_path, monkeypatch):
    dest = Store(str(tmp_path / "out"), PLAIN)

    def fails(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module.LocalBackend, "write", fails)
    with pytest.raises((ConfigError, StoreUnavailable), match="No space left"):
        find_naming(dest)


@pytest.mark.parametrize("code", [22, 36, 84], ids=["EINVAL", "ENAMETOOLONG", "EILSEQ"])
@pytest.mark.parametrize("call", ["write", "create"])
def test_a_name_that_a_disk_refuses_is_said_at_once(tmp_path, monkeypatch, code, call):
    dest = Store(str(tmp_path / "out"), PLAIN)
    dest.write_bytes("pages/before", b"")

    def refuses(*_, **__):
        raise OSError(code, "no such name")

    monkeypatch.setattr("foliopress.tasks.storage.local_backend.os.replace", refuses)
    monkeypatch.setattr("foliopress.tasks.storage.local_backend.os.link", refuses)
    monkeypatch.setattr(store_module.time, "sleep", lambda _: pytest.fail("another try does not mend it"))
    with pytest.raises(NameRefused, match="cannot hold this name"):
        getattr(dest, f"{call}_bytes")("pages/a:b", b"")
    assert [found.key for found in dest.list_objects()] == ["pages/before"]


@pytest.mark.parametrize("code", ["KeyTooLongError", "XMinioInvalidObjectName"])
def test_a_name_that_a_bucket_refuses_is_said_at_once(s3_url, monkeypatch, code):
    def refuses(*_, **__):
        raise OSError(22, "no such name") from ClientError({"Error": {"Code": code}}, "PutObject")

    monkeypatch.setattr(S3Backend, "_put", refuses)
    monkeypatch.setattr(store_module.time, "sleep", lambda _: pytest.fail("another try does not mend it"))
    with pytest.raises(NameRefused, match="cannot hold this name"):
        Store(s3_url, PLAIN).write_bytes("pages/a:b", b"")


def test_nothing_lies_under_a_name_that_a_disk_cannot_hold(tmp_path):
    dest = Store(str(tmp_path / "out"), PLAIN)
    dest.write_bytes("pages/before", b"")
    name = "pages/" + "n" * 300
    assert not dest.exists(name)
    dest.delete(name)
    with pytest.raises(NameRefused):
        dest.write_bytes(name, b"")


def test_room_for_the_longest_keys_is_what_it_always_was():
    assert ORDINARY.longest_key_bytes == LONGEST_KEY_BYTES == 900
