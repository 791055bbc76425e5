"""Source: a folder, a prefix or one file; and errors for a source without documents."""

from __future__ import annotations

import os
import uuid

import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ScanSettings, StorageSettings
from foliopress.tasks.storage.source import open_source
from foliopress.tasks.storage.source_listing import ListingCounts, check_not_empty, list_documents
from foliopress.tasks.storage.store import Store

PLAIN = StorageSettings()


@pytest.fixture(params=["disk", "s3", "memory"])
def above(request, tmp_path):
    """Return the URL of an empty location."""
    if request.param == "disk":
        (tmp_path / "in").mkdir()
        return str(tmp_path / "in")
    if request.param == "s3":
        return request.getfixturevalue("s3_url") + "/in"
    return f"memory://{uuid.uuid4().hex}"


def fill(url, *keys):
    for key in keys:
        Store(url, PLAIN).write_bytes(key, key.encode())


def keys_of(url, **scan):
    return [found.key for found in list_documents(open_source(url, PLAIN), ScanSettings(**scan), ListingCounts())]


@pytest.mark.parametrize("end", ["", "/"])
def test_a_source_that_is_one_file_has_one_document_of_its_name(above, end):
    fill(above, "box/a.jpg", "box/a.jpg.tif", "box/a.jpg2/b.jpg", "box/0.jpg", "box/z.jpg")
    source = open_source(f"{above}/box/a.jpg{end}", PLAIN)
    [document] = list_documents(source, ScanSettings(), ListingCounts())
    assert (document.key, source.read_bytes(document.key)) == ("a.jpg", b"box/a.jpg")
    in_folder = list(list_documents(Store(f"{above}/box", PLAIN), ScanSettings(), ListingCounts()))
    assert document in in_folder  # a run over its folder knows it by the same version
    assert Store(source.url, PLAIN).read_bytes(document.key) == b"box/a.jpg"  # as another process reads it


@pytest.mark.parametrize("end", ["", "/"])
def test_a_folder_is_a_folder_with_and_without_a_slash_at_its_end(above, end):
    fill(above, "box.jpg/a.jpg", "box.jpg/b/c.jpg", "box.jpg2")
    assert keys_of(f"{above}/box.jpg{end}") == ["a.jpg", "b/c.jpg"]


def test_of_an_object_and_a_prefix_of_one_name_the_prefix_is_meant(s3_url):
    fill(s3_url, "box.jpg", "box.jpg/a.jpg")
    assert keys_of(f"{s3_url}/box.jpg") == ["a.jpg"]


def test_names_in_any_bytes_and_links_may_be_a_source(tmp_path):
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    with open(odd, "wb") as file:
        file.write(b"odd")
    (tmp_path / "link.jpg").symlink_to(odd)
    in_folder = keys_of(str(tmp_path))
    assert keys_of(os.fsdecode(odd)) == [key for key in in_folder if key != "link.jpg"]
    assert keys_of(f"file://{tmp_path}/link.jpg") == ["link.jpg"]


@pytest.mark.parametrize(
    ("keys", "scan", "words"),
    [
        ((), {}, "there is no file; check its spelling, and whether it is mounted"),
        (("notes.txt", ".a.jpg"), {}, "none of its 2 files has a document's extension"),
        (("a.jpg", "b.txt"), {"include": ("*.tif",)}, "all of its 1 documents are excluded by scan.include."),
        (("a.jpg",), {"exclude": ("*",)}, "all of its 1 documents are excluded by scan.exclude."),
        (("a.jpg",), {"keys_file": "KEYS"}, "all of its 1 documents are excluded by scan.keys_file."),
        (("b.txt/a.jpg",), {"include": ("c*",), "exclude": ("a*",)}, "by scan.include and scan.exclude."),
    ],
    ids=["empty", "no document", "include", "exclude", "keys", "both"],
)
def test_a_source_without_a_document_is_an_error_that_says_what_is_there(above, tmp_path, keys, scan, words):
    fill(above, *keys)
    if "keys_file" in scan:
        (tmp_path / "keys.txt").write_text("gone.jpg\n", "utf-8")
        scan = {"keys_file": str(tmp_path / "keys.txt")}
    with pytest.raises(ConfigError) as caught:
        check_not_empty(open_source(above, PLAIN), ScanSettings(**scan))
    assert words in str(caught.value)
    assert "--allow-empty" in str(caught.value)
    check_not_empty(open_source(above, PLAIN), ScanSettings(allow_empty=True, **scan))


def test_a_prefix_below_which_nothing_lies_is_empty_and_a_folder_that_is_not_there_an_error_even_if_allowed(
    above, tmp_path
):
    fill(above, "box/a.jpg")
    place = f"{above}/bocks"
    with pytest.raises(ConfigError, match="there is no f"):
        check_not_empty(open_source(place, PLAIN), ScanSettings())
    if "://" not in above:
        with pytest.raises(ConfigError, match="there is no folder"):
            open_source(place, PLAIN).check_readable()
            list(list_documents(open_source(place, PLAIN), ScanSettings(allow_empty=True), ListingCounts()))


def test_a_source_that_is_a_file_and_no_document_is_an_error(above):
    fill(above, "notes.txt", "a.jpg")
    with pytest.raises(ConfigError, match="none of its 1 files has a document"):
        check_not_empty(open_source(f"{above}/notes.txt", PLAIN), ScanSettings())


def test_a_source_that_was_full_once_is_told_to_be_empty_now(above, tmp_path):
    rows = Store(str(tmp_path / "out"), PLAIN)
    with pytest.raises(ConfigError, match="there is no file"):
        check_not_empty(open_source(above, PLAIN), ScanSettings(), rows)
    rows.write_bytes("stats/pages/0123456789abcdef.parquet", b"rows")
    with pytest.raises(ConfigError, match="it is empty, though .*out holds rows of earlier runs"):
        check_not_empty(open_source(above, PLAIN), ScanSettings(), rows)
    check_not_empty(open_source(above, PLAIN), ScanSettings(allow_empty=True), rows)


def test_a_document_behind_many_that_are_not_wanted_is_found(above):
    fill(above, *[f"{number}.txt" for number in range(20)], "z/a.jpg")
    check_not_empty(open_source(above, PLAIN), ScanSettings(include=("z/*",)))
