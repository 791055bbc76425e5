"""Encoding: pages can be read back with all their metadata."""

import io
import sys

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw, ImageFont

from foliopress.configs.errors import ConfigError
from foliopress.configs.settings import EncodeSettings, LimitSettings
from foliopress.tasks.codecs import encode as encode_module
from foliopress.tasks.codecs.encode import CODECS, EXTENSIONS, LARGEST_SIDE_PX, CarriedMetadata, encode, require
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.images.image_reader import read_page

LOSSY = ["avif", "webp", "jpeg", "jp2", "jxl"]
rng = np.random.default_rng(5)


def smooth(height=120, width=160, channels=3):
    ramp = np.add.outer(np.linspace(20, 140, height), np.linspace(0, 90, width))
    return np.stack([ramp + 8 * channel for channel in range(channels)], axis=2).astype(np.uint8)


def printed():
    image = Image.new("L", (500, 400), 225)
    for row in range(12):
        ImageDraw.Draw(image).text(
            (20, 20 + 30 * row), "Minutes of the board, 4 March 1887", fill=40, font=ImageFont.load_default(22)
        )
    return np.clip(np.array(image) + np.random.default_rng(2).normal(0, 4, (400, 500)), 0, 255).astype(np.uint8)


def paper_with_strokes():
    pixels = np.clip(np.random.default_rng(1).normal(215, 3, (512, 512)), 0, 255)
    pixels[40:470:24, 40:470] = 30
    return cv2.GaussianBlur(pixels.astype(np.uint8), (0, 0), 1.2)


@pytest.mark.parametrize("codec", LOSSY)
def test_pixels_come_back_nearly_as_they_were_colour_and_grey(codec):
    for pixels in (smooth(), smooth()[..., 0].copy()):
        page = read_page(encode(pixels, codec, 90, CarriedMetadata(), EncodeSettings()), 0, LimitSettings())
        assert np.abs(luma_of(page.pixels).astype(int) - luma_of(pixels)).mean() < 2
        assert page.pixels.ndim == pixels.ndim or codec == "webp"  # WebP has no grey: three nearly equal channels


def test_one_bit_pages_come_back_exactly():
    bits = rng.random((70, 90)) < 0.8
    page = read_page(encode(bits, "g4", 1, CarriedMetadata(dpi=300), EncodeSettings()), 0, LimitSettings())
    assert page.is_bitonal
    assert np.array_equal(page.pixels, np.where(bits, 255, 0))
    assert page.dpi == pytest.approx(300)


@pytest.mark.parametrize("codec", ["avif", "webp", "jpeg"])
def test_dpi_profile_and_exif_travel_with_the_page(codec):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0110] = "flatbed"  # camera model
    exif[0x0112] = 6  # an orientation which has been applied
    carried = CarriedMetadata(dpi=240.0, icc=icc, exif=exif.tobytes())
    with Image.open(io.BytesIO(encode(smooth(), codec, 60, carried, EncodeSettings()))) as image:
        found = image.getexif()
        assert image.info["icc_profile"] == icc
        assert found[0x0110] == "flatbed"
        assert 0x0112 not in found or found[0x0112] == 1
        assert float(found[0x011A]) == pytest.approx(240)
        assert found[0x0128] == 2


@pytest.mark.parametrize("codec", LOSSY)
def test_the_same_page_gives_the_same_bytes(codec):
    pixels = rng.integers(0, 256, (256, 192, 3), np.uint8)
    assert encode(pixels, codec, 50, CarriedMetadata(), EncodeSettings()) == encode(
        pixels, codec, 50, CarriedMetadata(), EncodeSettings()
    )


@pytest.mark.parametrize("codec", LOSSY)
def test_a_higher_quality_costs_more_bytes(codec):
    pixels = rng.integers(0, 256, (256, 192, 3), np.uint8)
    sizes = [len(encode(pixels, codec, quality, CarriedMetadata(), EncodeSettings())) for quality in (20, 50, 80)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]


@pytest.mark.parametrize("codec", LOSSY)
def test_a_higher_quality_is_nearer_to_the_page_and_costs_more(codec):
    page = printed()
    sizes, errors = [], []
    for quality in (5, 25, 45, 65, 85, 100):
        data = encode(page, codec, quality, CarriedMetadata(), EncodeSettings())
        sizes.append(len(data))
        found = luma_of(read_page(data, 0, LimitSettings()).pixels).astype(float)
        errors.append(float(((found - page) ** 2).mean()))
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    assert errors[-1] < 2 < errors[0]


def test_jpeg_2000_blurs_strokes_little_more_where_most_of_the_page_is_bare():
    """OpenJPEG's ratio is the page's mean: with 15 times as much bare paper, strokes would have 16 times the error."""
    strokes = paper_with_strokes()
    corner = np.full((4 * strokes.shape[0], 4 * strokes.shape[1]), strokes.max(), np.uint8)
    corner[: strokes.shape[0], : strokes.shape[1]] = strokes
    errors = []
    for page in (strokes, corner):
        data = encode(page, "jp2", 50, CarriedMetadata(), EncodeSettings())
        found = luma_of(read_page(data, 0, LimitSettings()).pixels).astype(float)
        errors.append(float(((found - page) ** 2)[: strokes.shape[0], : strokes.shape[1]].mean()))
    assert errors[1] < 6 * errors[0]


@pytest.mark.parametrize("codec", ["jp2", "jxl"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (33, 31, 3), (300, 5, 3)])
def test_small_pages_are_written_too(codec, shape):
    pixels = np.full(shape, (200, 100, 50) if len(shape) == 3 else 200, np.uint8)
    page = read_page(encode(pixels, codec, 60, CarriedMetadata(), EncodeSettings()), 0, LimitSettings())
    assert np.abs(page.pixels.astype(int) - pixels).max() <= 8


@pytest.mark.parametrize("colour", [False, True])
def test_a_large_page_is_written_as_jpeg_2000_in_strips_and_is_the_same_page(colour, monkeypatch):
    page = np.tile(paper_with_strokes(), (6, 6))
    page = np.dstack([page, page[::-1], page]) if colour else page
    whole = encode(page, "jp2", 60, CarriedMetadata(), EncodeSettings())
    monkeypatch.setattr(encode_module, "_MOST_JP2_SAMPLES", page.size // 3)
    in_strips = encode(page, "jp2", 60, CarriedMetadata(), EncodeSettings())
    assert whole.count(b"\xff\x90\x00\x0a") == 1  # SOT, ISO 15444-1, A.4.2: the start of a tile
    assert in_strips.count(b"\xff\x90\x00\x0a") == 3
    found = [read_page(data, 0, LimitSettings()).pixels.astype(float) for data in (whole, in_strips)]
    errors = [float(((one - page) ** 2).mean()) for one in found]
    assert errors[1] < 1.1 * errors[0]
    assert len(in_strips) < 1.1 * len(whole)


@pytest.mark.parametrize("codec", ["avif", "jpeg", "jp2", "jxl"])
def test_a_grey_page_is_coded_grey(codec):
    grey = paper_with_strokes()
    as_colour = np.repeat(grey[..., np.newaxis], 3, axis=2)
    as_colour[0, 0] = (255, 0, 0)
    sizes = [len(encode(page, codec, 60, CarriedMetadata(), EncodeSettings())) for page in (grey, as_colour)]
    assert sizes[0] < sizes[1]


def test_jpeg_xl_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ConfigError, match="pip install imagecodecs"):
        encode(np.zeros((4, 4), np.uint8), "jxl", 50, CarriedMetadata(), EncodeSettings())
    with pytest.raises(ConfigError):
        require("jxl")
    require("avif")


def test_a_page_of_one_bit_is_one_strip_on_white_paper():
    bits = rng.random((900, 1300)) < 0.97
    with Image.open(io.BytesIO(encode(bits, "g4", 1, CarriedMetadata(dpi=300), EncodeSettings()))) as image:
        assert np.array_equal(np.array(image), bits)
        assert image.tag_v2[262] == 0 and image.tag_v2[259] == 4
        assert len(image.tag_v2[273]) == 1


def test_a_profile_for_which_a_format_has_no_place_is_refused():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    with pytest.raises(ValueError, match="cannot hold"):
        encode(smooth(), "jxl", 50, CarriedMetadata(icc=icc), EncodeSettings())
    assert not CODECS["jpeg"].can_carry(b"no profile")


def test_a_page_longer_than_the_format_is_refused():
    with pytest.raises(ValueError, match="at most 16383"):
        encode(np.zeros((LARGEST_SIDE_PX["webp"] + 1, 2), np.uint8), "webp", 50, CarriedMetadata(), EncodeSettings())


def test_grey_levels_are_no_bits():
    with pytest.raises(ValueError, match="cannot hold"):
        encode(np.zeros((4, 4), np.uint8), "g4", 50, CarriedMetadata(), EncodeSettings())


def test_every_codec_has_an_extension():
    assert set(EXTENSIONS) == set(LARGEST_SIDE_PX) == {*LOSSY, "tiff", "g4"}


def test_an_avif_spends_less_on_paper_than_pillow_would():
    pixels = paper_with_strokes()
    plain = io.BytesIO()
    Image.fromarray(pixels).save(plain, "AVIF", quality=50, speed=9, subsampling="4:0:0", max_threads=1)
    assert len(encode(pixels, "avif", 50, CarriedMetadata(), EncodeSettings())) < 0.9 * len(plain.getvalue())
