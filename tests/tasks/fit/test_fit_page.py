"""Fit: one page's loop of encoding and checking, with scripted readers and, where it helps, a stand-in codec."""

import io
from contextlib import contextmanager
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageFont

from foliopress.configs.loading import load_settings
from foliopress.configs.settings import EncodeSettings, Settings
from foliopress.tasks.analysis import tiles
from foliopress.tasks.analysis.page_analysis import PageAnalysis
from foliopress.tasks.analysis.page_kinds import PageKind, page_kind
from foliopress.tasks.analysis.strokes import Ink, find_ink
from foliopress.tasks.checks import legibility, ssimulacra2
from foliopress.tasks.checks.page_check import Check, LegibilityMetrics
from foliopress.tasks.checks.rereading import Reader
from foliopress.tasks.codecs import encode
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.fit.fit_page import fit_page, useful_bytes
from foliopress.tasks.fit.outcome import strengthened
from foliopress.tasks.fit.quality_search import PROBED_QUALITIES
from foliopress.tasks.images.image_reader import Page, read_header, read_page
from foliopress.tasks.ocr import recognition
from foliopress.tasks.ocr.recognition import Word
from tests.unperturbed import marked_instead_of_perturbed

DPI = 150.0
NO_LIMIT = 10**9
LINES = ("Minutes of 4 March 1887", "Present: the whole board", "Paid 12.50 to the porter")


def printed(lines=LINES, *, shape=(300, 460), size=24, colour=False, grain=3.0):
    """A scan at 150 dpi with lines of print on toned paper, and the boxes of its words."""
    image, words = Image.new("L", shape[::-1], 226), []
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for line_index, line in enumerate(lines):
        left, top = 30, 30 + 2 * size * line_index
        for text in line.split():
            box = [round(edge) for edge in draw.textbbox((left, top), text, font=font)]
            draw.text((left, top), text, fill=40, font=font)
            words.append(Word(line_index, box[1], box[0], box[3] - box[1], box[2] - box[0], text, 96.0))
            left = box[2] + size // 2
    pixels = np.array(image)[..., np.newaxis] - np.array([0, 6, 24] if colour else [0])
    pixels = cv2.GaussianBlur(pixels.astype(np.float32), (0, 0), 0.7).reshape(*shape, -1)
    pixels = pixels + np.random.default_rng(8).normal(0, grain, (*shape, 1))
    pixels = np.clip(pixels, 0, 255).astype(np.uint8)
    pixels = pixels if colour else np.ascontiguousarray(pixels[..., 0])
    printed.last = luma_of(pixels)
    return pixels, words


def findings(pixels, words=(), *, importance=0.0, dpi=DPI, tagged=DPI, is_bitonal=False, kind=None):
    """What is known of a page; the network finds the same importance everywhere, or what an array says."""
    page = Page(pixels, is_bitonal, tagged, None, None)
    grid = tiles.tile_grid(*pixels.shape[:2], dpi)
    word_tiles = tiles.masked_fraction(recognition.text_mask(words, *pixels.shape[:2]), grid) > 1 / 32
    scores = np.broadcast_to(np.asarray(importance, np.float32), word_tiles.shape)
    return PageAnalysis(page, kind or page_kind(page), dpi, tuple(words), grid, word_tiles, scores)


def fit(analysis, most_bytes, reader, settings):
    return fit_page(Check(analysis, reader, settings), most_bytes)


def with_settings(*, encode=(), legibility=(), resolution=()):
    """Settings for JPEG, which is quick, without a least quality."""
    anything_goes = {"max_word_change": 9, "max_stroke_change": 9, "reread_changes_above": 0}
    groups = {
        "encode": {"codec": "jpeg", "least_quality": 1} | dict(encode),
        "legibility": anything_goes | dict(legibility),
    }
    return Settings.model_validate(groups | {"resolution": dict(resolution)})


def decoded(data):
    return read_page(data, 0, Settings().limits)


@pytest.fixture(autouse=True, scope="module")
def _crops_stay_readable():
    with marked_instead_of_perturbed():
        yield


UNASKED = Reader(lambda _: pytest.fail("a page was read"), lambda _: pytest.fail("lines were read"))


def lines_of(words, source=None):
    """A reader of lines to whom crops of the source, by default the page that was drawn last, say what it says."""

    def read(picture):
        apart = cv2.matchTemplate(printed.last if source is None else source, picture, cv2.TM_SQDIFF)
        least, _, (col_px, row_px), _ = cv2.minMaxLoc(apart)
        if least > 0.5:
            return ()
        return [replace(word, row_px=word.row_px - row_px, col_px=word.col_px - col_px) for word in words]

    return lambda pictures: [read(picture) for picture in pictures]


def reads(words, *, only_if=lambda: True, changed=None, source=None):
    """A reader to whom a page says what it said, save for some words, wherever a condition holds."""

    def page(_):
        changes = changed if changed and only_if() else {}
        return [replace(word, text=changes.get(word.text, word.text)) for word in words]

    return Reader(page, lines_of(words, source))


class StandIn:
    """A codec in JPEG's place that loses what a test wants, and notes what it was asked for."""

    def __init__(self, lose=lambda pixels, quality: pixels):
        self.lose, self.qualities, self.shapes = lose, [], []

    def write(self, job):
        self.qualities.append(job.quality)
        self.shapes.append(job.pixels.shape)
        buffer = io.BytesIO()
        Image.fromarray(self.lose(job.pixels, job.quality)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()


@contextmanager
def stand_in(lose=lambda pixels, quality: pixels):
    codec = StandIn(lose)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encode.CODECS, "jpeg", replace(encode.CODECS["jpeg"], write=codec.write))
        yield codec


def never_whole(pixels, quality):
    """As `fading`, and not even the best quality gives the page back."""
    return fading(pixels, min(quality, 85))


def fading(pixels, quality):
    """The lower the quality, the more of the blurred page shines through: SSIM rises with the quality, always."""
    return cv2.addWeighted(pixels, quality / 100, cv2.GaussianBlur(pixels, (0, 0), 4), 1 - quality / 100, 0)


# words that changed

MISREAD = {"1887": "1837"}


@pytest.mark.parametrize("max_attempts", [1, 2, 3])
def test_a_page_whose_digits_read_otherwise_however_it_is_coded_is_kept(max_attempts):
    pixels, words = printed()
    wanted = with_settings(
        encode={"quality": 80}, legibility={"max_attempts": max_attempts, "reread_digits_below": 1, "mode": "enforce"}
    )
    with stand_in(fading) as codec:
        found = fit(findings(pixels, words), NO_LIMIT, reads(words, changed=MISREAD), wanted)
    assert found.problem.reason == "legibility"
    assert "1 words with digits read otherwise" in str(found.problem)
    assert (found.metrics.legibility.digits_changed, found.metrics.attempts) == (1, max_attempts)
    assert len(codec.qualities) == max_attempts


def unread(words, *, only_if=lambda: True, sure=60.0):
    """A reader to whom the year is doubtful wherever a condition holds: neither the same nor sure."""

    def page(_):
        if not only_if():
            return list(words)
        return [replace(word, text="I88?", confidence=sure) if word.text == "1887" else word for word in words]

    return Reader(page, lines_of(words))


def test_a_digit_string_that_reads_in_no_way_sure_is_strengthened_once():
    pixels, words = printed()
    wanted = with_settings(
        encode={"quality": 70, "retry_quality_step": 30}, legibility={"reread_digits_below": 1, "mode": "enforce"}
    )
    with stand_in(fading) as codec:
        reader = unread(words, only_if=lambda: codec.qualities[-1] < 75)
        found = fit(findings(pixels, words, importance=1.0), NO_LIMIT, reader, wanted)
    assert (found.problem, codec.qualities[:2], found.metrics.quality) == (None, [70, 80], 75)  # a third of a step
    assert found.metrics.legibility.words_kept_fraction == 1.0


@pytest.mark.parametrize("then", ["as doubtful", "misread", "too large"])
def test_if_that_does_no_good_the_page_stays_as_it_was(then):
    """One word of a page may be lost; that it was tried again must not cost the page anything."""
    pixels, words = printed()
    wanted = with_settings(encode={"quality": 70, "retry_quality_step": 30}, legibility={"reread_digits_below": 1})
    most_bytes = NO_LIMIT
    with stand_in(fading) as codec:
        first = fit(findings(pixels, words, importance=1.0), most_bytes, unread(words), wanted)
        assert codec.qualities == [70, 80]
        reader = unread(words)
        if then == "misread":
            sure = {70: 60.0, 80: 96.0}
            reader = Reader(lambda page: unread(words, sure=sure[codec.qualities[-1]]).page(page), reader.lines)
        if then == "too large":
            most_bytes = len(first.data) + 1
        codec.qualities.clear()
        found = fit(findings(pixels, words, importance=1.0), most_bytes, reader, wanted)
    assert codec.qualities == [70, 80]
    assert (found.problem, found.metrics.quality, found.metrics.legibility.digits_changed) == (None, 70, 0)
    assert found.data == first.data
    assert found.metrics.attempts == 2


def test_in_measure_such_a_page_is_compressed_and_its_figures_tell():
    pixels, words = printed()
    wanted = with_settings(legibility={"mode": "measure", "reread_digits_below": 1})
    found = fit(findings(pixels, words), NO_LIMIT, reads(words, changed=MISREAD), wanted)
    assert found.problem is None
    assert decoded(found.data).pixels.shape == pixels.shape
    assert (found.metrics.legibility.digits_changed, found.metrics.attempts) == (1, 1)
    assert found.metrics.legibility.words_kept_fraction == pytest.approx(1 - 1 / len(words))


def test_with_the_check_off_nobody_is_asked_and_no_figure_made_up():
    pixels, words = printed()
    wanted = with_settings(legibility={"mode": "off", "reread_digits_below": 1})
    found = fit(findings(pixels, words), NO_LIMIT, UNASKED, wanted)
    assert (found.problem, found.metrics.attempts) == (None, 1)
    assert found.metrics.legibility == LegibilityMetrics()


def test_a_page_without_words_is_not_read_again():
    pixels, _ = printed()
    found = fit(findings(pixels, importance=1.0), NO_LIMIT, UNASKED, with_settings())
    assert (found.problem, found.metrics.legibility.words_kept_fraction, found.metrics.legibility.text_ssim) == (
        None,
        None,
        None,
    )
    assert found.metrics.legibility.worst_block_ssim >= Settings().legibility.min_block_ssim


def test_words_are_read_again_only_where_the_strokes_have_passed():
    pixels, words = printed()
    wanted = with_settings(
        encode={"quality": 20}, legibility={"min_block_ssim": 1, "max_attempts": 2, "reread_digits_below": 1}
    )
    found = fit(findings(pixels, words), NO_LIMIT, UNASKED, wanted)
    assert found.problem.reason == "legibility"
    assert "worst block" in str(found.problem)


@pytest.mark.parametrize("step", [7, 10, 30])
def test_where_only_a_low_quality_is_misread_the_lowest_that_is_not_is_found(step):
    pixels, words = printed()
    wanted = with_settings(
        encode={"quality": 70, "retry_quality_step": step}, legibility={"reread_digits_below": 1, "max_attempts": 8}
    )
    with stand_in(fading) as codec:
        reader = reads(words, changed=MISREAD, only_if=lambda: codec.qualities[-1] < 75)
        found = fit(findings(pixels, words, importance=1.0), NO_LIMIT, reader, wanted)
    assert found.problem is None
    assert codec.qualities[:2] == [70, 70 + step]
    assert (found.metrics.quality, found.metrics.attempts) == (75, len(codec.qualities))
    assert (found.metrics.legibility.digits_changed, found.metrics.legibility.words_kept_fraction) == (0, 1.0)


@pytest.mark.parametrize(("first", "qualities"), [(30, [30, 40, 60, 100]), (85, [85, 95, 100])])
def test_each_step_is_twice_the_one_before_and_100_the_highest_quality(first, qualities):
    pixels, words = printed()
    wanted = with_settings(
        encode={"quality": first, "retry_quality_step": 10}, legibility={"reread_digits_below": 1, "min_block_ssim": 0}
    )
    with stand_in(never_whole) as codec:
        fit(findings(pixels, words, importance=1.0), NO_LIMIT, reads(words, changed=MISREAD), wanted)
    assert codec.qualities == qualities


def test_ink_that_fails_gets_its_resolution_back_before_the_quality_rises():
    pixels, _ = printed(lines=("A line of print, and nothing else",), shape=(300, 500))
    wanted = with_settings(
        encode={"quality": 90}, legibility={"min_block_ssim": 0.97}, resolution={"error_budget": 64, "paper_level": 1}
    )
    with stand_in() as codec:
        found = fit(findings(pixels), NO_LIMIT, UNASKED, wanted)
    assert found.problem is None
    assert codec.qualities == [90, 90]
    assert (found.levels == 1).any() and (found.levels[4:] == 8).all()


def test_strokes_that_got_their_resolution_back_get_the_quality_that_they_need():
    pixels, _ = printed(lines=("A line of print, and nothing else",), shape=(300, 500))
    wanted = with_settings(
        encode={"least_quality": 3}, legibility={"min_block_ssim": 0.8}, resolution={"error_budget": 64}
    )
    with stand_in(fading) as codec:
        found = fit(findings(pixels), NO_LIMIT, UNASKED, wanted)
    assert found.problem is None
    assert codec.qualities[0] == 3  # nothing that was kept could be probed
    assert found.metrics.quality > PROBED_QUALITIES[0]


def test_a_word_that_is_misread_gets_its_resolution_back_before_the_quality_rises():
    pixels, words = printed()
    wanted = with_settings(
        encode={"quality": 90},
        legibility={"min_block_ssim": 0, "reread_digits_below": 1},
        resolution={"error_budget": 64, "paper_level": 1},
    )
    unword_tiles = replace(findings(pixels, words), word_tiles=np.zeros((10, 15), bool))
    with stand_in() as codec:
        reader = reads(words, changed=MISREAD, only_if=lambda: len(codec.qualities) == 1)
        found = fit(unword_tiles, NO_LIMIT, reader, wanted)
    assert (found.problem, codec.qualities) == (None, [90, 90])
    year = next(word for word in words if word.text == "1887")
    finest = np.argwhere(found.levels == 1) * 32
    assert len(finest) > 0
    assert (finest[:, 0] <= year.row_px + year.height_px).all()  # its own tiles, not the lines below
    assert (finest[:, 1] >= year.col_px - 32).all()


def test_a_page_whose_coarse_chroma_shows_gets_the_codecs_own():
    pixels, _ = printed(colour=True)
    pixels[200:, ::16] = (180, 60, 60)
    pixels[200:, 8::16] = (60, 60, 180)
    wanted = with_settings(
        encode={"quality": 50, "chroma_budget": 64}, legibility={"max_chroma_error": 2, "min_block_ssim": 0}
    )
    with stand_in() as codec:
        found = fit(findings(pixels, importance=1.0), NO_LIMIT, UNASKED, wanted)
    assert (found.problem, codec.qualities) == (None, [50, 50])
    assert found.metrics.legibility.chroma_error <= 2
    once = with_settings(
        encode={"quality": 50, "chroma_budget": 64},
        legibility={"max_chroma_error": 2, "min_block_ssim": 0, "max_attempts": 1},
    )
    with stand_in():
        assert fit(findings(pixels, importance=1.0), NO_LIMIT, UNASKED, once).problem.reason == "legibility"


def test_a_page_without_visible_colour_that_keeps_its_profile_is_stored_with_subsampled_chroma():
    """Whole chroma would take AV1's High profile, which fewer decoders read, for nothing."""
    grey, _ = printed()
    analysis = findings(np.repeat(grey[..., np.newaxis], 3, axis=2), importance=1.0)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    analysis = replace(analysis, page=replace(analysis.page, icc=profile))
    found = fit(analysis, NO_LIMIT, UNASKED, with_settings(encode={"codec": "avif", "quality": 60}))
    assert found.problem is None
    with Image.open(io.BytesIO(found.data)) as stored:
        assert (stored.mode, stored.info["icc_profile"]) == ("RGB", profile)
    av1_profile = found.data[found.data.index(b"av1C") + 5] >> 5
    assert av1_profile == 0  # Main


def test_only_tiles_of_ink_near_what_failed_are_strengthened():
    ink = np.zeros((128, 160), bool)
    ink[40:44] = True  # a rule through the second row of tiles
    grid = tiles.TileGrid(128, 160, 32)
    levels = np.full((4, 5), 8, np.int8)
    stronger = strengthened(levels, np.array([[30, 40, 20, 50]]), Ink(ink, ink), grid)
    assert np.argwhere(stronger == 1).tolist() == [[1, 1], [1, 2]]
    assert (levels == 8).all()
    assert np.array_equal(strengthened(levels, np.zeros((0, 4), int), Ink(ink, ink), grid), levels)


# strokes

lines_drawn = st.lists(st.tuples(*[st.integers(0, 159)] * 4, st.integers(1, 4)), min_size=1, max_size=8)


def drawn(lines, contrast, inverted, colour, seed):
    """Strokes anywhere on grained paper, in two colours of ink where it is a colour page."""
    rng = np.random.default_rng(seed)
    ink = np.zeros((160, 160, 3), np.uint8)
    for number, (row, col, to_row, to_col, width) in enumerate(lines):
        cv2.line(ink, (col, row), (to_col, to_row), (10, 10, 10) if number % 2 else (3, 10, 9), width)
    pixels = 220 - rng.integers(0, 6, ink.shape) - (contrast / 10 * ink)
    pixels = (255 - pixels if inverted else pixels).clip(0, 255).astype(np.uint8)
    return pixels if colour else np.ascontiguousarray(pixels[..., 1])


@given(
    lines=lines_drawn,
    contrast=st.integers(30, 180),
    inverted=st.booleans(),
    colour=st.booleans(),
    seed=st.integers(0, 999),
)
@examples(max_examples=60, deadline=None)
def test_strokes_of_level_1_tiles_and_their_margin_differ_by_the_codecs_own_error_only(
    lines, contrast, inverted, colour, seed
):
    """With a codec that loses nothing they come out as they went in, to the bit."""
    pixels = drawn(lines, contrast, inverted, colour, seed)
    importance = np.random.default_rng(seed).choice([0.0, 0.03, 0.3, 0.9], (5, 5))
    wanted = with_settings(encode={"chroma_budget": 0}, legibility={"mode": "off"})
    kind = PageKind.COLOUR if colour else PageKind.GREY
    with stand_in():
        outcome = fit(findings(pixels, importance=importance, kind=kind), NO_LIMIT, UNASKED, wanted)
    assert outcome.problem is None
    whole = np.kron(outcome.levels == 1, np.ones((32, 32), bool))
    strokes = find_ink(luma_of(pixels), DPI).plain & whole
    near = cv2.distanceTransform(1 - strokes.astype(np.uint8), cv2.DIST_L2, 3) <= 0.03 * DPI
    near &= strokes.any()
    assert np.array_equal(decoded(outcome.data).pixels[near], pixels[near])


@pytest.mark.parametrize("codec", ["avif", "jpeg", "webp", "jxl"])  # for jp2 a quality is the page's mean error
@pytest.mark.parametrize("colour", [False, True])
def test_a_real_codec_errs_there_no_more_than_on_a_page_that_was_not_rescaled(codec, colour):
    pixels, words = printed(shape=(300, 460), colour=colour)
    whole = {"harshest_level": 1, "paper_level": 1}
    near, errors = None, []
    for resolution in ({}, whole):
        wanted = with_settings(
            encode={"codec": codec, "quality": 40, "chroma_budget": 0},
            legibility={"mode": "off"},
            resolution=resolution,
        )
        outcome = fit(findings(pixels, words), NO_LIMIT, UNASKED, wanted)
        if near is None:
            assert (outcome.levels == 8).any()
            strokes = find_ink(luma_of(pixels), DPI).plain
            strokes &= np.kron(outcome.levels == 1, np.ones((32, 32), bool))[:300, :460]
            near = cv2.distanceTransform(1 - strokes.astype(np.uint8), cv2.DIST_L2, 3) <= 0.03 * DPI
        else:
            assert (outcome.levels == 1).all()
        error = luma_of(decoded(outcome.data).pixels).astype(float) - luma_of(pixels)
        errors.append(float(np.sqrt((error[near] ** 2).mean())))
    assert errors[0] <= 1.03 * errors[1]


# quality


@given(
    targets=st.lists(st.floats(0.3, 0.999), min_size=2, max_size=2).map(sorted),
    full_targets=st.lists(st.floats(0.3, 0.999), min_size=2, max_size=2).map(sorted),
    mode=st.sampled_from(["measure", "off"]),
)
@examples(max_examples=25, deadline=None)
def test_a_higher_target_never_gives_a_lower_quality_nor_a_smaller_text_ssim(targets, full_targets, mode):
    pixels, words = printed()
    found = []
    for target, full_target in zip(targets, full_targets, strict=True):
        wanted = with_settings(
            legibility={"mode": mode, "target_ssim": target, "figures_target_ssim": 0, "target_full_ssim": full_target}
        )
        with stand_in(fading):
            found.append(fit(findings(pixels, words), NO_LIMIT, reads(words), wanted).metrics)
    assert PROBED_QUALITIES[0] <= found[0].quality <= found[1].quality <= PROBED_QUALITIES[-1]
    if mode == "measure":
        assert found[1].legibility.text_ssim >= found[0].legibility.text_ssim - 1e-6


@pytest.mark.parametrize("codec", ["avif", "jpeg", "webp", "jp2"])
def test_with_a_real_codec_too_a_higher_target_gives_sharper_text(codec):
    pixels, words = printed()
    found = []
    for target in (0.9, 0.97, 0.99, 0.997):
        wanted = with_settings(
            encode={"codec": codec}, legibility={"target_ssim": target, "figures_target_ssim": 0, "target_full_ssim": 0}
        )
        found.append(fit(findings(pixels, words), NO_LIMIT, reads(words), wanted).metrics)
    qualities, sharpness = [one.quality for one in found], [one.legibility.text_ssim for one in found]
    assert qualities == sorted(qualities) and qualities[0] < qualities[-1]
    assert sharpness == sorted(sharpness)


def test_sharpness_at_the_pages_own_resolution_can_ask_for_more_than_at_reading_size():
    pixels, words = printed(shape=(600, 920), size=48)
    found = findings(pixels, words, dpi=300.0)
    qualities = []
    for full_target in (0.0, 0.97):
        wanted = with_settings(legibility={"mode": "off", "target_ssim": 0.9, "target_full_ssim": full_target})
        with stand_in(fading):
            qualities.append(fit(found, NO_LIMIT, UNASKED, wanted).metrics.quality)
    assert qualities[0] < qualities[1]


LIKE_ITS_SOURCE = {"min_ssimulacra2": 80, "min_text_ssimulacra2": 90}


@pytest.mark.parametrize("codec", ["avif", "jpeg", "webp"])
def test_a_page_that_must_look_like_its_source_gets_the_quality_for_it(codec):
    pixels, words = printed(shape=(600, 900), size=30, colour=True)
    whole = {"harshest_level": 1, "paper_level": 1}
    qualities = []
    for wanted_likeness in ({}, LIKE_ITS_SOURCE):
        wanted = with_settings(
            encode={"codec": codec, "chroma_budget": 0, "retry_quality_step": 3},
            legibility=wanted_likeness,
            resolution=whole,
        )
        found = fit(findings(pixels, words), NO_LIMIT, reads(words), wanted)
        assert found.problem is None
        qualities.append(found.metrics.quality)
    assert qualities[0] < qualities[1]
    out = decoded(found.data).pixels
    lines = np.zeros((*pixels.shape[:2], 1), bool)
    for line in range(len(LINES)):
        inside = [word for word in words if word.line_index == line]
        top, bottom = min(w.row_px for w in inside), max(w.row_px + w.height_px for w in inside)
        lines[top:bottom, min(w.col_px for w in inside) : max(w.col_px + w.width_px for w in inside)] = True
    page, text = ssimulacra2.scores(pixels, [out, np.where(lines, out, pixels)])
    assert page >= 80 and text >= 90
    assert (found.metrics.legibility.ssimulacra2, found.metrics.legibility.text_ssimulacra2) == pytest.approx(
        (page, text)
    )


@pytest.mark.parametrize(("bound", "level"), [("min_ssimulacra2", 95), ("min_text_ssimulacra2", 97)])
def test_a_page_that_cannot_look_like_its_source_is_kept_and_the_message_tells_how_near_it_came(bound, level):
    pixels, words = printed()
    wanted = with_settings(legibility={bound: level, "max_attempts": 2})
    with stand_in(lambda pixels, _: cv2.GaussianBlur(pixels, (0, 0), 0.6)):
        found = fit(findings(pixels, words, importance=1.0), NO_LIMIT, UNASKED, wanted)
    assert found.problem.reason == "legibility"
    assert "SSIMULACRA 2" in str(found.problem)
    assert found.metrics.quality == 100
    measured = fit(
        findings(pixels, words), NO_LIMIT, reads(words), with_settings(legibility={bound: level, "mode": "measure"})
    )
    assert measured.problem is None
    measured = measured.metrics.legibility
    assert None not in (measured.ssimulacra2, measured.text_ssimulacra2)


def test_a_page_that_its_own_coarse_places_make_unlike_its_source_gets_their_resolution_back():
    pixels, words = printed()
    wanted = with_settings(
        encode={"quality": 95},
        legibility={"min_text_ssimulacra2": 90, "min_block_ssim": 0},
        resolution={"error_budget": 64},
    )
    unword_tiles = replace(findings(pixels, words), word_tiles=np.zeros((10, 15), bool))
    with stand_in() as codec:
        found = fit(unword_tiles, NO_LIMIT, reads(words), wanted)
    assert (found.problem, codec.qualities) == (None, [95, 95])
    assert (found.levels == 1).any()
    assert found.metrics.legibility.text_ssimulacra2 >= 90


def test_likeness_is_measured_only_where_it_is_wanted():
    pixels, words = printed()
    found = fit(findings(pixels, words), NO_LIMIT, reads(words), with_settings())
    measured = found.metrics.legibility
    assert (measured.ssimulacra2, measured.text_ssimulacra2) == (None, None)


@pytest.mark.parametrize("quality", [1, 37, 100])
def test_a_fixed_quality_is_used_as_it_is_and_nothing_is_probed(quality):
    pixels, words = printed()
    with stand_in() as codec:
        wanted = with_settings(encode={"quality": quality})
        found = fit(findings(pixels, words), NO_LIMIT, UNASKED, wanted)
    assert codec.qualities == [quality]
    assert found.metrics.quality == quality


@given(target=st.floats(0.3, 0.99), figures_target=st.floats(0.3, 0.99))
@examples(max_examples=15, deadline=None)
def test_a_page_of_figures_gets_at_least_the_quality_of_the_same_page_without_digits(target, figures_target):
    pixels, words = printed(["the sum of 4 12.50"] * 5, shape=(300, 400))
    letters = [replace(word, text="oak") for word in words]
    wanted = with_settings(
        legibility={
            "mode": "off",
            "target_ssim": target,
            "figures_target_ssim": figures_target,
            "target_full_ssim": 0,
        }
    )
    with stand_in(fading):
        with_digits, without = (
            fit(findings(pixels, read), NO_LIMIT, UNASKED, wanted).metrics.quality for read in (words, letters)
        )
    assert with_digits >= without
    if figures_target <= target:
        assert with_digits == without


def test_by_default_figures_are_worth_more_bytes():
    pixels, words = printed(["the sum of 4 12.50"] * 5, shape=(300, 400))
    letters = [replace(word, text="oak") for word in words]
    found = [
        fit(findings(pixels, read), NO_LIMIT, reads(read), with_settings(legibility={"target_full_ssim": 0}))
        for read in (words, letters)
    ]
    assert found[0].metrics.quality > found[1].metrics.quality
    assert len(found[0].data) > len(found[1].data)


@pytest.mark.parametrize("paper", [(240,), (240, 228, 205), (190, 40, 40)])
def test_a_blank_page_gets_the_least_quality_and_passes(paper):
    rng = np.random.default_rng(5)
    pixels = np.clip(np.array(paper) + rng.normal(0, 2, (300, 400, 1)), 0, 255).astype(np.uint8)
    pixels = pixels if len(paper) == 3 else np.ascontiguousarray(pixels[..., 0])
    found = findings(pixels)
    assert found.kind is PageKind.BLANK
    outcome = fit(found, NO_LIMIT, UNASKED, with_settings(encode={"least_quality": 35}))
    assert outcome.problem is None
    assert (outcome.metrics.quality, outcome.metrics.attempts) == (35, 1)
    assert (outcome.levels == 8).all()
    assert np.abs(decoded(outcome.data).pixels.reshape(300 * 400, -1).mean(axis=0) - paper).max() < 4


@pytest.mark.parametrize("least", [1, 30, 70, 95])
def test_no_page_gets_less_than_the_least_quality(least):
    pixels, words = printed()
    wanted = with_settings(encode={"least_quality": least}, legibility={"mode": "off"})
    with stand_in(fading):
        quality = fit(findings(pixels, words), NO_LIMIT, UNASKED, wanted).metrics.quality
        needed = fit(findings(pixels, words), NO_LIMIT, UNASKED, with_settings(legibility={"mode": "off"}))
    assert quality == max(least, needed.metrics.quality)


@pytest.mark.parametrize("codec", ["avif", "jpeg", "webp"])
def test_what_the_sample_promises_a_page_of_few_lines_keeps(codec):
    pixels, words = printed(shape=(1200, 900))
    wanted = with_settings(
        encode={"codec": codec}, legibility={"target_ssim": 0.97, "figures_target_ssim": 0, "target_full_ssim": 0}
    )
    metrics = fit(findings(pixels, words), NO_LIMIT, reads(words), wanted).metrics
    assert metrics.legibility.text_ssim == pytest.approx(0.97, abs=0.01)


# size


def test_a_lossy_source_is_not_coded_again_for_a_small_gain_and_a_lossless_one_is():
    pixels, words = printed()
    buffers = {}
    for form in ("JPEG", "PNG"):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, form, quality=90)
        buffers[form] = buffer.getvalue()
    pixels = decoded(buffers["JPEG"]).pixels
    wanted = with_settings(encode={"quality": 60, "least_gain": 0.1})
    size_bytes = len(fit(findings(pixels, words), NO_LIMIT, reads(words), wanted).data)

    def outcome(form, source_bytes):
        is_lossy = read_header(buffers[form], Settings().limits).pages[0].is_lossy
        most_bytes = useful_bytes(source_bytes, is_lossy, wanted.encode)
        return fit(findings(pixels, words), most_bytes, reads(words), wanted)

    gains_a_twentieth = round(size_bytes / 0.95)
    assert outcome("JPEG", gains_a_twentieth).problem.reason == "no_gain"
    assert outcome("PNG", gains_a_twentieth).problem is None
    assert outcome("JPEG", round(size_bytes / 0.85)).problem is None
    assert outcome("PNG", size_bytes).problem.reason == "no_gain"
    assert outcome("PNG", size_bytes + 1).problem is None


@given(source_bytes=st.integers(0, 10**10), gain=st.floats(0, 0.99), is_lossy=st.booleans())
def test_what_is_of_use_is_never_larger_than_the_source(source_bytes, gain, is_lossy):
    assert 0 <= useful_bytes(source_bytes, is_lossy, EncodeSettings(least_gain=gain)) <= source_bytes


def test_an_encoding_without_gain_is_neither_checked_nor_tried_again():
    pixels, words = printed()
    with stand_in() as codec:
        wanted = with_settings(encode={"quality": 40}, legibility={"reread_digits_below": 1})
        found = fit(findings(pixels, words), 100, UNASKED, wanted)
    assert (found.problem.reason, codec.qualities) == ("no_gain", [40])


@pytest.mark.parametrize("codec", ["jpeg", "avif"])
@pytest.mark.parametrize("tagged", [300.0, None])
def test_a_page_above_the_dpi_cap_is_written_smaller_and_judged_at_its_sources_size(codec, tagged, monkeypatch):
    pixels, words = printed(shape=(600, 921), size=48)
    judged = []
    real = legibility.judge
    monkeypatch.setattr(legibility, "judge", lambda *given: judged.append(given) or real(*given))
    found = findings(pixels, words, dpi=300.0, tagged=tagged)
    wanted = with_settings(encode={"codec": codec}, resolution={"max_dpi": 200}, legibility={"min_block_ssim": 0.2})
    outcome = fit(found, NO_LIMIT, reads(words), wanted)
    assert outcome.problem is None
    page = decoded(outcome.data)
    assert page.pixels.shape == (400, 614)
    assert page.dpi == (pytest.approx(200) if tagged else None)
    size = outcome.metrics.size
    sizes = [size.height_px, size.width_px, size.dpi]
    assert sizes == [400, 614, pytest.approx(200) if tagged else None]
    assert outcome.levels.shape == (found.grid.n_rows, found.grid.n_cols)
    assert found.grid.n_rows == -(-600 // 64)
    assert sum(outcome.metrics.tiles_per_level) == found.grid.n_tiles
    (source, shown, _), *_ = judged
    assert source.pixels.shape[:2] == shown.shape[:2] == (600, 921)
    assert source.dpi == 300.0
    assert np.abs(luma_of(shown).astype(int) - pixels).mean() < 6  # upright and in its place


@pytest.mark.parametrize("max_dpi", [None, 150, 143, 400])
def test_a_page_hardly_above_the_cap_or_below_it_keeps_its_size(max_dpi):
    pixels, words = printed()
    wanted = with_settings(resolution={"max_dpi": max_dpi})
    outcome = fit(findings(pixels, words), NO_LIMIT, reads(words), wanted)
    assert decoded(outcome.data).pixels.shape == pixels.shape
    assert outcome.metrics.size.dpi == DPI


# kinds


@pytest.mark.parametrize("codec", ["jpeg", "avif"])
def test_a_grey_page_is_coded_grey_though_its_pixels_have_a_tinge(codec):
    pixels, words = printed()
    tinged = np.repeat(pixels[..., np.newaxis], 3, axis=2)
    tinged[..., 2] -= 1
    found = findings(tinged, words)
    assert found.kind is PageKind.GREY
    outcome = fit(found, NO_LIMIT, reads(words), with_settings(encode={"codec": codec}))
    with Image.open(io.BytesIO(outcome.data)) as image:
        assert image.mode == "L"


def test_a_colour_page_stays_coloured():
    pixels, words = printed(colour=True)
    outcome = fit(findings(pixels, words), NO_LIMIT, reads(words), with_settings())
    assert decoded(outcome.data).pixels.ndim == 3
    assert outcome.metrics.legibility.chroma_error < 3


def two_tone():
    pixels, words = printed(grain=0, shape=(600, 920), size=48)
    return np.where(pixels > 130, 255, 0).astype(np.uint8), words


def test_a_bitonal_page_becomes_g4_without_loss_and_without_a_question():
    pixels, words = two_tone()
    outcome = fit(findings(pixels, words, is_bitonal=True), NO_LIMIT, UNASKED, with_settings())
    assert (outcome.problem, outcome.codec, outcome.metrics.codec) == (None, "g4", "g4")
    assert np.array_equal(decoded(outcome.data).pixels, pixels)
    assert (outcome.levels == 1).all()
    assert fit(findings(pixels, words, is_bitonal=True), 10, UNASKED, with_settings()).problem.reason == "no_gain"


def test_a_bitonal_page_that_would_come_back_with_another_bit_is_kept():
    pixels, words = two_tone()
    traits = encode.CODECS["g4"]

    def one_bit_wrong(job):
        wrong = job.pixels.copy()
        wrong[0, 0] ^= True
        return traits.write(replace(job, pixels=wrong))

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(encode.CODECS, "g4", replace(traits, write=one_bit_wrong))
        outcome = fit(findings(pixels, words, is_bitonal=True), NO_LIMIT, UNASKED, with_settings())
    assert outcome.problem.reason == "not_lossless"


def test_a_two_tone_page_becomes_g4_and_is_judged_like_any_other():
    pixels, words = two_tone()
    found = findings(pixels, words)
    assert found.kind is PageKind.TWO_TONE
    outcome = fit(found, NO_LIMIT, UNASKED, with_settings())
    assert (outcome.problem, outcome.codec) == (None, "g4")
    assert outcome.metrics.legibility.text_ssim == pytest.approx(1.0)
    tones = fit(found, NO_LIMIT, reads(words), with_settings(encode={"two_tone_to_bitonal": False}))
    assert tones.codec == "jpeg"


def test_a_two_tone_page_whose_digits_change_as_bits_is_coded_with_its_tones():
    pixels, words = two_tone()
    pixels = cv2.GaussianBlur(pixels, (0, 0), 1.0)  # soft edges, which bits do not have
    with stand_in() as codec:
        reader = reads(words, changed=MISREAD, only_if=lambda: not codec.qualities, source=pixels)
        outcome = fit(findings(pixels, words, kind=PageKind.TWO_TONE), NO_LIMIT, reader, with_settings())
    assert (outcome.problem, outcome.codec) == (None, "jpeg")


def test_a_page_longer_than_the_format_holds_is_no_page_for_it():
    pixels = np.full((encode.LARGEST_SIDE_PX["webp"] + 1, 16), 240, np.uint8)
    wanted = with_settings(encode={"codec": "webp"})
    outcome = fit(findings(pixels), NO_LIMIT, UNASKED, wanted)
    assert (outcome.problem.reason, outcome.data) == ("too_long", None)


def test_the_same_page_gives_the_same_bytes_and_is_left_as_it_was():
    pixels, words = printed(colour=True)
    before = pixels.copy()
    first, second = (fit(findings(pixels, words), NO_LIMIT, reads(words), with_settings()) for _ in range(2))
    assert first.data == second.data
    assert np.array_equal(pixels, before)


# colour


def with_tick(pixels, colour=(190, 30, 40)):
    marked = np.repeat(pixels[..., np.newaxis], 3, axis=2) if pixels.ndim == 2 else pixels.copy()
    return cv2.polylines(marked, [np.array([[400, 240], [408, 252], [428, 226]])], False, colour, 3, cv2.LINE_AA)


def black_and_white(lines=LINES):
    pixels, _ = printed(lines, grain=0)
    return np.where(pixels > 128, np.uint8(255), np.uint8(0))


def test_a_two_tone_page_with_a_red_tick_stays_red():
    plain, ticked = black_and_white(), with_tick(black_and_white())
    assert findings(plain).kind is PageKind.TWO_TONE
    assert findings(ticked).kind is PageKind.COLOUR
    wanted = with_settings()
    assert fit(findings(plain), NO_LIMIT, UNASKED, wanted).codec == "g4"
    for kind in (None, PageKind.TWO_TONE):  # whatever the page was taken for
        outcome = fit(findings(ticked, kind=kind), NO_LIMIT, UNASKED, wanted)
        assert (outcome.problem, outcome.codec) == (None, "jpeg")
        core = decoded(outcome.data).pixels[249:252, 407:410].reshape(-1, 3).mean(axis=0)
        assert core[0] > core[1] + 60
        assert 0 <= outcome.metrics.legibility.mark_chroma_error < 20


def test_a_mark_that_loses_its_colour_however_it_is_coded_keeps_the_page_whole():
    def greyed(pixels, quality):
        return pixels if pixels.ndim == 2 else cv2.cvtColor(luma_of(pixels), cv2.COLOR_GRAY2RGB)

    with stand_in(greyed):
        outcome = fit(findings(with_tick(black_and_white())), NO_LIMIT, UNASKED, with_settings())
    assert outcome.problem.reason == "legibility"
    assert "coloured marks" in str(outcome.problem)
    assert outcome.metrics.legibility.mark_chroma_error > 20


def test_a_discoloured_page_gets_whole_chroma_before_its_quality_rises(monkeypatch):
    held = []

    def write(job):
        held.append((job.settings.avif_chroma, job.quality))
        lossy = job.settings.avif_chroma == "4:2:0"
        pixels = cv2.cvtColor(luma_of(job.pixels), cv2.COLOR_GRAY2RGB) if lossy else job.pixels
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()

    monkeypatch.setitem(encode.CODECS, "avif", replace(encode.CODECS["avif"], write=write))
    wanted = with_settings(encode={"codec": "avif", "quality": 50})
    outcome = fit(findings(with_tick(black_and_white()), importance=1.0), NO_LIMIT, UNASKED, wanted)
    assert (outcome.problem, held) == (None, [("4:2:0", 50), ("4:4:4", 50)])


@pytest.mark.parametrize("kind", [PageKind.GREY, PageKind.BLANK, PageKind.TWO_TONE])
def test_colour_is_never_dropped_where_the_settings_say_so(kind):
    page = np.repeat(black_and_white()[..., np.newaxis], 3, axis=2)
    page[200:, :, 2] = np.maximum(page[200:, :, 2], 2) - 2  # nobody sees it
    for drop_colour, shape in (("unseen", page.shape[:2]), ("never", page.shape)):
        wanted = with_settings(encode={"drop_colour": drop_colour, "quality": 90, "two_tone_to_bitonal": False})
        outcome = fit(findings(page, kind=kind), NO_LIMIT, UNASKED, wanted)
        assert decoded(outcome.data).pixels.shape == shape
    grey = np.repeat(page[..., :1], 3, axis=2)
    outcome = fit(findings(grey, kind=kind), NO_LIMIT, UNASKED, wanted)
    assert decoded(outcome.data).pixels.shape == page.shape[:2]


def test_the_profile_for_preservation_never_drops_colour():
    assert load_settings("preservation", []).encode.drop_colour == "never"
