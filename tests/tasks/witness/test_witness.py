"""Witness: independent decoders detect every fault planted in an output, and none in a sound one."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pikepdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from foliopress.tasks.samples.sample_archive import sample_document, sample_keys
from foliopress.tasks.samples.stamps import draw_round_stamp
from foliopress.tasks.witness import image_view, tiff_tags, view_difference
from foliopress.tasks.witness.document_check import (
    NO_DECODER,
    DocumentSighting,
    OutputImage,
    compare_images,
    compare_pdf_with_images,
    compare_pdfs,
)
from tests.papers import Sheet, flate, hidden, jpeg, paper
from tests.promises import SEEN

DPI = 150
ONE_PAGE = {"JPEG": {"quality": 60}, "WEBP": {"quality": 50}, "AVIF": {"quality": 40, "speed": 9}, "JPEG2000": {}}
BITONAL = "TIFF, CCITT G4"
MANY_PAGES = "TIFF to pages", "TIFF to TIFF"
IN_PDF = "PDF to PDF", "PDF to pages"

Pixels = np.ndarray


def sample(key: str) -> Pixels:
    """Return a page of the sample archive at `DPI`, RGB."""
    with Image.open(io.BytesIO(sample_document(key))) as image:
        dpi = float(image.info.get("dpi", (200, 200))[0])
        size = round(image.width * DPI / dpi), round(image.height * DPI / dpi)
        return np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX))


@pytest.fixture(scope="module")
def letter() -> Pixels:
    return sample("letters/1931/board-to-whitlock.jpg")


@pytest.fixture(scope="module")
def typescript() -> Pixels:
    return sample("books/harbour-p127.jpg")


def stamped(page: Pixels, ink: tuple[int, int, int] = (190, 40, 50)) -> Pixels:
    """Return the page with a round stamp of 25 mm in its lower right quarter."""
    side = round(25 / 25.4 * DPI)
    mask = draw_round_stamp("RECEIVED", ["4 MAY"], side, np.random.default_rng(3))[..., np.newaxis] * 0.8
    result = page.astype(np.float32)
    top, left = page.shape[0] * 2 // 3, page.shape[1] * 5 // 9
    area = result[top : top + mask.shape[0], left : left + mask.shape[1]]
    area[:] = area * (1 - mask) + np.array(ink, np.float32) * mask
    return np.rint(result).astype(np.uint8)


def shifted(page: Pixels) -> Pixels:
    return np.roll(page, round(DPI / 8), axis=1)


def without_lower_half(page: Pixels) -> Pixels:
    result = page.copy()
    result[len(page) // 2 :] = np.median(page, axis=(0, 1)).astype(np.uint8)
    return result


FAULTS: dict[str, Callable[[Pixels], Pixels]] = {
    "inverted": lambda page: 255 - page,
    "one channel lost": lambda page: page * np.array([1, 0, 1], np.uint8),
    "two channels swapped": lambda page: page[..., ::-1],
    "colour lost": lambda page: np.repeat(cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)[..., np.newaxis], 3, axis=2),
    "mirrored": lambda page: page[:, ::-1],
    "upside down": lambda page: page[::-1, ::-1],
    "turned by a quarter": lambda page: np.rot90(page),
    "shifted by 1/8 inch": shifted,
    "half the page missing": without_lower_half,
    "a stamp gone": lambda page: page,  # the source has one
}
"""What is done to the pixels of a page; the source of each has a red stamp."""
REAL = "ehri-typed", "stanford-letters", "poilus-wills", "sroie-receipts", "labour-court", "ocrd-gt"
"""Collections of real scans, a page of each."""
OF_COLOUR = "one channel lost", "two channels swapped", "colour lost"


def saved(page: Pixels, form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(page)).save(buffer, form, dpi=(DPI, DPI), **options)
    return buffer.getvalue()


def as_g4(page: Pixels) -> bytes:
    buffer = io.BytesIO()
    one_bit = Image.fromarray(np.ascontiguousarray(page)).convert("L").point(lambda value: 255 * (value > 140))
    one_bit.convert("1").save(buffer, "TIFF", compression="group4", dpi=(DPI, DPI))
    return buffer.getvalue()


def tiff(pages: Sequence[Pixels], **options: object) -> bytes:
    buffer = io.BytesIO()
    first, *rest = (Image.fromarray(np.ascontiguousarray(page)) for page in pages)
    first.save(buffer, "TIFF", save_all=True, append_images=rest, dpi=(DPI, DPI), **options)
    return buffer.getvalue()


def pdf(pages: Sequence[Pixels], quality: int = 90) -> bytes:
    return paper(*(sheet_of(jpeg(np.ascontiguousarray(page), quality), page) for page in pages))


def sheet_of(stream: Callable[[pikepdf.Pdf], object], page: Pixels, margin: float = 0.0, above: str = "") -> Sheet:
    """Return a PDF page that shows an image at `DPI`, with a margin in points on every side."""
    width, height = (72 * side / DPI for side in page.shape[1::-1])
    box = {"/MediaBox": pikepdf.Array([0, 0, width + 2 * margin, height + 2 * margin])}
    return Sheet(stream, (width, 0, 0, height, margin, margin), above=above, more=box)


def images(pages: Sequence[Pixels], form: str = "JPEG", **options: object) -> list[OutputImage]:
    return [OutputImage(saved(page, form, **options), 0, DPI, DPI) for page in pages]


def look(source: Sequence[Pixels], output: Sequence[Pixels], way: str) -> DocumentSighting:
    """Write a document and an output, possibly of other pixels, and let the witness compare them."""
    if way == BITONAL:
        made = tiff([cv2.cvtColor(page, cv2.COLOR_RGB2GRAY) for page in source], compression="tiff_lzw")
        return compare_images(as_one_bit(made), [OutputImage(as_g4(output[0]), 0, DPI, DPI)])
    if way == "TIFF to pages":
        return compare_images(tiff(source), images(output, "AVIF", quality=40, speed=9))
    if way == "TIFF to TIFF":
        joined = tiff(output, compression="jpeg", quality=60)
        return compare_images(tiff(source), [OutputImage(joined, n, DPI, DPI) for n in range(len(output))])
    if way == "PDF to PDF":
        return compare_pdfs(pdf(source), pdf(output, 50), range(len(source)))
    if way == "PDF to pages":
        return compare_pdf_with_images(pdf(source), images(output, "AVIF", quality=40, speed=9))
    return compare_images(saved(source[0], "JPEG", quality=92), images(output, way, **ONE_PAGE[way]))


def as_one_bit(grey: bytes) -> bytes:
    """Return a grey TIFF as black and white, with another compression than the output."""
    with Image.open(io.BytesIO(grey)) as image:
        buffer = io.BytesIO()
        image.point(lambda value: 255 * (value > 140)).convert("1").save(buffer, "TIFF", dpi=(DPI, DPI))
        return buffer.getvalue()


def planted() -> list[object]:
    """Return every fault in every format in which it can be planted."""
    cases = []
    for fault in FAULTS:
        for way in (*ONE_PAGE, BITONAL, *MANY_PAGES, *IN_PDF):
            if not (fault in OF_COLOUR and way == BITONAL):
                mark = pytest.mark.promise(SEEN, f"{fault} × {way}")
                cases.append(pytest.param(fault, way, marks=mark, id=f"{fault}, {way}"))
    return cases


@pytest.mark.parametrize(("fault", "way"), planted())
def test_a_planted_fault_is_seen(fault, way, letter, pages_to_try, tally):
    n_pages = 2 if way in (*MANY_PAGES, *IN_PDF) else 1
    missed = []
    for name, bare in pages_to_try.items():
        source, wrong = stamped(bare), bare if fault == "a stamp gone" else FAULTS[fault](stamped(bare))
        if way == BITONAL and fault == "a stamp gone" and not is_seen_in_black(source, bare):
            continue
        seen = look([stamped(letter), source][-n_pages:], [stamped(letter), wrong][-n_pages:], way)
        is_caught = not seen.is_same_document and (seen.problem or seen.pages[n_pages - 1].problem)
        tally.add([] if is_caught else [name], f"{fault}, {way}")
        missed += [] if is_caught else [(name, seen)]
    assert not missed


def is_seen_in_black(stamp: Pixels, bare: Pixels) -> bool:
    """Return whether the stamp is more than a few dots in black and white: on a dark desk it is not."""
    changed = (stamp.mean(axis=2) > 140) != (bare.mean(axis=2) > 140)
    return int(changed.sum()) > 0.01 * DPI**2


@pytest.fixture(scope="module")
def pages_to_try(request: pytest.FixtureRequest) -> dict[str, Pixels]:
    """Return a page of print; for `make torture` many: generated ones, and real scans if available."""
    if not os.environ.get("FOLIOPRESS_TORTURE"):
        return {"print": sample("books/harbour-p127.jpg")}
    pages = {key: sample(key) for key in sample_keys() if not key.endswith((".tif", ".tiff"))}
    try:
        scans = request.getfixturevalue("scans")
    except pytest.skip.Exception:
        return pages
    for collection in REAL:
        path = min((scans / collection / "images").glob("*.jp*g"))
        with Image.open(path) as image:
            scale = 1400 / max(image.size)
            size = round(image.width * scale), round(image.height * scale)
            pages[f"{collection}/{path.name}"] = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BOX))
    return pages


@pytest.mark.parametrize("way", [*ONE_PAGE, BITONAL, *MANY_PAGES, *IN_PDF])
def test_a_sound_output_is_seen_as_the_same(way, letter, typescript):
    pages = [stamped(letter), typescript] if way in (*MANY_PAGES, *IN_PDF) else [stamped(typescript)]
    seen = look(pages, pages, way)
    assert seen.is_same_document, seen
    assert len(seen.pages) == len(pages)
    assert all(page.decoders != NO_DECODER for page in seen.pages.values())
    assert all(
        page.worst_block is not None and page.worst_block < view_difference.MOST_BLOCK for page in seen.pages.values()
    )


@pytest.mark.parametrize(
    ("fault", "way"),
    [
        pytest.param(fault, way, marks=pytest.mark.promise(SEEN, f"{fault} × {way}"))
        for fault in ("a page too few", "a page too many", "pages swapped", "a page twice")
        for way in (*MANY_PAGES, *IN_PDF)
    ],
)
def test_pages_that_are_missing_added_or_swapped_are_seen(fault, way, letter, typescript):
    cover = sample("books/register-cover.jpg")
    pages = [letter, typescript, cover]
    wrong = {
        "a page too few": [letter, typescript],
        "a page too many": [*pages, letter],
        "pages swapped": [typescript, letter, cover],
        "a page twice": [letter, letter, cover],
    }[fault]
    assert not look(pages, wrong, way).is_same_document


def test_a_stamp_in_pale_ink_is_missed_too(typescript):
    source = stamped(typescript, (190, 140, 160))
    seen = look([source], [typescript], "AVIF")
    assert not seen.is_same_document


def test_a_reduced_copy_in_a_tiff_needs_no_output_of_its_own_and_another_picture_does(letter, typescript):
    small = cv2.resize(letter, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    other = cv2.resize(typescript, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    outputs = images([letter, typescript])
    assert compare_images(tiff([letter, small, typescript]), outputs).is_same_document
    assert compare_images(tiff([small, letter, typescript]), outputs).is_same_document
    assert compare_images(tiff([letter, typescript, other]), outputs).is_same_document
    assert not compare_images(tiff([letter, other, typescript]), images([letter])).is_same_document
    assert not compare_images(tiff([letter, typescript, small]), outputs).is_same_document


def test_an_output_of_fewer_pixels_is_compared_in_the_raster_of_its_source(typescript):
    source = stamped(typescript)
    half = cv2.resize(source, None, fx=0.61, fy=0.61, interpolation=cv2.INTER_AREA)
    seen = compare_images(saved(source, "PNG"), [OutputImage(saved(half, "AVIF"), 0, DPI, DPI * 0.61)])
    assert seen.is_same_document, seen


def test_an_output_of_other_proportions_is_another_page(typescript):
    seen = compare_images(saved(typescript, "PNG"), images([typescript[:-40]]))
    assert "proportions" in (seen.pages[0].problem or "")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_page_that_its_exif_turns_is_compared_upright(orientation, typescript):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = saved(typescript, "JPEG", quality=92, exif=exif.tobytes())
    with Image.open(io.BytesIO(stored)) as image:
        from PIL import ImageOps

        upright = np.asarray(ImageOps.exif_transpose(image))
    assert compare_images(stored, images([upright], "WEBP")).is_same_document


def test_a_profile_that_was_lost_is_seen_and_one_that_was_converted_by_is_not(typescript):
    page = stamped(typescript)
    wide = ImageCms.ImageCmsProfile(io.BytesIO(wide_profile()))
    converted = ImageCms.profileToProfile(Image.fromarray(page), wide, ImageCms.createProfile("sRGB"), outputMode="RGB")
    source = saved(page, "JPEG", quality=92, icc_profile=wide_profile())
    assert compare_images(source, images([np.asarray(converted)])).is_same_document
    assert compare_images(source, images([page], icc_profile=wide_profile())).is_same_document
    assert not compare_images(source, images([page])).is_same_document


def wide_profile() -> bytes:
    """Return a profile with green and red swapped: a decoder that ignores it shows other colours."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = (made.index(name, 128) for name in (b"rXYZ", b"gXYZ"))
    made[red : red + 4], made[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(made)


def test_nobody_is_heard_on_a_format_that_no_other_decoder_reads(typescript):
    seen = compare_images(saved(typescript, "PNG"), [OutputImage(b"\xff\x0a no picture", 0, DPI, DPI)])
    assert seen.pages[0].decoders == NO_DECODER
    assert seen.is_same_document


def test_inks_are_looked_at_by_nobody_since_their_colours_hang_on_a_profile(typescript):
    buffer = io.BytesIO()
    Image.fromarray(typescript).convert("CMYK").save(buffer, "JPEG")
    assert image_view.look_at(buffer.getvalue(), 0, DPI) is None


def test_a_pdf_page_is_looked_at_with_its_annotations_and_fields(typescript):
    def with_stamp(document: pikepdf.Pdf) -> None:
        look = document.make_stream(b"1 0 0 rg 0 0 200 60 re f", Type=pikepdf.Name.XObject, BBox=[0, 0, 200, 60])
        look.Subtype = pikepdf.Name.Form
        note = pikepdf.Dictionary(Type=pikepdf.Name.Annot, Subtype=pikepdf.Name.Stamp, Rect=[100, 100, 300, 160], F=4)
        note.AP = pikepdf.Dictionary(N=look)
        document.pages[0].obj.Annots = pikepdf.Array([document.make_indirect(note)])

    sheet = sheet_of(flate(typescript), typescript)
    source, bare = paper(sheet, finish=with_stamp), paper(sheet)
    assert compare_pdfs(source, source, [0]).is_same_document
    assert not compare_pdfs(source, bare, [0]).is_same_document
    assert not compare_pdf_with_images(source, images([typescript])).is_same_document


def test_a_hidden_text_layer_changes_nothing_that_is_seen(typescript):
    bare, layered = (paper(sheet_of(flate(typescript), typescript, above=text)) for text in ("", hidden("Words")))
    assert compare_pdfs(bare, layered, [0]).pages[0].error == 0


@pytest.mark.parametrize("margin", [0.3, 2.2, 11.0])
def test_a_scan_with_a_white_margin_in_its_pdf_is_compared_with_the_scan_alone(margin, typescript):
    source = paper(sheet_of(flate(typescript), typescript, margin))
    assert compare_pdf_with_images(source, images([typescript])).is_same_document
    noted = paper(sheet_of(flate(typescript), typescript, 20, above="0 0 600 9 re f"))
    assert not compare_pdf_with_images(noted, images([typescript])).is_same_document


def test_a_pdf_that_pdfium_cannot_open_is_not_the_same_document(typescript):
    seen = compare_pdfs(pdf([typescript]), b"%PDF-1.7 and no more", [0])
    assert "pdfium" in (seen.problem or "")


@given(height=st.integers(1, 9_000), width=st.integers(1, 9_000), dpi=st.floats(30, 2_400))
def test_a_look_keeps_enough_of_a_page_and_no_more_than_it_may(height, width, dpi):
    step = view_difference.look_step(dpi, height, width)
    assert step == 1 or min(height, width) / step >= 8 or max(height, width) / step > 1_000
    assert max(height, width) / step <= 4_000
    assert dpi / step < 2 * view_difference.LEAST_DPI or min(height, width) / step < 16


@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([1, 2, 4, 8]))
def test_a_page_is_reduced_to_the_means_of_its_squares(rows, cols, step):
    rng = np.random.default_rng(rows * 61 + cols)
    small = rng.integers(0, 256, (rows, cols), np.uint8)
    page = np.kron(small, np.ones((step, step), np.uint8))
    assert np.array_equal(view_difference.resampled(page, small.shape, (step, step)), small)


def test_two_looks_that_are_the_same_do_not_differ_and_a_lone_change_is_found_where_it_is():
    look = np.full((200, 300, 3), 200, np.uint8)
    same = view_difference.difference(look, look.copy(), 60)
    assert (same.error, same.worst_block) == (0, 0)
    changed = look.copy()
    changed[50:65, 60:75] = 120
    apart = view_difference.difference(look, changed, 60)
    assert not apart.is_same_page
    assert apart.error < 5
    with pytest.raises(ValueError, match="cannot be compared"):
        view_difference.difference(look, changed[:-1], 60)


def test_directories_of_a_tiff_are_counted_in_either_byte_order_and_in_a_loop_once(letter):
    made = tiff([letter[:64, :64]] * 3)
    assert len(list(tiff_tags.directory_starts(made))) == 3
    assert tiff_tags.tags_of(made, 2)[256] == 64
    assert tiff_tags.tags_of(made, 3) == {}
    big = io.BytesIO()
    Image.fromarray(letter[:64, :64]).save(big, "TIFF", big_tiff=True)
    assert len(list(tiff_tags.directory_starts(big.getvalue()))) == 1
    at = int.from_bytes(made[4:8], "little")
    looped = bytearray(made)
    end = at + 2 + 12 * int.from_bytes(made[at : at + 2], "little")
    looped[end : end + 4] = at.to_bytes(4, "little")
    assert image_view.count_frames(bytes(looped)) == 1
