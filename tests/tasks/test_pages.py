"""Read: formats, orientation, resolution, and what is refused with a reason."""

import io
import pickle
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from configs.settings import LimitSettings
from tasks.errors import PageError
from tasks.pages import plausible_dpi, read_header, read_page, to_srgb

LIMITS = LimitSettings()


def picture(height=40, width=60):
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return Image.fromarray(np.kron(coarse, np.ones((10, 10, 1), np.uint8)))


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def problem(data, page_index=None, limits=LIMITS):
    with pytest.raises(PageError) as caught:
        read_header(data, limits) if page_index is None else read_page(data, page_index, limits)
    return caught.value


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "JPEG2000"])
def test_lossless_formats_come_back_exactly(form):
    options = {"irreversible": False} if form == "JPEG2000" else {}
    data = saved(picture(), form, **options)
    header = read_header(data, LIMITS)
    assert (header.format, header.pages[0].height_px, header.pages[0].width_px) == (form, 40, 60)
    assert np.array_equal(read_page(data, 0, LIMITS).pixels, np.array(picture()))


@pytest.mark.parametrize("form", ["JPEG", "WEBP", "AVIF"])
def test_lossy_formats_come_back_nearly(form):
    page = read_page(saved(picture(), form, quality=90), 0, LIMITS)
    assert np.abs(page.pixels.astype(int) - np.array(picture())).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_to_sizes_and_pixels(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), "PNG", exif=exif)
    header, page = read_header(data, LIMITS).pages[0], read_page(data, 0, LIMITS)
    assert (header.height_px, header.width_px) == page.pixels.shape[:2]
    assert page.pixels.shape[:2] == ((60, 40) if orientation >= 5 else (40, 60))
    turned = {1: 0, 3: 2, 6: 3, 8: 1}
    if orientation in turned:
        assert np.array_equal(page.pixels, np.rot90(np.array(picture()), turned[orientation]))


def test_the_pages_of_a_many_page_tiff_are_read_each():
    frames = [Image.new("L", (30 + 10 * number, 20), 40 * number) for number in range(3)]
    data = saved(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert [page.width_px for page in read_header(data, LIMITS).pages] == [30, 40, 50]
    assert [int(read_page(data, number, LIMITS).pixels[0, 0]) for number in range(3)] == [0, 40, 80]
    assert problem(data, 3).failed


def test_a_bitonal_tiff_is_known_as_such():
    image = Image.fromarray(np.eye(50, dtype=bool))
    page = read_page(saved(image, "TIFF", compression="group4", dpi=(600, 600)), 0, LIMITS)
    assert page.is_bitonal and page.dpi == pytest.approx(600)
    assert np.array_equal(page.pixels == 255, np.eye(50, dtype=bool))


def test_a_palette_page_and_a_page_of_opaque_alpha_become_rgb_and_equal_channels_grey():
    assert np.array_equal(read_page(saved(picture().convert("RGBA"), "PNG"), 0, LIMITS).pixels, np.array(picture()))
    assert read_page(saved(picture().quantize(8), "PNG"), 0, LIMITS).pixels.ndim == 3
    assert read_page(saved(picture().convert("L").convert("RGB"), "PNG"), 0, LIMITS).pixels.ndim == 2


def test_what_cannot_be_carried_over_is_kept_with_a_reason():
    glass = picture().convert("RGBA")
    glass.putpixel((3, 3), (0, 0, 0, 0))
    deep = Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60))
    cases = {
        "transparency": saved(glass, "PNG"),
        "high_bit_depth": saved(deep, "PNG"),
        "unsupported_mode": saved(picture().convert("CMYK"), "JPEG"),
    }
    for reason, data in cases.items():
        error = problem(data, 0)
        assert (error.reason, error.failed) == (reason, False)


def test_a_page_with_a_profile_is_converted_to_srgb_and_one_with_a_broken_profile_is_left_alone():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    page = read_page(saved(Image.new("RGB", (9, 9), (250, 10, 10)), "PNG", icc_profile=swapped), 0, LIMITS)
    converted = to_srgb(page)
    assert page.icc == swapped and converted.icc is None
    assert np.abs(converted.pixels[0, 0].astype(int) - (10, 250, 10)).max() <= 3  # red by its numbers, green to look at
    broken = replace(page, icc=b"no profile")
    assert to_srgb(broken) is broken
    plain = replace(page, icc=None)
    assert to_srgb(plain) is plain


def test_a_pdf_an_animation_and_a_page_too_large_are_kept_with_a_reason():
    frames = [Image.new("RGB", (9, 9), (index, 0, 0)) for index in (0, 99)]
    cases = {
        "unsupported_format": b"%PDF-1.7\n...",
        "many_frames": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]),
    }
    for reason, data in cases.items():
        assert (problem(data).reason, problem(data).failed) == (reason, False)
    small = LimitSettings(max_page_pixels=2399)
    assert problem(saved(picture(), "PNG"), limits=small).reason == "too_large"
    assert problem(saved(picture(), "PNG"), 0, limits=small).reason == "too_large"


def test_empty_and_foreign_bytes_fail_with_a_reason():
    assert (problem(b"").reason, problem(b"").failed) == ("empty", True)
    assert (problem(b"no picture at all").reason, problem(b"no picture at all").failed) == ("unreadable", True)


@given(cut=st.floats(0, 0.99), flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=8))
@settings(max_examples=120, deadline=None)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "AVIF", "BMP"])
def test_damaged_bytes_give_a_page_or_a_page_error_and_nothing_else(form, cut, flips):
    data = bytearray(saved(picture(), form))
    for place, value in flips:
        data[place % len(data)] ^= value
    data = bytes(data[: max(1, int(len(data) * (1 - cut)))])
    with suppress(PageError):
        header = read_header(data, LimitSettings(max_page_pixels=10_000_000))
        page = read_page(data, 0, LimitSettings(max_page_pixels=10_000_000))
        assert page.pixels.shape[:2] == (header.pages[0].height_px, header.pages[0].width_px)


@pytest.mark.parametrize(
    ("tag", "side", "believed"),
    [(300, 3508, True), (72, 3508, False), (96, 1255, True), (0, 100, False), (9000, 100, False), (75, 1252, True)],
)
def test_a_resolution_tag_is_believed_when_a_page_can_have_it(tag, side, believed):
    assert plausible_dpi(float(tag), side, side // 2) == (tag if believed else None)


def test_a_page_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(PageError("ocr_timeout", "no answer in 3 s", failed=True)))
    assert (error.reason, error.message, error.failed, str(error)) == (
        "ocr_timeout",
        "no answer in 3 s",
        True,
        "no answer in 3 s",
    )
