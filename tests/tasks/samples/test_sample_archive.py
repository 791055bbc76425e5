from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from foliopress.configs.settings import OcrSettings
from foliopress.tasks.ocr.recognition import read_words
from foliopress.tasks.samples.lettering import SERIF, TYPEWRITER, line_width, print_block, print_line, wrap, write_line
from foliopress.tasks.samples.paper import CREAM_PAPER, ScanLook, Sheet, scan
from foliopress.tasks.samples.sample_archive import sample_document, write_sample_archive
from foliopress.tasks.samples.texts import sample_text

TEXT = (
    "The committee considered the letter of Okafor and resolved to pay 1,204.50 dollars before the end of March. "
    "No vessel of more than 120 feet may lie at the north quay between sunset and sunrise without a lantern."
)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("archive")
    return {path.relative_to(folder).as_posix(): path for path in write_sample_archive(folder)}


def formats(archive: dict[str, Path]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for path in archive.values():
        with Image.open(path) as image:
            counts[str(image.format)] += 1
    return counts


def test_the_archive_is_varied_in_format_folder_and_colour(archive):
    assert len(archive) == 18
    assert formats(archive) == {"JPEG": 12, "PNG": 3, "TIFF": 2, "WEBP": 1}
    assert len({Path(key).parent for key in archive}) >= 6
    modes = {Image.open(path).mode for path in archive.values()}
    assert modes == {"1", "L", "RGB"}


def test_the_files_are_what_their_names_say(archive):
    wanted = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}
    for path in archive.values():
        with Image.open(path) as image:
            assert image.format == wanted[path.suffix]


def test_the_bitonal_page_is_one_bit_in_ccitt_group_4(archive):
    with Image.open(archive["office/memorandum.tif"]) as image:
        assert (image.mode, image.n_frames, image.info["compression"]) == ("1", 1, "group4")
        assert image.info["dpi"] == (300, 300)


def test_the_minutes_are_three_pages_of_three_kinds(archive):
    with Image.open(archive["office/minutes.tif"]) as image:
        assert image.n_frames == 3
        pages = []
        for index in range(3):
            image.seek(index)
            image.load()
            pages.append((image.mode, image.info["compression"], image.info["dpi"][0]))
    assert pages == [("1", "group4", 200), ("L", "tiff_lzw", 150), ("RGB", "jpeg", 150)]


def test_the_fax_is_a_grey_jpeg_of_two_tones(archive):
    grey = np.asarray(Image.open(archive["office/fax.jpg"]))
    assert grey.ndim == 2
    assert ((grey < 60) | (grey > 195)).mean() > 0.97


def test_the_till_receipt_and_the_webp_form_carry_no_resolution(archive):
    untagged = {key for key, path in archive.items() if "dpi" not in Image.open(path).info}
    assert untagged == {"forms/mooring-118.webp", "receipts/kirk-street-stores.jpg"}


def test_the_phone_lies_on_its_side_and_says_so(archive):
    with Image.open(archive["phone/notice.jpg"]) as image:
        assert image.getexif()[0x0112] == 6
        assert image.width > image.height


def test_the_sideways_table_says_nothing(archive):
    with Image.open(archive["ledgers/table-14-sideways.jpg"]) as image:
        assert 0x0112 not in image.getexif()
        assert image.height > image.width


def test_tesseract_reads_the_book_page(archive):
    page = np.asarray(Image.open(archive["books/harbour-p127.jpg"]))
    found = Counter(word.text.strip(".,").lower() for word in read_words(page, 200, OcrSettings()))
    wanted = "the harbour and its people chapter of quay what was landed there committee dollars"
    assert [word for word in wanted.split() if not found[word]] == []


@pytest.mark.parametrize("face", [SERIF, TYPEWRITER])
def test_tesseract_finds_nine_words_of_ten_in_a_scan_of_known_text(face):
    sheet = Sheet(80, 150, 200, CREAM_PAPER)
    sheet.lay(print_block(TEXT, sheet.px(130), 11 / 72 * 200, face), 10, 10)
    page = scan(sheet.light, np.random.default_rng(3), ScanLook(skew_degrees=0.5, bleed=0.05))
    wanted = Counter(re.findall(r"[\w,.]+", TEXT.replace(". ", " ").rstrip(".")))
    found = Counter(word.text.rstrip(".") for word in read_words(page, 200, OcrSettings()))
    assert (wanted & found).total() / wanted.total() > 0.9


@pytest.mark.parametrize("key", ["books/back-of-plate.jpg", "receipts/kirk-street-stores.jpg", "phone/notice.jpg"])
def test_a_seed_gives_the_same_bytes_and_another_seed_others(archive, key):
    assert sample_document(key) == archive[key].read_bytes()
    assert sample_document(key, seed=1) != archive[key].read_bytes()


def test_text_says_no_sentence_twice_before_all_were_said():
    text = sample_text(np.random.default_rng(0), 12)
    assert len(text.split()) > 150
    assert text.count("The clerk read the minutes") == 1


def test_a_typewriter_gives_every_letter_the_same_room():
    assert line_width("iiii", 20, TYPEWRITER) == line_width("mmmm", 20, TYPEWRITER) == pytest.approx(4 * 0.6 * 20)
    assert line_width("iiii", 20, SERIF) < line_width("mmmm", 20, SERIF)


def test_wrapped_lines_fit_and_lose_no_word():
    lines = wrap(TEXT, 300, 20)
    assert " ".join(lines) == TEXT
    assert all(line_width(line, 20) <= 300 for line in lines)


def test_a_mask_is_coverage_between_0_and_1():
    for mask in (print_line("Kilbray 1931", 30), write_line("Kilbray 1931", 12, np.random.default_rng(0))):
        assert mask.dtype == np.float32
        assert mask.min() == 0.0
        assert 0.9 < mask.max() <= 1.0


def test_handwriting_stands_on_its_baseline():
    """Letters without a tail leave the fourth x-height empty and fill the third."""
    mask = write_line("one mice can run", 20, np.random.default_rng(1), carelessness=0)
    assert mask[45:60].sum() > 10 * mask[65:].sum()


def test_scanning_leaves_the_sheet_as_it_was():
    sheet = Sheet(20, 30, 150)
    sheet.lay(print_line("Kilbray", 20), 5, 5)
    before = sheet.light.copy()
    look = ScanLook(skew_degrees=1, stains=2, gutter=0.3, bleed=0.1, fading=0.2)
    page = scan(sheet.light, np.random.default_rng(0), look)
    assert np.array_equal(sheet.light, before)
    assert page.shape == sheet.light.shape
    assert page.dtype == np.uint8


def test_ink_beyond_the_edge_is_cut_off():
    sheet = Sheet(10, 10, 150)
    sheet.lay(np.ones((200, 200), np.float32), -5, -5, (0.0, 0.0, 0.0))
    assert sheet.light.max() == 0.0
    sheet.lay(np.ones((5, 5), np.float32), 50, 50)
