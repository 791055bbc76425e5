"""TIFF directories: no page disappears, whatever its mark; copies and empty masks are named."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import reduced_copies
from foliopress.tasks.images.image_reader import read_header, read_page
from tests.directories import NEW_SUBFILE, OLD_SUBFILE, PHOTOMETRIC, Leaf, tiff, written_page

LIMITS = LimitSettings()
FIRST, SECOND, THIRD = (written_page(seed) for seed in (1, 2, 3))
MARKS = {
    "unmarked": {},
    "reduced": {NEW_SUBFILE: 1},
    "page of many": {NEW_SUBFILE: 2},
    "reduced page of many": {NEW_SUBFILE: 3},
    "mask": {NEW_SUBFILE: 4},
    "old full": {OLD_SUBFILE: 1},
    "old reduced": {OLD_SUBFILE: 2},
    "old page": {OLD_SUBFILE: 3},
    "both": {NEW_SUBFILE: 1, OLD_SUBFILE: 2},
}
ARE_REDUCED = {"reduced", "reduced page of many", "old reduced", "both"}


def reduced(pixels, ratio, way="mean"):
    shape = tuple(max(1, round(side / ratio)) for side in pixels.shape)
    if way == "every nth":
        return np.ascontiguousarray(pixels[:: round(ratio), :: round(ratio)])
    small = cv2.resize(pixels, shape[::-1], interpolation=cv2.INTER_AREA)
    return small > 140 if way == "two tones" else small


def pages_of(data):
    header = read_header(data, LIMITS)
    found = [read_page(data, number, LIMITS).pixels for number in range(len(header.pages))]
    assert [(page.height_px, page.width_px) for page in header.pages] == [pixels.shape[:2] for pixels in found]
    with pytest.raises(PageError):
        read_page(data, len(found), LIMITS)
    return header.pages, found


def equal(found, wanted):
    return len(found) == len(wanted) and all(np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))


def kept(data):
    with pytest.raises(PageError) as told:
        read_header(data, LIMITS)
    assert not told.value.failed
    return told.value.reason


@pytest.mark.parametrize("mark", MARKS)
@pytest.mark.parametrize("ratio", [1, 1.2, 2, 5])
@pytest.mark.parametrize("is_same", [True, False])
@pytest.mark.parametrize("is_first", [True, False])
def test_a_directory_is_left_out_only_if_it_is_marked_and_a_reduced_copy(mark, ratio, is_same, is_first):
    small = reduced(FIRST if is_same else SECOND, ratio)
    leaves = [Leaf(FIRST), Leaf(small, MARKS[mark])]
    pages, found = pages_of(tiff(*(leaves[::-1] if is_first else leaves)))
    is_left_out = mark in ARE_REDUCED and ratio >= 2 and is_same
    wanted = [FIRST] if is_left_out else [small, FIRST] if is_first else [FIRST, small]
    assert equal(found, wanted)
    told = [f"directory {1 if is_first else 2}: a copy reduced to 1/{ratio}"] if is_left_out else []
    assert [text for page in pages for text in page.left_out] == told


@pytest.mark.parametrize(("order", "is_big"), [("<", False), (">", False), ("<", True)])
@pytest.mark.parametrize("marks", [(0, 1, 1), (1, 1, 1), (1, 0, 1), (2, 3, 3), (1, 1, 0)])
def test_full_pages_that_are_marked_as_reduced_stay_pages(marks, order, is_big):
    leaves = [Leaf(pixels, {NEW_SUBFILE: mark}) for pixels, mark in zip((FIRST, SECOND, THIRD), marks, strict=True)]
    assert equal(pages_of(tiff(*leaves, order=order, is_big=is_big))[1], [FIRST, SECOND, THIRD])


@pytest.mark.parametrize(
    ("way", "ratio"),
    [*((way, ratio) for way in ("mean", "every nth") for ratio in (2, 4, 8)), ("two tones", 2), ("two tones", 4)],
)
@pytest.mark.parametrize("is_bitonal", [False, True])
def test_a_copy_is_known_however_it_was_reduced(way, ratio, is_bitonal):
    page = FIRST > 140 if is_bitonal else FIRST
    luma = page.astype(np.uint8) * 255 if is_bitonal else page
    _, found = pages_of(tiff(Leaf(page), Leaf(reduced(luma, ratio, way), {NEW_SUBFILE: 1})))
    assert equal(found, [luma])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ABC"), st.lists(st.sampled_from([2, 4, 8]), unique=True)), max_size=4))
def test_pages_with_pyramids_between_them_keep_their_order(plan):
    pages = {"A": FIRST, "B": SECOND, "C": THIRD}
    leaves = []
    for name, ratios in plan:
        leaves.append(Leaf(pages[name]))
        leaves += [Leaf(reduced(pages[name], ratio), {NEW_SUBFILE: 1}) for ratio in sorted(ratios)]
    if not leaves:
        return
    headers, found = pages_of(tiff(*leaves))
    assert equal(found, [pages[name] for name, _ in plan])
    assert [len(page.left_out) for page in headers] == [len(ratios) for _, ratios in plan]


def test_a_small_page_of_the_same_form_with_other_entries_is_a_page():
    form = np.full((900, 640), 235, np.uint8)
    form[60::40] = 90
    filled = [form.copy() for _ in range(2)]
    cv2.putText(filled[0], "Coal 4.10", (80, 350), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 30, 2)
    cv2.putText(filled[1], "Bread 17", (300, 590), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 30, 2)
    small = reduced(filled[1], 2)
    assert equal(pages_of(tiff(Leaf(filled[0]), Leaf(small, {NEW_SUBFILE: 1})))[1], [filled[0], small])


def test_a_pale_page_is_told_from_another():
    pale = [(235 - (235 - page.astype(int)) // 10).astype(np.uint8) for page in (FIRST, SECOND)]
    other, own = reduced(pale[1], 2), reduced(pale[0], 2)
    assert equal(pages_of(tiff(Leaf(pale[0]), Leaf(other, {NEW_SUBFILE: 1})))[1], [pale[0], other])
    assert equal(pages_of(tiff(Leaf(pale[0]), Leaf(own, {NEW_SUBFILE: 1})))[1], [pale[0]])


def test_a_mask_that_hides_nothing_is_left_out_and_one_that_hides_something_keeps_the_document():
    bits = np.ones(FIRST.shape, bool)
    hole = bits.copy()
    hole[5, 5] = False
    for tags in ({NEW_SUBFILE: 4, PHOTOMETRIC: 4}, {PHOTOMETRIC: 4}, {NEW_SUBFILE: 4}):
        pages, found = pages_of(tiff(Leaf(FIRST), Leaf(bits, tags), Leaf(SECOND)))
        assert equal(found, [FIRST, SECOND])
        assert pages[0].left_out == ("directory 2: a transparency mask of directory 1 that hides nothing",)
        assert kept(tiff(Leaf(FIRST), Leaf(hole, tags), Leaf(SECOND))) == "transparency"
    lone = {NEW_SUBFILE: 4, PHOTOMETRIC: 4}
    assert kept(tiff(Leaf(FIRST), Leaf(bits[:90, :64], lone))) == "transparency"
    bytes_ = np.full(FIRST.shape, 255, np.uint8)
    assert equal(pages_of(tiff(Leaf(FIRST), Leaf(bytes_, {NEW_SUBFILE: 4, PHOTOMETRIC: 4})))[1], [FIRST])


def test_the_masks_of_a_pyramid_are_left_out_with_their_copies():
    half = reduced(FIRST, 2)
    mask = Leaf(np.ones(FIRST.shape, bool), {NEW_SUBFILE: 4, PHOTOMETRIC: 4})
    small_mask = Leaf(np.ones(half.shape, bool), {NEW_SUBFILE: 5, PHOTOMETRIC: 4})
    pages, found = pages_of(tiff(Leaf(FIRST), mask, Leaf(half, {NEW_SUBFILE: 1}), small_mask))
    assert equal(found, [FIRST]) and len(pages[0].left_out) == 3
    pages, found = pages_of(tiff(Leaf(FIRST), Leaf(half, {NEW_SUBFILE: 1}), mask, small_mask, Leaf(SECOND)))
    assert equal(found, [FIRST, SECOND]) and [len(page.left_out) for page in pages] == [3, 0]


@pytest.mark.parametrize("is_big", [False, True])
def test_images_inside_a_page_are_its_copies_or_the_document_is_kept(is_big):
    copies_ = [Leaf(reduced(SECOND, 2), {NEW_SUBFILE: 1}), Leaf(reduced(SECOND, 4))]
    pages, found = pages_of(tiff(Leaf(FIRST), Leaf(SECOND, inside=copies_), is_big=is_big))
    assert equal(found, [FIRST, SECOND])
    assert pages[1].left_out == (
        "image 1 inside directory 2: a copy reduced to 1/2",
        "image 2 inside directory 2: a copy reduced to 1/4",
    )
    others = {
        "another page": Leaf(THIRD),
        "another small picture": Leaf(reduced(THIRD, 2), {NEW_SUBFILE: 1}),
        "the full image of a raw photograph": Leaf(np.kron(FIRST, np.ones((2, 2), np.uint8)), {PHOTOMETRIC: 32803}),
        "a copy that holds another page": Leaf(reduced(FIRST, 2), inside=[Leaf(THIRD)]),
    }
    for other in others.values():
        assert kept(tiff(Leaf(FIRST, {NEW_SUBFILE: 1}, [other]), is_big=is_big)) == "many_frames"


def test_a_page_that_cannot_be_compared_is_a_page():
    data = bytearray(tiff(Leaf(FIRST), Leaf(reduced(FIRST, 2), {NEW_SUBFILE: 1, 259: 34925})))  # LZMA that is none
    with pytest.raises(PageError) as told:
        read_page(bytes(data), 1, LIMITS)
    assert told.value.failed and len(read_header(bytes(data), LIMITS).pages) == 2


def test_sixteen_bits_behind_a_copy_are_those_of_their_own_page():
    deep = [np.random.default_rng(seed).integers(0, 65_536, (60, 40, 3)).astype(np.uint16) for seed in (1, 2)]
    written = [np.repeat(np.repeat(page, 8, 0), 8, 1) for page in deep]
    small = cv2.resize(written[0], (160, 240), interpolation=cv2.INTER_AREA)
    data = cv2.imencodemulti(".tiff", [page[..., ::-1] for page in (written[0], small, written[1])])[1].tobytes()
    with Image.open(io.BytesIO(data)) as image:
        image.seek(1)
        place = data.index(b"\xfe\0\x04\0\x01\0\0\0", image._frame_pos[1]) if 254 in image.tag_v2 else None
    if place is None:
        pytest.skip("OpenCV writes no NewSubfileType")
    marked = data[: place + 8] + b"\1\0\0\0" + data[place + 12 :]
    _, found = pages_of(marked)
    rounded = [np.floor(page.astype(float) * 255 / 65_535 + 0.5).astype(np.uint8) for page in written]
    assert equal(found, rounded)


def test_a_real_pyramid_is_one_page_with_five_named_copies(scans):
    path = scans / "robust-ocrd-assets/images/valid-odd/indian-ferns_0004_pyramid.tif"
    pages = read_header(path.read_bytes(), LIMITS).pages
    assert [page.left_out for page in pages] == [
        tuple(f"directory {number}: a copy reduced to 1/{2 ** (number - 1)}" for number in range(2, 7))
    ]


def test_blank_images_are_copies_of_blank_pages_alone():
    blank, grey = np.full((900, 640), 240, np.uint8), np.full((450, 320), 120, np.uint8)
    assert reduced_copies.is_copy(blank[::2, ::2].copy(), blank)
    assert not reduced_copies.is_copy(grey, blank) and not reduced_copies.is_copy(blank[::2, ::2].copy(), FIRST)
