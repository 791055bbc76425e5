"""Tag directories: tags are read back byte for byte, and a broken tag affects no other."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foliopress.tasks.images import tiff_ifd

SIZES = {
    tiff_ifd.BYTE: 1,
    tiff_ifd.ASCII: 1,
    tiff_ifd.SHORT: 2,
    tiff_ifd.LONG: 4,
    tiff_ifd.RATIONAL: 8,
    tiff_ifd.UNDEFINED: 1,
    12: 8,
}
NUMBERS = st.integers(1, 65_535).filter(
    lambda number: number not in (tiff_ifd.EXIF, tiff_ifd.GPS, tiff_ifd.INTEROPERABILITY)
)
TAGS = st.dictionaries(
    NUMBERS,
    st.sampled_from(sorted(SIZES)).flatmap(
        lambda kind: st.binary(min_size=1, max_size=9).map(lambda data: tiff_ifd.Tag(kind, data * SIZES[kind]))
    ),
    max_size=6,
)
INSIDE = st.dictionaries(
    st.sampled_from([tiff_ifd.EXIF, tiff_ifd.GPS, tiff_ifd.INTEROPERABILITY]), TAGS.filter(bool), max_size=3
)


def everything(_tag):
    return True


@given(order=st.sampled_from(["<", ">"]), tags=TAGS.filter(bool), inside=INSIDE, before=st.binary(max_size=9))
def test_what_is_written_is_read_again(order, tags, inside, before):
    data = tiff_ifd.block(tiff_ifd.Directory(order, tags, inside), before)
    assert tiff_ifd.read(data, None, everything, 10_000) == tiff_ifd.Directory(order, tags, inside)
    assert data[8 : 8 + len(before)] == before


@given(tags=TAGS, inside=INSIDE)
def test_the_other_byte_order_says_the_same_and_turned_back_is_what_it_was(tags, inside):
    directory = tiff_ifd.Directory(">", tags, inside)
    turned = tiff_ifd.in_order(directory, "<")
    assert turned.order == "<"
    assert [turned.number(tag) for tag in tags] == [directory.number(tag) for tag in tags]
    assert [turned.numbers(tag) for tag in tags] == [directory.numbers(tag) for tag in tags]
    assert tiff_ifd.in_order(turned, ">") == directory


@given(data=st.binary(max_size=200), order=st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b""]))
def test_of_any_bytes_come_tags_or_a_value_error(data, order):
    for read in (
        lambda block: tiff_ifd.read(block, None, everything, 1_000),
        lambda block: tiff_ifd.without(block, everything),
    ):
        try:
            read(order + data)
        except ValueError:
            continue
    assert len(list(tiff_ifd.starts(order + data))) <= len(data)


def test_tags_without_end_are_read_as_far_as_they_are_allowed():
    """A thousand tags all point to the same hundred bytes."""
    entries = b"".join(struct.pack("<HHII", 1_000 + number, 7, 100, 8) for number in range(1_000))
    data = b"II*\0" + struct.pack("<I", 108) + bytes(100) + struct.pack("<H", 1_000) + entries + bytes(4)
    found = tiff_ifd.read(data, None, everything, 5_000)
    assert len(found.tags) == 5_000 // (100 + 12)


def test_the_largest_tags_are_the_ones_left_out():
    tags = {number: tiff_ifd.Tag(tiff_ifd.UNDEFINED, bytes(size)) for number, size in ((1, 900), (2, 10), (3, 300))}
    inside = {tiff_ifd.EXIF: {4: tiff_ifd.Tag(tiff_ifd.ASCII, b"x")}}
    found = tiff_ifd.read(tiff_ifd.block(tiff_ifd.Directory("<", tags, inside)), None, everything, 400)
    assert sorted(found.tags) == [2, 3] and found.inside == inside


def test_the_pages_of_a_chain_are_found_and_a_chain_that_bites_its_tail_ends():
    page = struct.pack("<HHHII", 1, 256, 3, 1, 7)
    data = b"II*\0\x08\0\0\0" + page + struct.pack("<I", 26) + page + struct.pack("<I", 8)
    assert list(tiff_ifd.starts(data)) == [8, 26]


def test_numbers_and_texts_are_read_as_what_they_are():
    directory = tiff_ifd.Directory(">")
    directory.tags[1], directory.tags[2] = (
        directory.of(tiff_ifd.RATIONAL, 600, 2),
        directory.of(tiff_ifd.RATIONAL, 1, 0),
    )
    directory.tags[3], directory.tags[4] = (
        directory.of(tiff_ifd.SHORT, 6),
        tiff_ifd.Tag(tiff_ifd.ASCII, b"M\xfcller\0rest"),
    )
    assert [directory.number(tag) for tag in (1, 2, 3, 4, 5)] == [300, None, 6, None, None]
    assert (directory.text(4), directory.text(1), directory.text(5)) == ("Müller", "", "")


def test_unwanted_tags_are_made_unreadable_and_nothing_moves():
    data = tiff_ifd.block(
        tiff_ifd.Directory(
            "<", {270: tiff_ifd.Tag(tiff_ifd.ASCII, b"long text"), 256: tiff_ifd.Tag(tiff_ifd.SHORT, b"\7\0")}
        )
    )
    bare = tiff_ifd.without(data, lambda tag: tag == 270)
    assert len(bare) == len(data) and set(tiff_ifd.read(bare, None, everything, 1_000).tags) == {256}
    with pytest.raises(ValueError, match="no TIFF"):
        tiff_ifd.without(b"no TIFF at all", everything)
