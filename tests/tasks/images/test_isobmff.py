"""Boxes of JPEG 2000 and JPEG XL: metadata can be read back, also by other programs."""

import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from foliopress.tasks.codecs import jxl
from foliopress.tasks.images import isobmff

PIXELS = np.full((64, 48, 3), (200, 100, 50), np.uint8)


def jp2(**options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "JPEG2000", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("dpi", [(300.0, 300.0), (98.0, 204.0), (72.5, 72.5), (1200.0, 2400.0)])
def test_a_jp2_tells_its_resolution_to_pillow(dpi):
    with Image.open(io.BytesIO(isobmff.jp2_with_metadata(jp2(), dpi, None, b"II*\0", None))) as image:
        assert image.info["dpi"] == pytest.approx((dpi[1], dpi[0]), abs=0.05)
        assert np.array_equal(np.array(image), PIXELS)


def test_what_is_put_into_a_file_is_found_there():
    data = isobmff.jp2_with_metadata(jp2(), None, b"profile", b"II*\0exif", b"<xmp/>")
    found = isobmff.container_metadata(data)
    assert (found.icc, found.exif, found.xmp, found.colours) == (b"profile", b"II*\0exif", b"<xmp/>", None)
    data = isobmff.jxl_container(jxl.encoded(PIXELS, 50), b"II*\0exif", b"<xmp/>")
    found = isobmff.container_metadata(data)
    assert (found.exif, found.xmp) == (b"II*\0exif", b"<xmp/>")
    assert np.abs(jxl.decoded(data).astype(int) - PIXELS).max() < 12


@pytest.mark.parametrize("is_reversible", [True, False])
@pytest.mark.parametrize("no_jp2", [True, False])
def test_a_codestream_says_its_depth_and_whether_it_can_be_undone(is_reversible, no_jp2):
    assert isobmff.jp2_codestream(jp2(irreversible=not is_reversible, no_jp2=no_jp2)) == (8, is_reversible)


@pytest.mark.parametrize("shape", [(1, 1), (8, 16), (40, 60), (300, 200), (5000, 3), (9, 1024)])
def test_a_jpeg_xl_says_its_size_without_being_decoded(shape):
    assert jxl.size_of(jxl.encoded(np.zeros(shape, np.uint8), 10)) == shape


@given(data=st.binary(max_size=120), cut=st.integers(0, 400))
def test_of_any_bytes_come_boxes_or_none(data, cut):
    for start in (isobmff.JP2_START, isobmff.JXL_START, b"\xff\x4f\xff\x51", b""):
        isobmff.container_metadata(start + data)
        isobmff.jp2_codestream(start + data)
    isobmff.jp2_codestream(jp2_bytes[:cut])
    isobmff.avif_without_exif(data)
    isobmff.avif_cicp(struct.pack(">I4s", len(data) + 8, b"meta") + data)


jp2_bytes = jp2()
