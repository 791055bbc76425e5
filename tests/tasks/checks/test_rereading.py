"""Repeated OCR, on a page of boxes for words, with a scripted reader."""

from dataclasses import dataclass, field, replace
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from foliopress.configs.settings import LegibilitySettings, OcrSettings
from foliopress.tasks.checks import rereading
from foliopress.tasks.checks.doubtful_words import DoubtfulWords
from foliopress.tasks.checks.legibility import at_reading_size
from foliopress.tasks.checks.page_pair import PagePair
from foliopress.tasks.checks.perturbations import perturbed
from foliopress.tasks.checks.rereading import Reader, comparable_text, is_digit_string, is_numeric_page
from foliopress.tasks.codecs.luma import luma_of
from foliopress.tasks.ocr import recognition
from foliopress.tasks.ocr.orientation import turned, turned_back
from foliopress.tasks.ocr.recognition import Word
from tests.unperturbed import Perturbed, marked_instead_of_perturbed

DPI = 150.0
PAPER = 250
BEFORE, AFTER = 10, 130  # tone of the first word's box, in the source and where the decoded page differs
NOTHING = ("", 0.0)


def laid_out(*lines, confidence=96.0):
    """Return words in boxes of 20 by 12 pixels a letter, one line of text every 40 pixels."""
    words = []
    for line_index, line in enumerate(lines):
        col_px = 80
        for text in line.split():
            words.append(Word(line_index, 60 + 40 * line_index, col_px, 20, 12 * len(text), text, confidence))
            col_px += 12 * len(text) + 16
    return words


def drawn(words, tones):
    height_px = max(word.row_px for word in words) + 40
    width_px = max(word.col_px + word.width_px for word in words) + 20
    page = np.full((height_px, width_px), PAPER, np.uint8)
    for word, tone in zip(words, tones, strict=True):
        page[word.row_px : word.row_px + word.height_px, word.col_px : word.col_px + word.width_px] = tone
    return page


@pytest.fixture(autouse=True, scope="module")
def _tones_stay_readable():
    with marked_instead_of_perturbed():
        yield


def reread(source, decoded, words, reader, settings, dpi=DPI):
    before = at_reading_size(luma_of(source), dpi)
    is_doubtful = DoubtfulWords(PagePair.of(before, decoded, dpi), np.ones(before.shape, np.float32), settings)
    return rereading.reread(source, decoded, is_doubtful, words, reader, settings)


@dataclass
class Scripted:
    """A source page, its decoded page, and a scripted reading of each box, by its tone, on the page and in a crop.

    `touched` numbers the lines whose boxes differ on the decoded page, by default all. The scripts hold
    (text, confidence) by tone; other boxes are read as on the source. `by_close_line` is for the second, closer crop of
    a line, where it reads differently from the first; `by_perturbed` for perturbed crops of the source.
    """

    words: list
    touched: set | None = None
    by_page: dict = field(default_factory=dict)
    by_line: dict = field(default_factory=dict)
    by_close_line: dict | None = None
    by_perturbed: dict = field(default_factory=dict)
    calls: list = field(default_factory=list)

    def __post_init__(self):
        touched = {word.line_index for word in self.words} if self.touched is None else self.touched
        before = range(BEFORE, BEFORE + len(self.words))
        after = [
            tone + AFTER - BEFORE if word.line_index in touched else tone
            for word, tone in zip(self.words, before, strict=True)
        ]
        assert len(self.words) <= AFTER - BEFORE
        self.source, self.decoded = drawn(self.words, before), drawn(self.words, after)

    def reader(self):
        return Reader(self._page, self._lines)

    def reread(self, **options):
        settings = LegibilitySettings.model_validate(options)
        return reread(self.source, self.decoded, self.words, self.reader(), settings)

    def _page(self, pixels):
        self.calls.append("page")
        return self._read(pixels, self.by_page)

    def _lines(self, pictures):
        if any(isinstance(picture, Perturbed) for picture in pictures):
            self.calls.append("perturbed lines")
            return [self._read(picture, self.by_perturbed) for picture in pictures]
        self.calls.append("lines")
        is_close = self.by_close_line is not None and self.calls.count("lines") > 2
        return [self._read(picture, self.by_close_line if is_close else self.by_line) for picture in pictures]

    def _read(self, pixels, script):
        found = []
        for tone in sorted(set(np.unique(np.asarray(pixels)).tolist()) - {PAPER}):
            word = self.words[(tone - BEFORE) % (AFTER - BEFORE)]
            text, confidence = script.get(tone, (word.text, word.confidence))
            if text:
                rows, cols = np.nonzero(pixels == tone)
                size = int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1
                found.append(Word(0, int(rows.min()), int(cols.min()), *size, text, confidence))
        return found


numbers = st.from_regex(r"[0-9]{1,4}([.,:/-][0-9]{1,3}){0,2}", fullmatch=True)
sure = st.floats(80, 100)


@given(
    number=numbers,
    others=st.tuples(numbers, numbers),
    confidences=st.tuples(sure, sure, sure),
    n_lines=st.integers(1, 12),
    place=st.integers(0, 11),
    lines_first=st.booleans(),
    source_line_is_read=st.booleans(),
    unread_by=st.sampled_from(["neither", "page", "line"]),
    repeated=st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_a_changed_digit_string_never_passes(
    number, others, confidences, n_lines, place, lines_first, source_line_is_read, unread_by, repeated
):
    """Page and line read another number, or one of them does and the other reads nothing.

    Unless the source's own line does not yield the number: then it was read by chance.
    """
    assume(all(comparable_text(other) != comparable_text(number) for other in others))
    assume(n_lines >= 4 or not lines_first)
    place %= n_lines
    texts = ["an entry of the year"] * n_lines
    texts[place] = f"paid {number} on" + f" {number}" * repeated
    words = [replace(word, confidence=confidences[0]) for word in laid_out(*texts)]
    changed = next(index for index, word in enumerate(words) if word.text == number)
    scripted = Scripted(
        words,
        touched={place} if lines_first else None,
        by_page={AFTER + changed: NOTHING if unread_by == "page" else (others[0], confidences[1])},
        by_line={AFTER + changed: NOTHING if unread_by == "line" else (others[1], confidences[2])}
        | ({} if source_line_is_read else {BEFORE + changed: NOTHING}),
    )
    found = scripted.reread()
    assert scripted.calls[0] == ("lines" if lines_first else "page")
    assert found.passed != source_line_is_read
    assert found.digits_changed == source_line_is_read
    word = words[changed]
    box = [word.row_px, word.col_px, word.height_px, word.width_px]
    assert found.failing.tolist() == ([box] if source_line_is_read else [])


@given(
    parts=st.lists(st.text("0123456789", min_size=1, max_size=3), min_size=2, max_size=3),
    marks=st.tuples(*[st.sampled_from(".,:;-/'")] * 2),
    around=st.tuples(*[st.sampled_from(["", "(", ".", ",", "$"])] * 2),
)
@settings(max_examples=60, deadline=None)
def test_another_mark_between_the_same_digits_is_no_change_but_a_missing_one_is(parts, marks, around):
    number = marks[0].join(parts)
    scripted = Scripted(laid_out(f"paid {number}"))
    misread = f"{around[0]}{marks[1].join(parts)}{around[1]}", 95.0
    scripted.by_page = scripted.by_line = {AFTER + 1: misread}
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 1.0, 0)
    scripted.by_page = scripted.by_line = {AFTER + 1: ("".join(parts), 95.0)}
    assert not scripted.reread().passed


@pytest.mark.parametrize(
    ("number", "read", "passes"), [("4.50", "4:50", True), ("12.50", "1250", False), ("1250", "12.50", False)]
)
def test_what_parts_an_amount_may_be_mistaken_but_not_lost(number, read, passes):
    scripted = Scripted(laid_out(f"paid {number}"))
    scripted.by_page = scripted.by_line = {AFTER + 1: (read, 90.0)}
    assert scripted.reread().passed == passes


def test_a_digit_string_that_the_page_misreads_and_its_line_gives_back_is_kept():
    scripted = Scripted(laid_out("in 1887", "and later"), by_page={AFTER + 1: ("1837", 96.0)})
    found = scripted.reread()
    assert scripted.calls == ["page", "lines"]
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 1.0, 0)
    assert found.failing.shape == (0, 4)


def test_a_digit_string_that_its_line_misreads_and_the_page_gives_back_is_kept():
    scripted = Scripted(laid_out("in 1887", *["and later"] * 4), touched={0}, by_line={AFTER + 1: ("1837", 96.0)})
    found = scripted.reread()
    assert scripted.calls == [*["lines"] * 4, "page"]  # the decoded page's line and the source's, twice, then all of it
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 1.0, 0)


def test_a_digit_string_that_a_closer_cut_of_its_line_gives_back_is_kept_and_the_page_is_not_read():
    scripted = Scripted(laid_out("in 1887", *["and later"] * 4), touched={0}, by_line={AFTER + 1: ("1837", 96.0)})
    scripted.by_close_line = {}
    found = scripted.reread()
    assert scripted.calls == ["lines"] * 3
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 1.0, 0)


def test_what_one_cut_of_the_sources_line_gives_back_was_not_read_by_chance():
    lost = {AFTER + place: NOTHING for place in range(9)}
    unread = {BEFORE + place: ("something", 60.0) for place in range(9)}
    scripted = Scripted(laid_out(*["oak elm ash"] * 4), by_page=lost, by_line=lost | unread, by_close_line=lost)
    assert not scripted.reread().passed
    scripted.calls.clear()
    scripted.by_close_line = lost | unread
    assert scripted.reread().passed


def test_what_the_line_misreads_on_the_source_too_is_the_cuts_doing_and_no_change():
    misread = ("1837", 96.0)
    scripted = Scripted(laid_out("in 1887"), by_page={AFTER + 1: misread}, by_line={AFTER + 1: misread})
    assert not scripted.reread().passed
    scripted.by_line[BEFORE + 1] = misread
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 1.0, 0)


def test_a_digit_string_in_whose_place_nothing_sure_is_read_is_lost_and_not_changed():
    scripted = Scripted(laid_out("in 1887"))
    scripted.by_page = scripted.by_line = {AFTER + 1: ("1837", 79.0)}
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 0.5, 0)


def test_a_word_without_digits_that_is_read_otherwise_is_lost_like_any_other():
    scripted = Scripted(laid_out("in 1887", "and later"))
    scripted.by_page = scripted.by_line = {AFTER + 2: ("end", 96.0)}
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 0.75, 0)


def test_a_word_that_is_read_in_two_parts_is_kept():
    word = Word(0, 20, 20, 20, 96, "farewell", 96.0)
    halves = [replace(word, width_px=48, text="fare"), replace(word, col_px=68, width_px=48, text="well")]
    reader = Reader(lambda _: halves, lambda pictures: [()] * len(pictures))
    found = reread(drawn([word], [20]), drawn([word], [150]), [word], reader, LegibilitySettings())
    assert (found.passed, found.words_kept_fraction) == (True, 1.0)


def test_the_same_word_read_a_line_further_down_does_not_count():
    scripted = Scripted(laid_out("in 1887", "in 1837"))
    scripted.by_page = scripted.by_line = {AFTER + 1: ("1837", 96.0), AFTER + 3: ("1887", 96.0)}
    assert scripted.reread().digits_changed == 2


@given(n_words=st.integers(1, 110), data=st.data())
@settings(max_examples=60, deadline=None)
def test_one_word_may_be_lost_and_of_many_two_in_a_hundred(n_words, data):
    n_lost = data.draw(st.integers(0, min(n_words, 5)))
    texts = [" ".join(["oak"] * len(chunk)) for chunk in np.array_split(range(n_words), -(-n_words // 10))]
    lost = {AFTER + place: NOTHING for place in data.draw(st.permutations(range(n_words)))[:n_lost]}
    found = Scripted(laid_out(*texts), by_page=lost, by_line=lost).reread()
    assert found.passed == (n_lost <= 1 or n_lost <= 0.02 * n_words)
    assert found.words_kept_fraction == pytest.approx(1 - n_lost / n_words)
    assert (found.digits_changed, len(found.failing)) == (0, n_lost)


def test_what_the_sources_own_line_does_not_give_back_was_read_by_chance_and_its_loss_is_not_counted():
    """OCR reads handwriting in a ruled ledger differently each time; its strokes are judged all the same."""
    words = laid_out(*["oak elm ash"] * 4)
    lost = {AFTER + place: NOTHING for place in range(9)}
    scripted = Scripted(words, by_page=lost, by_line=lost)
    assert not scripted.reread().passed
    scripted.by_line = lost | {BEFORE + place: ("something", 60.0) for place in range(9)}
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction) == (True, 1.0)
    scripted.by_line = lost | {BEFORE + place: ("something", 60.0) for place in range(7)}
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction) == (False, pytest.approx(10 / 12))


def test_a_digit_string_that_was_read_by_chance_is_held_against_nothing():
    scripted = Scripted(laid_out("in 1887"))
    scripted.by_page = {AFTER + 1: ("1837", 96.0)}
    scripted.by_line = {AFTER + 1: NOTHING, BEFORE + 1: ("I8B?", 60.0)}
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed, found.digits_lost) == (True, 1.0, 0, 0)


@pytest.mark.parametrize("misread", [("5040", 96.0), ("3040", 60.0), NOTHING])
def test_what_an_invisible_change_of_the_source_takes_away_was_read_by_chance_even_a_number(misread):
    scripted = Scripted(laid_out("paid 30.40"))
    scripted.by_page = scripted.by_line = {AFTER + 1: ("5040", 96.0)}
    assert not scripted.reread().passed
    assert scripted.calls[-1] == "perturbed lines"
    scripted.by_perturbed = {BEFORE + 1: misread}
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed, found.digits_lost) == (True, 1.0, 0, 0)


def test_nothing_is_perturbed_on_a_page_whose_words_are_all_read_again():
    scripted = Scripted(laid_out("in 1887", "and later"), by_page={AFTER + 1: ("1837", 96.0)})
    assert scripted.reread().passed
    assert "perturbed lines" not in scripted.calls


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_perturbed_pictures_look_the_same_and_are_three(height_px, width_px, seed):
    rng = np.random.default_rng(seed)
    picture = cv2.GaussianBlur(rng.integers(0, 256, (height_px, width_px), dtype=np.uint8), (0, 0), 3)
    copies = perturbed(picture)
    assert len(copies) == 3
    for copy in copies:
        assert (copy.shape, copy.dtype) == (picture.shape, np.uint8)
        assert np.abs(copy.astype(int) - picture).mean() < 5
    assert all(np.array_equal(one, other) for one, other in zip(copies, perturbed(picture), strict=True))


def test_a_page_that_did_not_change_is_not_read_at_all():
    scripted = Scripted(laid_out("in 1887", "paid 4.50 to him"), touched=set())
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.lines_reread) == (True, 1.0, 0)
    assert scripted.calls == []


def test_digits_are_read_again_after_a_smaller_change_than_letters():
    words = laid_out("in 1887", "and later", "for ever")
    scripted = Scripted(words)
    for change, n_lines in ((1, 0), (5, 1), (12, 3)):  # SSIM of flat boxes of tone 20: 0.999, 0.976 and 0.891
        scripted.source, scripted.decoded = drawn(words, [20] * 6), drawn(words, [20 + change] * 6)
        reader = Reader(lambda _: words, lambda pictures: [()] * len(pictures))
        found = reread(scripted.source, scripted.decoded, words, reader, LegibilitySettings())
        assert (found.lines_reread, found.passed) == (n_lines, True)


@pytest.mark.parametrize("confidence", [0.0, 79.0])
def test_what_ocr_was_not_sure_of_is_no_claim(confidence):
    unsure = laid_out("in 1887 later", confidence=confidence)
    everything_is_lost = dict.fromkeys(range(AFTER, AFTER + 9), ("9", 99.0))
    scripted = Scripted(unsure, by_page=everything_is_lost, by_line=everything_is_lost)
    found = scripted.reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, None, 0)
    assert scripted.calls == []
    beside_a_sure_one = [*unsure, *(replace(word, line_index=1, row_px=100) for word in laid_out("ever"))]
    lost = dict.fromkeys(range(AFTER, AFTER + 3), ("9", 99.0))
    found = Scripted(beside_a_sure_one, by_page=lost, by_line=lost).reread()
    assert (found.passed, found.words_kept_fraction, found.digits_changed) == (True, 1.0, 0)


@pytest.mark.parametrize("words", [[], [Word(0, 20, 20, 20, 30, "—", 96.0)]])
def test_a_page_without_words_passes_and_has_no_share_of_them(words):
    page = np.full((80, 80), 250, np.uint8)
    found = reread(page, page // 2, words, Reader(pytest.fail, pytest.fail), LegibilitySettings())
    assert (found.passed, found.words_kept_fraction, found.lines_reread) == (True, None, 0)


def test_colour_is_read_again_like_grey():
    scripted = Scripted(laid_out("in 1887"))
    scripted.by_page = scripted.by_line = {AFTER + 1: ("1837", 96.0)}
    colour = [np.repeat(plane[..., np.newaxis], 3, axis=2) for plane in (scripted.source, scripted.decoded)]
    grey = Reader(
        lambda pixels: scripted.reader().page(pixels[..., 0]),
        lambda pictures: scripted.reader().lines([p if p.ndim == 2 else p[..., 0] for p in pictures]),
    )
    assert reread(*colour, scripted.words, grey, LegibilitySettings()).digits_changed == 1


LEDGER = ["The ledger of the year 1887", "was closed on the last of", "December and carried over", "to a new book"]


def ledger(year="1887"):
    image = Image.new("L", (1000, 560), 240)
    for number, line in enumerate(LEDGER):
        text = line.replace("1887", year)
        ImageDraw.Draw(image).text((60, 50 + 120 * number), text, fill=30, font=ImageFont.load_default(52))
    return np.array(image)


@pytest.fixture(scope="module")
def tesseract():
    options = {"dpi": 300.0, "settings": OcrSettings()}
    reader = Reader(partial(recognition.read_words, **options), partial(recognition.read_lines, **options))
    words = reader.page(ledger())
    assert next(word for word in words if word.text == "1887").confidence >= 80
    return reader, words


def test_a_year_that_was_redrawn_is_found_by_tesseract(tesseract, monkeypatch):
    monkeypatch.setattr(rereading, "perturbed", perturbed)
    reader, words = tesseract
    found = reread(ledger(), ledger("1837"), words, reader, LegibilitySettings(), 300.0)
    assert (found.passed, found.digits_changed, found.lines_reread) == (False, 1, 1)


def test_a_lightly_blurred_page_is_read_again_by_tesseract_and_passes(tesseract):
    reader, words = tesseract
    blurred = cv2.GaussianBlur(ledger(), (0, 0), 2.0)
    found = reread(ledger(), blurred, words, reader, LegibilitySettings(), 300.0)
    assert (found.passed, found.digits_changed, found.words_kept_fraction) == (True, 0, 1.0)
    assert found.lines_reread >= 1


@pytest.mark.parametrize(
    ("text", "is_one"),
    [("1887", True), ("4.50", True), ("B12", True), ("A1", True), ("No5", False), ("oak", False), ("--", False)],
)
def test_a_digit_string_has_as_many_digits_as_letters(text, is_one):
    assert is_digit_string(text) == is_one


def test_a_third_of_the_lines_but_at_least_four_make_a_page_of_figures():
    assert is_numeric_page(laid_out(*["paid 4.50"] * 4, *["to him"] * 8))
    assert not is_numeric_page(laid_out(*["paid 4.50"] * 4, *["to him"] * 9))
    assert not is_numeric_page(laid_out(*["paid 4.50"] * 3))
    assert not is_numeric_page(laid_out(*["paid 4.50"] * 4, confidence=60.0))
    assert not is_numeric_page([])


STRICT = LegibilitySettings(reread_words_below=1.0)


class Turned:
    """Reads images in which the ink of a word fills its box, and records their orientation."""

    def __init__(self):
        self.shapes = []

    def page(self, pixels):
        return [Word(0, 0, 0, 1, 1, "nothing", 10.0)]

    def lines(self, pictures):
        found = []
        for picture in pictures:
            self.shapes.append(picture.shape)
            rows, cols = np.nonzero(picture < 200)
            size = int(np.ptp(rows)) + 1, int(np.ptp(cols)) + 1
            # upright, the ink is darker at the word's beginning
            left, right = picture[rows[0], cols.min()], picture[rows[0], cols.max()]
            text = "ledger" if left < right else "backwards"
            found.append([Word(0, int(rows.min()), int(cols.min()), *size, text, 95.0)])
        return found


@pytest.mark.parametrize("quarter_turns", range(4))
def test_the_lines_of_a_turned_page_are_read_upright_and_found_in_their_places(quarter_turns):
    upright = np.full((120, 300), 250, np.uint8)
    upright[40:64, 60:180] = np.linspace(20, 150, 120).astype(np.uint8)
    page = turned(upright, -quarter_turns % 4)
    (word,) = turned_back([Word(0, 40, 60, 24, 120, "ledger", 95.0)], quarter_turns, *page.shape)
    reader = Turned()
    found = reread(page, np.where(page < 200, 255 - page, page), [word], Reader(reader.page, reader.lines), STRICT)
    assert {shape[0] < shape[1] for shape in reader.shapes} == {True}
    assert (found.lines_reread, found.passed) == (1, True)  # one word may be lost
    reader = Turned()
    paler = np.where(page < 200, page + np.uint8(20), page)
    kept = reread(page, paler, [word], Reader(reader.page, reader.lines), STRICT)
    assert (kept.lines_reread, kept.words_kept_fraction) == (1, 1.0)
