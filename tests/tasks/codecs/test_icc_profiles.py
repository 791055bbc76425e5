"""Colour profiles, and the compact approximation of a large one."""

import io
import struct
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms

from foliopress.configs.settings import LimitSettings
from foliopress.tasks.codecs import icc_profiles
from foliopress.tasks.codecs.encode import CODECS
from foliopress.tasks.images.image_reader import Page, read_page, with_profile_for
from tests.scanners import LARGE, WHITE_POINT, lattice, scanner_lab, scanner_profile

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lab_of(icc, rgb, intent=0):
    """Return (n, 3) float Lab of device colours, by lcms."""
    lab = ImageCms.createProfile("LAB")
    image = Image.fromarray(np.asarray(rgb, np.uint8).reshape(1, -1, 3))
    found = ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), lab, intent, outputMode="LAB")
    planes = np.frombuffer(found.tobytes(), np.uint8).reshape(-1, 3)
    return np.concatenate([planes[:, :1] / 2.55, planes[:, 1:].view(np.int8)], axis=1)


def test_a_large_profile_gets_a_small_one_that_says_nearly_the_same():
    small = icc_profiles.compact_profile(LARGE)
    assert small is not None and len(small) < 9_000 < 200_000 < len(LARGE)
    rgb = np.random.default_rng(3).integers(0, 256, (20_000, 3))
    error = np.linalg.norm(lab_of(small, rgb) - lab_of(LARGE, rgb), axis=1)
    assert error.mean() <= icc_profiles.MOST_MEAN_ERROR
    assert np.percentile(error, 99) <= icc_profiles.MOST_HIGH_ERROR
    assert np.linalg.norm(lab_of(SRGB, rgb) - lab_of(LARGE, rgb), axis=1).mean() > 10  # so there is something to say


def test_black_and_white_stay_exactly_what_they_were():
    ends = [[0, 0, 0], [255, 255, 255]]
    assert np.array_equal(lab_of(icc_profiles.compact_profile(LARGE), ends), lab_of(LARGE, ends))


def test_every_rendering_intent_is_that_of_the_original():
    small = icc_profiles.compact_profile(scanner_profile(scanner_lab(lattice()), intent=1))
    assert small[64:68] == b"\0\0\0\1"
    rgb = np.random.default_rng(3).integers(0, 256, (2_000, 3))
    for intent in range(4):
        assert np.linalg.norm(lab_of(small, rgb, intent) - lab_of(LARGE, rgb), axis=1).mean() <= 1.5


def test_a_stand_in_keeps_to_the_rules_of_the_format():
    small = icc_profiles.compact_profile(LARGE)
    assert struct.unpack(">I", small[:4])[0] == len(small)
    assert small[8:24] == b"\x02\x40\0\0scnrRGB Lab " and small[36:40] == b"acsp" and small[68:80] == WHITE_POINT
    n_tags = struct.unpack(">I", small[128:132])[0]
    tags = [struct.unpack(">4sII", small[132 + 12 * number : 144 + 12 * number]) for number in range(n_tags)]
    assert {name for name, _, _ in tags} == {b"desc", b"cprt", b"wtpt", b"A2B0"}  # ICC.1:2010, 8.2 and 8.3.2
    end = 132 + 12 * n_tags
    for name, start, size in sorted(tags, key=lambda tag: tag[1]):
        assert start % 4 == 0 and start == end, name
        end = start + size + -size % 4
    assert end == len(small)
    at = next(start for name, start, _ in tags if name == b"A2B0")
    grid = small[at + 10]
    assert small[at : at + 10] == b"mft1" + bytes(4) + b"\3\3"
    assert next(size for name, _, size in tags if name == b"A2B0") == 48 + 3 * 256 + 3 * grid**3 + 3 * 256
    profile = ImageCms.ImageCmsProfile(io.BytesIO(small)).profile
    assert profile.profile_description == "Scanner (stand-in)" and profile.copyright == "Lamp"


def test_the_same_profile_gives_the_same_stand_in():
    again = icc_profiles.compact_profile.__wrapped__(LARGE)
    assert again == icc_profiles.compact_profile(LARGE)


def test_a_profile_that_no_small_table_can_tell_has_no_stand_in_and_its_page_is_converted():
    jumps = np.random.default_rng(1).uniform([20, -60, -60], [90, 60, 60], (33**3, 3))
    wild = scanner_profile(jumps)
    assert icc_profiles.compact_profile(wild) is None
    page = Page(np.full((8, 9, 3), (200, 100, 50), np.uint8), False, None, wild, None)
    converted = with_profile_for(page, CODECS["avif"].can_carry, 65_536)
    assert converted.icc is None and not np.array_equal(converted.pixels, page.pixels)


def test_a_page_with_a_large_profile_keeps_its_pixels():
    page = Page(np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8), False, None, LARGE, None)
    fitted = with_profile_for(page, CODECS["avif"].can_carry, 65_536)
    assert fitted.pixels is page.pixels and fitted.icc == icc_profiles.compact_profile(LARGE)
    assert with_profile_for(page, CODECS["avif"].can_carry, 10**6) is page
    in_srgb = with_profile_for(page, CODECS["jp2"].can_carry, 65_536)  # a JP2 has no place for tables
    assert in_srgb.icc is None and not np.array_equal(in_srgb.pixels, page.pixels)
    small = replace(page, icc=SRGB)
    assert with_profile_for(small, CODECS["jp2"].can_carry, 65_536) is small


def test_what_cannot_be_used_has_no_space_and_no_stand_in():
    for junk in (b"", b"no profile", bytes(5000), LARGE[:3000], b"\0" * 36 + b"acsp" + bytes(4000)):
        assert icc_profiles.space_of(junk) == "" and icc_profiles.compact_profile(junk) is None
    assert (icc_profiles.space_of(SRGB), icc_profiles.is_table(SRGB)) == ("RGB", False)
    assert (icc_profiles.space_of(LARGE), icc_profiles.is_table(LARGE)) == ("RGB", True)


@pytest.mark.parametrize("page", ["0017", "0020"])
def test_a_real_scanners_profile_of_669_kb_becomes_8(scans, page):
    data = (scans / f"ocrd-assets/images/kant_aufklaerung_1784_INPUT_{page}.tif").read_bytes()
    source = read_page(data, 0, LimitSettings())
    fitted = with_profile_for(source, CODECS["avif"].can_carry, 65_536)
    assert len(source.icc) == 669_057 and len(fitted.icc) <= 8_000
    assert np.array_equal(fitted.pixels, source.pixels)
    colours = source.pixels[::10, ::10].reshape(-1, 3)
    error = np.linalg.norm(lab_of(fitted.icc, colours) - lab_of(source.icc, colours), axis=1)
    assert error.mean() < 1.5 and np.percentile(error, 99) < 6
