"""Test the tag files of bags, and the files that validators find with them."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import StorageSettings
from foliopress.tasks.records.bagit import (
    OutputDigests,
    bag_url,
    has_tag_files,
    is_bag,
    manifest_line,
    read_info,
    version_for,
)
from foliopress.tasks.storage.store import Store

PATHS = st.text(st.characters(codec="utf-8") | st.sampled_from("%\r\n0AD25"), min_size=1, max_size=20)


def as_the_rfc_reads(line):
    """Return a line as RFC 8493 decodes it: `%0D`, `%0A` and `%25` are letters, anything else is unchanged."""
    digest, path = line.decode().removesuffix("\n").split("  ", 1)
    return digest, path.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


@given(path=PATHS)
def test_a_line_of_version_1_leads_back_to_its_file_whatever_the_name(path):
    line = manifest_line("00ff", path, "1.0")
    assert line.count(b"\n") == 1 and b"\r" not in line
    assert as_the_rfc_reads(line) == ("00ff", path)


@given(paths=st.lists(PATHS, max_size=4))
def test_version_097_is_taken_only_where_a_path_needs_it_and_all_stand_for_themselves(paths):
    if version_for(paths) == "0.97":
        assert any("%" in path for path in paths)
        lines = [manifest_line("00ff", path, "0.97") for path in paths]
        assert lines == [f"00ff  {path}\n".encode() for path in paths]
    else:
        assert all("%" not in path for path in paths) or any(
            letters in path.upper() for path in paths for letters in ("%0A", "%0D", "\r", "\n")
        )


@pytest.mark.parametrize(
    ("dest", "bag"),
    [
        ("s3://bucket/data", "s3://bucket"),
        ("s3://bucket/1931/data/", "s3://bucket/1931"),
        ("memory://a/data", "memory://a"),
        ("/archive/data", "/archive"),
        ("/archive/./x/../data/", "/archive"),
        ("file:///archive/data", "/archive"),
    ],
)
def test_the_bag_of_a_dest_lies_one_folder_up(dest, bag):
    assert bag_url(dest) == bag


@pytest.mark.parametrize(
    "dest", ["s3://data", "s3://bucket/out", "/archive/out", "/archive/data/more", "s3://bucket/mydata"]
)
def test_a_dest_that_is_not_called_data_has_none(dest):
    with pytest.raises(ConfigError, match="must be named `data`"):
        bag_url(dest)


def test_an_output_of_many_rows_has_the_bytes_of_all_and_is_taken_once():
    digest = hashlib.sha256(b"book").hexdigest()
    with OutputDigests(
        [("pages/book.tif", digest, 3), ("pages/a.avif", "00", 5), ("pages/book.tif", digest, 1)]
    ) as told:
        assert told.take("pages/book.tif") == (digest, 4)
        assert told.take("pages/book.tif") is None
        assert told.first_left() == "pages/a.avif"
        assert told.take("pages/a.avif") == ("00", 5) and told.first_left() is None


def test_a_folder_without_tag_files_is_no_bag(tmp_path):
    store = Store(str(tmp_path), StorageSettings())
    assert (is_bag(store), has_tag_files(store), read_info(store)) == (False, False, None)
    store.write_bytes("manifest-sha512.txt", b"")
    assert (is_bag(store), has_tag_files(store)) == (False, True)
