"""Source listing: documents and skipped files, each counted once."""

import hashlib
import os
import uuid
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ScanSettings, StorageSettings
from foliopress.tasks.storage.backend import StoredObject
from foliopress.tasks.storage.source_listing import DOCUMENT_SUFFIXES, ListingCounts, list_documents, matches
from foliopress.tasks.storage.store import Store

PLAIN = StorageSettings()


@pytest.fixture(params=["disk", "s3", "memory"])
def source(request, tmp_path):
    if request.param == "disk":
        return Store(str(tmp_path / "in"), PLAIN)
    if request.param == "s3":
        return Store(request.getfixturevalue("s3_url") + "/in", PLAIN)
    return Store(f"memory://{uuid.uuid4().hex}", PLAIN)


def fill(source, *keys):
    for key in keys:
        source.write_bytes(key, key.encode())


def scanned(source, **settings):
    counts = ListingCounts()
    return [document.key for document in list_documents(source, ScanSettings(**settings), counts)], counts


def test_documents_come_in_key_order_and_everything_else_is_counted(source):
    fill(source, "b.PDF", "a/2.tif", "a/1.jpg", "a.png", "a/notes.txt", "Thumbs.db", "a/.hidden.jpg", ".git/x.png")
    fill(source, "jpg", "scan.jpg.part", "z.jpg/0001.jpg")
    keys, counts = scanned(source)
    assert keys == ["a.png", "a/1.jpg", "a/2.tif", "b.PDF", "z.jpg/0001.jpg"]
    assert counts == ListingCounts(documents=5, hidden=2, not_documents=4, excluded=0)


def test_a_document_has_the_size_and_version_of_its_object(source):
    fill(source, "a.jpg")
    [document] = list_documents(source, ScanSettings(), ListingCounts())
    [found] = source.list_objects()
    assert (document.key, document.size_bytes, document.version) == (found.key, 5, found.version)


def test_every_ending_of_a_document_counts_in_any_case(source):
    names = [f"x{number}{end}" for number, end in enumerate(sorted(DOCUMENT_SUFFIXES))]
    fill(source, *names, *(name.upper() for name in names))
    keys, counts = scanned(source)
    assert len(keys) == counts.documents == 2 * len(DOCUMENT_SUFFIXES)


def test_only_what_is_included_and_not_excluded_is_worked_on(source):
    fill(source, "letters/1887/a.jpg", "letters/b.jpg", "maps/c.jpg", "maps/d.tif")
    assert scanned(source, include=("letters/*",))[0] == ["letters/1887/a.jpg", "letters/b.jpg"]
    assert scanned(source, include=("*.tif", "b.*"))[0] == ["letters/b.jpg", "maps/d.tif"]
    keys, counts = scanned(source, include=("maps/*",), exclude=("*.tif",))
    assert keys == ["maps/c.jpg"]
    assert counts == ListingCounts(documents=1, excluded=3)


def test_a_file_of_keys_names_what_is_worked_on_and_what_is_not_there(source, tmp_path):
    fill(source, "a.jpg", "b c.jpg", "d\u2028e.jpg", "f.jpg")
    listed = tmp_path / "keys.txt"
    listed.write_bytes("\ufeffa.jpg\r\nb c.jpg\n\nd\u2028e.jpg\ngone.jpg\n".encode())
    keys, counts = scanned(source, keys_file=str(listed))
    assert keys == ["a.jpg", "b c.jpg", "d\u2028e.jpg"]
    assert counts == ListingCounts(documents=3, excluded=1, keys_not_found=1)


def test_a_file_of_keys_may_lie_where_the_source_lies(source):
    fill(source, "a.jpg", "b.jpg", "wanted.txt")
    source.write_bytes("wanted.txt", b"b.jpg")
    assert scanned(source, keys_file=f"{source.url}/wanted.txt")[0] == ["b.jpg"]


def test_a_file_of_keys_in_the_working_folder_needs_no_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keys.txt").write_text("b.jpg")
    source = Store(str(tmp_path), PLAIN)
    fill(source, "a.jpg", "b.jpg")
    assert scanned(source, keys_file="keys.txt")[0] == ["b.jpg"]


@pytest.mark.parametrize("data", [None, b"\xff\xfe\x00"])
def test_a_file_of_keys_that_cannot_be_read_stops_the_run(tmp_path, data):
    path = tmp_path / "keys.txt"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"scan\.keys.*keys\.txt"):
        scanned(Store(str(tmp_path), PLAIN), keys_file=str(path))


def test_a_listing_is_a_stream(monkeypatch):
    read = []

    class Endless:
        storage = PLAIN

        def list_objects(self, on_unreadable):
            number = 0
            while True:
                read.append(number)
                yield StoredObject(f"{number:09d}.jpg", 1, "2026")
                number += 1

    first = list(islice(list_documents(Endless(), ScanSettings(), ListingCounts()), 3))
    assert [document.key for document in first] == ["000000000.jpg", "000000001.jpg", "000000002.jpg"]
    assert read == [0, 1, 2]


def test_a_folder_that_must_not_be_read_is_counted(tmp_path, monkeypatch):
    fill(Store(str(tmp_path), PLAIN), "a/1.jpg", "b/2.jpg")
    real = os.scandir

    def scandir(path):
        if str(path).endswith("/a"):
            raise PermissionError(13, "denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    keys, counts = scanned(Store(str(tmp_path), PLAIN))
    assert keys == ["b/2.jpg"] and counts.unreadable_folders == 1


names = st.sampled_from(["a.jpg", "b.TIF", ".c.png", "d.txt", "e", "f.pdf", "..g.jpg"])


@given(st.sets(st.lists(names, min_size=1, max_size=3).map("/".join), max_size=12))
def test_every_object_is_counted_exactly_once(keys):
    class Listed:
        storage = PLAIN

        def list_objects(self, on_unreadable):
            return (StoredObject(key, 1, "2026") for key in sorted(keys))

    counts = ListingCounts()
    found = list(list_documents(Listed(), ScanSettings(exclude=("f.*",)), counts))
    assert len(found) == counts.documents
    assert counts.documents + counts.hidden + counts.not_documents + counts.excluded == len(keys)


def test_a_pattern_means_the_key_or_its_last_part():
    assert matches("letters/1887/a.jpg", "letters/*.jpg")
    assert matches("letters/1887/a.jpg", "a.jpg")
    assert not matches("letters/1887/a.jpg", "1887")
    assert not matches("letters/A.jpg", "a.jpg")


def versions(source, kind):
    return {found.key: found.version for found in list_documents(source, ScanSettings(version=kind), ListingCounts())}


def test_by_content_a_document_changes_with_its_bytes_and_with_nothing_else(source):
    fill(source, *(f"{number}.jpg" for number in range(12)))
    before = versions(source, "content")
    assert before["3.jpg"] == hashlib.sha256(b"3.jpg").hexdigest()
    assert list(before) == sorted(before)
    for number in range(12):
        source.write_bytes(f"{number}.jpg", f"{number}.jpg".encode())  # written anew, and the same
    assert versions(source, "content") == before
    source.write_bytes("3.jpg", b"3-jpg")
    changed = versions(source, "content")
    assert {key for key in before if before[key] != changed[key]} == {"3.jpg"}


def test_a_version_is_what_the_settings_let_count(s3_url):
    source = Store(f"{s3_url}/in", PLAIN)
    fill(source, "a.jpg")
    [found] = source.list_objects()
    digest = hashlib.md5(b"a.jpg").hexdigest()
    assert versions(source, "size_mtime") == {"a.jpg": f"5-{found.modified}"}
    assert versions(source, "etag") == {"a.jpg": digest}
    assert versions(source, "auto") == {"a.jpg": f"{digest}-5-{found.modified}"}


def test_a_disk_has_no_etags_and_says_so(tmp_path):
    source = Store(str(tmp_path), PLAIN)
    fill(source, "a.jpg")
    assert versions(source, "size_mtime") == versions(source, "auto")
    with pytest.raises(ConfigError, match=r"scan\.version: 'a\.jpg'.*has no ETag"):
        versions(source, "etag")


def test_by_content_a_file_that_cannot_be_read_is_a_document_all_the_same(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"1")
    (tmp_path / "nowhere.jpg").symlink_to("gone")
    assert versions(Store(str(tmp_path), PLAIN), "content").keys() == {"a.jpg", "nowhere.jpg"}
