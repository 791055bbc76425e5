"""Multi-page TIFFs joined from single ones: every reader finds each page with its metadata."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foliopress.configs.settings import EncodeSettings, LimitSettings
from foliopress.tasks.codecs import encode
from foliopress.tasks.codecs.encode import CarriedMetadata
from foliopress.tasks.errors import PageError
from foliopress.tasks.images import tiff_ifd, tiff_writer
from foliopress.tasks.images.image_reader import read_header, read_page
from foliopress.tasks.images.tiff_writer import joined

RAMP = (np.add.outer(np.arange(203), np.arange(149)) % 256).astype(np.uint8)
PAGES = {
    "lines": ((RAMP > 99), "g4"),
    "grey": (RAMP, "tiff"),
    "colour": (np.dstack([RAMP, RAMP[::-1], RAMP[:, ::-1]]), "tiff"),
}


LIMITS = LimitSettings()


def single(name, dpi=300.0, order="<"):
    pixels, codec = PAGES[name]
    page = tiff_ifd.Directory(order, {270: tiff_ifd.Tag(tiff_ifd.ASCII, b"Leaf " + name.encode() + b"\0")})
    page.tags[33437] = page.of(tiff_ifd.RATIONAL, 28, 10)
    page.inside[tiff_ifd.EXIF] = {34855: page.of(tiff_ifd.SHORT, 400)}
    described = tiff_ifd.block(page)
    return encode.encode(pixels, codec, 90, CarriedMetadata(dpi=dpi, exif=described), EncodeSettings())


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(sorted(PAGES)), st.sampled_from("<>")), min_size=1, max_size=4))
def test_every_page_comes_back_in_its_place(pages):
    names = [name for name, _ in pages]
    files = (single(name, 100.0 + number, order) for number, (name, order) in enumerate(pages))
    data = joined(files, len(names), LIMITS)
    header = read_header(data, LIMITS)
    assert (len(header.pages), header.is_ours) == (len(names), True)
    with Image.open(io.BytesIO(data)) as image:
        for number, name in enumerate(names):
            image.seek(number)
            assert image.tag_v2[270] == f"Leaf {name}"
            assert image.tag_v2[297] == (number, len(names))
            assert image.tag_v2[33437] == pytest.approx(2.8)
            assert image.getexif().get_ifd(tiff_ifd.EXIF)[34855] == 400
            page = read_page(data, number, LIMITS)
            alone = read_page(single(name), 0, LIMITS)
            assert np.array_equal(page.pixels, alone.pixels)
            assert page.dpi == pytest.approx(100.0 + number)
    found, pages = cv2.imdecodemulti(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert found and [page.shape for page in pages] == [(203, 149)] * len(names)


def test_a_jpeg_in_a_tiff_is_near_its_page_and_large_ones_lie_in_strips(monkeypatch):
    monkeypatch.setattr(encode, "_TIFF_STRIP_PIXELS", 149 * 64)
    for name in ("grey", "colour"):
        pixels, _ = PAGES[name]
        data = single(name)
        assert len(tiff_ifd.read(data, None, lambda tag: tag == 273, 1000).numbers(273)) == 4
        found = read_page(data, 0, LimitSettings()).pixels
        assert found.shape == pixels.shape
        assert np.abs(found.astype(int) - pixels).mean() < 4


def test_a_tiff_of_more_bytes_than_it_can_hold_is_refused(monkeypatch):
    monkeypatch.setattr(tiff_writer, "_LARGEST_BYTES", 1000)
    with pytest.raises(PageError, match="4 GB"):
        joined([single("grey")] * 3, 3, LIMITS)


@pytest.mark.parametrize("orders", [">", "<>", "><"])
def test_a_tiff_whose_pages_are_not_found_again_is_refused(orders, monkeypatch):
    monkeypatch.setattr(tiff_ifd, "in_order", lambda page, _: page)
    with pytest.raises(PageError) as told:
        joined([single("grey", order=order) for order in orders], len(orders), LIMITS)
    assert told.value.reason == "not_writable"
