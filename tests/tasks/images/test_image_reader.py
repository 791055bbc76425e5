"""Image reader: formats, orientation, resolution, and refusals with a reason."""

import io
import pickle
import struct
from contextlib import suppress
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps

from foliopress.configs.settings import EncodeSettings, LimitSettings
from foliopress.tasks.codecs.encode import CODECS, CarriedMetadata, encode
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import isobmff, tiff_ifd
from foliopress.tasks.images.image_reader import plausible_dpi, read_header, read_page, to_srgb, with_profile_for

LIMITS = LimitSettings()


def picture(height=40, width=60):
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (height // 10, width // 10, 3), np.uint8)
    return Image.fromarray(np.kron(coarse, np.ones((10, 10, 1), np.uint8)))


def saved(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def problem(data, page_index=None, limits=LIMITS, **options):
    with pytest.raises(PageError) as caught:
        read_header(data, limits) if page_index is None else read_page(data, page_index, limits, **options)
    return caught.value


def coded(suffix, samples):
    """Return the file as written by OpenCV, which can write 16 bits of colour."""
    order = samples[..., ::-1] if samples.ndim == 3 else samples
    return cv2.imencode(suffix, np.ascontiguousarray(order))[1].tobytes()


def deep_picture(most=65_535, channels=3):
    """Return every value from 0 to `most` in even steps, each channel in another order."""
    ramp = np.linspace(0, most, 40 * 60).astype(np.uint16).reshape(40, 60)
    return np.stack([ramp, ramp[::-1], ramp.T.reshape(40, 60)][:channels], axis=-1) if channels > 1 else ramp


def rounded(samples):
    return np.floor(samples.astype(np.float64) * 255 / 65_535 + 0.5).astype(np.uint8)


def ink_profile():
    """Return a CMYK profile of one small table: each ink darkens by a quarter, cyan gives blue, black dark grey."""
    points = np.stack(np.meshgrid(*[[0, 1]] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    lab = np.stack([255 - 60 * points[:, :3].sum(axis=1), np.full(16, 128), 128 - 60 * points[:, 0]], axis=1)
    lab[points[:, 3] == 1] = (30, 128, 128)
    unit = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    straight = bytes(range(256))
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + straight * 4 + lab.astype(np.uint8).tobytes() + straight * 3
    )
    header = bytearray(128)
    header[:4], header[8:24], header[36:40] = struct.pack(">I", 156 + len(table)), b"\x02\x40\0\0scnrCMYKLab ", b"acsp"
    header[64:80] = struct.pack(">4I", 1, 0xF6D6, 0x10000, 0xD32D)  # relative colorimetric
    places = b"".join(struct.pack(">4sII", name, 156, len(table)) for name in (b"A2B0", b"A2B1"))
    return bytes(header) + struct.pack(">I", 2) + places + table


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


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied_to_sizes_and_pixels(orientation, form):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(picture(), form, exif=exif)
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
    glass.paste((0, 0, 0, 0), (3, 3, 20, 20))
    pale = glass.copy()
    pale.putalpha(254)
    glass_of_16_bits = np.dstack([deep_picture(), np.full((40, 60), 65_534, np.uint16)])
    cases = [
        ("transparency", saved(glass, "PNG")),
        ("transparency", saved(glass.quantize(8), "PNG")),
        ("transparency", saved(glass.convert("LA"), "PNG")),
        ("transparency", saved(pale, "WEBP")),
        ("transparency", saved(picture().convert("L"), "PNG", transparency=picture().convert("L").getpixel((0, 0)))),
        ("transparency", cv2.imencode(".png", glass_of_16_bits)[1].tobytes()),
        ("unsupported_mode", saved(picture().convert("CMYK"), "JPEG")),
        ("unsupported_mode", saved(picture().convert("CMYK"), "TIFF")),
        ("high_bit_depth", saved(Image.fromarray(np.ones((40, 60), np.float32)), "TIFF")),
        ("high_bit_depth", saved(Image.fromarray(np.ones((40, 60), np.int32)), "TIFF")),
        ("high_bit_depth", cv2.imencode(".avif", deep_picture(1_023), [cv2.IMWRITE_AVIF_DEPTH, 10])[1].tobytes()),
    ]
    for reason, data in cases:
        error = problem(data, 0)
        assert (error.reason, error.failed) == (reason, False)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".jp2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_pages_of_16_bits_are_rounded_to_8(suffix, channels):
    samples = deep_picture(channels=channels)
    options = [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000] if suffix == ".jp2" else []
    data = cv2.imencode(suffix, samples[..., ::-1] if channels == 3 else samples, options)[1].tobytes()
    page = read_page(data, 0, LIMITS)
    assert np.array_equal(page.pixels, rounded(samples))
    assert (page.pixels != samples >> 8).mean() > 0.2  # which is what cutting off would give
    assert problem(data, 0, keep_deep=True).reason == "high_bit_depth"


def test_a_later_page_of_16_bits_is_rounded_too():
    pages = [deep_picture(), deep_picture()[::-1].copy()]
    data = cv2.imencodemulti(".tiff", [page[..., ::-1] for page in pages])[1].tobytes()
    assert [np.array_equal(read_page(data, number, LIMITS).pixels, rounded(pages[number])) for number in (0, 1)] == [
        True
    ] * 2


def test_a_grey_page_of_16_bits_where_zero_is_white_is_turned_over():
    samples = np.ascontiguousarray(deep_picture(channels=1), "<u2")
    page = tiff_ifd.Directory()
    numbers = {256: 60, 257: 40, 258: 16, 259: 1, 262: 0, 273: 8, 277: 1, 278: 40, 279: samples.nbytes}
    page.tags.update({tag: page.of(tiff_ifd.LONG, value) for tag, value in numbers.items()})
    data = tiff_ifd.block(page, before=samples.tobytes())
    assert np.array_equal(read_page(data, 0, LIMITS).pixels, rounded(65_535 - samples))


@pytest.mark.parametrize("channels", [1, 3])
def test_values_that_leave_half_of_their_range_unused_are_kept(channels):
    assert problem(coded(".tiff", deep_picture(4_095, channels)), 0).reason == "high_bit_depth"
    assert problem(coded(".tiff", deep_picture(32_000, channels)), 0).reason == "high_bit_depth"
    assert read_page(coded(".tiff", deep_picture(33_000, channels)), 0, LIMITS).pixels.max() == 128


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_greys_of_few_bits_span_black_to_white(bits):
    levels = np.linspace(0, 255, 2**bits).round().astype(np.uint8)
    pixels = levels[np.arange(40 * 60).reshape(40, 60) % len(levels)]
    image = Image.fromarray(pixels)
    data = saved(image, "PNG", bits=bits) if bits > 1 else saved(image.convert("1"), "PNG")
    assert np.array_equal(read_page(data, 0, LIMITS).pixels, pixels)


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize(("channels", "with_transform"), [(1, False), (3, False), (3, True)])
@pytest.mark.parametrize("form", ["jp2", "j2k"])
def test_jpeg_2000_of_any_depth_spans_black_to_white_or_is_kept(bits, is_signed, channels, with_transform, form):
    imagecodecs = pytest.importorskip("imagecodecs")
    least = -(2 ** (bits - 1)) if is_signed else 0
    kind = f"{'' if is_signed else 'u'}int{8 if bits <= 8 else 16}"
    samples = np.random.default_rng(bits).integers(0, 2**bits, (40, 60, channels)).squeeze() + least
    data = imagecodecs.jpeg2k_encode(
        samples.astype(kind), codecformat=form, bitspersample=bits, level=0, reversible=True, mct=with_transform
    )
    shown = imagecodecs.jpeg2k_decode(data).astype(np.int64) - least
    assert np.array_equal(shown + least, samples)
    try:
        page = read_page(data, 0, LIMITS)
    except PageError as error:
        assert error.reason == "high_bit_depth" and bits > 8 and (is_signed or bits == 9)
    else:
        assert np.array_equal(page.pixels, np.floor(shown * 255 / (2**bits - 1) + 0.5).astype(np.uint8))


def test_opencv_sees_the_same_jpeg_2000_of_eight_bits():
    data = saved(picture().convert("L"), "JPEG2000", irreversible=False)
    assert np.array_equal(read_page(data, 0, LIMITS).pixels, cv2.imdecode(np.frombuffer(data, np.uint8), -1))


def test_an_opaque_alpha_of_few_bits_is_opaque():
    imagecodecs = pytest.importorskip("imagecodecs")
    samples = np.random.default_rng(1).integers(0, 16, (40, 60, 2)).astype(np.uint8)
    for alpha, is_kept in ((15, False), (14, True)):
        samples[..., 1] = alpha
        data = imagecodecs.jpeg2k_encode(samples, codecformat="jp2", bitspersample=4, level=0, reversible=True)
        if is_kept:
            assert problem(data, 0).reason == "transparency"
        else:
            assert np.array_equal(read_page(data, 0, LIMITS).pixels, samples[..., 0] * 17)


@pytest.mark.parametrize("depth", [0x83, 0x02, 0x87])
def test_jpeg_2000_whose_components_differ_is_kept(depth):
    imagecodecs = pytest.importorskip("imagecodecs")
    samples = np.random.default_rng(1).integers(0, 16, (40, 60, 3)).astype(np.uint8)
    data = bytearray(imagecodecs.jpeg2k_encode(samples, codecformat="jp2", bitspersample=4, level=0, reversible=True))
    at = data.index(b"\xff\x4f\xff\x51") + 42
    data[at + 3] = depth  # of the second component
    assert (problem(bytes(data), 0).reason, problem(bytes(data), 0).failed) == ("unsupported_mode", False)


@pytest.mark.parametrize(("bits", "colours", "is_read"), [(8, 3, True), (8, 2, False), (2, 3, False)])
def test_a_palette_of_jpeg_2000_is_read_as_it_is_or_kept(bits, colours, is_read):
    imagecodecs = pytest.importorskip("imagecodecs")
    index = np.random.default_rng(1).integers(0, 3, (40, 60)).astype(np.uint8)
    data = imagecodecs.jpeg2k_encode(index, codecformat="jp2", bitspersample=bits, level=0, reversible=True)
    palette = np.array([(240, 230, 200), (20, 30, 120), (200, 10, 10)], np.uint8)
    palette[2] = palette[min(2, colours - 1)]
    out = b""
    for kind, start, end in isobmff.boxes(data):
        content = data[start:end]
        if kind == b"jp2h":
            content = content.replace(b"\1\0\0\0\0\0\x11", b"\1\0\0\0\0\0\x10")  # sRGB, no longer grey
            content += isobmff.box(b"pclr", b"\0\3\3\7\7\7" + palette.tobytes())
            content += isobmff.box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, column) for column in range(3)))
        out += isobmff.box(kind, content)
    if is_read:
        assert np.array_equal(read_page(out, 0, LIMITS).pixels, palette[index])
    else:
        assert problem(out, 0).reason == "unsupported_mode"


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_becomes_srgb_by_its_profile(form):
    inks = np.zeros((40, 60, 4), np.uint8)
    inks[:20, :30, 0], inks[:20, 30:, 3] = 255, 255
    options = {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    page = read_page(saved(Image.fromarray(inks, "CMYK"), form, icc_profile=ink_profile(), **options), 0, LIMITS)
    cyan, black, paper = page.pixels[5, 5].astype(int), page.pixels[5, 40], page.pixels[30, 30]
    assert page.icc is None
    assert black.max() <= 4 and paper.min() >= 251  # what is blackest on paper is black on a screen
    # Lab 76.5, 0, -60 by CIE 15 and IEC 61966-2-1 is (73, 196, 305) in sRGB before it is clipped
    assert cyan[2] == 255 and cyan[0] < 130 and 170 < cyan[1] < 215


def test_inks_of_which_nobody_knows_whether_they_are_inverted_are_kept():
    data = saved(picture().convert("CMYK"), "JPEG", icc_profile=ink_profile())
    start = data.index(b"\xff\xee\x00\x0eAdobe")
    assert problem(data[:start] + data[start + 16 :], 0).reason == "unsupported_mode"


def test_lab_becomes_srgb():
    lab = ImageCms.profileToProfile(
        picture(), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    page = read_page(saved(lab, "TIFF"), 0, LIMITS)
    assert page.icc is None
    assert np.percentile(np.abs(page.pixels.astype(int) - np.array(picture())), 95) <= 8  # 8 bits of Lab are coarse
    assert problem(saved(lab, "TIFF", tiffinfo={318: (0.3127, 0.329)}), 0).reason == "unsupported_mode"


def test_ycbcr_and_jpeg_within_a_tiff_are_read():
    page = read_page(saved(picture(), "TIFF", compression="jpeg", quality=95), 0, LIMITS)
    assert np.abs(page.pixels.astype(int) - np.array(picture())).mean() < 12
    assert read_header(saved(picture(), "TIFF", compression="jpeg"), LIMITS).pages[0].is_lossy


def test_colours_told_otherwise_than_by_a_profile_are_kept():
    def png(*chunks):
        data = saved(picture(), "PNG")
        return data[:33] + b"".join(chunks) + data[33:]

    def chunk(kind, content):
        import zlib

        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    srgb_gamma, linear = chunk(b"gAMA", struct.pack(">I", 45_455)), chunk(b"gAMA", struct.pack(">I", 100_000))
    wide = chunk(b"cHRM", struct.pack(">8I", 31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000))
    avif = saved(picture(), "AVIF", quality=90)
    wide_avif = avif.replace(b"colrnclx\0\1", b"colrnclx\0\x0c")
    lab_jp2 = saved(picture(), "JPEG2000").replace(b"colr\1\0\0\0\0\0\x10", b"colr\1\0\0\0\0\0\x0e")
    for kept in (png(linear), png(wide), png(chunk(b"cICP", bytes([12, 13, 0, 1]))), wide_avif, lab_jp2):
        assert (problem(kept, 0).reason, problem(kept, 0).failed) == ("colour_space", False)
    for read in (png(srgb_gamma), png(chunk(b"cICP", bytes([1, 13, 0, 1]))), png(linear, chunk(b"sRGB", b"\0")), avif):
        assert read_page(read, 0, LIMITS).pixels.shape == (40, 60, 3)


def test_a_source_that_has_lost_something_already_is_known_as_such():
    lossy = [
        saved(picture(), "JPEG"),
        saved(picture(), "WEBP"),
        saved(picture(), "WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
        saved(picture(), "AVIF"),
        saved(picture(), "JPEG2000", irreversible=True),
    ]
    whole = [
        saved(picture(), "PNG"),
        saved(picture(), "TIFF", compression="tiff_lzw"),
        saved(picture(), "WEBP", lossless=True),
        saved(picture(), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
        saved(picture(), "JPEG2000", irreversible=False),
        saved(picture(), "BMP"),
    ]
    assert [read_header(data, LIMITS).pages[0].is_lossy for data in lossy + whole] == [True] * 5 + [False] * 6


def test_a_page_in_g4_is_known_by_its_tag():
    bits = picture().convert("1")
    coded_as = {"group4": True, "group3": False, "packbits": False, "tiff_lzw": False}
    for compression, is_g4 in coded_as.items():
        [page] = read_header(saved(bits, "TIFF", compression=compression), LIMITS).pages
        assert (page.is_g4, page.is_lossy) == (is_g4, False)
    two = saved(bits, "TIFF", compression="group4", save_all=True, append_images=[picture(20, 20).convert("1")])
    assert [page.is_g4 for page in read_header(two, LIMITS).pages] == [True, True]
    assert not read_header(saved(bits, "PNG"), LIMITS).pages[0].is_g4


def test_a_jpeg_whose_exif_has_no_resolution_has_none():
    exif = Image.Exif()
    exif[0x0110] = "flatbed"
    data = saved(picture(), "JPEG", exif=exif)
    assert Image.open(io.BytesIO(data)).info["dpi"] == (72, 72)  # which Pillow makes up
    assert read_page(data, 0, LIMITS).dpi is None


def test_a_jpeg_xl_of_others_is_kept():
    ours = encode(np.array(picture()), "jxl", 90, CarriedMetadata(), EncodeSettings())
    others = ours.replace(b"Foliopress", b"Somebody  ")
    assert (problem(others).reason, problem(others).failed) == ("unsupported_format", False)
    assert read_header(ours, LIMITS).format == "JXL"
    assert problem(ours, 0, LimitSettings(max_page_pixels=2399)).reason == "too_large"


def test_a_page_with_a_profile_is_converted_to_srgb_and_one_with_a_broken_profile_is_left_alone():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    page = read_page(saved(Image.new("RGB", (9, 9), (250, 10, 10)), "PNG", icc_profile=swapped), 0, LIMITS)
    converted = to_srgb(page)
    assert page.icc == swapped and converted.icc is None
    assert np.abs(converted.pixels[0, 0].astype(int) - (10, 250, 10)).max() <= 3  # red by its numbers, green to look at
    broken = replace(page, icc=b"no profile")
    assert to_srgb(broken) is broken
    assert with_profile_for(broken, CODECS["avif"].can_carry, 10**6).icc is None
    plain = replace(page, icc=None)
    assert to_srgb(plain) is plain


def test_an_animation_and_a_page_too_large_are_kept_with_a_reason():
    frames = [Image.new("RGB", (9, 9), (index, 0, 0)) for index in (0, 99)]
    found = problem(saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]))
    assert (found.reason, found.failed) == ("many_frames", False)
    small = LimitSettings(max_page_pixels=2399)
    assert problem(saved(picture(), "PNG"), limits=small).reason == "too_large"
    assert problem(saved(picture(), "PNG"), 0, limits=small).reason == "too_large"


def test_empty_and_foreign_bytes_fail_with_a_reason():
    assert (problem(b"").reason, problem(b"").failed) == ("empty", True)
    assert (problem(b"no picture at all").reason, problem(b"no picture at all").failed) == ("unreadable", True)


@given(cut=st.floats(0, 0.99), flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 255)), max_size=8))
@settings(max_examples=120, deadline=None)
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "AVIF", "BMP", "JXL", ".png", ".tiff"])
def test_damaged_bytes_give_a_page_or_a_page_error_and_nothing_else(form, cut, flips):
    if form == "JXL":
        data = bytearray(encode(np.array(picture()), "jxl", 90, CarriedMetadata(dpi=300.0), EncodeSettings()))
    else:
        data = bytearray(coded(form, deep_picture()) if form.startswith(".") else saved(picture(), form))
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


KEPT_OR_FAILED = {
    "minisblack-2c-8b-alpha.tiff": "transparency",
    "baiona_cmyk.jpg": "unsupported_mode",  # no profile
    "pil_sample_cmyk.jpg": "unsupported_mode",
    "tiff_strip_cmyk_jpeg.tif": "unsupported_mode",
    "tiff_tiled_cmyk_jpeg.tif": "unsupported_mode",
    "tiff_strip_cmyk_16l_jpeg.tif": "high_bit_depth",
    "tiff_16bit_RGBa.tiff": "high_bit_depth",  # colours multiplied by their alpha
    "10ct_32bit_128.tiff": "high_bit_depth",
    "12bit.cropped.tif": "high_bit_depth",  # values up to 30 of 4,095
    "12in16bit.tif": "high_bit_depth",
    "16bit.cropped.tif": "high_bit_depth",
    "16bit.MM.cropped.tif": "high_bit_depth",
    "16bit.deflate.tif": "high_bit_depth",
    "logluv-3c-16b.tiff": "unreadable",
    "page1.tiff": "too_large",
    "hopper_webp.tif": "damaged",  # Pillow's libtiff knows no WebP
}
CONVERTED = {"Neddy_Flyer_ft_HeatherRyan.jpg", "lorem-ipsum.im.png", "minisblack-1c-16b.tiff"}  # not as Pillow does it


def odd_files(root):
    found = [path for path in sorted(root.glob("robust-*/images/valid-odd/*")) if path.stat().st_size < 1_000_000]
    return [path for path in found if path.suffix not in (".pdf", ".pgm", ".ppm", ".pbm")]


def test_real_files_of_odd_kinds_are_read_as_pillow_shows_them_or_kept_with_a_reason(scans):
    reasons, wrong = {}, []
    for path in odd_files(scans):
        data = path.read_bytes()
        try:
            page = read_page(data, 0, LIMITS)
        except PageError as error:
            reasons[path.name] = error.reason
            continue
        with Image.open(io.BytesIO(data)) as image:
            shown = np.array(ImageOps.exif_transpose(image).convert("RGB"))
        pixels = page.pixels if page.pixels.ndim == 3 else np.repeat(page.pixels[..., np.newaxis], 3, axis=2)
        header = read_header(data, LIMITS).pages[0]
        fits = (header.height_px, header.width_px) == shown.shape[:2] == pixels.shape[:2]
        if not fits or (cv2.absdiff(pixels, shown).max() > 1 and path.name not in CONVERTED):
            wrong.append(path.name)
    assert wrong == []
    assert reasons == KEPT_OR_FAILED


def test_a_real_flyer_in_cmyk_is_converted_by_its_profile(scans):
    path = scans / "robust-format-corpus/images/valid-odd/Neddy_Flyer_ft_HeatherRyan.jpg"
    page = read_page(path.read_bytes(), 0, LIMITS)
    assert page.icc is None and page.dpi == 300
    assert page.pixels[5, 5].tolist() == pytest.approx([35, 31, 32], abs=3)  # one black ink, which is no deep black
    assert page.pixels[700, 1200].min() >= 253  # paper


def test_a_real_jp2_tells_its_profile(scans):
    path = scans / "robust-format-corpus/images/valid-odd/balloon_eciRGBv2_ps_kduplugin.jp2"
    page = read_page(path.read_bytes(), 0, LIMITS)
    assert page.icc is not None and b"eciRGB v2" in page.icc
    assert page.dpi == pytest.approx(300, abs=0.1)
