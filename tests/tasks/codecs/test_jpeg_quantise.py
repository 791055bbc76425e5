"""JPEG for scans: valid, faithful, and smaller than libjpeg's at equal SSIM of the strokes."""

import io

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageFont

from foliopress.tasks.analysis.strokes import ink_mask
from foliopress.tasks.checks.legibility import ssim_map
from foliopress.tasks.codecs.jpeg_quantise import encode_jpeg, quantisation_tables
from foliopress.tasks.codecs.luma import luma_of

QUALITIES = (5, 20, 40, 60, 80, 95)


def opened(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def written(paper, ink):
    """Return a page of (600, 500, 3) with lines of print, as scanned."""
    image = Image.new("RGB", (500, 600), paper)
    font = ImageFont.load_default(22)
    for row in range(18):
        ImageDraw.Draw(image).text((20, 20 + 31 * row), "Minutes of the board, 4 March 1887", fill=ink, font=font)
    blurred = cv2.GaussianBlur(np.asarray(image).astype(np.float32), (0, 0), 0.7)
    grain = np.random.default_rng(2).normal(0, 3, (600, 500, 1))
    return np.clip(np.rint(blurred + grain), 0, 255).astype(np.uint8)


TANNED = written((205, 195, 170), (60, 40, 30))
GREY = luma_of(written((225, 225, 225), (50, 50, 50)))
TWO_TONE = np.where(GREY < 150, 0, 255).astype(np.uint8)


def libjpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True, progressive=True)
    return buffer.getvalue()


def likeness(pixels, data):
    luma = luma_of(pixels)
    strokes = cv2.dilate(ink_mask(luma, 150).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    return float(ssim_map(luma, luma_of(opened(data)))[strokes].mean())


@pytest.mark.parametrize(("pixels", "share"), [(TANNED, 0.9), (GREY, 0.9), (TWO_TONE, 0.8)])
def test_at_equal_likeness_of_strokes_it_is_smaller_than_libjpeg(pixels, share):
    ours = next(data for quality in range(3, 100) if likeness(pixels, data := encode_jpeg(pixels, quality)) >= 0.95)
    theirs = next(data for quality in range(3, 100) if likeness(pixels, data := libjpeg(pixels, quality)) >= 0.95)
    assert len(ours) <= share * len(theirs)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.booleans(), st.integers(1, 100), st.integers(0, 2**32 - 1))
def test_a_page_of_any_size_and_content_is_a_jpeg_of_its_size(height_px, width_px, has_colour, quality, seed):
    shape = (height_px, width_px, 3) if has_colour else (height_px, width_px)
    rng = np.random.default_rng(seed)
    pixels = (rng.integers(0, 2, shape) * 255 if seed % 2 else rng.integers(0, 256, shape)).astype(np.uint8)
    with Image.open(io.BytesIO(encode_jpeg(pixels, quality))) as image:
        assert image.size == (width_px, height_px)
        assert image.mode == ("RGB" if has_colour else "L")
        luma, chroma = (table.ravel().tolist() for table in quantisation_tables(quality))
        assert image.quantization == ({0: luma, 1: chroma} if has_colour else {0: luma})
        image.load()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([0, 3, 90, 252, 255]), st.sampled_from([0, 3, 90, 252, 255]), st.integers(0, 2**32 - 1))
def test_hard_edges_of_black_and_white_stay_so_at_any_quality(dark, light, seed):
    rng = np.random.default_rng(seed)
    quality = int(rng.integers(10, 101))
    pixels = np.where(cv2.resize(rng.random((10, 10)), (80, 80), interpolation=cv2.INTER_NEAREST) < 0.5, dark, light)
    error = opened(encode_jpeg(pixels.astype(np.uint8), quality)).astype(float) - pixels
    # a coefficient is wrong by a step at most, and the mean of a block's squared errors is that of its coefficients'
    steps = quantisation_tables(quality)[0].astype(float)
    assert (error.reshape(10, 8, 10, 8) ** 2).mean(axis=(1, 3)).max() <= (1.6 * steps**2).sum() / 64 + 2


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(30, 100))
def test_plain_paper_of_any_colour_comes_back_within_two_grey_levels(colour, quality):
    page = np.full((40, 40, 3), colour, np.uint8)
    found = cv2.cvtColor(opened(encode_jpeg(page, quality)), cv2.COLOR_RGB2YCrCb).astype(int)
    expected = cv2.cvtColor(page, cv2.COLOR_RGB2YCrCb).astype(int)
    clipped = min(colour) < 8 or max(colour) > 247  # past the cube of colours nothing comes back
    assert np.abs(found - expected).max() <= (8 if clipped else 2)


@pytest.mark.parametrize("pixels", [TANNED, TWO_TONE, GREY])
def test_a_higher_quality_is_nearer_to_the_page_and_costs_more(pixels):
    data = [encode_jpeg(pixels, quality) for quality in QUALITIES]
    assert [len(d) for d in data] == sorted(len(d) for d in data)
    scores = [likeness(pixels, d) for d in data]
    assert scores == sorted(scores) and scores[-1] > 0.98


def test_the_steps_of_a_higher_quality_are_nowhere_larger():
    for quality in range(1, 100):
        for lower, higher in zip(quantisation_tables(quality), quantisation_tables(quality + 1), strict=True):
            assert (higher <= lower).all() and higher.min() >= 1 and lower.max() <= 255


def test_white_paper_round_black_strokes_stays_white():
    found = opened(encode_jpeg(TWO_TONE, 45))
    paper = cv2.erode((TWO_TONE == 255).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    assert found[paper].mean() > 251
    assert np.percentile(found[paper], 1) > 225


def test_coloured_strokes_keep_their_colour():
    page = written((235, 230, 215), (190, 40, 40))
    found, expected = (
        cv2.cvtColor(p, cv2.COLOR_RGB2YCrCb)[..., 1].astype(int) for p in (opened(encode_jpeg(page, 50)), page)
    )
    red = cv2.blur(expected.astype(np.float32), (5, 5)) > 140
    assert red.any()
    assert abs(found[red].mean() - expected[red].mean()) < 2


def test_strips_leave_no_trace(monkeypatch):
    whole = opened(encode_jpeg(TWO_TONE, 50)).astype(int)
    monkeypatch.setattr("foliopress.tasks.codecs.jpeg_quantise._STRIP_BLOCKS", 150)
    assert np.abs(opened(encode_jpeg(TWO_TONE, 50)) - whole).mean() < 0.01


def test_the_pixels_given_are_left_as_they_were_and_the_same_page_gives_the_same_bytes():
    page = TWO_TONE.copy()
    assert encode_jpeg(page, 50) == encode_jpeg(page, 50)
    assert np.array_equal(page, TWO_TONE)


def test_resolution_profile_exif_xmp_and_comment_travel_with_the_page():
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(100_000)  # two segments
    exif = Image.Exif()
    exif[0x0110] = "flatbed"  # camera model
    options = {"dpi": (240, 300), "icc_profile": icc, "exif": exif.tobytes(), "xmp": b"<x:xmpmeta/>", "quality": 1}
    for pixels in (TANNED, GREY):
        with Image.open(io.BytesIO(encode_jpeg(pixels, 60, options | {"comment": b"folio 7"}))) as image:
            assert image.info["dpi"] == (240, 300)
            assert image.info["icc_profile"] == icc
            assert image.getexif()[0x0110] == "flatbed"
            assert image.info["xmp"] == b"<x:xmpmeta/>"
            assert image.info["comment"] == b"folio 7"
            assert image.quantization[0] == quantisation_tables(60)[0].ravel().tolist()
