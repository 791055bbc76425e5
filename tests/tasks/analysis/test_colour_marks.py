"""Detection of coloured marks, and of their loss on a copy."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import LegibilitySettings, LimitSettings
from foliopress.tasks.analysis import colour_marks, page_kinds
from foliopress.tasks.analysis.chroma import coarsest_chroma, with_coarse_chroma
from foliopress.tasks.analysis.colour_marks import allowed_error, compare_marks, find_colour_marks
from foliopress.tasks.analysis.page_kinds import PageKind, page_kind
from foliopress.tasks.analysis.strokes import find_ink
from foliopress.tasks.checks import legibility
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.documents import read_page
from foliopress.tasks.images.image_reader import Page

MM = 1 / 25.4
RED, BLUE, GREEN, VIOLET = (190, 30, 40), (40, 60, 170), (30, 130, 60), (110, 50, 150)
BROWN, YELLOW, PINK, PALE_BLUE = (140, 100, 75), (255, 245, 110), (240, 205, 210), (195, 210, 235)
WHITE, CREAM, GREY = (255, 255, 255), (244, 236, 214), (215, 215, 213)
MARK_AT_MM = (62, 20)  # from the top and the left, below the print


def printed(dpi, paper=WHITE, mark=None):
    """Return a page of 3 x 4 inches with black print, a black bar and the drawing of `mark`."""
    twice = 2 * dpi
    image = Image.new("RGB", (3 * twice, 4 * twice), paper)
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(0.14 * twice)
    for line in range(9):
        pen.text((0.25 * twice, (0.2 + 0.2 * line) * twice), "Receipts of 4,113 pounds", fill=(12, 12, 12), font=font)
    pen.rectangle([round(inch * twice) for inch in (0.3, 2.1, 1.1, 2.3)], fill=(12, 12, 12))
    if mark is not None:
        mark(pen, twice * MM)
    small = image.resize((3 * dpi, 4 * dpi), Image.Resampling.BOX)
    return cv2.GaussianBlur(np.asarray(small), (0, 0), 0.5)


def tick(colour, size_mm, pen_mm=0.4):
    def draw(pen, mm):
        top, left = MARK_AT_MM[0] * mm, MARK_AT_MM[1] * mm
        points = ((0, 0.6), (0.35, 1), (1, 0))
        path = [(left + across * size_mm * mm, top + down * size_mm * mm) for across, down in points]
        pen.line(path, fill=colour, width=round(pen_mm * mm))

    return draw


def stamp(colour, size_mm):
    def draw(pen, mm):
        top, left = MARK_AT_MM[0] * mm, MARK_AT_MM[1] * mm
        pen.ellipse((left, top, left + size_mm * mm, top + size_mm * mm), outline=colour, width=round(0.5 * mm))

    return draw


def word(colour, text="J. Harcourt", size_mm=5):
    def draw(pen, mm):
        at = MARK_AT_MM[1] * mm, MARK_AT_MM[0] * mm
        pen.text(at, text, fill=colour, font=ImageFont.load_default(size_mm * mm))

    return draw


def highlighter(colour):
    def draw(pen, mm):  # over a line of print, as it multiplies with it
        box = [round(edge * mm) for edge in (12, 5, 50, 9)]
        under = pen._image.crop(box)
        pen._image.paste(Image.fromarray((np.asarray(under) / 255 * colour).astype(np.uint8)), box)

    return draw


def as_jpeg(pixels, quality):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(buffer))


def as_page(pixels, dpi):
    return Page(pixels, False, float(dpi), None, None)


@pytest.mark.parametrize(
    ("mark", "dpi", "paper", "quality"),
    [
        (tick(RED, 1), 200, WHITE, 95),
        (tick(RED, 2), 300, WHITE, 60),
        (tick(RED, 4), 100, WHITE, 75),
        (tick(BLUE, 3), 200, CREAM, 80),
        (tick(BROWN, 5), 300, WHITE, 80),
        (word(RED, "-14.20", 3.5), 200, WHITE, 60),
        (word(BLUE), 150, WHITE, 60),
        (word(BLUE), 400, WHITE, 30),
        (word(GREEN), 200, GREY, 60),
        (word(VIOLET), 200, CREAM, 60),
        (word(PINK), 200, WHITE, 80),
        (word(PALE_BLUE), 200, WHITE, 80),
        (word(PALE_BLUE), 300, CREAM, 80),
        (stamp(RED, 15), 200, WHITE, 30),
        (stamp(VIOLET, 15), 300, GREY, 50),
        (stamp(BLUE, 20), 100, CREAM, 60),
        (highlighter(YELLOW), 200, WHITE, 60),
        (highlighter(PINK), 200, WHITE, 60),
    ],
)
def test_a_stroke_in_colour_is_found_where_it_is(mark, dpi, paper, quality):
    plain = printed(dpi, paper)
    marked = printed(dpi, paper, mark)
    where = cv2.absdiff(plain, marked).max(axis=2) > 8
    assert len(find_colour_marks(as_jpeg(plain, quality), dpi)) == 0
    found = find_colour_marks(as_jpeg(marked, quality), dpi)
    area = found.area(*where.shape)
    assert (area & where).sum() > 0.6 * where.sum()
    rows, cols = np.nonzero(area)
    reach = max(16, 0.05 * dpi)  # chroma of JPEG bleeds, at most over its block
    assert np.nonzero(where)[0].min() - reach <= rows.min() and rows.max() <= np.nonzero(where)[0].max() + reach
    assert np.nonzero(where)[1].min() - reach <= cols.min() and cols.max() <= np.nonzero(where)[1].max() + reach
    covered = np.zeros(where.shape, bool)
    for row, col, height, width in found.boxes.tolist():
        covered[row : row + height, col : col + width] = True
    assert not (area & ~covered).any()


def test_the_chroma_of_a_mark_says_its_hue():
    hues = {}
    for name, colour in {"red": RED, "blue": BLUE, "yellow": YELLOW}.items():
        found = find_colour_marks(printed(200, WHITE, word(colour)), 200)
        hues[name] = found.chroma.mean(axis=0)
    assert hues["red"][1] > 10 > abs(hues["red"][0])  # Cr
    assert hues["blue"][0] > 10 and hues["blue"][1] < 0  # Cb
    assert hues["yellow"][0] < -10


def shifted(pixels, by_px):
    """Return the page as scanned by three misaligned rows of sensors."""
    red, green, blue = cv2.split(pixels)
    return cv2.merge([np.roll(red, by_px, axis=1), green, np.roll(blue, -by_px, axis=0)])


def tinted(pixels, cast):
    """Return the page as film: its base is not white, its shadows are not black."""
    light = pixels.astype(np.float32) / 255
    return np.clip(light * (255 - np.array(cast[1])) + (1 - light) * np.array(cast[0]), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("quality", [None, 30, 60])
@pytest.mark.parametrize("paper", [WHITE, GREY])
@pytest.mark.parametrize("cast", [((0, 0, 0), (0, 0, 0)), ((10, 6, 22), (18, 8, 0)), ((14, 6, 0), (0, 4, 13))])
def test_tints_noise_and_fringes_round_black_strokes_are_no_marks(cast, paper, quality):
    rng = np.random.default_rng(5)
    for dpi, by_px, noise in ((150, 0, 4), (200, 1, 0), (300, 1, 8)):
        page = tinted(shifted(printed(dpi, paper), by_px), cast).astype(np.float32)
        page = np.clip(page + rng.normal(0, noise, page.shape), 0, 255).astype(np.uint8)
        assert len(find_colour_marks(page if quality is None else as_jpeg(page, quality), dpi)) == 0, (dpi, by_px)


def test_letters_smoothed_for_a_screen_of_three_colours_are_black():
    """ClearType and similar renderers shift red and blue by a third of a pixel in opposite directions."""
    fine = printed(300)[:, : 3 * 290]
    red, green, blue = fine[:, 0::3, 0], fine[:, 1::3, 1], fine[:, 2::3, 2]
    page = cv2.merge([np.ascontiguousarray(plane[::3]) for plane in (red, green, blue)])
    assert np.ptp(page.astype(int), axis=2).max() > 100
    assert len(find_colour_marks(page, 100)) == 0


def test_a_page_in_one_colour_and_a_grey_one_have_no_marks():
    flat = np.full((300, 200, 3), (230, 40, 60), np.uint8)
    assert len(find_colour_marks(flat, 100)) == len(find_colour_marks(flat[..., 0], 100)) == 0
    assert len(find_colour_marks(np.zeros((1, 1, 3), np.uint8), 600)) == 0
    assert find_colour_marks(flat, 100).area(300, 200).sum() == 0


def test_a_stamp_is_found_on_the_largest_page(monkeypatch):
    page = np.full((2400, 1800, 3), 255, np.uint8)
    cv2.circle(page, (900, 1200), 75, RED, 5)  # 19 mm at 200 dpi
    assert page_kind(as_page(page, 200)) is PageKind.COLOUR
    monkeypatch.setattr(colour_marks, "MOST_WORK_PIXELS", 270_000)  # as coarse as 69 megapixels come out
    found = find_colour_marks(page, 200)
    assert (found.step, len(found)) == (4, 1)
    assert np.abs(found.boxes[0] + found.boxes[0] % 2 - [1120, 820, 160, 160]).max() <= 24


@pytest.mark.parametrize("mark", [tick(RED, 3), word(BLUE), stamp(RED, 15), word(PALE_BLUE)])
def test_one_mark_makes_a_black_and_white_page_one_in_colour(mark):
    page = np.where(printed(200) > 128, np.uint8(255), np.uint8(0))
    assert page_kind(as_page(as_jpeg(page, 92), 200)) is PageKind.TWO_TONE
    with_mark = np.minimum(
        page, np.where(printed(200).min(axis=2, keepdims=True) > 250, printed(200, WHITE, mark), 255)
    )
    assert page_kind(as_page(as_jpeg(with_mark.astype(np.uint8), 92), 200)) is PageKind.COLOUR


def judge(source, decoded, dpi=200):
    marks = find_colour_marks(source, dpi)
    assert len(marks)
    page = legibility.SourcePage(source, [], find_ink(luma_of(source), dpi), dpi, marks)
    return legibility.judge(page, decoded, LegibilitySettings())


@pytest.mark.parametrize("mark", [tick(RED, 3), word(BLUE), stamp(VIOLET, 15), word(PINK), highlighter(YELLOW)])
def test_a_mark_that_becomes_grey_or_turns_to_another_hue_fails_the_page(mark):
    source = printed(200, WHITE, mark)
    assert judge(source, source).mark_chroma_error == 0
    assert judge(source, as_jpeg(source, 90)).passed
    grey = cv2.cvtColor(luma_of(source), cv2.COLOR_GRAY2RGB)
    ycc = cv2.cvtColor(source, cv2.COLOR_RGB2YCrCb)
    turned = cv2.cvtColor(np.ascontiguousarray(ycc[..., [0, 2, 1]]), cv2.COLOR_YCrCb2RGB)
    for harmed in (grey, luma_of(source), turned):
        verdict = judge(source, harmed)
        assert not verdict.passed and verdict.is_discoloured and verdict.marks_lost
        assert verdict.chroma_error <= 6  # over the whole page nothing shows
        assert len(verdict.failing)


def test_a_pale_mark_that_is_nearly_gone_fails_the_page():
    source = printed(200, WHITE, word(PALE_BLUE))
    faded = source.copy()
    foot = np.s_[round(60 * MM * 200) :]
    faded[foot] = cv2.GaussianBlur(source[foot], (0, 0), 12)
    verdict = judge(source, faded)
    assert not verdict.passed
    assert (verdict.failing[:, 0] >= 58 * MM * 200).all()


def test_marks_may_lose_the_more_the_stronger_they_are():
    strong = find_colour_marks(printed(200, WHITE, stamp(RED, 15)), 200)
    pale = find_colour_marks(printed(200, WHITE, word(PALE_BLUE)), 200)
    assert allowed_error(strong, 4.0).max() > 6
    assert (allowed_error(pale, 4.0) <= 4.0).all()
    assert (allowed_error(pale, 4.0) <= 0.6 * np.hypot(*pale.chroma.T) + 1e-9).all()
    assert (allowed_error(pale, 99.0) <= 0.9 * np.hypot(*pale.chroma.T) + 1e-9).all()  # however much is allowed


def test_chroma_is_not_stored_so_coarsely_that_a_mark_washes_out():
    source = printed(200, CREAM, tick(RED, 5))
    marks = find_colour_marks(source, 200)
    allowed = allowed_error(marks, 4.0)
    budget = 64.0
    assert coarsest_chroma(source, budget) == 8
    level = coarsest_chroma(source, budget, marks, allowed)
    assert level < 8
    assert not compare_marks(marks, with_coarse_chroma(source, level), 4.0).is_discoloured.any()


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("sroie-receipts/images/014.jpg", PageKind.GREY),
        ("sroie-receipts/images/092.jpg", PageKind.GREY),
        ("sroie-receipts/images/152.jpg", PageKind.TWO_TONE),
        ("sroie-receipts/images/339.jpg", PageKind.GREY),
        ("tapuscorpus/images/12148-btv1b53097347b__8_62d69_default.jpg", PageKind.GREY),
        ("stanford-letters/images/Lettre46.jpg", PageKind.COLOUR),
    ],
)
def test_real_scans_in_black_and_white_stay_so(scans, key, kind):
    page = read_page((scans / key).read_bytes(), 0, LimitSettings())
    assert page_kinds.page_kind(page) is kind
