"""Encode: what is written can be read back with all that it carried."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from configs.settings import EncodeSettings, LimitSettings
from tasks.encode import EXTENSIONS, LARGEST_SIDE_PX, Carried, encode
from tasks.ink import luma_of
from tasks.pages import read_page

LOSSY = ["avif", "webp", "jpeg"]
rng = np.random.default_rng(5)


def smooth(height=120, width=160, channels=3):
    ramp = np.add.outer(np.linspace(20, 140, height), np.linspace(0, 90, width))
    return np.stack([ramp + 8 * channel for channel in range(channels)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("codec", LOSSY)
def test_pixels_come_back_nearly_as_they_were_colour_and_grey(codec):
    for pixels in (smooth(), smooth()[..., 0].copy()):
        page = read_page(encode(pixels, codec, 90, Carried(), EncodeSettings()), 0, LimitSettings())
        assert np.abs(luma_of(page.pixels).astype(int) - luma_of(pixels)).mean() < 2
        assert page.pixels.ndim == pixels.ndim or codec == "webp"  # WebP has no grey: three nearly equal channels


def test_one_bit_pages_come_back_exactly():
    bits = rng.random((70, 90)) < 0.8
    page = read_page(encode(bits, "g4", 1, Carried(dpi=300), EncodeSettings()), 0, LimitSettings())
    assert page.is_bitonal
    assert np.array_equal(page.pixels, np.where(bits, 255, 0))
    assert page.dpi == pytest.approx(300)


@pytest.mark.parametrize("codec", LOSSY)
def test_dpi_profile_and_exif_travel_with_the_page(codec):
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x0110] = "flatbed"  # camera model
    exif[0x0112] = 6  # an orientation which has been applied
    carried = Carried(dpi=240.0, icc=icc, exif=exif.tobytes())
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
    assert encode(pixels, codec, 50, Carried(), EncodeSettings()) == encode(
        pixels, codec, 50, Carried(), EncodeSettings()
    )


@pytest.mark.parametrize("codec", LOSSY)
def test_a_higher_quality_costs_more_bytes(codec):
    pixels = rng.integers(0, 256, (256, 192, 3), np.uint8)
    sizes = [len(encode(pixels, codec, quality, Carried(), EncodeSettings())) for quality in (20, 50, 80)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[2]


def test_a_page_longer_than_the_format_is_refused():
    with pytest.raises(ValueError, match="at most 16383"):
        encode(np.zeros((LARGEST_SIDE_PX["webp"] + 1, 2), np.uint8), "webp", 50, Carried(), EncodeSettings())


def test_grey_levels_are_no_bits():
    with pytest.raises(ValueError, match="does not hold"):
        encode(np.zeros((4, 4), np.uint8), "g4", 50, Carried(), EncodeSettings())


def test_every_codec_has_an_extension():
    assert set(EXTENSIONS) == set(LARGEST_SIDE_PX) == {*LOSSY, "g4"}


def test_an_avif_spends_less_on_paper_than_pillow_would():
    pixels = np.clip(np.random.default_rng(1).normal(215, 3, (512, 512)), 0, 255)
    pixels[40:470:24, 40:470] = 30
    pixels = cv2.GaussianBlur(pixels.astype(np.uint8), (0, 0), 1.2)
    plain = io.BytesIO()
    Image.fromarray(pixels).save(plain, "AVIF", quality=50, speed=9, subsampling="4:0:0", max_threads=1)
    assert len(encode(pixels, "avif", 50, Carried(), EncodeSettings())) < 0.9 * len(plain.getvalue())
