"""Layers: strokes keep their resolution and colour, and what two colours cannot show stays what it was."""

import io
from dataclasses import replace

import numpy as np
import pikepdf
import pytest
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import EncodeSettings, LimitSettings, Settings
from foliopress.tasks.analysis import page_kinds, tiles
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.checks.page_check import Check
from foliopress.tasks.checks.rereading import Reader
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.documents import read_header, read_page
from foliopress.tasks.fit.fit_layers import fit_layers
from foliopress.tasks.images.image_reader import Page
from foliopress.tasks.pdf import mrc, mrc_page, pdf_reader
from foliopress.tasks.pdf.image_streams import CodedImage
from foliopress.tasks.pdf.mrc import Layers
from foliopress.tasks.pdf.pdf_writer import NewPage, rewrite_pdf
from tests.papers import Sheet, flate, hidden, paper

DPI = 200.0
FONT = ImageFont.load_default(36)


def printed(*, ink=(20, 30, 120), paper_tone=(235, 228, 205), shape=(600, 800)):
    """A page with two lines of coloured print, and a photograph below them."""
    image = Image.new("RGB", shape[::-1], paper_tone)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(("Received of the board", "four pounds 1887")):
        draw.text((60, 60 + 80 * number), line, fill=ink, font=FONT)
    pixels = np.array(image).astype(int)
    cells = np.random.default_rng(5).integers(20, 236, (50, 75, 1)).repeat(4, 0).repeat(4, 1)
    pixels[350:550, 100:400] = cells
    grain = np.random.default_rng(3).normal(0, 2, (*shape, 1))
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


def found_on(pixels):
    grid = tiles.tile_grid(*pixels.shape[:2], DPI)
    page = Page(pixels, False, DPI, None, None)
    importance = np.zeros((grid.n_rows, grid.n_cols), np.float32)
    importance[: round(240 / grid.tile_px)] = 1.0
    return PageAnalysis(page, page_kinds.page_kind(page), DPI, (), grid, np.zeros(importance.shape, bool), importance)


def all_kept(found):
    return np.where(found.importance > 0, np.int8(1), np.int8(8))


def test_strokes_are_found_where_they_count_and_keep_their_shape_and_colour():
    pixels = printed()
    found = found_on(pixels)
    strokes = mrc.find_strokes(found, all_kept(found))
    dark = pixels[:240].mean(axis=2) < 150
    assert (strokes[:240] == dark).mean() > 0.995
    assert not strokes[300:].any()  # the photograph lies in tiles that do not count
    layers = mrc.split(pixels, strokes, np.zeros(found.importance.shape, bool), found, pixels)
    shown = mrc.compose(layers).astype(int)
    assert np.abs(np.median(shown[:240][dark], axis=0) - (20, 30, 120)).max() <= 8
    assert np.abs(np.median(shown[:240][~dark], axis=0) - (235, 228, 205)).max() <= 4


def test_tiles_that_two_colours_cannot_show_are_named():
    pixels = printed()
    found = found_on(pixels)
    everything = np.ones(found.importance.shape, np.int8)
    strokes = mrc.find_strokes(found, everything)
    none = np.zeros(everything.shape, bool)
    shown = mrc.compose(mrc.split(found.luma, strokes, none, found, found.luma)).astype(np.uint8)
    differing = mrc.differing_tiles(found.luma, shown, found.grid, DPI)
    area = np.repeat(np.repeat(differing, found.grid.tile_px, 0), found.grid.tile_px, 1)[:600, :800]
    assert area[360:540, 110:390].mean() > 0.9
    assert not area[270:330].any() and not area[360:540, 450:].any()
    blended = mrc.compose(mrc.split(pixels, strokes, differing, found, pixels))
    inner = np.s_[380:520, 130:370]
    assert np.abs(blended[inner].astype(int) - pixels[inner])[area[inner]].mean() < 6


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("codec", ["jp2", "jpeg"])
def test_pdfium_shows_the_mask_to_the_pixel(codec, channels):
    mask = np.random.default_rng(1).random((97, 131)) < 0.3
    fore, back = (np.full((5, 7, channels), level, np.uint8).squeeze() for level in (20, 230))
    drawn = mrc_page.decode_layers(mrc_page.encode_layers(Layers(mask, fore, back), codec, 90, EncodeSettings()))
    assert drawn.shape == mask.shape
    assert np.abs(drawn.astype(int) - np.where(mask, 20, 230)).max() <= 6


def test_a_page_in_layers_takes_the_place_of_a_scan_and_is_read_again():
    mask = np.zeros((842, 595), bool)
    mask[100:200, 50:300] = True
    fore, back = np.full((9, 7, 3), (200, 10, 10), np.uint8), np.full((84, 59, 3), (240, 240, 220), np.uint8)
    data = mrc_page.encode_layers(Layers(mask, fore, back), "jp2", 80, EncodeSettings())
    source = paper(Sheet(flate(np.zeros((842, 595, 3), np.uint8)), above=hidden("kept")), Sheet(None))
    written = rewrite_pdf(source, [NewPage(0, CodedImage(data, "mrc"))])
    with pikepdf.open(io.BytesIO(written)) as document:
        assert document.check_pdf_syntax() == []
        assert document.pdf_version >= "1.5"
    shown = pdf_reader.render_page(written, 0, 72).astype(int)
    read = read_page(written, 0, LimitSettings()).pixels.astype(int)
    for found in (shown, read):
        assert found.shape == (842, 595, 3)
        assert np.abs(found[150, 150] - (200, 10, 10)).max() <= 8
        assert np.abs(found[500, 400] - (240, 240, 220)).max() <= 8
    assert read_header(written, LimitSettings()).pages[0].problem.reason == "already_compressed"


def test_a_page_is_fitted_in_layers_smaller_than_its_strokes_in_one():
    pixels = printed()
    found = found_on(pixels)
    reader = Reader(lambda *_: (), lambda *_: ())
    settings = Settings(encode=EncodeSettings(codec="jp2"))
    outcome = fit_layers(Check(found, reader, settings), 10**6)
    assert outcome.problem is None and outcome.codec == "mrc"
    decoded = mrc_page.decode_layers(outcome.data)
    dark = pixels[:240].mean(axis=2) < 150
    assert ((decoded[:240].mean(axis=2) < 150) == dark).mean() > 0.98
    assert np.abs(decoded[360:540, 110:390].astype(int) - pixels[360:540, 110:390]).mean() < 20
    assert outcome.metrics.legibility.worst_block_ssim >= settings.legibility.min_block_ssim
    too_large = fit_layers(Check(found, reader, settings), 100)
    assert too_large.problem.reason == "no_gain"


def test_a_page_longer_than_a_pdf_can_be_is_left_to_one_layer():
    found = found_on(np.full((16, mrc_page.LARGEST_SIDE_PX + 1), 255, np.uint8))
    outcome = fit_layers(Check(found, Reader(lambda *_: (), lambda *_: ()), Settings()), 10**6)
    assert outcome.problem.reason == "too_long"


def banded(ground, ink):
    """A page of black print on paper, and a band of another ground across it with a line in another ink."""
    image = Image.new("RGB", (800, 600), (235, 228, 205))
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(26)
    for top in (40, 100, 440, 500):
        draw.text((60, top), "Received of the board four pounds", fill=(20, 20, 25), font=font)
    draw.rectangle((30, 190, 770, 390), fill=ground)
    for top in (220, 280, 340):
        draw.text((60, top), "The balance of 4,113 was set against", fill=ink, font=font)
    grain = np.random.default_rng(3).normal(0, 2, (600, 800, 1))
    return np.clip(np.array(image) + grain, 0, 255).astype(np.uint8)


def contrast_kept(pixels, shown, rows=np.s_[200:380, 40:760]):
    """Slope of what is shown over what was there, and their correlation, of luma in the band."""
    first, second = (luma_of(image)[rows].astype(float) for image in (pixels, shown))
    (one, both), (_, two) = np.cov(first.ravel(), second.ravel())
    return both / one, both / np.sqrt(one * two)


@pytest.mark.parametrize(
    ("ground", "ink"),
    [
        ((90, 90, 90), (150, 150, 150)),
        ((60, 60, 60), (110, 110, 110)),
        ((128, 128, 128), (255, 255, 255)),
        ((20, 40, 120), (240, 220, 60)),
        ((150, 150, 150), (90, 90, 90)),
        ((235, 228, 205), (195, 190, 170)),
        ((200, 225, 235), (160, 195, 215)),
        ((12, 12, 12), (120, 120, 120)),
    ],
)
def test_light_and_pale_strokes_keep_their_contrast(ground, ink):
    pixels = banded(ground, ink)
    found = found_on(pixels)
    found = replace(found, importance=np.ones_like(found.importance))
    settings = Settings(encode=EncodeSettings(codec="jp2"))
    outcome = fit_layers(Check(found, Reader(lambda *_: (), lambda *_: ()), settings), 10**6)
    assert outcome.problem is None
    slope, correlation = contrast_kept(pixels, mrc_page.decode_layers(outcome.data))
    assert slope > 0.75 and correlation > 0.9


def test_a_coloured_tick_beside_print_keeps_its_colour():
    image = Image.fromarray(printed())
    draw = ImageDraw.Draw(image)
    draw.line([(400, 60), (412, 90), (440, 40)], fill=(205, 20, 30), width=4)
    draw.text((395, 64), "nnn", fill=(20, 20, 25), font=FONT)
    pixels = np.array(image)
    found = found_on(pixels)
    settings = Settings(encode=EncodeSettings(codec="jp2"))
    outcome = fit_layers(Check(found, Reader(lambda *_: (), lambda *_: ()), settings), 10**6)
    shown = mrc_page.decode_layers(outcome.data).astype(int)
    is_red = (pixels[..., 0].astype(int) - pixels[..., 1]) > 120
    redness = shown[..., 0] - shown[..., 1]
    assert np.median(redness[is_red]) > 90
