"""Test all page steps on real scans, with the shipped network, without Prefect and Dask."""

import pytest

from foliopress.configs.settings import Settings
from foliopress.flows.steps import steps
from foliopress.model.scoring import load_scorer
from foliopress.tasks.images.image_reader import read_page
from foliopress.tasks.storage.source_listing import Document
from foliopress.tasks.storage.store import Store

SETTINGS = Settings()


@pytest.fixture
def compress(scans, tmp_path):
    """A function that takes one scan through all steps and returns its rows and its output's bytes."""
    scorer = load_scorer()
    dest = Store(str(tmp_path), SETTINGS.storage)

    def run(key):
        document = Document(key, (scans / key).stat().st_size, "v1")
        job = steps.PageJob(str(scans), str(tmp_path), SETTINGS, "run", "shard", "settings", scorer.digest, scorer.name)
        source = steps.fetch_document(document, job)
        pages = [steps.prepare_page(source, number, job) for number in range(steps.describe(source).n_pages)]
        scores = steps.score_pages([steps.scoring_input(page) for page in pages], job)
        finished = [steps.finish_page(page, score, source, job) for page, score in zip(pages, scores, strict=True)]
        rows = [row.as_record() for row in steps.store_document(source, finished, job).pages]
        return rows, dest.read_bytes(rows[0]["output_key"])

    return run


@pytest.mark.parametrize(
    ("key", "kind", "codec", "least_saved"),
    [
        ("stanford-letters/images/Lettre246.jpg", "colour", "avif", 0.75),  # typed, with a printed letterhead
        ("sroie-receipts/images/591.jpg", "grey", "avif", 0.75),  # a receipt without a resolution tag
        ("ehri-typed/images/EHRI-DR-19390404-US_03.jpg", "two-tone", "g4", 0.9),  # a bitonal scan saved as JPEG
        ("ocrd-gt/images/bebel_frau_1879_0168.tif", "bitonal", "g4", 0.5),  # LZW, 600 dpi
        ("ocrd-assets/images/kant_aufklaerung_1784_INPUT_0017.tif", "colour", "avif", 0.9),  # profile of 669 kB
    ],
)
def test_a_real_scan_shrinks_and_passes_its_check(compress, key, kind, codec, least_saved):
    (row,), output = compress(key)
    assert (row["status"], row["page_kind"], row["codec"]) == ("compressed", kind, codec)
    assert 1 - row["output_bytes"] / row["source_bytes"] >= least_saved
    assert row["worst_block_ssim"] >= SETTINGS.legibility.min_block_ssim
    assert row["text_ssim"] > 0.9
    pixels = read_page(output, 0, SETTINGS.limits).pixels
    assert pixels.shape[:2] == (row["height_px"], row["width_px"])


def test_a_handwritten_letter_that_ocr_cannot_read_keeps_its_writing(compress):
    (row,), _ = compress("stanford-letters/images/Lettre249.jpg")
    assert row["ocr_words"] < 30
    assert row["status"] == "compressed"
    assert 0.3 < row["tiles_at_level_1"] / row["n_tiles"] < 0.6  # the writing covers about half of the page
    assert row["worst_block_ssim"] >= SETTINGS.legibility.min_block_ssim


def test_a_phone_photo_is_stored_upright(compress, scans):
    (row,), output = compress("ocrd-assets/images/OCR-D-IMG-boston_cooking_b.jpg")
    assert (row["height_px"], row["width_px"]) == (3264, 2448)
    source = read_page((scans / row["document_key"]).read_bytes(), 0, SETTINGS.limits)
    assert read_page(output, 0, SETTINGS.limits).pixels.shape == source.pixels.shape
