"""Links and mounts: no scan, and nothing outside DEST, is written or deleted, whatever leads there."""

import os
import shutil
import subprocess

import pytest

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import ScanSettings, StorageSettings
from foliopress.tasks.storage.mounts import links_out, overlap
from foliopress.tasks.storage.source_listing import ListingCounts, list_documents
from foliopress.tasks.storage.store import Store
from tests.promises import NO_COLLISION

pytestmark = pytest.mark.promise(NO_COLLISION, "links and mounts between SOURCE and DEST, and out of DEST")

PLAIN = StorageSettings()


@pytest.fixture
def bound(tmp_path):
    """Mount a folder at another path."""
    points = []

    def bind(folder, point):
        point.mkdir(parents=True, exist_ok=True)
        binding = ["mount", "--bind", str(folder), str(point)]
        if shutil.which("mount") is None or subprocess.run(binding, capture_output=True, check=False).returncode:
            pytest.skip("showing a folder at another place needs the rights to mount")
        points.append(point)

    yield bind
    for point in reversed(points):
        subprocess.run(["umount", "-l", str(point)], check=True)


@pytest.fixture
def folders(tmp_path):
    source, dest = tmp_path / "with space" / "source", tmp_path / "dest"
    (source / "deep" / "er").mkdir(parents=True)
    (dest / "pages" / "letters").mkdir(parents=True)
    return source, dest


def test_folders_beside_each_other_are_apart(folders, tmp_path):
    source, dest = folders
    assert not overlap(source, dest)
    assert not overlap(source, tmp_path / "yet" / "to" / "be" / "made")
    assert not overlap(tmp_path / "scan", tmp_path / "scans")


@pytest.mark.parametrize("at", ["", "deep", "deep/er/new"])
def test_a_folder_reached_through_a_link_lies_where_the_link_leads(folders, tmp_path, at):
    source, _ = folders
    (tmp_path / "link").symlink_to(source)
    assert overlap(source, tmp_path / "link" / at)
    assert overlap(tmp_path / "link" / at, source)


@pytest.mark.parametrize("at", ["", "new/out"])
@pytest.mark.parametrize("shown", [".", "deep", "deep/er"])
def test_a_mount_of_a_folder_of_source_is_in_source(folders, tmp_path, bound, shown, at):
    source, _ = folders
    bound(source / shown, tmp_path / "shown here")
    assert overlap(source, tmp_path / "shown here" / at)
    assert overlap(tmp_path / "shown here" / at, source)


def test_a_mount_inside_one_folder_of_what_lies_in_the_other_makes_them_one(folders, tmp_path, bound):
    source, dest = folders
    bound(dest / "pages" / "letters", source / "deep" / "er")
    assert overlap(source, dest) and overlap(dest, source)
    bound(tmp_path / "with space", dest / "pages" / "all")
    assert overlap(source, dest)


def test_a_mount_of_something_else_is_nobodys_business(folders, tmp_path, bound):
    source, dest = folders
    (tmp_path / "large disk").mkdir()
    bound(tmp_path / "large disk", dest / "pages")
    assert not overlap(source, dest)
    assert links_out(dest) == []


LINKS = [
    *(("whole", ""), ("pages", "pages"), ("letters", "pages/letters"), ("one.jpg", "pages/letters/a.jpg")),
    *(("deep/er/letters", "pages/letters"), ("above", "..")),
]


@pytest.mark.parametrize(("link", "leads_to"), LINKS)
def test_what_links_in_source_show_of_dest_is_no_scan_and_counted(folders, tmp_path, link, leads_to):
    source, dest = folders
    (dest / "pages" / "letters" / "a.jpg").write_bytes(b"output")
    (source / "scan.jpg").write_bytes(b"scan")
    (tmp_path / "other.jpg").write_bytes(b"elsewhere")
    (source / "other.jpg").symlink_to(tmp_path / "other.jpg")
    (source / link).symlink_to(dest / leads_to)
    counts = ListingCounts()
    found = [
        one.key
        for one in list_documents(Store(str(source), PLAIN).without_links_into(str(dest)), ScanSettings(), counts)
    ]
    wanted = ["other.jpg", "scan.jpg"] if link != "above" else ["above/other.jpg", "other.jpg", "scan.jpg"]
    assert [key for key in found if "with space" not in key] == wanted
    assert counts.unreadable_folders == 1


def test_a_mount_of_dest_in_source_is_passed_over(folders, bound):
    source, dest = folders
    (dest / "pages" / "letters" / "a.jpg").write_bytes(b"output")
    (source / "scan.jpg").write_bytes(b"scan")
    bound(dest, source / "shown")
    counts = ListingCounts()
    found = list_documents(Store(str(source), PLAIN).without_links_into(str(dest)), ScanSettings(), counts)
    assert [one.key for one in found] == ["scan.jpg"] and counts.unreadable_folders == 1


@pytest.mark.parametrize("url", ["s3://bucket/out", "memory://out", "file:///nowhere/out"])
def test_a_dest_that_no_link_can_lead_to_changes_no_listing(folders, url):
    source, _ = folders
    (source / "scan.jpg").write_bytes(b"scan")
    assert [found.key for found in Store(str(source), PLAIN).without_links_into(url).list_objects()] == ["scan.jpg"]


@pytest.fixture
def outside(folders, tmp_path):
    """Return a folder next to DEST, with files that look like partial writes and outputs, and links in DEST to it."""
    _, dest = folders
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    for name in ("0001.avif", "a.jpg", ".foliopress-0123", "deep/0001.avif"):
        (outside / name).write_bytes(b"not ours")
        os.utime(outside / name, (0, 0))
    (dest / "pages" / "link").symlink_to(outside)
    (dest / "text").symlink_to(outside)
    (dest / "pages" / "inside").symlink_to("letters")
    return outside


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("key", ["pages/link/a.jpg", "pages/link/new/a.jpg", "text/a.txt", "pages/link/deep/0001.avif"])
@pytest.mark.parametrize("call", ["write_bytes", "create_bytes"])
def test_nothing_is_written_through_a_link_that_leads_out(folders, outside, key, call):
    before = contents(outside)
    with pytest.raises(ConfigError, match="leads out"):
        getattr(Store(str(folders[1]), PLAIN), call)(key, b"new")
    assert contents(outside) == before


@pytest.mark.parametrize("key", ["pages/link/a.jpg", "text/a.jpg", "pages/link/deep/0001.avif"])
def test_nothing_is_deleted_or_replaced_through_a_link_that_leads_out(folders, outside, key):
    before, dest = contents(outside), Store(str(folders[1]), PLAIN)
    with pytest.raises(ConfigError, match="leads out"):
        dest.delete(key)
    with pytest.raises(ConfigError, match="leads out"):
        dest.replace_bytes(key, dest.read_versioned(key)[1], b"new")
    assert contents(outside) == before


def test_leftovers_are_not_looked_for_through_links(folders, outside):
    before = contents(outside)
    Store(str(folders[1]), PLAIN).delete_partial_writes(0.0)
    assert contents(outside) == before


def test_an_output_takes_the_place_of_a_link_and_leaves_what_it_led_to(folders, outside):
    (outside / "a.jpg").unlink()
    (outside / ".foliopress-0123").unlink()
    shutil.rmtree(outside / "deep")
    before = contents(outside)  # now it looks like the pages of a document
    dest = Store(str(folders[1]), PLAIN)
    dest.write_bytes("pages/link", b"an output")
    assert contents(outside) == before and dest.read_bytes("pages/link") == b"an output"


def test_a_link_to_a_file_outside_is_replaced_or_deleted_itself(folders, outside):
    dest = Store(str(folders[1]), PLAIN)
    before = contents(outside)
    for name in ("one.avif", "two.avif"):
        (folders[1] / "pages" / name).symlink_to(outside / "a.jpg")
    dest.write_bytes("pages/one.avif", b"new")
    dest.delete("pages/two.avif")
    assert contents(outside) == before
    assert sorted(path.name for path in (folders[1] / "pages").glob("*.avif")) == ["one.avif"]


def test_a_link_that_stays_inside_may_be_written_through(folders, outside):
    dest = Store(str(folders[1]), PLAIN)
    dest.write_bytes("pages/inside/b.jpg", b"new")
    assert dest.read_bytes("pages/letters/b.jpg") == b"new"


def test_a_dest_that_is_itself_a_link_is_written_where_it_leads(folders, tmp_path):
    (tmp_path / "link").symlink_to(folders[1])
    Store(str(tmp_path / "link"), PLAIN).write_bytes("pages/b.jpg", b"new")
    assert (folders[1] / "pages" / "b.jpg").read_bytes() == b"new"


def test_links_of_dest_that_lead_out_are_named(folders, outside):
    assert links_out(folders[1]) == ["text"]
    assert links_out(folders[1] / "nowhere") == []
